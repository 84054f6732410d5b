import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, linkSync, mkdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { type CommandModule, type Host, type Reply } from '../../ts/api/index.js';
import { fileCommands, type FileOptions } from '../../ts/commands/file.js';
import { sshKeysCommands } from '../../ts/commands/sshkeys.js';
import { DEFAULTS } from '../../ts/daemon/config.js';
import { call } from '../support/command-context.js';
import { createScratchHost } from '../support/scratch-host.js';
import { createScratch, type Scratch, tree } from '../support/scratch.js';

const UID = 1234;
const GID = 4321;
const PASSWD = [
  'root:x:0:0:root:/root:/bin/sh',
  `alice:x:${UID}:${GID}:Alice:/home/alice/:/bin/sh`,
  'slash:x:3:3::/:/bin/sh',
  'nothing:x:4:4::/nonexistent:/bin/sh',
  'empty:x:5:5:::/bin/sh',
  'gone:x:6:6::/home/gone:/bin/sh',
  'relative:x:7:7::home:/bin/sh',
  '',
].join('\n');

/** An Ed25519 key with `byte` all through it. */
const keyOf = (byte: number, comment = `key ${byte}`): string => {
  const type = Buffer.from('ssh-ed25519');
  const blob = Buffer.concat([Buffer.from([0, 0, 0, 11]), type, Buffer.from([0, 0, 0, 32]), Buffer.alloc(32, byte)]);
  return `ssh-ed25519 ${blob.toString('base64')} ${comment}`;
};
const [A, B, C] = [keyOf(1), keyOf(2), keyOf(3)];

interface Machine extends AsyncDisposable {
  readonly scratch: Scratch;
  readonly host: Host;
  readonly module: CommandModule;
  at(path: string): string;
  read(path: string): string;
  /** A file or, when `content` is null, a directory in a home, with its owner. */
  own(path: string, content: string | null, mode: number, uid?: number): Promise<void>;
  send(value: unknown): Promise<Reply>;
}

async function machine(user = 'root'): Promise<Machine> {
  const scratch = await createScratch();
  await scratch.write('etc/passwd', PASSWD);
  const host = createScratchHost(scratch);
  const module = sshKeysCommands(host, { user });
  const at = (path: string): string => join(scratch.root, path);
  const self: Machine = {
    scratch,
    host,
    module,
    at,
    read: (path) => readFileSync(at(path), 'utf8'),
    async own(path, content, mode, uid = UID) {
      if (content === null) mkdirSync(at(path), { recursive: true });
      else await scratch.write(path, content);
      chownSync(at(path), uid, uid === UID ? GID : uid);
      chmodSync(at(path), mode);
    },
    send: (value) => call(module, 'sshkeys', value),
    [Symbol.asyncDispose]: () => scratch[Symbol.asyncDispose](),
  };
  await self.own('root', null, 0o700, 0);
  await self.own('home/alice', null, 0o755);
  return self;
}

const marks = (path: string): readonly [mode: string, uid: number, gid: number] => {
  const { mode, uid, gid } = statSync(path);
  return [(mode & 0o7777).toString(8), uid, gid];
};
const message = (text: string): Reply => ({ returncode: '0', message: text });

test('a user gets the first key in a directory and a file of his own, which no one else may look into', async () => {
  await using m = await machine();
  const umask = process.umask(0);
  try {
    assert.deepEqual(await m.send({ user: 'alice', action: 'merge', keys: [A] }), message('added 1, there already 0'));
  } finally {
    process.umask(umask);
  }
  assert.deepEqual(marks(m.at('home/alice/.ssh')), ['700', UID, GID]);
  assert.deepEqual(marks(m.at('home/alice/.ssh/authorized_keys')), ['600', UID, GID]);
  assert.deepEqual(marks(m.at('home/alice')), ['755', UID, GID]);
  assert.deepEqual(await tree(m.at('home/alice')), ['.ssh', '.ssh/authorized_keys']);
  assert.equal(m.read('home/alice/.ssh/authorized_keys'), `${A}\n`);
});

