/**
 * The Unix agent's recorded resets that went wrong, or should have gone wrong. Each is asked of the real command on a
 * copy of a system, and met or better: every reason why ours differs is an old defect that is named here.
 */
import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { test } from 'node:test';
import type { Host, Reply } from '../../ts/api/index.js';
import { networkOptions } from '../../ts/daemon/command-options.js';
import { networkCommands } from '../../ts/commands/network.js';
import { DEFAULTS } from '../../ts/daemon/config.js';
import { openHost } from '../../ts/host/linux/host.js';
import { call } from '../support/command-context.js';
import { ScratchRoot } from '../support/scratch-root.js';

interface Case {
  readonly case: string;
  /** By the name of the node; what is no object is the node's text. */
  readonly input: Readonly<Record<string, unknown>>;
  readonly hostname: string | null;
  readonly reply: Reply;
}

const { cases } = JSON.parse(readFileSync('test/fixtures/unix-network-errors.json', 'utf8')) as {
  readonly cases: readonly Case[];
};

type Files = ReadonlyMap<string, string>;

interface Outcome {
  readonly reply: Reply;
  readonly before: Files;
  readonly after: Files;
}

interface Better {
  readonly defect: string;
  /** Null: success. Otherwise what is wrong; nothing may have changed. */
  readonly error: RegExp | null;
  readonly check?: (outcome: Outcome) => void;
}

const INTERFACES = 'etc/network/interfaces';

/** `file` holds each of `texts`. */
function holds(file: string, ...texts: readonly string[]): (outcome: Outcome) => void {
  return ({ after }) => {
    for (const text of texts) assert.ok(after.get(file)?.includes(text), `${file} without ${text}: ${after.get(file)}`);
  };
}

/** The machine keeps the name that it had. */
const unnamed = ({ before, after }: Outcome): void => {
  for (const file of ['etc/hostname', 'etc/hosts']) assert.equal(after.get(file), before.get(file));
};

const ONE_DEFAULT = 'two default routes of one family were written, or everything was refused';
const oneDefault = (file: string, gateway: RegExp) => (outcome: Outcome) => {
  const text = outcome.after.get(file) ?? '';
  assert.equal(text.match(gateway)?.length, 1, text);
  assert.ok(text.includes('198.51.100.1') && text.includes('203.0.113.10'), 'both interfaces have their addresses');
};

/** nova takes the old 500 for success of a reset: every failure has another code (docs/decisions/0012). */
const FAILURE = '1';

/** Met: a failure too, and a message that says what the old one said, with the record's name before it. */
const MET = [
  'debian/unknown-mac',
  'debian/missing-mac',
  'debian/no-ips',
  'debian/missing-netmask',
  'debian/missing-ip',
  'debian/v6-missing-ip',
  'debian/route-missing-gateway',
];

const PYTHON = 'the message was an exception of its language, which says neither what was wrong nor what was wanted';
const PROGRAMS = 'a program that failed left the new files and a network half changed';

