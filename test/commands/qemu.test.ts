import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { CommandModule, Host, Reply, ReportedOs } from '../../ts/api/index.js';
import type { FileOptions } from '../../ts/commands/file.js';
import { qemuCommands } from '../../ts/commands/qemu/index.js';
import { osInfo } from '../../ts/commands/qemu/os-info.js';
import { reportsOf } from '../../ts/daemon/deferred-reports.js';
import { readOsRelease } from '../../ts/report/os-release.js';
import { call } from '../support/command-context.js';
import { createAccounts } from '../../ts/host/unix/accounts.js';
import { createScratchHost } from '../support/scratch-host.js';
import { createScratch, type Scratch } from '../support/scratch.js';

const MAX_SIZE = 1000;
const FILES: FileOptions = {
  rules: { allow: ['/'], deny: ['/denied'], own: ['/etc/guestwire'] },
  mode: 0o640,
  maxSize: MAX_SIZE,
  uploads: 1,
  uploadLifetimeMs: 1000,
};

interface Machine extends AsyncDisposable {
  readonly scratch: Scratch;
  readonly module: CommandModule;
  at(path: string): string;
  /** What a command answers, without the frame. */
  run(name: string, args?: object): Promise<unknown>;
  open(path: string, mode?: string): Promise<unknown>;
  write(handle: unknown, text: string, count?: number): Promise<unknown>;
  /** What is read, as text, with `eof`. */
  read(handle: unknown, count?: number): Promise<[text: string, eof: boolean]>;
}

async function machine(options: { host?: Partial<Host>; now?: () => number; users?: string[] } = {}): Promise<Machine> {
  const scratch = await createScratch();
  await scratch.write('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n');
  await scratch.write('etc/shadow', 'root:*:19700:0:99999:7:::\nalice:!$6$x$y:19700:0:99999:7:::\n', 0o640);
  const given = { ...createScratchHost(scratch), ...options.host };
  const host = { ...given, accounts: createAccounts(given, given.accounts) };
  const files = options.now === undefined ? FILES : { ...FILES, now: options.now };
  const password = { user: 'root', users: options.users ?? [], unlock: 'always' } as const;
  const module = qemuCommands(host, reportsOf({ host }), { password, files }, () => [
    { name: 'guest-ping', allowed: true },
    { name: 'guest-shutdown', allowed: false },
  ]);
  const run = async (name: string, args: object = {}): Promise<unknown> => {
    const reply: Reply = await call(module, name, args);
    if (reply.returncode !== '0') throw new Error(reply.message);
    return reply.data;
  };
  const b64 = (text: string): string => Buffer.from(text).toString('base64');
  return {
    scratch,
    module,
    at: (path) => join(scratch.root, path),
    run,
    open: (path, mode) => run('guest-file-open', mode === undefined ? { path } : { path, mode }),
    write: (handle, text, count) =>
      run('guest-file-write', { handle, 'buf-b64': b64(text), ...(count === undefined ? {} : { count }) }),
    async read(handle, count) {
      const answer = (await run('guest-file-read', count === undefined ? { handle } : { handle, count })) as {
        count: number;
        'buf-b64': string;
        eof: boolean;
      };
      const bytes = Buffer.from(answer['buf-b64'], 'base64');
      assert.equal(bytes.length, answer.count);
      return [bytes.toString('latin1'), answer.eof];
    },
    [Symbol.asyncDispose]: () => scratch[Symbol.asyncDispose](),
  };
}

const ARGUMENTS: readonly (readonly [name: string, args: object, why: RegExp])[] = [
  ['guest-sync', {}, /Invalid id: expected a whole number of 64 bits, got nothing/],
  ['guest-sync', { id: '1' }, /got text/],
  ['guest-sync', { id: 2n ** 63n }, /got a bigint/],
  ['guest-sync', { id: 1, foo: 2 }, /Invalid arguments: expected id, got foo/],
  ['guest-ping', { 'a"\\\n': 1 }, /Invalid arguments: expected none, got a\?\?\?$/],
  ['guest-file-open', { path: 5 }, /Invalid path: expected text, got a number/],
  ['guest-file-open', { path: 'etc/passwd' }, /absolute path/],
  ['guest-file-open', { path: '/etc/passwd', mode: 'x' }, /Invalid mode/],
  ['guest-set-user-password', { username: 'root', password: 'YQ==' }, /Invalid crypted: expected true or false/],
  ['guest-set-user-password', { username: 'root', password: '!', crypted: false }, /expected base64/],
  ['guest-set-user-password', { username: 'root', password: '', crypted: false }, /empty/],
  ['guest-set-user-password', { username: 'root', password: 'YWJj', crypted: true }, /a hash of crypt/],
  ['guest-set-user-password', { username: 'alice', password: 'YWJj', crypted: false }, /'alice' is not among those/],
  ['guest-ssh-add-authorized-keys', { username: 'root', keys: 'x' }, /a list of texts/],
  ['guest-ssh-add-authorized-keys', { username: 'root', keys: ['x'] }, /Invalid key 1/],
  ['guest-shutdown', { mode: 'sleep' }, /Invalid mode: expected powerdown, halt, reboot/],
  ['guest-shutdown', {}, /a copy of a system/],
];

