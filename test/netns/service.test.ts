/** The agent as systemd's service, in its sandbox: every command, what it starts outside, a restart, an update, a stop. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, chownSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Controller } from '../../ts/controller/controller.js';
import { fileValue, sendFile } from '../../ts/controller/send-file.js';
import { type Input, readInput } from '../network/inputs.js';
import { suites } from '../support/debian-root.js';
import { documentedDropIns } from '../support/documented-drop-ins.js';
import type { NovaView } from '../support/host-view.js';
import { PUBLIC_KEY } from '../support/public-key.js';
import { makeRelease } from '../support/release.js';
import { Authority, UpdateServer } from '../support/update-server.js';
import { normal } from './kernel.js';
import { ETH0, Namespace } from './namespace.js';
import { DOMAIN, Service } from './service.js';
import { STACKS } from './stacks.js';

const OK = { kind: 'ok', message: '' } as const;
const STATIC = readInput('public-and-private');
const DHCP: Partial<Input> = { networks: { 0: { mac: ETH0, type: 'dhcp', type6: 'none' } } };
const NEXT = '99.0.0';
const ACTIVATION_KEY = '1-f00ba4';
/** Of linux/capability.h. */
const [CAP_NET_RAW, CAP_SYS_MODULE, CAP_SYS_PTRACE, CAP_SYS_ADMIN] = [13n, 16n, 19n, 21n];
/** The first user that is made, and the group of Debian. */
const [ALICE, MAIL] = [1000, 8];
/** Seconds, milliseconds. */
const [RENEWAL, PATIENCE] = [5, 60_000];

/** Prints how it is confined, mounts something, and opens the memory of process 1: none of it is for the service. */
const PRIVILEGED = `
grep -E '^(NoNewPrivs|Seccomp|CapBnd):' /proc/self/status | tr '\\n\\t' '  '
mount -t tmpfs none /mnt && umount /mnt && head -c0 /proc/1/mem && echo all rights
`;
const ALL_RIGHTS = /NoNewPrivs: 0 .*Seccomp: 0 .*all rights/;

/** A plugin is in the service's process: it tells what that may, and what a program of its own may. */
const PLUGIN = `
import { writeFile } from 'node:fs/promises';
const tried = (work) => work.then(() => 'done', ({ code, cause, message }) => cause?.code ?? code ?? message);
export default {
  apiVersion: 1,
  name: 'probe',
  setup: (host) => [{ kind: 'commands', module: { name: 'probe', commands: [
    { name: 'rights', lane: 'serial', handle: async (value) => ({ returncode: '0', message: JSON.stringify({
      tunable: await tried(writeFile('/proc/sys/kernel/domainname', 'example.org')),
      router: await tried(host.network.setIpv6('eth1', { advertisements: 'ignored' })),
      hostname: await tried(host.network.setHostname('named')),
      mtu: await tried(host.network.change([{ type: 'mtu', nic: 'eth1', mtu: 1500 }])),
      fetch: await tried(fetch(value)),
    }).replaceAll('"', '') }) },
    { name: 'program', lane: 'serial', handle: async (confined) => {
      const { code, stdout, stderr } = await host.processes.run(['/usr/local/bin/privileged'], { confined });
      return { returncode: '0', message: code + stdout + stderr };
    } },
  ] } }],
};
`;

const STAND_INS = {
  '/usr/local/bin/privileged': `#!/bin/sh\n${PRIVILEGED}`,
  '/etc/guestwire/commands/snapshot': `#!/bin/sh\nread request\necho 0\n${PRIVILEGED}`,
  '/etc/guestwire/hooks/before/all/10-outside': `#!/bin/sh\nexec >>/run/hooks\necho before $GUESTWIRE_COMMAND\n${PRIVILEGED}`,
  '/etc/guestwire/hooks/after/all/10-outside': `#!/bin/sh\nexec >>/run/hooks\necho after $GUESTWIRE_COMMAND\n${PRIVILEGED}`,
  // Stands in for Red Hat's.
  '/usr/sbin/rhnreg_ks': `#!/bin/sh\necho "$*" >/run/registered\n${PRIVILEGED}\necho new >/etc/sysconfig/rhn/systemid\n`,
};

/** The capability to open raw sockets, and the label of a security module that is not in force. */
function setLabels(path: string): void {
  const script = [
    'import os, struct, sys',
    'capability = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)',
    'os.setxattr(sys.argv[1], "security.capability", capability)',
    'os.setxattr(sys.argv[1], "security.SMACK64", b"_")',
  ];
  execFileSync('python3', ['-c', script.join('\n'), path]);
}

/** The message of an answer. */
function said(answer: NovaView): string {
  if (answer.kind === 'ok') return answer.message;
  throw new Error(answer.why);
}