const BETTER: Readonly<Record<string, Better>> = {
  'debian/bad-netmask': { defect: PYTHON, error: /'netmask': expected a mask of IPv4 .*, got '255\.255\.0\.255'$/ },
  'debian/prefix-as-netmask': {
    defect: 'a prefix length as netmask was refused',
    error: null,
    check: holds(INTERFACES, 'address 192.0.2.4\n    netmask 255.255.255.0\n'),
  },
  'debian/ipv6-route': {
    defect: 'routes of IPv6 were refused; without an address of IPv6 there is none to be had',
    error: null,
    check: holds(INTERFACES, 'address 192.0.2.4\n    netmask 255.255.255.0\n'),
  },
  'debian/enabled-not-int': { defect: PYTHON, error: /Invalid value 'yes' for 'enabled' key: expected 1 or 0$/ },
  'debian/all-disabled': {
    defect: 'the network was taken down when every address is disabled',
    error: /BC764E205EB2: all its addresses are disabled$/,
  },
  'debian/two-gateways': { defect: ONE_DEFAULT, error: null, check: oneDefault(INTERFACES, /^\s*gateway /gm) },
  'debian/ips-null': {
    defect: 'a list that is null was an exception',
    error: null,
    check: holds(INTERFACES, 'address 2001:db8::1\n    netmask 64\n'),
  },
  'debian/dns-null': {
    defect: 'a list that is null was an exception, after resolv.conf was lost',
    error: null,
    check: holds(INTERFACES, 'address 192.0.2.4\n    netmask 255.255.255.0\n'),
  },
  'debian/label-newline': {
    defect: 'a label with a line feed became a line of the file, run by ifup',
    error: null,
    check: ({ after }) => {
      assert.doesNotMatch(after.get(INTERFACES) ?? '', /^\s*post-up/m);
    },
  },
  'debian/label-unicode': {
    defect: 'a label with other letters than ASCII was an exception, after resolv.conf was lost',
    error: null,
    check: holds(INTERFACES, 'address 192.0.2.4\n    netmask 255.255.255.0\n'),
  },
  'debian/garbage-json': { defect: PYTHON, error: /: BC764E205EB2: not JSON$/ },
  'debian/no-networking': {
    defect: 'the network was taken down when the host had published nothing',
    error: /^No network data in vm-data\/networking or vm-data\/networks; nothing was changed$/,
  },
  'debian/no-hostname': { defect: 'the name was set and written to /etc/hosts anew', error: null, check: unnamed },
  'arch-legacy/two-gateways': {
    defect: ONE_DEFAULT,
    error: null,
    check: ({ after }) => {
      const profiles = [...after].filter(([path]) => path.startsWith('etc/netctl/')).map(([, text]) => text);
      assert.equal(profiles.length, 2);
      assert.equal(profiles.filter((text) => /^Gateway=/m.test(text)).length, 1);
    },
  },
  'freebsd/two-gateways': {
    defect: ONE_DEFAULT,
    error: null,
    check: oneDefault('etc/rc.conf', /^defaultrouter=/gm),
  },
  "debian/hostname-'web01.exampl'": {
    defect: 'resolv.conf was lost',
    error: null,
    check: holds('etc/hosts', '\tweb01.example.com web01\n'),
  },
  "debian/hostname-'UPPER_case'": { defect: 'any name was taken', error: /'UPPER_case' is not a label of / },
  "debian/hostname-'aaaaaaaaaaaa'": { defect: 'the kernel cut the name', error: /'a{70}' is not a label of 1 to 63 / },
  "debian/hostname-'bad;touch /x'": { defect: 'any name was taken', error: /'bad;touch \/x' is not a label of / },
  "debian/hostname-''": { defect: 'any name was taken', error: /vm-data\/hostname: it is empty$/ },
  'debian-initfail/two-nics': {
    defect: PROGRAMS,
    error: /^Network was put back: wanted 198\.51\.100\.159\/24 on eth0, got .*/,
  },
  'debian-noinit/two-nics': {
    defect: 'a program that is missing was an exception, after the interface was taken down',
    error: null,
    check: holds(INTERFACES, 'address 198.51.100.159\n', 'address 2001:db8:7803:104::5eb2\n'),
  },
  'debian-noifup/two-nics': {
    defect: 'without ifup the name was set and resolv.conf lost all the same',
    error: /^No supported network configuration found: looked for /,
  },
  'debian-upstart/two-nics': {
    defect: 'resolv.conf was lost',
    error: null,
    check: holds(INTERFACES, 'address 198.51.100.159\n', 'address 2001:db8:7803:104::5eb2\n'),
  },
  'redhat-fail/two-nics': {
    defect: PROGRAMS,
    error: /^Network was put back: wanted 198\.51\.100\.159\/24 on eth0, got .*/,
  },
  'redhat-systemd/two-nics': {
    defect: "a program that is missing was an exception, and the administrator's tunnel was deleted",
    error: null,
    check: holds('etc/sysconfig/network-scripts/ifcfg-tun0', 'DEVICE=tun0'),
  },
};

/** How the machine of each case differs from Debian with ifup. */
const MACHINES: Readonly<Record<string, (scratch: ScratchRoot) => void>> = {
  'debian-noifup': withoutIfup,
  'arch-legacy': (scratch) => {
    withoutIfup(scratch);
    scratch.write('usr/bin/netctl', '', 0o755);
    // As on a guest that the agent has set before: on a copy no program can enable ours.
    for (const name of ['eth0', 'eth1']) {
      scratch.write(`etc/systemd/system/multi-user.target.wants/netctl@guestwire\\x2d${name}.service`, '');
    }
  },
  freebsd: (scratch) => {
    withoutIfup(scratch);
    scratch.write('bin/freebsd-version', '', 0o755);
    scratch.write('etc/rc.conf', 'sshd_enable="YES"\n');
  },
  'redhat-fail': redHat,
  'redhat-systemd': redHat,
};
const PROGRAMS_FAIL = ['debian-initfail', 'redhat-fail'];

