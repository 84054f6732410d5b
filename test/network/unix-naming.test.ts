/** What the Unix agent made of names: its recorded runs without a host name, and its own tests of /etc/hosts. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { suite, test } from 'node:test';
import { decideHostname, hostnameProblem } from '../../ts/network/hostname.js';
import { hostsFile } from '../../ts/network/hosts.js';
import { type NetworkFacts } from '../../ts/network/plan.js';

const FIXTURES = 'test/fixtures';

interface FallbackCase {
  readonly distro?: string;
  readonly from?: string;
  readonly 'vm-data/hostname'?: string;
  readonly result: string;
}

/** What the machine of a case has, as far as it tells where its name stands. */
interface Machine {
  readonly files: Readonly<Record<string, string>>;
  readonly present?: readonly string[];
}

const fallback = JSON.parse(readFileSync(`${FIXTURES}/unix-hostname-fallback-cases.json`, 'utf8')) as {
  readonly cases: readonly FallbackCase[];
};
const keyOf = (one: FallbackCase): string =>
  one['vm-data/hostname'] === undefined ? `${one.distro ?? ''}: ${one.from ?? ''}` : `name ${one['vm-data/hostname']}`;

/** The host wants no name. The Unix agent set one all the same: the file's text, or that of the distribution. */
const MACHINES: Readonly<Record<string, Machine>> = {
  'debian: /etc/hostname': { files: { '/etc/hostname': 'old\n' } },
  'debian: empty /etc/hostname': { files: { '/etc/hostname': '' } },
  'redhat: HOSTNAME= in /etc/sysconfig/network': { files: { '/etc/sysconfig/network': 'HOSTNAME="old"\n' } },
  'redhat (EL7+): no HOSTNAME= line, /etc/hostname=real.example.com': {
    files: { '/etc/sysconfig/network': '# anaconda\n', '/etc/hostname': 'real.example.com\n' },
  },
  'gentoo-openrc: hostname="old"': { files: { '/etc/conf.d/hostname': 'hostname="old"\n' } },
  'gentoo-legacy: HOSTNAME="old"': { files: { '/etc/conf.d/hostname': 'HOSTNAME="old"\n' } },
  'suse: /etc/HOSTNAME': { files: { '/etc/HOSTNAME': 'old\n' }, present: ['/etc/HOSTNAME'] },
  'arch systemd: /etc/hostname': { files: { '/etc/hostname': 'old\n' }, present: ['/usr/bin/hostnamectl'] },
  'arch legacy: HOSTNAME="old" in rc.conf': { files: { '/etc/rc.conf': 'HOSTNAME="old"\n' } },
  'freebsd: hostname="old"': { files: { '/etc/rc.conf': 'hostname="old"\n' }, present: ['/bin/freebsd-version'] },
};

/** Names that the Unix agent took as they were: why each is refused. */
const REFUSED: Readonly<Record<string, readonly [name: string, problem: RegExp]>> = {
  'name (empty string)': ['', /^it is empty$/],
  'name 70 characters': ['a'.repeat(70), /is not a label of 1 to 63 letters/],
  'name bad;touch /x': ['bad;touch /x', /^'bad;touch \/x' is not a label of 1 to 63 letters/],
};

suite('no name from the host, or one that is none', () => {
  test('every recorded case is looked at', () => {
    assert.deepEqual(fallback.cases.map(keyOf), [...Object.keys(MACHINES), ...Object.keys(REFUSED)]);
  });

  for (const one of fallback.cases) {
    const key = keyOf(one);
    test(`${key}: ${one.result} is not set`, () => {
      const refused = REFUSED[key];
      if (refused !== undefined) {
        const [name, problem] = refused;
        assert.match(hostnameProblem(name) ?? '', problem);
        return;
      }
      const machine = MACHINES[key];
      assert.ok(machine, `nobody looks at ${key}`);
      // Met where the old agent set what is there already, and better where it named the machine after its system.
      assert.deepEqual(decideHostname(factsOf(machine)), { files: [], after: [], restore: [] });
    });
  }
});

function factsOf({ files, present = [] }: Machine): NetworkFacts {
  return {
    interfaces: [],
    hostname: null,
    currentHostname: 'old',
    files: new Map(Object.entries(files)),
    present: new Set(present),
    resolver: 'file',
  };
}

interface HostsCase {
  readonly id: string;
  readonly input: { readonly addresses: readonly string[] };
  readonly hostname: string;
  readonly preexisting: { readonly '/etc/hosts': string };
  readonly files: { readonly '/etc/hosts': string };
}

const hosts = readdirSync(FIXTURES)
  .filter((name) => name.startsWith('unix-hosts-'))
  .map((name) => JSON.parse(readFileSync(`${FIXTURES}/${name}`, 'utf8')) as HostsCase);

const REMARK = 'it kept the old line as a remark, so that the file grew with each name';
const OWN_LINE = 'the name hung on an address that the next reset takes away; 127.0.1.1 is always there';
/** All differ from the old outcome: in which way, and what comes out. */
const HOSTS: Readonly<Record<string, readonly [defect: string, after: (old: string) => string]>> = {
  'hosts-add': [OWN_LINE, () => '127.0.1.1\texample\n192.0.2.2\tother\n'],
  'hosts-empty': [OWN_LINE, () => '127.0.1.1\texample\n'],
  'hosts-update-comment': [REMARK, withoutRemarks],
  'hosts-update-one-hostname': [REMARK, withoutRemarks],
  'hosts-update-two-entries': [REMARK, withoutRemarks],
  'hosts-update-two-hostnames': [
    `${REMARK}, and the old name with its domain`,
    (old) => withoutRemarks(old).replace(' oldname.example.com', ''),
  ],
};

function withoutRemarks(text: string): string {
  return text.replaceAll(/^#.*# Removed by nova-agent\n/gm, '');
}

suite('/etc/hosts', () => {
  test('every test of the Unix agent is looked at', () => {
    assert.deepEqual(hosts.map(({ id }) => id).sort(), Object.keys(HOSTS).sort());
  });

  for (const { id, input, hostname, preexisting, files } of hosts) {
    test(`${id}: not as it was (${HOSTS[id]?.[0] ?? 'nobody looks at it'})`, () => {
      const [, after] = HOSTS[id]!;
      const text = hostsFile(preexisting['/etc/hosts'], hostname, 'oldname', input.addresses);
      assert.equal(text, after(files['/etc/hosts']));
      assert.notEqual(text, files['/etc/hosts'], 'it is as it was: take it off the list');
      assert.equal(hostsFile(text, hostname, hostname, input.addresses), text, 'a second run changes nothing');
    });
  }
});