/** Asserts that process `pid`, the agent, has what the unit leaves it, and no more. */
function assertConfined(service: Service, pid: string): void {
  const { noNewPrivileges, filtered, capabilities } = service.confinement(pid);
  assert.ok(noNewPrivileges && filtered, 'the service is confined');
  for (const capability of [CAP_NET_RAW, CAP_SYS_MODULE, CAP_SYS_PTRACE, CAP_SYS_ADMIN]) {
    assert.equal((capabilities >> capability) & 1n, 0n, `capability ${capability}`);
  }
}

/** Asserts that process `pid` has all that process 1 has. */
function assertFree(service: Service, pid: string): void {
  assert.deepEqual(service.confinement(pid), service.confinement('1'));
}

/** To addresses of the host's, and then to those of a DHCP server. */
async function resetTwice(namespace: Namespace, service: Service): Promise<void> {
  await service.publish(STATIC);
  assert.deepEqual(await service.dom0.call('resetnetwork', ''), OK);
  assert.deepEqual(namespace.kernel().inWordsOf(STATIC.wanted), normal(STATIC.wanted));
  assert.equal(namespace.inside('hostname').trim(), 'web1');
  await service.publish(DHCP);
  assert.deepEqual(await service.dom0.call('resetnetwork', ''), OK);
}

/** When the guest's lease runs out, seconds since 1970. */
function leasedUntil(namespace: Namespace): number {
  const line = readFileSync(join(namespace.shared, 'leases'), 'utf8')
    .split('\n')
    .find((text) => text.includes(ETH0));
  return Number(line?.split(' ')[0] ?? Number.NaN);
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + PATIENCE;
  while (!(await holds())) {
    assert.ok(Date.now() < end, what);
    await sleep(100);
  }
}

