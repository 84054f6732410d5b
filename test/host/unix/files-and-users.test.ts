/** What users of the system have prepared: links, directories, files. Whoever races is in races.test.ts. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmod,
  chown,
  lchown,
  link,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { mock, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FilePlace } from '#binding';
import { type FileChange, type Files } from '../../../ts/api/index.js';
import { createFiles, recoverFiles } from '../../../ts/host/unix/files.js';
import { createScratch, type Scratch, tree } from '../../support/scratch.js';

type Write = Extract<FileChange, { type: 'write' }>;

const ALICE = 1234;
/** Alice's primary group, of passwd(5). */
const USERS = 4321;
const BOB = 1235;

const write = (path: string, content = 'of the host', more: Partial<Omit<Write, 'type'>> = {}): Write => ({
  type: 'write',
  path,
  content,
  mode: 0o600,
  ...more,
});

interface System extends AsyncDisposable {
  readonly scratch: Scratch;
  readonly files: Files;
  readonly home: string;
  at(path: string): string;
  /** Makes a file whose owner is `uid`. */
  put(path: string, uid: number, mode?: number, content?: string): Promise<string>;
  directory(path: string, uid: number, mode?: number): Promise<string>;
  /** Owner, group and mode. */
  marks(path: string): Promise<readonly [uid: number, gid: number, mode: number]>;
  commit(...changes: readonly FileChange[]): Promise<void>;
  refuses(change: FileChange, message: RegExp): Promise<void>;
}

async function createSystem(): Promise<System> {
  const scratch = await createScratch();
  const at = (path: string): string => join(scratch.root, path);
  const files = createFiles(scratch.root, scratch.state);
  const home = at('home/alice');
  await scratch.write('etc/passwd', `root:x:0:0::/root:/bin/sh\nalice:x:${ALICE}:${USERS}::/home/alice:/bin/sh\n`);
  await scratch.write('etc/shadow', 'secret', 0o600);
  await mkdir(home, { recursive: true });
  await chown(home, ALICE, USERS);
  await mkdir(at('tmp'));
  await chmod(at('tmp'), 0o1777);
  const commit = async (...changes: readonly FileChange[]): Promise<void> => (await files.commit(changes)).confirm();
  return {
    ...{ scratch, files, home, at, commit },
    async put(path, uid, mode = 0o644, content = 'old') {
      const real = await scratch.write(path, content);
      await chown(real, uid, uid === ALICE ? USERS : uid);
      await chmod(real, mode);
      return real;
    },
    async directory(path, uid, mode = 0o755) {
      await mkdir(at(path), { recursive: true });
      await chown(at(path), uid, uid === ALICE ? USERS : uid);
      await chmod(at(path), mode);
      return at(path);
    },
    async marks(path) {
      const { uid, gid, mode } = await lstat(at(path));
      return [uid, gid, mode & 0o7777];
    },
    async refuses(change, message) {
      await assert.rejects(files.commit([change]), { code: /^GW_FILE_(REFUSED|FAILED)$/, message });
    },
    [Symbol.asyncDispose]: () => scratch[Symbol.asyncDispose](),
  };
}