for (const [name, args, why] of ARGUMENTS) {
  test(`${name} with ${JSON.stringify(args, (_, v: unknown) => (typeof v === 'bigint' ? `${v}` : v))} is refused`, async () => {
    await using self = await machine();
    const before = readFileSync(self.at('etc/shadow'), 'utf8');
    await assert.rejects(self.run(name, args), why);
    assert.equal(readFileSync(self.at('etc/shadow'), 'utf8'), before);
  });
}

test('an id of 64 bits comes back as it is', async () => {
  await using self = await machine();
  assert.equal(await self.run('guest-sync', { id: 2n ** 63n - 1n }), 2n ** 63n - 1n);
  assert.equal(await self.run('guest-sync-delimited', { id: -5 }), -5);
});

test('a file is there once it is closed, whole and with the mode of the configuration', async () => {
  await using self = await machine();
  const handle = await self.open('/etc/new', 'w');
  assert.deepEqual(await self.write(handle, 'hello, '), { count: 7, eof: false });
  assert.deepEqual(await self.write(handle, 'world and more', 5), { count: 5, eof: false });
  assert.equal(existsSync(self.at('etc/new')), false);
  assert.deepEqual(await self.run('guest-file-close', { handle }), {});
  assert.equal(readFileSync(self.at('etc/new'), 'utf8'), 'hello, world');
  assert.equal(statSync(self.at('etc/new')).mode & 0o777, 0o640);
  await assert.rejects(self.run('guest-file-close', { handle }), /expected one that guest-file-open gave/);
});

/** As fopen(3): mode, what is written, what is in the file afterwards; null for one that was not there. */
const MODES: readonly (readonly [mode: string, before: string | null, written: string, after: string])[] = [
  ['w', 'old text', 'new', 'new'],
  ['w', 'old text', '', ''],
  ['wb+', null, 'new', 'new'],
  ['a', 'old', ' and new', 'old and new'],
  ['a', null, '', ''],
  ['a+b', null, 'new', 'new'],
  ['r+', 'old text', 'new', 'new text'],
  ['r+b', 'old', '', 'old'],
];

for (const [mode, before, written, after] of MODES) {
  test(`mode ${mode} of ${before === null ? 'no file' : `a file of ${before.length}`} and ${written.length} bytes ends as with fopen`, async () => {
    await using self = await machine();
    if (before !== null) await self.scratch.write('f', before);
    const handle = await self.open('/f', mode);
    if (written !== '') await self.write(handle, written);
    await self.run('guest-file-close', { handle });
    assert.equal(readFileSync(self.at('f'), 'utf8'), after);
  });
}

test('a file is read piece by piece, and its end is told when a piece falls short', async () => {
  await using self = await machine();
  await self.scratch.write('f', 'x'.repeat(5000));
  const handle = await self.open('/f');
  assert.deepEqual(await self.read(handle), ['x'.repeat(4096), false]);
  assert.deepEqual(await self.read(handle, 904), ['x'.repeat(904), false]);
  assert.deepEqual(await self.read(handle, 1), ['', true]);
  await assert.rejects(self.read(handle, -1), /Invalid count/);
  await assert.rejects(self.read(handle, 48 * 1024 * 1024 + 1), /Invalid count: expected 0 to 50331648/);
  await assert.rejects(self.write(handle, 'a'), /opened for writing/);
});

test('what was written can be read on the same handle, from where it stands', async () => {
  await using self = await machine();
  await self.scratch.write('f', 'old text');
  const handle = await self.open('/f', 'r+');
  assert.deepEqual(await self.read(handle, 4), ['old ', false]);
  await self.write(handle, 'TE');
  assert.deepEqual(await self.read(handle, 10), ['xt', true]);
});