test('a file that is there gets the right mode and owner, and its directory is closed', async () => {
  await using m = await machine();
  await m.own('home/alice/.ssh', null, 0o2777);
  await m.own('home/alice/.ssh/authorized_keys', A, 0o666, 0);
  assert.deepEqual(await m.send({ user: 'alice', action: 'merge', keys: [B, A] }), message('added 1, there already 1'));
  assert.deepEqual(marks(m.at('home/alice/.ssh')), ['2700', UID, GID]);
  assert.deepEqual(marks(m.at('home/alice/.ssh/authorized_keys')), ['600', UID, GID]);
  assert.equal(m.read('home/alice/.ssh/authorized_keys'), `${A}\n${B}\n`);
});

test('a file that sshd accepts keeps its mode, and outside of the home its owner', async () => {
  await using m = await machine();
  await m.own('home/alice/.ssh', null, 0o700);
  await m.own('home/alice/.ssh/authorized_keys', `${A}\n`, 0o644);
  await m.send({ user: 'alice', action: 'merge', keys: [B] });
  assert.deepEqual(marks(m.at('home/alice/.ssh/authorized_keys')), ['644', UID, GID]);
  await m.scratch.write('etc/ssh/sshd_config', 'AuthorizedKeysFile /etc/ssh/keys/%u\n');
  await m.own('etc/ssh/keys/alice', `${A}\n`, 0o644, 0);
  await m.send({ user: 'alice', action: 'merge', keys: [B] });
  assert.equal(m.read('etc/ssh/keys/alice'), `${A}\n${B}\n`);
  assert.deepEqual(marks(m.at('etc/ssh/keys/alice')), ['644', 0, 0]);
  // sshd reads it as alice, who cannot.
  chmodSync(m.at('etc/ssh/keys/alice'), 0o600);
  await m.send({ user: 'alice', action: 'merge', keys: [C] });
  assert.deepEqual(marks(m.at('etc/ssh/keys/alice')), ['600', UID, GID]);
});

test('a file that several users share is refused with the reason, by its pattern or by a link', async () => {
  await using m = await machine();
  const text = `${C}\n`;
  const refused = async (config: string, why: string): Promise<void> => {
    await m.scratch.write('etc/ssh/sshd_config', config);
    for (const request of [
      { action: 'merge', keys: [A] },
      { action: 'replace', keys: [A] },
      { action: 'remove', keys: [C] },
    ]) {
      const reply = await m.send({ user: 'alice', ...request });
      assert.deepEqual(reply, { returncode: '500', message: `Refused the ssh keys of alice: ${why}` }, config);
    }
    assert.equal(m.read('etc/ssh/shared'), text);
    assert.deepEqual(marks(m.at('etc/ssh/shared')), ['644', 0, 0]);
  };
  await m.own('etc/ssh/shared', text, 0o644, 0);
  for (const pattern of ['/etc/ssh/shared', '/etc/ssh/%%u/../shared', '/etc/ssh/%u/../shared']) {
    const named = pattern.includes('%%') ? '/etc/ssh/shared' : pattern.replace('%u/../', '');
    await refused(
      `AuthorizedKeysFile ${pattern}\n`,
      `${named} is for all users: its AuthorizedKeysFile has no %u, %U or %h`,
    );
  }
  mkdirSync(m.at('etc/ssh/keys'));
  for (const name of ['alice', 'slash']) symlinkSync('../shared', m.at(`etc/ssh/keys/${name}`));
  await refused('AuthorizedKeysFile /etc/ssh/keys/%u\n', '/etc/ssh/keys/alice leads to the same file as that of slash');
  // The user's own is there besides, and is the one to change.
  await m.scratch.write('etc/ssh/sshd_config', 'AuthorizedKeysFile /etc/ssh/shared .ssh/authorized_keys\n');
  assert.deepEqual(await m.send({ user: 'alice', action: 'merge', keys: [C] }), message('added 1, there already 0'));
  assert.equal(m.read('home/alice/.ssh/authorized_keys'), text);
  assert.deepEqual(
    await m.send({ user: 'alice', action: 'remove', keys: [A, C] }),
    message('removed 1, not there 1; but sshd finds 1 of them in /etc/ssh/shared too'),
  );
  assert.deepEqual(
    await m.send({ user: 'alice', action: 'replace', keys: [A] }),
    message('replaced 0 by 1; but sshd takes 1 more from /etc/ssh/shared'),
  );
  assert.equal(m.read('etc/ssh/shared'), text);
});

