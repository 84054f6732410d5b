import { createTwoFilesPatch } from 'diff';
import { Secret } from '../api/secret.js';
import { type Answer, Controller, isSuccess } from '../controller/controller.js';
import { fileValue } from '../controller/send-file.js';
import { EmbeddedStore } from '../host/index.js';
import { AgentProcess } from '../host/shared/agent-process.js';
import { ScratchDirectory, type ScratchFile } from '../host/shared/scratch-directory.js';
import { openStore } from '../host/shared/store.js';
import { EXIT, noMore, print, subcommand } from './command-line.js';

const DOMAIN = 7;
const MAC = '00:16:3e:5a:1b:2c';

/** A Debian 12 guest with ifupdown, as far as the commands look at one. */
const SYSTEM: Readonly<Record<string, ScratchFile>> = {
  'etc/os-release': 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n',
  'etc/debian_version': '12.7\n',
  'etc/passwd': 'root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n',
  'etc/shadow': { text: 'root:*:19700:0:99999:7:::\ndaemon:*:19700:0:99999:7:::\n', mode: 0o640 },
  'etc/login.defs': 'ENCRYPT_METHOD YESCRYPT\n',
  'etc/hostname': 'debian\n',
  'etc/hosts': '127.0.0.1\tlocalhost\n127.0.1.1\tdebian\n',
  'etc/resolv.conf': 'nameserver 192.0.2.1\n',
  'etc/network/interfaces':
    "# This file is the administrator's.\nsource /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n\n" +
    'auto eth0\niface eth0 inet dhcp\n',
  'sbin/ifup': { text: '#!/bin/sh\nexit 0\n', mode: 0o755 },
  'sbin/ifdown': { text: '#!/bin/sh\nexit 0\n', mode: 0o755 },
  'sys/class/net/eth0/address': `${MAC}\n`,
  'sys/class/net/eth0/operstate': 'up\n',
  'sys/class/net/eth0/type': '1\n',
  'sys/class/net/lo/address': '00:00:00:00:00:00\n',
  'sys/class/net/lo/type': '772\n',
};

/** What nova's driver puts below `vm-data` (documentation addresses). */
const VM_DATA: Readonly<Record<string, string>> = {
  'vm-data/hostname': 'web1.example.org',
  [`vm-data/networking/${MAC.replaceAll(':', '').toUpperCase()}`]: JSON.stringify({
    label: 'public',
    mac: MAC.toUpperCase(),
    gateway: '203.0.113.1',
    broadcast: '203.0.113.255',
    ips: [{ ip: '203.0.113.10', enabled: '1', netmask: '255.255.255.0', gateway: '203.0.113.1' }],
    gateway_v6: '2001:db8::1',
    ip6s: [{ ip: '2001:db8::10', enabled: '1', netmask: 64, gateway: '2001:db8::1' }],
    dns: ['203.0.113.53'],
  }),
};

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f owner@example.org';
const NOVA_KEYS = `\n# The following ssh key was injected by Nova\n${KEY}\n`;

export const demo = subcommand({
  synopsis: ['demo'],
  description:
    'Starts an embedded XenStore and an agent on a scratch copy of a small Debian system in a temporary directory, ' +
    'sends it every command that works on such a copy, as a host does, shows each request and answer with its time, and then what changed. ' +
    'Needs no root and no Xen, and leaves nothing behind.',
  options: {},
  async main(_values, positionals) {
    noMore(positionals);
    await using scratch = await ScratchDirectory.create();
    const inRoot = Object.entries(SYSTEM).map(([path, file]) => [`root/${path}`, file] as const);
    await scratch.write(Object.fromEntries(inRoot));
    const before = await scratch.snapshot('root');

    const socket = `${scratch.path}/xenstore.sock`;
    using store = new EmbeddedStore(socket);
    store.addDomain(DOMAIN, `${socket}.${DOMAIN}`);
    await publish(socket);
    const correct = await serveAndAsk(socket, `${scratch.path}/root`);

    print('');
    for (const line of differences(before, await scratch.snapshot('root'))) print(line);
    return correct ? EXIT.ok : EXIT.failure;
  },
});

async function publish(socket: string): Promise<void> {
  using toolstack = openStore({ endpoint: socket, domain: DOMAIN, poll: 'loop' }, () => undefined);
  for (const [path, value] of Object.entries(VM_DATA)) await toolstack.write(path, Buffer.from(value));
}

async function serveAndAsk(socket: string, root: string): Promise<boolean> {
  const started = performance.now();
  const args = ['run', '--store', socket, '--domain', String(DOMAIN), '--root', root];
  await using agent = await AgentProcess.start(args, '"msg":"ready"');
  print(`agent ready after ${(performance.now() - started).toFixed(0)} ms`);

  using controller = await Controller.open({ endpoint: socket, domain: DOMAIN });
  let correct = true;
  const show = (name: string, value: string, answer: Answer, wanted = isSuccess(name, answer)): void => {
    correct &&= wanted;
    print('');
    print(`host  -> ${name} ${value}`);
    print(`guest <- ${answer.raw}   ${answer.elapsedMs.toFixed(2)} ms${wanted ? '' : '   WRONG'}`);
  };
  show('version', 'agent', await controller.request('version', 'agent'));
  show('features', '', await controller.request('features', ''));
  using password = new Secret(Buffer.from('correct horse battery staple'));
  const answers = await controller.setPassword(password);
  show('keyinit', '<public key>', answers.keyinit);
  if (answers.password !== null) show('password', '<encrypted>', answers.password);
  const path = '/root/.ssh/authorized_keys';
  const inject = async (name: 'injectfile' | 'file_inject', file: string, content: string): Promise<void> => {
    show(name, file, await controller.request(name, fileValue(name, file, Buffer.from(content))));
  };
  await inject('injectfile', '/etc/motd', 'Welcome.\n');
  await inject('file_inject', path, NOVA_KEYS);
  show('sshkeys', 'list', await controller.request('sshkeys', { action: 'list' }));
  show('resetnetwork', '', await controller.request('resetnetwork', '', { timeoutMs: 60_000 }));
  const unknown = await controller.request('reboot', '');
  show('reboot', '', unknown, unknown.returncode === '404');
  if ((await agent.stop()) !== 0) correct = false;
  return correct;
}

/** A unified diff of every file that changed; the agent's own state and backups are named only. */
function differences(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): string[] {
  const paths = [...new Set([...before.keys(), ...after.keys()])].sort();
  const own = paths.filter((path) => path.startsWith('var/lib/guestwire/'));
  const changed = paths.filter((path) => before.get(path) !== after.get(path) && !own.includes(path));
  return [
    ...changed.flatMap((path) => {
      const from = before.has(path) ? `a/${path}` : '/dev/null';
      const to = after.has(path) ? `b/${path}` : '/dev/null';
      const patch = createTwoFilesPatch(from, to, before.get(path) ?? '', after.get(path) ?? '', undefined, undefined, {
        context: 2,
      });
      return patch.split('\n').filter((line) => line !== '' && !line.startsWith('====='));
    }),
    `${changed.length} files changed; ${own.length} files of backups and journal in /var/lib/guestwire`,
  ];
}
