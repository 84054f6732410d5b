import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { sshKeysCommands } from '../../ts/commands/sshkeys.js';
import { call } from '../support/command-context.js';
import { createScratchHost } from '../support/scratch-host.js';
import { createScratch, type Scratch } from '../support/scratch.js';

const UID = 1234;
const GID = 4321;

/**
 * Runs a shell script with the scratch system's users, homes and ssh settings in the place of this machine's, in mounts
 * of its own.
 */
function inside(scratch: Scratch, script: string): { readonly status: number | null; readonly output: string } {
  const at = (path: string): string => join(scratch.root, path);
  const mounts = [
    'mount -t tmpfs none /run',
    'mkdir -p /run/sshd',
    `mount --bind ${at('home')} /home`,
    `mount --bind ${at('etc/ssh')} /etc/ssh`,
    ...['passwd', 'group', 'shadow', 'nsswitch.conf'].map((name) => `mount --bind ${at(`etc/${name}`)} /etc/${name}`),
  ];
  const result = spawnSync('unshare', ['-m', 'sh', '-ec', [...mounts, script].join('\n')], { encoding: 'utf8' });
  return { status: result.status, output: `${result.stdout}${result.stderr}` };
}

async function system(config: string): Promise<Scratch> {
  const scratch = await createScratch();
  await scratch.write(
    'etc/passwd',
    'root:x:0:0:root:/root:/bin/sh\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n' +
      `alice:x:${UID}:${GID}:Alice:/home/alice:/bin/sh\n`,
  );
  await scratch.write('etc/group', `root:x:0:\nnogroup:x:65534:\nalice:x:${GID}:\n`);
  await scratch.write('etc/shadow', 'root:*:19700::::::\nalice:*:19700::::::\n', 0o600);
  await scratch.write('etc/nsswitch.conf', 'passwd: files\ngroup: files\nshadow: files\n');
  await scratch.write('etc/ssh/sshd_config', `HostKey /etc/ssh/host_key\n${config}`);
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(scratch.root, 'etc/ssh/host_key')]);
  mkdirSync(join(scratch.root, 'home/alice'), { recursive: true });
  chownSync(join(scratch.root, 'home/alice'), UID, GID);
  // mkdtemp's directory is closed, and sshd looks at keys as the user.
  chmodSync(scratch.directory, 0o755);
  return scratch;
}

const newKey = (scratch: Scratch, name: string): string => {
  const path = join(scratch.directory, name);
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', path]);
  return readFileSync(`${path}.pub`, 'utf8').trim();
};

/** Whether sshd lets alice in with the key of this name. */
function letsIn(scratch: Scratch, name: string): boolean {
  const options = [
    'BatchMode=yes',
    'IdentitiesOnly=yes',
    'StrictHostKeyChecking=no',
    'UserKnownHostsFile=/dev/null',
    'ProxyCommand=/usr/sbin/sshd -i',
  ];
  const command = ['-F none', `-i ${join(scratch.directory, name)}`, ...options.map((option) => `-o '${option}'`)];
  const { status, output } = inside(scratch, `ssh ${command.join(' ')} alice@guest 'id -un; echo let in'`);
  if (status === 0 && output.includes('alice\nlet in')) return true;
  if (output.includes('Permission denied (')) return false;
  throw new Error(`ssh ended with ${String(status)}: ${output}`);
}

for (const config of ['', 'AuthorizedKeysFile .keys/%u\n', 'AuthorizedKeysFile /etc/ssh/keys/%u\n']) {
  test(`sshd lets in whoever has a merged key, until it is removed: ${config.trim() || 'its default file'}`, async () => {
    await using scratch = await system(`PasswordAuthentication no\nKbdInteractiveAuthentication no\n${config}`);
    const module = sshKeysCommands(createScratchHost(scratch), { user: 'alice' });
    const [one, two] = [newKey(scratch, 'one'), newKey(scratch, 'two')];
    const send = async (action: string, keys: readonly string[]): Promise<void> => {
      assert.equal((await call(module, 'sshkeys', { action, keys })).returncode, '0');
    };
    assert.ok(!letsIn(scratch, 'one'));
    await send('merge', [one]);
    await send('merge', [two]);
    assert.ok(letsIn(scratch, 'one') && letsIn(scratch, 'two'));
    await send('remove', [one]);
    assert.ok(!letsIn(scratch, 'one') && letsIn(scratch, 'two'));
    await send('replace', [one]);
    assert.ok(letsIn(scratch, 'one') && !letsIn(scratch, 'two'));
  });
}

test('the file is the one that sshd itself says that it reads', async () => {
  const include = 'Include /etc/ssh/sshd_config.d/*.conf\n';
  for (const [main, dropIns] of [
    ['', {}],
    ['# AuthorizedKeysFile .no\nauthorizedkeysfile\t.keys/%u   .ssh/authorized_keys # both\n', {}],
    ['AuthorizedKeysFile="my keys/%u"\n', {}],
    ['AuthorizedKeysFile = %h/100%%\n', {}],
    ['AuthorizedKeysFile .one\nAuthorizedKeysFile .two\n', {}],
    ['Match User bob\nAuthorizedKeysFile .bob\n', {}],
    [`${include}AuthorizedKeysFile .main\n`, { '20.conf': 'AuthorizedKeysFile .20\n', '10.conf': 'Port 22\n' }],
    [`${include}AuthorizedKeysFile .main\n`, { '10.conf': 'Match User bob\nAuthorizedKeysFile .bob\n' }],
    [`${include}AuthorizedKeysFile .main\n`, { '10.conf.bak': 'AuthorizedKeysFile .bak\n' }],
    ['Include sshd_config.d/1?.conf\n', { '10.conf': 'AuthorizedKeysFile .10\n' }],
  ] as const) {
    await using scratch = await system(main);
    for (const [name, text] of Object.entries(dropIns)) await scratch.write(`etc/ssh/sshd_config.d/${name}`, text);
    const { status, output } = inside(scratch, '/usr/sbin/sshd -T -C user=alice,host=h,addr=192.0.2.1');
    assert.equal(status, 0, output);
    const theirs = /^authorizedkeysfile (.*)$/m.exec(output)![1]!;
    const expanded = theirs.replaceAll(/%(.)/g, (_, token: string) => ({ u: 'alice', h: '/home/alice' })[token] ?? '%');
    const key = newKey(scratch, 'key');
    const module = sshKeysCommands(createScratchHost(scratch), { user: 'alice' });
    await call(module, 'sshkeys', { action: 'merge', keys: [key] });
    const found = execFileSync('grep', ['-rlF', key, join(scratch.root, 'home')], { encoding: 'utf8' }).trim();
    const path = found.slice(scratch.root.length);
    const inHome = path.slice('/home/alice/'.length);
    assert.ok(
      [path, inHome].some((name) => expanded === name || expanded.startsWith(`${name} `)),
      `${path}: ${theirs}`,
    );
  }
});