test('on a copy a Match that sets where keys are is an error with the reason, wherever it stands', async () => {
  for (const [main, dropIn] of [
    ['Match User alice\n  authorizedkeysfile .alice\n', ''],
    ['Match User bob\nAuthorizedKeysFile /bob/%u\n', ''],
    ['Match all\nAuthorizedKeysFile=.all\n', ''],
    ['Include /etc/ssh/sshd_config.d/*.conf\n', 'Match Group wheel\nAuthorizedKeysFile .wheel\n'],
    ['Match Address 10.0.0.0/8\nInclude sshd_config.d/1[0-9]-*.conf\n', 'AuthorizedKeysFile .ten\n'],
  ] as const) {
    await using m = await machine();
    await m.scratch.write('etc/ssh/sshd_config', main);
    await m.scratch.write('etc/ssh/sshd_config.d/10-keys.conf', dropIn);
    const why =
      'a Match block sets AuthorizedKeysFile, which only a sshd that runs can judge, and this is a copy of a system';
    assert.deepEqual(
      await m.send({ user: 'alice', action: 'merge', keys: [A] }),
      { returncode: '500', message: `Refused the ssh keys of alice: ${why}` },
      main,
    );
    assert.deepEqual(await tree(m.at('home/alice')), []);
  }
});

test('a home that others may change is refused, because sshd would take no key from it', async () => {
  await using m = await machine();
  await m.own('home/alice/.ssh', null, 0o700);
  await m.own('home/alice/.ssh/authorized_keys', `${C}\n`, 0o600);
  chmodSync(m.at('home/alice'), 0o775);
  const why = 'sshd would not take them: /home/alice has mode 775, so others than the user may change it';
  for (const request of [
    { action: 'merge', keys: [A] },
    { action: 'replace', keys: [A] },
  ]) {
    const reply = await m.send({ user: 'alice', ...request });
    assert.deepEqual(reply, { returncode: '500', message: `Refused the ssh keys of alice: ${why}` });
  }
  assert.equal(m.read('home/alice/.ssh/authorized_keys'), `${C}\n`);
  assert.deepEqual(await m.send({ user: 'alice', action: 'remove', keys: [A] }), message('removed 0, not there 1'));
  await m.scratch.write('etc/ssh/sshd_config', 'StrictModes no\n');
  assert.deepEqual(await m.send({ user: 'alice', action: 'merge', keys: [A] }), message('added 1, there already 0'));
});

test('a megabyte of keys is listed in pieces, and what an answer cannot hold is counted', async () => {
  await using m = await machine('alice');
  await m.own('home/alice/.ssh', null, 0o700);
  // The shortest lines that sshd's form allows.
  await m.own('home/alice/.ssh/authorized_keys', 'a AAAAAWE=\n'.repeat(95_000), 0o600);
  let turns = 0;
  const timer = setInterval(() => (turns += 1), 1);
  const reply = await m.send({ action: 'list' });
  clearInterval(timer);
  assert.match(reply.message, /^(SHA256:[A-Za-z0-9+/]{43} a; ){33}94967 more$/);
  assert.ok(turns > 5, `others had ${turns} turns`);
});

test('what keeps a user out of a copy of a system is in the answer', async () => {
  await using m = await machine('alice');
  await m.scratch.write('etc/shadow', 'alice:!:19700:::::18263:\n');
  mkdirSync(m.at('bin'));
  await m.scratch.write('bin/bash', '');
  const expired = 'sshd will refuse: the account is locked, and UsePAM is no, and the account expired on 2020-01-02';
  const shell = "the user's shell /bin/sh does not exist";
  assert.deepEqual(
    await m.send({ action: 'merge', keys: [A] }),
    message(`added 1, there already 0; but ${expired}, and ${shell}`),
  );
  await m.scratch.write('bin/sh', '', 0o755);
  await m.scratch.write('etc/shadow', 'alice:*:19700::::::\n');
  chmodSync(m.at('home'), 0o700);
  const closed = '/home is closed to alice by its mode 700';
  assert.deepEqual(
    await m.send({ action: 'replace', keys: [A] }),
    message(`replaced 1 by 1; but sshd will refuse: ${closed}`),
  );
  chmodSync(m.at('home'), 0o755);
  await m.scratch.write('etc/passwd', PASSWD.replace('/alice/:/bin/sh', '/alice/:/usr/sbin/nologin'));
  assert.deepEqual(
    await m.send({ action: 'merge', keys: [A] }),
    message("added 0, there already 1; but the user's shell /usr/sbin/nologin ends every login"),
  );
});

