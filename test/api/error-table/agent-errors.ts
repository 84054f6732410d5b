/**
 * How each code of the agent is provoked, in the order of docs/errors.md. To add one: an object with its code, what
 * the message says in the place of each `%s`, and a function that does on a guest what leads to it.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { FileLock } from '#binding';
import { AgentError } from '../../../ts/api/index.js';
import type { AgentErrorCode } from '../../../ts/api/errors.js';
import { loadConfig } from '../../../ts/daemon/config.js';
import { systemOf } from '../../../ts/host/index.js';
import { becomeSoleAgent } from '../../../ts/host/shared/sole-agent.js';
import { readConfigFiles } from '../../../ts/host/shared/system.js';
import { pluginText } from '../../support/plugins.js';
import { runCli } from '../../support/run-cli.js';
import { MAC, VM_DATA } from '../../support/scratch-root.js';
import { createScratch } from '../../support/scratch.js';
import { StreamAgent } from '../../support/stream-agent.js';
import { asked, base64 } from './asked.js';
import type { AgentEntry, Told } from './entry.js';
import { FILE_ENTRIES } from './file-errors.js';
import { UPDATE_ENTRIES } from './update-errors.js';

const ADDRESS = { ip: '203.0.113.10', netmask: '255.255.255.0' };
const RECORD = 'vm-data/networking/a';
/** A guest whose network nobody configures. */
const WITHOUT_IFUPDOWN = { 'etc/network/interfaces': null, 'sbin/ifup': null, 'sbin/ifdown': null } as const;