suite('the service in its sandbox', { concurrency: 2 }, () => {
  for (const release of suites()) {
    test(
      `carries every command out, and leaves a DHCP client to itself, in ${release}`,
      { timeout: 600_000 },
      async () => {
        await using namespace = new Namespace(release, 'full');
        await using service = await Service.install(namespace);
        const { dom0 } = service;
        const authority = new Authority(namespace.shared);
        await using server = await UpdateServer.start(authority.certify());
        await namespace.write(STAND_INS, 0o755);
        await namespace.write({
          '/etc/guestwire/plugins/probe.mjs': PLUGIN,
          '/etc/hosts': '127.0.0.1\tlocalhost\n',
          '/etc/network/interfaces': 'auto lo\niface lo inet loopback\n',
          '/etc/ssl/certs/ca-certificates.crt': readFileSync(authority.file, 'utf8'),
          '/etc/sysconfig/rhn/up2date': 'serverURL=https://old.example.org/XMLRPC\n',
          '/usr/local/bin/capable': 'old\n',
          '/usr/local/bin/tool': 'old\n',
        });
        const [capable, tool] = ['capable', 'tool'].map((name) => namespace.before(`/usr/local/bin/${name}`)) as [
          string,
          string,
        ];
        setLabels(capable);
        chownSync(tool, ALICE, MAIL);
        chmodSync(tool, 0o6755);
        await namespace.mask('NetworkManager.service', 'systemd-networkd.service', 'systemd-networkd.socket');
        await namespace.serveAddresses(RENEWAL);
        await namespace.boot();
        namespace.forward(server.port);
        // As systemd does where it is in no container: mounts reach its services.
        namespace.script('mount --make-rshared / && useradd -m alice');
        service.control('start');
        const agent = service.show('MainPID');
        namespace.script('mount -t tmpfs none /srv');
        assertConfined(service, agent);

        // What needs nothing but the agent.
        assert.equal((await dom0.call('version', 'agent')).kind, 'ok');
        assert.match(said(await dom0.call('features', '')), /resetnetwork,.*rights,.*snapshot/);
        assert.deepEqual(await dom0.setPassword('a new one', 'default'), OK);
        assert.match(namespace.script('grep ^root: /etc/shadow'), /^root:\$/);
        assert.deepEqual(await dom0.call('injectfile', fileValue('injectfile', '/opt/new/one', Buffer.from('1'))), OK);
        for (const path of ['/usr/local/bin/capable', '/usr/local/bin/tool', '/srv/late']) {
          assert.deepEqual(await dom0.call('file_inject', fileValue('file_inject', path, Buffer.from('2'))), OK);
          assert.equal(namespace.inside('cat', path), '2');
        }
        const stat = '%a %U %G';
        assert.equal(namespace.inside('stat', '-c', stat, '/opt/new'), '755 root root\n');
        assert.equal(namespace.inside('stat', '-c', stat, '/usr/local/bin/tool'), '6755 alice mail\n');
        assert.equal(namespace.inside('getcap', '/usr/local/bin/capable'), '/usr/local/bin/capable cap_net_raw=ep\n');
        const large = randomBytes(20_000);
        using controller = await Controller.open({ endpoint: service.socket, domain: DOMAIN });
        assert.equal((await sendFile(controller, '/home/alice/large', large)).message, '20000 of 20000 bytes');
        const digest = createHash('sha256').update(large).digest('hex');
        assert.match(namespace.inside('sha256sum', '/home/alice/large'), new RegExp(digest));
        const keys = { action: 'merge', user: 'alice', keys: [PUBLIC_KEY] };
        assert.equal((await dom0.call('sshkeys', keys)).kind, 'ok');
        assert.equal(namespace.inside('stat', '-c', stat, '/home/alice/.ssh/authorized_keys'), '600 alice alice\n');

        // What it has started outside of its sandbox, and what is kept inside.
        const registration = { activation_key: ACTIVATION_KEY, profile: 'web1', domains: ['rhn.example.org'] };
        assert.deepEqual(await dom0.call('kmsactivate', registration), OK);
        assert.match(namespace.inside('cat', '/run/registered'), new RegExp(`--activationkey ${ACTIVATION_KEY} `));
        assert.match(said(await dom0.call('snapshot', '')), ALL_RIGHTS);
        assert.match(said(await dom0.call('program', false)), ALL_RIGHTS);
        assert.match(
          said(await dom0.call('program', true)),
          /NoNewPrivs: 1 .*Seccomp: 2 .*mount: .*(permission denied|not permitted)/,
        );
        assert.equal(
          said(await dom0.call('rights', 'http://127.0.0.1:65534/')),
          '{tunable:EROFS,router:done,hostname:done,mtu:done,fetch:ECONNREFUSED}',
        );
        const hooks = namespace.inside('cat', '/run/hooks').split(/^(?=before|after)/m);
        for (const stage of ['before', 'after']) {
          const own = hooks.find((text) => text.startsWith(`${stage} kmsactivate`));
          assert.match(own?.replaceAll('\n', ' ') ?? '', ALL_RIGHTS);
        }

        // The network.
        await resetTwice(namespace, service);
        const client = namespace.inside('pgrep', '-f', 'dhclient -4').trim();
        assertFree(service, client);
        const ownGroup = (pid: string): string => namespace.inside('cat', `/proc/${pid}/cgroup`);
        assert.match(ownGroup(agent), /guestwire\.service$/m);
        assert.doesNotMatch(ownGroup(client), /guestwire\.service$/m);

        // A restart, an update, a stop.
        service.control('restart');
        const restarted = service.show('MainPID');
        assert.notEqual(restarted, agent);
        const next = makeRelease(namespace.shared, NEXT);
        server.files.set('/next', next.archive);
        assert.deepEqual(await dom0.call('agentupdate', `${server.url('/next')},${next.sha256}`), OK);
        // The old one answers what waits for nothing until the hooks after the update have run.
        await until('the new version serves', async () => {
          return said(await dom0.call('version', 'agent')) === NEXT;
        });
        assert.equal(service.show('MainPID'), restarted, 'the same process');
        assertConfined(service, restarted);
        assert.equal((await dom0.call('snapshot', '')).kind, 'ok', 'the new version has programs started');
        assert.equal(namespace.inside('stat', '-c', '%a', `/usr/lib/guestwire/versions/${NEXT}/dist/vendor`), '755\n');
        service.control('stop');
        assert.equal(service.show('Result'), 'success', service.journal);
        assert.equal(namespace.inside('pgrep', '-f', 'dhclient -4').trim(), client, 'the client is the same');
        const stopped = leasedUntil(namespace);
        await until('the lease is renewed', () => leasedUntil(namespace) > stopped);
        assert.ok(
          namespace.kernel().interfaces['eth0']?.addresses.some((address) => address.startsWith('192.0.2.1')),
          'and the address stays',
        );
        const told = namespace.script(
          'journalctl -o export; systemctl show "guestwire*"; grep -rs . /run/systemd/transient /run/systemd/system; true',
        );
        assert.ok(!told.includes(ACTIVATION_KEY), 'arguments are told nowhere');
      },
    );

    for (const name of ['netplan with systemd-networkd', 'NetworkManager']) {
      test(`resets the network by ${name}, without a compiler, in ${release}`, { timeout: 300_000 }, async () => {
        const stack = STACKS.find((one) => one.name === name)!;
        await using namespace = new Namespace(release, stack.kind);
        await using service = await Service.install(namespace);
        const { dom0 } = service;
        await namespace.serveAddresses();
        const compilerless = documentedDropIns().find((dropIn) => dropIn.includes('--jitless'))!;
        await namespace.write({ '/etc/systemd/system/guestwire.service.d/documented.conf': compilerless });
        await stack.prepare(namespace);
        service.control('start');
        assertConfined(service, service.show('MainPID'));
        await resetTwice(namespace, service);
        assert.match(namespace.kernel().interfaces['eth0']?.addresses[0] ?? '', /^192\.0\.2\.1[0-4][0-9]\/24$/);
        assert.deepEqual(await dom0.setPassword('a new one', 'default'), OK);
        assert.equal(service.show('MemoryDenyWriteExecute'), 'yes');
        service.control('stop');
        assert.equal(service.show('Result'), 'success', service.journal);
      });
    }
  }
});