test('root is let in as PermitRootLogin says, and the answer with it', async () => {
  for (const [config, key, why] of [
    ['PermitRootLogin no\n', A, 'PermitRootLogin is no'],
    ['PermitRootLogin prohibit-password\n', A, null],
    [
      'PermitRootLogin forced-commands-only\n',
      A,
      'the key: PermitRootLogin is forced-commands-only, and it has no command',
    ],
    ['PermitRootLogin forced-commands-only\n', `command="x" ${A}`, null],
    ['PermitRootLogin no\nMatch Address 10.0.0.0/8\nPermitRootLogin yes\n', A, null],
  ] as const) {
    await using m = await machine();
    await m.scratch.write('etc/ssh/sshd_config', config);
    const but = why === null ? '' : `; but sshd will refuse: ${why}`;
    assert.deepEqual(await m.send({ action: 'merge', keys: [key] }), message(`added 1, there already 0${but}`), config);
  }
});

test('a name that JavaScript knows is no type of key', async () => {
  await using m = await machine();
  const blob = Buffer.concat([Buffer.from([0, 0, 0, 11]), Buffer.from('constructor'), Buffer.alloc(40)]);
  assert.deepEqual(await m.send({ action: 'merge', keys: [`constructor ${blob.toString('base64')}`] }), {
    returncode: '500',
    message:
      'Invalid key 1: expected an OpenSSH public key in one line, got a key of type constructor, which is not supported',
  });
});

test('marks are put right even where no key has to be added', async () => {
  await using m = await machine();
  await m.own('home/alice/.ssh', null, 0o755);
  await m.own('home/alice/.ssh/authorized_keys', `${A}\n`, 0o664, 0);
  await m.send({ user: 'alice', action: 'merge', keys: [A] });
  assert.deepEqual(marks(m.at('home/alice/.ssh')), ['700', UID, GID]);
  assert.deepEqual(marks(m.at('home/alice/.ssh/authorized_keys')), ['600', UID, GID]);
});