export const AGENT_ENTRIES: Readonly<Record<string, AgentEntry>> = {
  GW_REQUEST_MALFORMED: {
    says: ['a JSON object', 'a list'],
    async provoke(guest) {
      await guest.start();
      return guest.send('[1]');
    },
  },

  GW_REQUEST_NO_NAME: {
    says: [],
    async provoke(guest) {
      await guest.start();
      return guest.send('{"value": "agent"}');
    },
  },

  GW_REQUEST_INTERRUPTED: {
    says: [
      'password',
      'it was not run again, files it had half changed were put back, and a program it had started may have kept running',
    ],
    async provoke(guest) {
      await guest.start();
      // As passwd(1) would: the command waits for the lock, and is killed meanwhile.
      const lock = await FileLock.acquire(join(guest.scratch.root, 'etc/.pwd.lock'), 1000);
      const answer = guest.setPassword('S3cret', { exchange: 'strong' });
      await guest.isRunning('password');
      await guest.kill();
      lock.release();
      await guest.start();
      return answer;
    },
  },

  GW_COMMAND_UNKNOWN: { says: ['reboot'], provoke: asked('reboot') },

  GW_COMMAND_DENIED: {
    says: ['injectfile'],
    config: '[commands]\ndeny = ["injectfile"]',
    provoke: asked('injectfile', base64('/etc/motd,hello')),
  },

  GW_HOOK_REFUSED: {
    says: ['before/injectfile/50-no', 'not now'],
    files: { 'etc/guestwire/hooks/before/injectfile/50-no': '#!/bin/sh\necho not now >&2\nexit 1\n' },
    async provoke(guest) {
      await guest.startLive('chmod 755 /etc/guestwire/hooks/before/injectfile/50-no');
      return guest.request('injectfile', base64('/var/lib/motd,hello'));
    },
  },

  GW_ARGUMENT_INVALID: {
    says: ['path', 'an absolute path of a file', 'etc/motd'],
    provoke: asked('injectfile', base64('etc/motd,hello')),
  },

  GW_EXCHANGE_REFUSED: {
    says: [],
    config: '[password]\nweak-exchange = false',
    provoke: asked('keyinit', '68436575764933852815830951574296'),
  },

  GW_KEY_MISSING: { says: [], provoke: asked('password', base64('sixteen bytes ok')) },

  GW_PASSWORD_UNDECODABLE: { says: [], provoke: asked('password', 'no base64!') },

  GW_PASSWORD_UNREADABLE: {
    says: ['expected blocks of 16 bytes, got 5 bytes'],
    async provoke(guest) {
      await guest.start();
      await guest.succeeds('keyinit', '68436575764933852815830951574296');
      return guest.request('password', base64('hello'));
    },
  },

  GW_PASSWORD_EMPTY: {
    says: [],
    async provoke(guest) {
      await guest.start();
      return guest.setPassword('', { exchange: 'strong' });
    },
  },

  GW_USER_UNKNOWN: {
    says: ['ghost', '/etc/passwd'],
    provoke: asked('sshkeys', { action: 'list', user: 'ghost' }),
  },

  GW_USER_REFUSED: {
    says: ['nobody'],
    async provoke(guest) {
      await guest.start();
      return guest.setPassword('S3cret', { exchange: 'strong', user: 'nobody' });
    },
  },

  GW_ACCOUNT_LOCKED: {
    says: ['root'],
    config: '[password]\nunlock = "never"',
    files: { 'etc/shadow': 'root:!$6$salt$hash:19700:0:99999:7:::\n' },
    async provoke(guest) {
      await guest.start();
      const told = await guest.setPassword('S3cret', { exchange: 'strong' });
      assert.equal(guest.scratch.read('etc/shadow'), 'root:!$6$salt$hash:19700:0:99999:7:::\n');
      return told;
    },
  },

  GW_PASSWORD_UNSUPPORTED: {
    says: ['root', 'logins read the databases that pwd_mkdb makes, which wants a system that runs'],
    files: { 'etc/shadow': null, 'etc/master.passwd': 'root:$6$salt$hash:0:0::0:0:root:/root:/bin/sh\n' },
    async provoke(guest) {
      await guest.start();
      return guest.setPassword('S3cret', { exchange: 'strong' });
    },
  },

  GW_KEYS_REFUSED: {
    says: ['nobody', 'its home is /'],
    provoke: asked('sshkeys', { action: 'list', user: 'nobody' }),
  },

  ...FILE_ENTRIES,

  GW_NETWORK_EMPTY: {
    says: ['vm-data/networking or vm-data/networks'],
    provoke: asked('resetnetwork'),
  },

  GW_NETWORK_INVALID: {
    says: ['a: Unknown interface MAC 00:aa:bb:cc:dd:ee'],
    published: { [RECORD]: JSON.stringify({ mac: '00:AA:BB:CC:DD:EE', ips: [ADDRESS] }) },
    provoke: asked('resetnetwork'),
  },

  GW_NETWORK_UNSUPPORTED: {
    says: [/netplan \(.*ifupdown \(.*FreeBSD \(.*, a running Linux without any of them/],
    files: WITHOUT_IFUPDOWN,
    published: VM_DATA,
    provoke: asked('resetnetwork'),
  },

  GW_NETWORK_IMPOSSIBLE: {
    says: ['the direct renderer', 'DHCP on eth0'],
    files: { ...WITHOUT_IFUPDOWN, 'proc/sys/kernel/ostype': 'Linux\n' },
    published: { 'vm-data/networks/0/mac': MAC, 'vm-data/networks/0/type': 'dhcp' },
    provoke: asked('resetnetwork'),
  },

  GW_NETWORK_REFUSED: {
    says: ['/bin/bash', /\/etc\/rc\.d\/rc\.inet1\.conf: .*: line \d+: syntax error: unexpected end of file/],
    files: { ...WITHOUT_IFUPDOWN, 'etc/rc.d/rc.inet1': '', 'etc/rc.d/rc.inet1.conf': 'if true; then\n' },
    published: VM_DATA,
    async provoke(guest) {
      await guest.startLive(`chmod 755 /etc/rc.d/rc.inet1; ip link add eth0 address ${MAC} type veth peer name far`);
      return guest.request('resetnetwork');
    },
  },

  GW_NETWORK_BOOT: {
    says: ['only its own addresses on eth0', '198.51.100.9/24 too by /etc/network/interfaces'],
    files: {
      'etc/network/interfaces': 'auto lo\niface lo inet loopback\n    post-up ip addr add 198.51.100.9/24 dev eth0\n',
    },
    published: VM_DATA,
    provoke: asked('resetnetwork'),
  },

  GW_NETWORK_MISMATCH: {
    says: ['2001:db8::1/64 on eth0', 'it marked tentative or as a duplicate'],
    config: '[network]\nverify-timeout = "4s"',
    files: { ...WITHOUT_IFUPDOWN, 'etc/guestwire/network.json': '{"version": 1, "interfaces": []}' },
    published: { [RECORD]: JSON.stringify({ mac: MAC, ip6s: [{ ip: '2001:db8::1', netmask: 64 }] }) },
    async provoke(guest) {
      // The other end of the link has the address already: duplicate address detection finds out.
      await guest.startLive(`
        ip link add eth0 address ${MAC} type veth peer name far
        ip link set far up
        ip address add 2001:db8::1/64 dev far nodad`);
      return guest.request('resetnetwork');
    },
  },

  GW_NETWORK_NOT_BACK: {
    says: [
      'no DHCP client brought 192.0.2.5/24 on eth0 back: it stays for the rest of its lifetime',
      '2001:db8::1/64 on eth0',
      'it marked tentative or as a duplicate',
    ],
    config: '[network]\nverify-timeout = "4s"',
    files: { ...WITHOUT_IFUPDOWN, 'etc/guestwire/network.json': '{"version": 1, "interfaces": []}' },
    published: { [RECORD]: JSON.stringify({ mac: MAC, ip6s: [{ ip: '2001:db8::1', netmask: 64 }] }) },
    async provoke(guest) {
      // A lease whose client is gone: nobody renews it.
      await guest.startLive(`
        ip link add eth0 address ${MAC} type veth peer name far
        ip link set far up
        ip link set eth0 up
        ip address add 192.0.2.5/24 dev eth0 valid_lft 600 preferred_lft 600
        ip address add 2001:db8::1/64 dev far nodad`);
      return guest.request('resetnetwork');
    },
  },

  GW_NETWORK_PARTIAL: {
    says: ['eth0', 'b: Unknown interface MAC 00:aa:bb:cc:dd:ee'],
    published: {
      [RECORD]: JSON.stringify({ mac: MAC, ips: [ADDRESS] }),
      'vm-data/networking/b': JSON.stringify({ mac: '00:AA:BB:CC:DD:EE', ips: [ADDRESS] }),
    },
    provoke: asked('resetnetwork'),
  },

  GW_KMS_UNSUPPORTED: {
    says: ['nothing is run on a copy of a system'],
    provoke: asked('kmsactivate', { activation_key: 'K', profile: 'web1', domains: ['rhn.example.org'] }),
  },

  GW_KMS_FAILED: {
    says: ['RHN', 'rhnreg_ks ended with 3: no such server; files were put back'],
    async provoke(guest) {
      // The real one is Red Hat's, and there is no server for it here.
      await guest.startLive(`
        mount -t tmpfs tmpfs /usr/sbin
        printf '#!/bin/sh\\necho no such server >&2; exit 3\\n' > /usr/sbin/rhnreg_ks; chmod 755 /usr/sbin/rhnreg_ks`);
      return guest.request('kmsactivate', { activation_key: 'K', profile: 'web1', domains: ['rhn.example.org'] });
    },
  },

  ...UPDATE_ENTRIES,

  GW_RUN_FAILED: {
    says: ['restorecon', 'no policy'],
    async provoke(guest) {
      // Without SELinux in the kernel the real restorecon does nothing and succeeds: a program of this name has to fail.
      await guest.startLive(`
        mount -t tmpfs tmpfs /sys/fs; mkdir /sys/fs/selinux; echo 1 > /sys/fs/selinux/enforce
        mount -t tmpfs -o mode=700 tmpfs /root; mount -t tmpfs tmpfs /usr/local/sbin
        printf '#!/bin/sh\\necho no policy >&2; exit 1\\n' > /usr/local/sbin/restorecon
        chmod 755 /usr/local/sbin/restorecon`);
      const keys = ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA0bT6vHcN0HIbEuyD6x0lqyO0vTfcp2FJ7vBPBLsk0v'];
      return guest.request('sshkeys', { action: 'merge', keys });
    },
  },

  GW_PLUGIN_FAILED: {
    says: ['wild', 'it threw TypeError'],
    files: {
      'etc/guestwire/plugins/wild.mjs': pluginText('wild', { wild: "async () => { throw new TypeError('told'); }" }),
    },
    async provoke(guest) {
      await guest.startLive();
      return guest.request('wild');
    },
  },

  GW_PLUGIN_EXIT: {
    says: ['wild', 'process.exit(0)'],
    files: { 'etc/guestwire/plugins/wild.mjs': pluginText('wild', { wild: '() => process.exit(0)' }) },
    async provoke(guest) {
      await guest.startLive();
      return guest.request('wild');
    },
  },

  GW_PLUGIN_REFUSED: {
    says: ['the disk is full', 'WILD_FULL'],
    files: {
      'etc/guestwire/plugins/wild.mjs': pluginText(
        'wild',
        { wild: "() => { throw new PluginError('WILD_FULL', 'the disk is full'); }" },
        '',
        'PluginError',
      ),
    },
    async provoke(guest) {
      await guest.startLive();
      return guest.request('wild');
    },
  },

  GW_SCRIPT_FAILED: {
    says: ['backup', 'exit status 3, wanted 0'],
    files: { 'etc/guestwire/commands/backup': '#!/bin/sh\nexit 3\n' },
    async provoke(guest) {
      await guest.startLive('chmod 755 /etc/guestwire/commands/backup');
      return guest.request('backup');
    },
  },

  GW_STORE_ABSENT: {
    says: [/no XenStore found; looked for \/dev\/xen\/xenbus, .*/],
    provoke: () => askedByStream(''),
  },

  GW_STORE_AWAY: {
    says: ['15 s'],
    provoke: () => askedByStream('[xenstore]\nendpoint = "/nowhere/xenstored"\n'),
  },

  GW_WIRE_ABSENT: {
    says: ['a port org.qemu.guest_agent.0', 'none, and no other stream is configured'],
    async provoke(guest) {
      // No host is told of it: the agent ends.
      const args = ['--wire', 'stream', '--root', guest.scratch.root, '--log-level', 'debug'];
      const { code: status, stdout, stderr } = await runCli(['run', ...args]);
      assert.equal(status, 69, stderr);
      const [, code] = /"wire":"stream",.*"code":"(\w+)".*"msg":"wire not there"/.exec(stdout + stderr) ?? [];
      assert.equal(code, 'GW_WIRE_ABSENT', stdout + stderr);
      const [, message = ''] = /^guestwire: (.*)$/m.exec(stderr) ?? [];
      return { code, returncode: new AgentError(code).returncode, message };
    },
  },

  GW_SYSTEM_UNSUPPORTED: {
    says: ['linux', 'plan9'],
    async provoke() {
      const error = await systemOf('plan9').catch((thrown: unknown) => thrown);
      assert.ok(error instanceof AgentError);
      return error;
    },
  },

  GW_STATE_IN_USE: {
    says: [/\/.*/, /another guestwire, process \d+,/],
    async provoke() {
      // No host is told of it: the agent does not start. A lock excludes its own process as it does others.
      await using scratch = await createScratch();
      await becomeSoleAgent(scratch.directory);
      const error = await becomeSoleAgent(scratch.directory).catch((thrown: unknown) => thrown);
      assert.ok(error instanceof AgentError);
      return error;
    },
  },

  GW_CONFIG_INVALID: {
    says: [/.*\/etc\/guestwire\/guestwire\.toml:2: log\.level: found 'loud', wanted one of .*/],
    config: '[log]\nlevel = "loud"',
    async provoke(guest) {
      // No host is told of it: the agent does not start.
      const error = await loadConfig(await readConfigFiles(guest.scratch.root, null)).catch(
        (thrown: unknown) => thrown,
      );
      assert.ok(error instanceof AgentError);
      return { code: error.code, returncode: error.returncode, message: error.message.replaceAll('"', "'") };
    },
  },

  GW_INTERNAL: {
    says: ['EINVAL'],
    files: { 'etc/passwd': null, 'etc/passwd/file': '' },
    // Nobody foresaw a directory there.
    provoke: asked('sshkeys', { action: 'list' }),
  },
};

/** What a host that has no wire but a stream is told of a network that it cannot have published. */
async function askedByStream(config: string): Promise<Told> {
  await using agent = await StreamAgent.start(['--wire', 'stream'], config);
  using client = await agent.connect();
  const { message } = await client.ask({ name: 'resetnetwork' });
  await agent.logged('"code":"GW_STORE_');
  const [, code = ''] = /"code":"(GW_STORE_\w+)"/.exec(agent.log) ?? [];
  return { code, returncode: new AgentError(code as AgentErrorCode).returncode, message: String(message) };
}