suite('what is made below a home', () => {
  test('is the home’s user’s, directories too', async () => {
    await using system = await createSystem();
    await system.commit(
      write('/home/alice/.ssh/config', 'Host x', { directoryMode: 0o700 }),
      write('/home/alice/a/b/c'),
    );
    assert.deepEqual(await system.marks('home/alice/.ssh'), [ALICE, USERS, 0o700]);
    assert.deepEqual(await system.marks('home/alice/.ssh/config'), [ALICE, USERS, 0o600]);
    for (const path of ['a', 'a/b']) assert.deepEqual(await system.marks(`home/alice/${path}`), [ALICE, USERS, 0o755]);
    assert.deepEqual(await system.marks('home/alice/a/b/c'), [ALICE, USERS, 0o600]);
  });

  test('has the directory’s group where passwd does not know the user', async () => {
    await using system = await createSystem();
    await system.directory('srv/data', BOB);
    await chown(system.at('srv/data'), BOB, 77);
    await system.commit(write('/srv/data/d/f'));
    assert.deepEqual(await system.marks('srv/data/d'), [BOB, 77, 0o755]);
    assert.deepEqual(await system.marks('srv/data/d/f'), [BOB, 77, 0o600]);
  });

  test('and stood there before keeps owner, group and mode', async () => {
    await using system = await createSystem();
    await system.put('home/alice/his', ALICE, 0o4750);
    await system.put('home/alice/roots', 0, 0o644);
    await system.put('home/alice/teams', ALICE, 0o660);
    await chown(system.at('home/alice/teams'), ALICE, 99);
    await system.commit(...['his', 'roots', 'teams'].map((name) => write(`/home/alice/${name}`)));
    assert.deepEqual(await system.marks('home/alice/his'), [ALICE, USERS, 0o4750]);
    assert.deepEqual(await system.marks('home/alice/roots'), [0, 0, 0o644]);
    assert.deepEqual(await system.marks('home/alice/teams'), [ALICE, 99, 0o660]);
    assert.equal(await readFile(system.at('home/alice/roots'), 'utf8'), 'of the host');
  });

  test('is refused over what another user or root alone could have meant', async () => {
    await using system = await createSystem();
    await system.put('home/alice/bobs', BOB);
    await system.put('home/alice/secret', 0, 0o600, 'secret');
    await system.put('home/alice/suid', 0, 0o4755);
    await system.put('home/alice/sgid', ALICE, 0o2755);
    await chown(system.at('home/alice/sgid'), ALICE, 42);
    await chmod(system.at('home/alice/sgid'), 0o2755);
    await link(await system.put('var/roots', 0), system.at('home/alice/linked'));
    for (const [name, why] of [
      ['bobs', /belongs to uid 1235/],
      ['secret', /belongs to uid 0 and has mode 0600/],
      ['suid', /mode 4755/],
      ['sgid', /mode 2755/],
      ['linked', /hard links/],
    ] as const) {
      const before = await lstat(system.at(`home/alice/${name}`));
      await system.refuses(write(`/home/alice/${name}`), why);
      const after = await lstat(system.at(`home/alice/${name}`));
      assert.deepEqual([after.ino, after.mode, after.uid], [before.ino, before.mode, before.uid]);
    }
    await system.put('home/alice/roots', 0, 0o644);
    await system.refuses(write('/home/alice/roots', 'new', { exactMode: true }), /closed to uid 1234/);
  });

  test('does not go through a directory that is not his', async () => {
    await using system = await createSystem();
    await system.directory('home/alice/roots', 0);
    await system.directory('home/alice/bobs', BOB, 0o777);
    await system.refuses(write('/home/alice/roots/f'), /\/home\/alice\/roots belongs to uid 0, wanted 1234/);
    await system.refuses(write('/home/alice/bobs/f'), /\/home\/alice\/bobs belongs to uid 1235, wanted 1234/);
  });

  test('is what he may do himself: no more where his directory is closed to himself', async () => {
    await using system = await createSystem();
    await system.directory('home/alice/closed', ALICE, 0o500);
    await system.refuses(write('/home/alice/closed/f'), /permission denied/);
    assert.deepEqual(await readdir(system.at('home/alice/closed')), []);
  });

  test('loses no capability of a file unnoticed', async () => {
    await using system = await createSystem();
    const path = await system.put('home/alice/tool', ALICE, 0o755);
    // cap_net_raw+ep, as capabilities(7) lays it out.
    const value =
      'import os, sys; os.setxattr(sys.argv[1], "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))';
    execFileSync('python3', ['-c', value, path]);
    await system.refuses(write('/home/alice/tool'), /capabilities/);
  });
});