test('merge, remove, replace and list do what they say, for the configured user when nobody is named', async () => {
  await using m = await machine('alice');
  const file = 'home/alice/.ssh/authorized_keys';
  assert.deepEqual(await m.send({ action: 'list' }), { ...message(''), changed: false });
  assert.deepEqual(await m.send({ action: 'remove', keys: [A] }), message('removed 0, not there 1'));
  assert.deepEqual(await tree(m.at('home/alice')), [], 'nothing is made for nothing');
  await m.own('home/alice/.ssh', null, 0o700);
  await m.own(file, `# mine\nno-pty ${A}\n`, 0o600);
  assert.deepEqual(await m.send({ action: 'merge', keys: [B, B, A] }), message('added 1, there already 1'));
  assert.equal(m.read(file), `# mine\nno-pty ${A}\n${B}\n`);
  assert.deepEqual(await m.send({ action: 'remove', keys: [keyOf(1, 'other'), C] }), message('removed 1, not there 1'));
  assert.equal(m.read(file), `# mine\n${B}\n`);
  assert.deepEqual(await m.send({ action: 'replace', keys: [`restrict ${C}`, A, A] }), message('replaced 1 by 2'));
  assert.equal(m.read(file), `restrict ${C}\n${A}\n`);
  const printed = execFileSync('ssh-keygen', ['-lf', m.at(file)], { encoding: 'utf8' });
  const theirs = [...printed.matchAll(/(SHA256:\S+) (.*) \(/g)].map(
    ([, hash, comment]) => `${hash!} ssh-ed25519 ${comment!}`,
  );
  assert.equal(theirs.length, 2);
  assert.deepEqual(await m.send({ user: null, action: 'list' }), { ...message(theirs.join('; ')), changed: false });
  assert.deepEqual(await m.send({ action: 'replace', keys: [] }), message('replaced 2 by 0'));
  assert.equal(m.read(file), '');
});

test('a list that is too long for an answer ends in the count of what is left out', async () => {
  await using m = await machine();
  await m.own('root/.ssh', null, 0o700, 0);
  const long = 'x'.repeat(200);
  const keys = Array.from({ length: 100 }, (_, byte) => keyOf(byte, byte % 2 === 0 ? long : `a;b "é" ${byte}`));
  await m.own('root/.ssh/authorized_keys', keys.join('\n'), 0o600, 0);
  const reply = await m.send({ action: 'list' });
  const shown = reply.message.split('; ');
  const left = Number(/^(\d+) more$/.exec(shown.pop()!)?.[1]);
  assert.equal(shown.length + left, 100);
  assert.ok(shown.length > 10 && Buffer.byteLength(JSON.stringify(reply)) < 1900, JSON.stringify(reply));
  assert.ok(shown[0]!.endsWith(` ${'x'.repeat(61)}...`));
});

test('the file is where sshd looks for it', async () => {
  const include = 'Include /etc/ssh/sshd_config.d/*.conf\n';
  for (const [main, dropIn, path] of [
    ['AuthorizedKeysFile .keys/%u .ssh/authorized_keys\n', '', 'home/alice/.keys/alice'],
    ['authorizedkeysfile = "%h/my keys"\n', '', 'home/alice/my keys'],
    ['Match User bob\nPasswordAuthentication no\n', '', 'home/alice/.ssh/authorized_keys'],
    ["AuthorizedKeysFile '.my keys/%u' none\n", '', 'home/alice/.my keys/alice'],
    ['AuthorizedKeysFile none .second\n', '', 'home/alice/.second'],
    ['AuthorizedKeysFile /home/alice/.ssh/mine\n', '', 'home/alice/.ssh/mine'],
    ['Include /etc/ssh/*.d/[0-9]?-k*.conf\n', 'AuthorizedKeysFile .glob\n', 'home/alice/.glob'],
    [`${include}AuthorizedKeysFile .late\n`, 'AuthorizedKeysFile .early # first\n', 'home/alice/.early'],
    [`AuthorizedKeysFile .early\n${include}`, 'AuthorizedKeysFile .late\n', 'home/alice/.early'],
    ['AuthorizedKeysFile /etc/ssh/keys/%u-%%\n', '', 'etc/ssh/keys/alice-%'],
  ] as const) {
    await using m = await machine();
    await m.scratch.write('etc/ssh/sshd_config', main);
    await m.scratch.write('etc/ssh/sshd_config.d/10-keys.conf', dropIn);
    assert.deepEqual(
      await m.send({ user: 'alice', action: 'merge', keys: [A] }),
      message('added 1, there already 0'),
      main,
    );
    assert.equal(m.read(path), `${A}\n`);
    assert.deepEqual(marks(m.at(path)), ['600', UID, GID]);
    assert.deepEqual(marks(m.at('home/alice')), ['755', UID, GID]);
    if (path.startsWith('etc/')) assert.deepEqual(marks(dirname(m.at(path))), ['755', 0, 0]);
  }
});

test('keys that sshd would not read are refused', async () => {
  await using m = await machine();
  const refused = async (why: string): Promise<void> => {
    const reply = await m.send({ user: 'alice', action: 'merge', keys: [A] });
    assert.deepEqual(reply, { returncode: '500', message: `Refused the ssh keys of alice: ${why}` });
  };
  await m.scratch.write('etc/ssh/sshd_config', 'AuthorizedKeysFile none\n');
  await refused('sshd reads no file: its AuthorizedKeysFile is none');
  await m.scratch.write('etc/ssh/sshd_config', 'AuthorizedKeysFile /keys/%u\n');
  mkdirSync(m.at('keys'));
  chmodSync(m.at('keys'), 0o777);
  await refused('/keys on the way to /keys/alice can be changed by others than root');
  assert.deepEqual(await tree(m.at('keys')), []);
});

test('a user who is not there or has no home of his own is an error', async () => {
  await using m = await machine();
  for (const [user, text] of [
    ['nobody', "No user 'nobody' in /etc/passwd"],
    ['slash', 'Refused the ssh keys of slash: its home is /'],
    ['nothing', 'Refused the ssh keys of nothing: its home is /nonexistent'],
    ['empty', 'Refused the ssh keys of empty: it has no home'],
    ['gone', 'Refused the ssh keys of gone: the home directory /home/gone does not exist'],
    ['relative', 'Refused the ssh keys of relative: its home is home, wanted an absolute path'],
  ]) {
    for (const request of [{ action: 'list' }, { action: 'merge', keys: [A] }]) {
      assert.deepEqual(await m.send({ user, ...request }), { returncode: '500', message: text });
    }
  }
});

test('links are followed inside the home, and not out of it', async () => {
  await using m = await machine();
  await m.own('home/alice/dotfiles', null, 0o700);
  symlinkSync('dotfiles', m.at('home/alice/.ssh'));
  assert.deepEqual(await m.send({ user: 'alice', action: 'merge', keys: [A] }), message('added 1, there already 0'));
  assert.equal(m.read('home/alice/dotfiles/authorized_keys'), `${A}\n`);

  await m.own('etc/cron.d', null, 0o755, 0);
  await m.own('etc/secret', `${C}\n`, 0o600, 0);
  for (const [link, target, leads] of [
    ['.ssh', '/etc/cron.d', '/etc/cron.d/authorized_keys'],
    ['.ssh', '../../etc/cron.d', '/etc/cron.d/authorized_keys'],
    ['.ssh/authorized_keys', '/etc/secret', '/etc/secret'],
    ['.ssh', '/home/alicex', '/home/alicex/authorized_keys'],
  ] as const) {
    execFileSync('rm', ['-rf', m.at('home/alice'), m.at('home/alicex')]);
    await m.own('home/alice', null, 0o755);
    await m.own('home/alicex', null, 0o777);
    if (link !== '.ssh') await m.own('home/alice/.ssh', null, 0o700);
    symlinkSync(target, m.at(`home/alice/${link}`));
    for (const request of [{ action: 'list' }, { action: 'merge', keys: [A] }, { action: 'replace', keys: [A] }]) {
      assert.deepEqual(await m.send({ user: 'alice', ...request }), {
        returncode: '500',
        message: `Refused the ssh keys of alice: /home/alice/.ssh/authorized_keys: a link leads out of the home /home/alice, to ${leads}`,
      });
    }
    assert.deepEqual(await tree(m.at('etc')), ['cron.d', 'passwd', 'secret']);
    assert.deepEqual(await tree(m.at('home/alicex')), []);
    assert.deepEqual(marks(m.at('etc/cron.d')), ['755', 0, 0]);
  }
  assert.equal(m.read('etc/secret'), `${C}\n`);
});

test("what belongs to somebody else is not shown, taken over or given away, even when it is in the user's home", async () => {
  await using m = await machine();
  const refused = async (why: RegExp): Promise<void> => {
    for (const request of [{ action: 'list' }, { action: 'merge', keys: [A] }]) {
      const { returncode, message: text } = await m.send({ user: 'alice', ...request });
      assert.equal(returncode, '500');
      assert.match(text, why);
    }
  };
  const file = 'home/alice/.ssh/authorized_keys';
  await m.own('home/alice/.ssh', null, 0o700);
  await m.own(file, `${C}\n`, 0o600, 0);
  await refused(/authorized_keys: it belongs to uid 0, wanted 1234$/);
  await m.own(file, `${C}\n`, 0o644, 77);
  await refused(/it belongs to uid 77, wanted 1234$/);
  execFileSync('rm', [m.at(file)]);
  await m.own('etc/other', `${C}\n`, 0o644);
  linkSync(m.at('etc/other'), m.at(file));
  await refused(/it has other names too \(hard links\)$/);
  execFileSync('rm', [m.at(file)]);
  execFileSync('mkfifo', [m.at(file)]);
  await refused(/it is not a regular file$/);
  execFileSync('rm', [m.at(file)]);
  await m.own('home/alice/.ssh', null, 0o700, 0);
  await refused(/\/home\/alice\/.ssh belongs to root and is closed to uid 1234$/);
  await m.own('home/alice/.ssh', null, 0o777, 77);
  await refused(/\/home\/alice\/.ssh belongs to uid 77, wanted 1234$/);
  assert.deepEqual(marks(m.at('home/alice/.ssh')), ['777', 77, 77]);
  assert.equal(m.read('etc/other'), `${C}\n`);
});

test('a request that is not of its form changes nothing and says what was wanted', async () => {
  await using m = await machine();
  for (const [value, text] of [
    ['x', 'Invalid sshkeys value: expected an object with action and keys, got text'],
    [null, 'Invalid sshkeys value: expected an object with action and keys, got null'],
    [[], 'Invalid sshkeys value: expected an object with action and keys, got a list'],
    [{}, 'Invalid action: expected one of merge, remove, replace, list, got nothing'],
    [{ action: 'add' }, 'Invalid action: expected one of merge, remove, replace, list, got add'],
    [{ action: 'merge' }, 'Invalid keys: expected a list of texts, got nothing'],
    [{ action: 'merge', keys: A }, 'Invalid keys: expected a list of texts, got text'],
    [{ action: 'merge', keys: [] }, 'Invalid keys: expected at least one key, got an empty list'],
    [{ action: 'merge', keys: [A, 5] }, 'Invalid key 2: expected text, got a number'],
    [
      { action: 'merge', keys: [A, `${B}\n${C}`] },
      'Invalid key 2: expected an OpenSSH public key in one line, got a line break or another control character in it',
    ],
    [{ action: 'list', user: '../x' }, 'Invalid user: expected a user name, got text that is not a user name'],
    [{ action: 'list', user: 5 }, 'Invalid user: expected a user name, got a number'],
  ] as const) {
    assert.deepEqual(await m.send(value), { returncode: '500', message: text });
  }
  assert.deepEqual(await tree(m.at('root')), []);
});

test('a new file gets the label with which sshd may read it, where there are labels', async () => {
  await using m = await machine();
  await m.scratch.write('sys/fs/selinux/enforce', '1');
  const runs: (readonly string[])[] = [];
  let code = 0;
  const run: Host['processes']['run'] = (argv) => {
    runs.push(argv);
    return Promise.resolve({ code, stdout: '', stderr: 'no policy\n', timedOut: false });
  };
  const module = sshKeysCommands({ ...m.host, live: true, processes: { run } }, { user: 'root' });
  const merge = (key: string): Promise<Reply> => call(module, 'sshkeys', { action: 'merge', keys: [key] });
  assert.equal((await merge(A)).returncode, '0');
  assert.equal((await merge(A)).returncode, '0');
  assert.deepEqual(runs, [['restorecon', '-R', '/root/.ssh']], 'nothing changed the second time');
  code = 1;
  assert.deepEqual(await merge(B), { returncode: '500', message: 'restorecon failed: no policy' });
});

const NOVA = (key: string): string => `\n# The following ssh key was injected by Nova\n${key}\n`;

for (const policy of ['replace', 'merge', undefined] as const) {
  test(`nova's file of keys goes by the policy: ${policy ?? 'the default'}`, async () => {
    await using m = await machine();
    const options: FileOptions = {
      rules: { allow: DEFAULTS.files.allow, deny: DEFAULTS.files.deny, own: [] },
      mode: 0o644,
      maxSize: 100_000,
      uploads: 1,
      uploadLifetimeMs: 1000,
      ...(policy === undefined ? {} : { authorizedKeys: policy }),
    };
    const files = fileCommands(m.host, options);
    const inject = (path: string, content: string): Promise<Reply> =>
      call(files, 'injectfile', Buffer.from(`${path},${content}`).toString('base64'));
    for (const [home, user, uid, gid] of [
      ['root', 'root', 0, 0],
      ['home/alice', 'alice', UID, GID],
    ] as const) {
      const path = `${home}/.ssh/authorized_keys`;
      await m.send({ user, action: 'merge', keys: [A] });
      assert.deepEqual(await inject(`/${path}`, NOVA(B)), message(''));
      assert.equal(m.read(path), policy === 'merge' ? `${A}\n${B}\n` : NOVA(B));
      assert.deepEqual(marks(m.at(path)), ['600', uid, gid]);
      assert.deepEqual(marks(m.at(`${home}/.ssh`)), ['700', uid, gid]);
    }
    if (policy === 'merge') {
      const reply = await inject('/root/.ssh/authorized_keys', '\nrubbish\n');
      const wanted =
        'Invalid line 2 of the keys: expected an OpenSSH public key in one line, got no type that is known';
      assert.deepEqual(reply, { returncode: '500', message: wanted });
    }
    execFileSync('rm', ['-r', m.at('home/alice/.ssh')]);
    mkdirSync(m.at('etc/cron.d'));
    symlinkSync('/etc/cron.d', m.at('home/alice/.ssh'));
    assert.equal((await inject('/home/alice/.ssh/authorized_keys', NOVA(C))).returncode, '500');
    assert.deepEqual(await tree(m.at('etc/cron.d')), []);
  });
}