function withoutIfup(scratch: ScratchRoot): void {
  for (const path of ['etc/network', 'sbin/ifup', 'sbin/ifdown'])
    rmSync(`${scratch.root}/${path}`, { recursive: true });
}

function redHat(scratch: ScratchRoot): void {
  withoutIfup(scratch);
  const scripts = 'etc/sysconfig/network-scripts';
  scratch.write(`${scripts}/ifup-eth`, '', 0o755);
  scratch.write(`${scripts}/ifcfg-eth0`, 'DEVICE=eth0\nBOOTPROTO=dhcp\nONBOOT=yes\n');
  scratch.write(`${scripts}/ifcfg-tun0`, 'DEVICE=tun0\nONBOOT=yes\n');
}

async function reset({ case: name, input, hostname }: Case): Promise<Outcome> {
  const [machine = ''] = name.split('/');
  using scratch = new ScratchRoot();
  for (const [device, mac] of Object.entries({ eth0: 'bc:76:4e:20:5e:b2', eth1: 'bc:76:4e:20:5e:fb' })) {
    scratch.write(`sys/class/net/${device}/address`, `${mac}\n`);
    scratch.write(`sys/class/net/${device}/type`, '1\n');
  }
  MACHINES[machine]?.(scratch);
  const before = scratch.files();
  const host = hostOf(scratch, input, hostname);
  const module = networkCommands(PROGRAMS_FAIL.includes(machine) ? withFailingPrograms(host) : host, {
    ...networkOptions(DEFAULTS),
    verifyTimeoutMs: 200,
  });
  const reply = await call(module, 'resetnetwork', '');
  return { reply, before, after: scratch.files() };
}

function hostOf(scratch: ScratchRoot, input: Case['input'], hostname: string | null): Host {
  const nodes = new Map(
    Object.entries(input).map(([id, record]) => [
      `vm-data/networking/${id}`,
      typeof record === 'string' ? record : JSON.stringify(record),
    ]),
  );
  if (hostname !== null) nodes.set('vm-data/hostname', hostname);
  const below = (path: string): readonly string[] =>
    [...nodes.keys()].filter((node) => node.startsWith(`${path}/`)).map((node) => node.slice(path.length + 1));
  return openHost({
    root: scratch.root,
    stateDirectory: `${scratch.directory}/state`,
    live: false,
    store: { read: (path) => Promise.resolve(nodes.get(path) ?? null), list: (path) => Promise.resolve(below(path)) },
  });
}

/** As on a live system whose scripts fail, with a kernel that nobody may change here. */
function withFailingPrograms(host: Host): Host {
  const ignored = (): Promise<void> => Promise.resolve();
  return {
    ...host,
    live: true,
    processes: {
      // A look at what is planned finds nothing wrong with it.
      run: (_argv, { confined = false } = {}) =>
        Promise.resolve({ code: confined ? 0 : 3, stdout: '', stderr: 'failed', timedOut: false }),
    },
    network: {
      nics: () => host.network.nics(),
      hostname: () => host.network.hostname(),
      live: () => Promise.resolve({ addresses: [], routes: [] }),
      change: ignored,
      ipv6Settings: () => Promise.resolve({}),
      setIpv6: ignored,
      setHostname: ignored,
    },
  };
}

test('every recorded reset is met or has its old defect named, once', () => {
  assert.deepEqual([...MET, ...Object.keys(BETTER)].sort(), cases.map(({ case: name }) => name).sort());
});

for (const one of cases) {
  const better = BETTER[one.case];
  test(
    better === undefined ? `${one.case}: as the Unix agent` : `${one.case}: not as it was (${better.defect})`,
    async () => {
      const outcome = await reset(one);
      const { reply, before, after } = outcome;
      assert.equal(reply.returncode, better?.error === null ? '0' : FAILURE);
      if (reply.returncode === '0') {
        assert.equal(reply.message, '');
        assert.notEqual(after.get('etc/resolv.conf'), undefined);
      } else {
        assert.deepEqual(after, before, 'an error changes nothing');
      }
      assert.deepEqual(
        [...after.keys()].filter((path) => path.includes('.bak') || path.endsWith('~')),
        [],
      );
      if (better === undefined) assert.ok(reply.message.includes(one.reply.message), reply.message);
      else if (better.error !== null) assert.match(reply.message, better.error);
      better?.check?.(outcome);
    },
  );
}