const FORBIDDEN: readonly (readonly [path: string, mode: string, why: RegExp])[] = [
  ['/denied/f', 'r', /files\.deny has \/denied/],
  ['/denied/f', 'w', /files\.deny has \/denied/],
  ['/link', 'r', /it leads to \/denied\/f/],
  ['/link', 'w', /it leads to \/denied\/f/],
  ['/etc/guestwire/guestwire.toml', 'r', /belongs to the agent/],
  ['/etc/guestwire/guestwire.toml', 'w', /belongs to the agent/],
  ['/proc/kcore', 'r', /belongs to the kernel/],
  ['/etc', 'r', /it is a directory/],
  ['/etc', 'w', /it is a directory/],
  ['/nothing', 'r', /there is no such file/],
  ['/nothing', 'r+', /there is no such file/],
  ['/large', 'r+', /more than files\.max-size/],
];

for (const [path, mode, why] of FORBIDDEN) {
  test(`${path} is not opened with mode ${mode}`, async () => {
    await using self = await machine();
    await self.scratch.write('denied/f', 'secret');
    await self.scratch.write('etc/guestwire/guestwire.toml', '');
    await self.scratch.write('large', 'x'.repeat(MAX_SIZE + 1));
    symlinkSync('/denied/f', self.at('link'));
    await assert.rejects(self.open(path, mode), why);
  });
}

test('a file that grows beyond the limit is refused, and what was there stays', async () => {
  await using self = await machine();
  await self.scratch.write('f', 'old');
  const handle = await self.open('/f', 'a');
  await self.write(handle, 'x'.repeat(MAX_SIZE - 3));
  await assert.rejects(self.write(handle, 'x'), /it would have 1001 bytes, files\.max-size is 1000/);
  assert.equal(readFileSync(self.at('f'), 'utf8'), 'old');
});

test('a link that is swapped after the file was opened leads nowhere else', async () => {
  await using self = await machine();
  await self.scratch.write('denied/f', 'stays');
  const handle = await self.open('/dir-or-link', 'w');
  await self.write(handle, 'x');
  symlinkSync('/denied/f', self.at('dir-or-link'));
  await assert.rejects(self.run('guest-file-close', { handle }), /files\.deny/);
  assert.equal(readFileSync(self.at('denied/f'), 'utf8'), 'stays');
});

test('eight files can be open; those that nobody used for ten minutes make room', async () => {
  let now = 1_000_000;
  await using self = await machine({ now: () => now });
  writeFileSync(self.at('f'), 'text');
  const handles = [];
  for (let count = 0; count < 8; count += 1) handles.push(await self.open('/f'));
  assert.equal(new Set(handles).size, 8);
  await assert.rejects(self.open('/f'), /expected fewer than 8 open, got 8/);
  now += 599_000;
  assert.deepEqual(await self.read(handles[0], 4), ['text', false]);
  now += 2000;
  await self.open('/f');
  assert.deepEqual(await self.read(handles[0], 4), ['', true]);
  await assert.rejects(self.read(handles[1]), /expected one that guest-file-open gave/);
});

test('a hash of the host becomes the hash of the account, and a password is hashed', async () => {
  await using self = await machine({ users: ['alice'] });
  const set = (username: string, password: string, crypted: boolean): Promise<unknown> =>
    self.run('guest-set-user-password', { username, password: Buffer.from(password).toString('base64'), crypted });
  assert.deepEqual(await set('alice', `$6$salt$${'h'.repeat(86)}`, true), {});
  assert.match(readFileSync(self.at('etc/shadow'), 'utf8'), /^alice:\$6\$salt\$h{86}:\d+:/m);
  assert.deepEqual(await set('root', 'secret', false), {});
  assert.match(readFileSync(self.at('etc/shadow'), 'utf8'), /^root:\$(6|y)\$/m);
  for (const text of ['$6$a:b$c', '$6$short', '$zz$aa$Text']) {
    await assert.rejects(set('root', text, true), /a hash of crypt/);
  }
});