suite('a link', () => {
  test('that a user planted does not lead to what is root’s', async () => {
    await using system = await createSystem();
    await symlink('/etc/shadow', system.at('home/alice/.bashrc'));
    await symlink('/etc', system.at('home/alice/config'));
    await symlink('../../../etc', system.at('home/alice/up'));
    for (const name of ['.bashrc', 'config', 'up']) await lchown(system.at(`home/alice/${name}`), ALICE, USERS);
    for (const path of ['/home/alice/.bashrc', '/home/alice/config/new', '/home/alice/up/new']) {
      await system.refuses(write(path), /a link of uid 1234 leads to \/etc/);
      await assert.rejects(system.files.read(path.replace('new', 'shadow')), /a link of uid 1234 leads to/);
    }
    assert.deepEqual(await tree(system.at('etc')), ['passwd', 'shadow']);
    assert.equal(await readFile(system.at('etc/shadow'), 'utf8'), 'secret');
  });

  test('in a directory that all may write counts only when it is root’s, whatever the kernel protects', async () => {
    await using system = await createSystem();
    await system.put('var/log/report', 0);
    for (const name of ['alices', 'roots-link']) await symlink('/var/log/report', system.at(`tmp/${name}`));
    await lchown(system.at('tmp/alices'), ALICE, ALICE);
    await system.refuses(write('/tmp/alices'), /the link \/tmp\/alices belongs to uid 1234.*wanted root's/);
    await system.commit(write('/tmp/roots-link'));
    assert.equal(await readFile(system.at('var/log/report'), 'utf8'), 'of the host');
    assert.equal(await readlink(system.at('tmp/roots-link')), '/var/log/report');
  });

  test('of root’s that a user moved from a directory of his to one that all may write does not count', async () => {
    await using system = await createSystem();
    await symlink('/etc/shadow', system.at('home/alice/link'));
    // The clock of the file system is a coarse one.
    await sleep(100);
    // With his rights, as rename(2) keeps the owner.
    const move = ['--reuid', String(ALICE), '--clear-groups', 'mv', 'home/alice/link', 'tmp/report.conf'];
    await chmod(system.scratch.directory, 0o755);
    execFileSync('setpriv', move, { cwd: system.scratch.root });
    assert.equal((await lstat(system.at('tmp/report.conf'))).uid, 0);
    await system.refuses(write('/tmp/report.conf'), /may have been moved there/);
    assert.equal(await readFile(system.at('etc/shadow'), 'utf8'), 'secret');
  });

  test('of a user’s leads to what is his, and root’s link into his home too', async () => {
    await using system = await createSystem();
    await system.directory('home/alice/dotfiles', ALICE);
    await system.put('home/alice/dotfiles/profile', ALICE);
    await symlink('dotfiles/profile', system.at('home/alice/.profile'));
    await lchown(system.at('home/alice/.profile'), ALICE, USERS);
    await symlink('/home/alice/dotfiles', system.at('srv'));
    await system.commit(write('/home/alice/.profile', 'one'));
    assert.equal(await readFile(system.at('home/alice/dotfiles/profile'), 'utf8'), 'one');
    await system.commit(write('/srv/profile', 'two'));
    assert.equal(await readFile(system.at('home/alice/dotfiles/profile'), 'utf8'), 'two');
    assert.deepEqual(await system.marks('home/alice/dotfiles/profile'), [ALICE, USERS, 0o644]);
  });

  test('of a user’s in root’s directory leads to what is his alone', async () => {
    await using system = await createSystem();
    await symlink('/home/alice/f', system.at('etc/his'));
    await symlink('/etc/shadow', system.at('etc/trap'));
    await symlink('/home/alice/etc', system.at('etc/round'));
    for (const name of ['his', 'trap', 'round']) await lchown(system.at(`etc/${name}`), ALICE, USERS);
    await system.put('home/alice/f', ALICE);
    await symlink('/etc', system.at('home/alice/etc'));
    await system.commit(write('/etc/his'));
    assert.equal(await readFile(system.at('home/alice/f'), 'utf8'), 'of the host');
    await system.refuses(write('/etc/trap'), /a link of uid 1234 leads to \/etc\/shadow/);
    await system.refuses(write('/etc/round/new'), /a link of uid 1234 leads to \/etc\/new/);
  });

  test('of one user’s does not lead on by a link of another’s', async () => {
    await using system = await createSystem();
    await system.directory('home/bob', BOB);
    await symlink('/home/bob/next', system.at('home/alice/first'));
    await symlink('/home/alice/f', system.at('home/bob/next'));
    await lchown(system.at('home/alice/first'), ALICE, USERS);
    await lchown(system.at('home/bob/next'), BOB, BOB);
    await system.refuses(write('/home/alice/first'), /belongs to uid 1235, wanted 1234/);
  });
});

suite('in a directory of root’s where others may write', () => {
  test('a file that somebody prepared is refused, and stays as it is', async () => {
    await using system = await createSystem();
    await system.put('tmp/deploy.key', ALICE, 0o644, 'his');
    await system.refuses(
      write('/tmp/deploy.key', 'a secret'),
      /belongs to uid 1234 and has mode 0644, where others may write/,
    );
    assert.equal(await readFile(system.at('tmp/deploy.key'), 'utf8'), 'his');
    await link(await system.put('var/roots', 0), system.at('tmp/linked'));
    await system.refuses(write('/tmp/linked'), /hard links/);
  });

  test('a file of root’s that a user moved there shows him nothing of what comes', async () => {
    await using system = await createSystem();
    await system.put('home/alice/roots', 0, 0o644);
    const note = 'import os, sys; os.setxattr(sys.argv[1], "user.note", b"x")';
    execFileSync('python3', ['-c', note, system.at('home/alice/roots')]);
    await rename(system.at('home/alice/roots'), system.at('tmp/deploy.key'));
    await system.commit(write('/tmp/deploy.key', 'a secret'));
    assert.deepEqual(await system.marks('tmp/deploy.key'), [0, 0, 0o600]);
    const list = 'import os, sys; print(os.listxattr(sys.argv[1]))';
    assert.equal(
      execFileSync('python3', ['-c', list, system.at('tmp/deploy.key')])
        .toString()
        .trim(),
      '[]',
    );
  });

  test('a file that is right already is written anew, as somebody may hold it open', async () => {
    await using system = await createSystem();
    await system.put('tmp/setup.sh', 0, 0o600, 'of the host');
    const before = await lstat(system.at('tmp/setup.sh'));
    await system.commit(write('/tmp/setup.sh'));
    assert.notEqual((await lstat(system.at('tmp/setup.sh'))).ino, before.ino);
  });

  test('a new one is root’s, with the mode that was asked for', async () => {
    await using system = await createSystem();
    await system.directory('var/mail', 0, 0o2775);
    await system.commit(write('/tmp/new'), write('/tmp/d/new'), write('/var/mail/new'));
    assert.deepEqual(await system.marks('tmp/new'), [0, 0, 0o600]);
    assert.deepEqual(await system.marks('tmp/d'), [0, 0, 0o755]);
    assert.deepEqual(await system.marks('var/mail/new'), [0, 0, 0o600]);
    await system.commit(write('/tmp/new', 'again'));
    assert.equal(await readFile(system.at('tmp/new'), 'utf8'), 'again');
  });

  test('a directory of a user’s is that user’s', async () => {
    await using system = await createSystem();
    await system.directory('tmp/alices', ALICE);
    await system.commit(write('/tmp/alices/f'));
    assert.deepEqual(await system.marks('tmp/alices/f'), [ALICE, USERS, 0o600]);
  });
});

suite('a user who wants the agent to stop', () => {
  test('does not fill its memory with a file that is only said to be large', async () => {
    await using system = await createSystem();
    const path = await system.put('home/alice/sparse', ALICE);
    execFileSync('truncate', ['-s', '1T', path]);
    await system.refuses(write('/home/alice/sparse'), /it has 1099511627776 bytes, wanted at most/);
    await assert.rejects(system.files.read('/home/alice/sparse'), /wanted at most/);
  });

  test('cannot keep it from starting by closing a directory in which a change was cut in two', async () => {
    await using system = await createSystem();
    await system.directory('home/alice/app', ALICE);
    await system.put('home/alice/app/f', ALICE, 0o600, 'old');
    await system.put('etc/motd', 0, 0o644, 'old');
    await system.files.commit([write('/etc/motd', 'new'), write('/home/alice/app/f', 'new')]);
    await chmod(system.at('home/alice/app'), 0);
    const closed = await recoverFiles(system.scratch.root, system.scratch.state);
    assert.deepEqual(closed.restored, ['/etc/motd']);
    assert.match(closed.left[0]?.reason ?? '', /permission denied/);
    // What may pass is tried again at the next start.
    await chmod(system.at('home/alice/app'), 0o755);
    assert.deepEqual((await recoverFiles(system.scratch.root, system.scratch.state)).restored, ['/home/alice/app/f']);
    assert.equal(await readFile(system.at('home/alice/app/f'), 'utf8'), 'old');
  });

  test('and owns /etc of a copy of a system does not send it round in a circle', async () => {
    await using system = await createSystem();
    await chown(system.at('etc'), ALICE, ALICE);
    assert.match((await system.files.readText('/etc/passwd')) ?? '', /^root:/);
  });
});

test('nothing of a change that could not be kept stays in the state directory', async () => {
  await using system = await createSystem();
  await system.put('etc/f', 0);
  const full = Object.assign(new Error('full'), { code: 'ENOSPC' });
  const keeping = mock.method(FilePlace.prototype, 'backUp', () => Promise.reject(full));
  try {
    await system.refuses(write('/etc/f'), /full/);
  } finally {
    keeping.mock.restore();
  }
  assert.deepEqual(await readdir(join(system.scratch.state, 'backup')), []);
});

suite('putting back', () => {
  test('leaves alone what somebody else put there while a change was made', async () => {
    await using system = await createSystem();
    await system.put('etc/edited', 0, 0o644, 'old');
    const race = async (path: string, meddle: () => Promise<void>): Promise<void> => {
      // Between the look and the move: a change whose second file fails for want of a place.
      type Stage = (this: FilePlace, ...args: Parameters<FilePlace['stage']>) => Promise<void>;
      const stage: Stage = Reflect.get<FilePlace, 'stage'>(FilePlace.prototype, 'stage');
      const meddled: Stage = async function (...args) {
        await stage.apply(this, args);
        await meddle();
      };
      const staging = mock.method(FilePlace.prototype, 'stage', meddled);
      try {
        await system.refuses(write(path, 'of the host'), /somebody else changed it meanwhile/);
      } finally {
        staging.mock.restore();
      }
    };
    await race('/etc/new', () => writeFile(system.at('etc/new'), 'by hand'));
    assert.equal(await readFile(system.at('etc/new'), 'utf8'), 'by hand');
    await race('/etc/edited', async () => {
      await writeFile(system.at('etc/edited.new'), 'by hand');
      await rename(system.at('etc/edited.new'), system.at('etc/edited'));
    });
    assert.equal(await readFile(system.at('etc/edited'), 'utf8'), 'by hand');
  });

  test('goes on behind a file that cannot be put back, and keeps its backup', async () => {
    await using system = await createSystem();
    await system.directory('home/alice/app', ALICE);
    await system.put('home/alice/app/f', ALICE, 0o600, 'old');
    await system.put('etc/motd', 0, 0o644, 'old');
    const commit = await system.files.commit([write('/etc/motd', 'new'), write('/home/alice/app/f', 'new')]);
    await chmod(system.at('home/alice/app'), 0);
    await assert.rejects(commit.rollback(), /\/home\/alice\/app\/f: permission denied/);
    assert.equal(await readFile(system.at('etc/motd'), 'utf8'), 'old');
    for (let i = 0; i < 12; i += 1) await system.commit(write('/etc/other', `content ${i}`));
    await chmod(system.at('home/alice/app'), 0o755);
    assert.deepEqual((await recoverFiles(system.scratch.root, system.scratch.state)).restored, ['/home/alice/app/f']);
  });

  test('restores owner, mode, ACL and attributes exactly, in a home and elsewhere', async () => {
    await using system = await createSystem();
    const describe = (path: string): string =>
      execFileSync('python3', [
        '-c',
        `import os, sys
s = os.lstat(sys.argv[1])
print(s.st_uid, s.st_gid, oct(s.st_mode), [(n, os.getxattr(sys.argv[1], n).hex()) for n in sorted(os.listxattr(sys.argv[1]))])`,
        path,
      ]).toString();
    // An ACL as the kernel takes it: version 2, then tag, permissions and id of each entry; user 12345 may read.
    const mark = `import os, struct, sys
acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in [(1,6,2**32-1),(2,4,12345),(4,4,2**32-1),(16,4,2**32-1),(32,4,2**32-1)])
os.setxattr(sys.argv[1], "system.posix_acl_access", acl)
os.setxattr(sys.argv[1], "user.note", b"a\\0b")`;
    const files = [
      await system.put('home/alice/his', ALICE, 0o640),
      await system.put('home/alice/roots', 0, 0o644),
      await system.put('etc/daemons', BOB, 0o2640),
    ];
    for (const file of files) execFileSync('python3', ['-c', mark, file]);
    await symlink('his', system.at('home/alice/link'));
    await lchown(system.at('home/alice/link'), ALICE, USERS);
    await symlink('daemons', system.at('etc/link'));
    await lchown(system.at('etc/link'), BOB, BOB);
    const links = [system.at('home/alice/link'), system.at('etc/link')];
    const changes: FileChange[] = [
      ...files.map((file) => write(file.slice(system.scratch.root.length), 'new', { exactMode: true, mode: 0o604 })),
      ...links.map((path): FileChange => ({ type: 'remove', path: path.slice(system.scratch.root.length) })),
    ];
    // The mode's group bits are the mask of the ACL, so that the two change together.
    const before = [...files, ...links].map(describe);
    const commit = await system.files.commit(changes);
    assert.notDeepEqual(files.map(describe), before.slice(0, files.length));
    await commit.rollback();
    assert.deepEqual([...files, ...links].map(describe), before);
    await system.files.commit(changes);
    const recovered = await recoverFiles(system.scratch.root, system.scratch.state);
    assert.equal(recovered.restored.length, changes.length);
    assert.deepEqual([...files, ...links].map(describe), before);
  });

  test('after a crash does not follow a way that is another now, reports it and keeps what was there', async () => {
    await using system = await createSystem();
    await system.directory('home/alice/app', ALICE);
    await system.put('home/alice/app/f', ALICE, 0o600, 'old');
    await system.directory('etc/cron.d', 0);
    await system.files.commit([write('/home/alice/app/f', 'new'), write('/etc/fine', 'new')]);
    await rename(system.at('home/alice/app'), system.at('home/alice/mine'));
    await symlink('/etc/cron.d', system.at('home/alice/app'));
    await lchown(system.at('home/alice/app'), ALICE, USERS);
    const { restored, left } = await recoverFiles(system.scratch.root, system.scratch.state);
    assert.deepEqual(restored, ['/etc/fine']);
    const [one] = left;
    assert.deepEqual([left.length, one?.path], [1, '/home/alice/app/f']);
    assert.match(one?.reason ?? '', /\/home\/alice\/app is a link now/);
    assert.equal(await readFile(one?.backup ?? '', 'utf8'), 'old');
    assert.deepEqual(await readdir(system.at('etc/cron.d')), []);
    // Once is enough.
    assert.deepEqual(await recoverFiles(system.scratch.root, system.scratch.state), { restored: [], left: [] });
  });

  test('after a crash does not write into another directory of the same name', async () => {
    await using system = await createSystem();
    await system.directory('home/alice/app', ALICE);
    await system.put('home/alice/app/f', ALICE, 0o600, 'old');
    await system.files.commit([write('/home/alice/app/f', 'new')]);
    await rename(system.at('home/alice/app'), system.at('home/alice/mine'));
    await system.directory('home/alice/app', ALICE);
    await system.put('home/alice/app/f', ALICE, 0o600, 'new');
    const { restored, left } = await recoverFiles(system.scratch.root, system.scratch.state);
    assert.deepEqual(restored, []);
    assert.match(left[0]?.reason ?? '', /\/home\/alice\/app is another directory now/);
    assert.equal(await readFile(system.at('home/alice/app/f'), 'utf8'), 'new');
  });

  test('after a crash does not write as root into what was given to a user meanwhile', async () => {
    await using system = await createSystem();
    await system.directory('srv/app', 0);
    await system.put('srv/app/f', 0, 0o600, 'secret');
    await system.files.commit([write('/srv/app/f', 'new')]);
    await chown(system.at('srv/app'), ALICE, USERS);
    await chown(system.at('srv/app/f'), ALICE, USERS);
    const { restored, left } = await recoverFiles(system.scratch.root, system.scratch.state);
    assert.deepEqual(restored, []);
    assert.match(left[0]?.reason ?? '', /could be changed by root alone then, and by a user now/);
    assert.equal(await readFile(system.at('srv/app/f'), 'utf8'), 'new');
  });

  test('rolls back a manifest of the version before, by the same rules', async () => {
    await using system = await createSystem();
    await system.put('etc/motd', 0, 0o644, 'new');
    await system.directory('home/alice/.ssh', ALICE, 0o700);
    await system.put('home/alice/.ssh/authorized_keys', ALICE, 0o600, 'new');
    await system.put('home/alice/given', ALICE, 0o600, 'new');
    const after = execFileSync('sha256sum', { input: 'new' }).toString().slice(0, 64);
    const set = join(system.scratch.state, 'backup/20260101T000000.000Z-abcdef');
    await mkdir(set, { recursive: true, mode: 0o700 });
    const before = (backup: string, mode: number, uid: number) => ({
      ...{ type: 'file', backup, mode },
      owner: { uid, gid: uid === ALICE ? USERS : uid },
    });
    const entry = (path: string, was: unknown, more = {}) => ({
      ...{ path, before: was, temp: '.x.guestwire-1', after, inPlace: false, ...more },
    });
    const home = { home: '/home/alice' };
    const manifest = {
      version: 1,
      state: 'open',
      created: '2026-01-01T00:00:00.000Z',
      entries: [
        entry('/etc/motd', before('0', 0o640, 0)),
        entry('/home/alice/.ssh/authorized_keys', before('1', 0o640, ALICE), home),
        // What the version before gave away: a file of root's alone, put back where a user is at home.
        entry('/home/alice/given', before('2', 0o600, BOB), home),
      ],
      directories: [],
    };
    await writeFile(join(set, 'manifest.json'), JSON.stringify(manifest));
    for (const [name, text] of [
      ['0', 'motd'],
      ['1', 'keys'],
      ['2', 'secret'],
    ] as const) {
      await writeFile(join(set, name), text, { mode: 0o600 });
    }
    const { restored, left } = await recoverFiles(system.scratch.root, system.scratch.state);
    assert.deepEqual(restored, ['/home/alice/.ssh/authorized_keys', '/etc/motd']);
    assert.deepEqual(
      left.map(({ path }) => path),
      ['/home/alice/given'],
    );
    assert.deepEqual(await system.marks('etc/motd'), [0, 0, 0o640]);
    assert.deepEqual(await system.marks('home/alice/.ssh/authorized_keys'), [ALICE, USERS, 0o640]);
    assert.equal(await readFile(system.at('home/alice/given'), 'utf8'), 'new');
  });
});

test('a process that acted for users keeps its own rights, in every thread', async () => {
  await using system = await createSystem();
  const before = await readFile('/proc/self/status', 'utf8');
  await Promise.all(Array.from({ length: 20 }, (_, i) => system.commit(write(`/home/alice/${i}`))));
  for (const id of await readdir('/proc/self/task')) {
    const status = await readFile(`/proc/self/task/${id}/status`, 'utf8').catch(() => null);
    // One of those that acted ends just now.
    if (status === null || status.includes('Name:\tguestwire-owner')) continue;
    assert.match(status, /^Uid:\t0\t0\t0\t0$/m);
    assert.match(status, /^Gid:\t0\t0\t0\t0$/m);
    assert.equal(/^CapEff:.*$/m.exec(status)?.[0], /^CapEff:.*$/m.exec(before)?.[0]);
    assert.equal(/^Groups:.*$/m.exec(status)?.[0], /^Groups:.*$/m.exec(before)?.[0]);
  }
});

test('without the right to act as a user, his directories are left alone', async () => {
  await using system = await createSystem();
  const script = new URL('../../support/commit-once.js', import.meta.url).pathname;
  const changes = JSON.stringify([write('/home/alice/f'), write('/etc/f')]);
  const args = ['--bounding-set', '-setuid', '--inh-caps', '-setuid', process.execPath, script];
  const run = execFileSync('setpriv', [...args, system.scratch.root, system.scratch.state, changes, 'confirm']);
  const { outcome } = JSON.parse(run.toString()) as { outcome: { code: string; message: string } };
  assert.equal(outcome.code, 'GW_FILE_REFUSED');
  assert.match(outcome.message, /may not act as uid 1234.*CAP_SETUID/);
  await rm(system.at('home/alice'), { recursive: true });
  assert.deepEqual(await tree(system.at('etc')), ['passwd', 'shadow']);
});