test("a password in the base64 of Proxmox VE's, with a line feed in and behind it, is set whole", async () => {
  await using self = await machine();
  const hash = `$6$salt$${'h'.repeat(86)}`;
  const base64 = Buffer.from(hash)
    .toString('base64')
    .replaceAll(/.{1,76}/g, '$&\n');
  assert.equal(base64.split('\n').length, 3);
  await self.run('guest-set-user-password', { username: 'root', password: base64, crypted: true });
  assert.ok(readFileSync(self.at('etc/shadow'), 'utf8').startsWith(`root:${hash}:`));
  // What QEMU's own agent would take for less than was meant.
  for (const text of ['YWI', 'YWJjZ', 'YQ=', 'Y===', '=YWJ', 'YQ==Y===']) {
    await assert.rejects(
      self.run('guest-set-user-password', { username: 'root', password: text, crypted: true }),
      /Invalid password: expected base64, got other characters/,
      text,
    );
  }
});

test('empty lines among the keys, as libvirt sends them, are passed over', async () => {
  await using self = await machine();
  mkdirSync(self.at('root'));
  const parts = [
    Buffer.from([0, 0, 0, 11]),
    Buffer.from('ssh-ed25519'),
    Buffer.from([0, 0, 0, 32]),
    Buffer.alloc(32, 7),
  ];
  const key = `ssh-ed25519 ${Buffer.concat(parts).toString('base64')} one`;
  const keys = [key, '', '# comment', ' '];
  await self.run('guest-ssh-add-authorized-keys', { username: 'root', keys });
  assert.equal(readFileSync(self.at('root/.ssh/authorized_keys'), 'utf8'), `${key}\n`);
  assert.deepEqual(await self.run('guest-ssh-get-authorized-keys', { username: 'root' }), { keys: [key] });
  await self.run('guest-ssh-add-authorized-keys', { username: 'root', keys: [''], reset: true });
  assert.deepEqual(await self.run('guest-ssh-get-authorized-keys', { username: 'root' }), { keys: [] });
});

test('guest-info tells what the configuration allows, and which command is not answered', async () => {
  await using self = await machine();
  assert.deepEqual(await self.run('guest-info'), {
    version: '0.1.0',
    supported_commands: [
      { name: 'guest-ping', enabled: true, 'success-response': true },
      { name: 'guest-shutdown', enabled: false, 'success-response': false },
    ],
  });
});

test('a shutdown runs the first program that there is, and tells its failure', async () => {
  const asked: string[] = [];
  const programs = (codes: Readonly<Record<string, number>>): Partial<Host> => ({
    live: true,
    processes: {
      run: ([program, ...args]) => {
        asked.push([program, ...args].join(' '));
        return Promise.resolve({ code: codes[program] ?? 127, stdout: '', stderr: 'told', timedOut: false });
      },
    },
  });
  await using systemd = await machine({ host: programs({ shutdown: 0 }) });
  const reply = await call(systemd.module, 'guest-shutdown', {});
  assert.equal(reply.silent, true);
  await using minimal = await machine({ host: programs({ reboot: 0 }) });
  await minimal.run('guest-shutdown', { mode: 'reboot' });
  await using failing = await machine({ host: programs({ shutdown: 1, halt: 0 }) });
  await assert.rejects(failing.run('guest-shutdown', { mode: 'halt' }), /shutdown failed: told/);
  assert.deepEqual(asked, ['shutdown -P +0', 'shutdown -r +0', 'reboot', 'shutdown -H +0']);
});

test('os-release is read as a shell reads it', () => {
  const kernel = { release: '6.1', version: '#1', machine: 'x86_64' };
  const text = `# comment\nID=debian\nNAME="A \\"B\\" \\$C"\nPRETTY_NAME='It is'\nVERSION_ID="12"\nUNKNOWN=x\nbroken line\n`;
  const os = (release: string | null): ReportedOs => ({ ...readOsRelease(release), hostname: null, kernel });
  assert.deepEqual(osInfo(os(text)), {
    id: 'debian',
    name: 'A "B" $C',
    'pretty-name': 'It is',
    'version-id': '12',
    'kernel-release': '6.1',
    'kernel-version': '#1',
    machine: 'x86_64',
  });
  assert.deepEqual(Object.keys(osInfo(os(null))), ['kernel-release', 'kernel-version', 'machine']);
});

test('a file without rights for others is read all the same: the agent is root', async () => {
  await using self = await machine();
  await self.scratch.write('f', 'text');
  chmodSync(self.at('f'), 0);
  assert.deepEqual(await self.read(await self.open('/f'), 10), ['text', true]);
});
