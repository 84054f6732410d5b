import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmod,
  chown,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type FileChange } from '../../../ts/api/index.js';
import { createFiles, recoverFiles } from '../../../ts/host/unix/files.js';
import { createScratch, type Scratch, tree } from '../../support/scratch.js';

type Write = Extract<FileChange, { type: 'write' }>;

const write = (path: string, content: string, more: Partial<Omit<Write, 'type'>> = {}): Write => ({
  type: 'write',
  path,
  content,
  mode: 0o644,
  ...more,
});

const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o7777;

test('a new file has the mode that was asked for, and so have the directories above it', async () => {
  await using scratch = await createScratch();
  const files = createFiles(scratch.root, scratch.state);
  const umask = process.umask(0o077);
  try {
    const commit = await files.commit([
      write('/a/b/new', 'text', { mode: 0o666 }),
      write('/home/.ssh/keys', 'k', { mode: 0o600, directoryMode: 0o700 }),
    ]);
    await commit.confirm();
    assert.deepEqual(commit.changed, ['/a/b/new', '/home/.ssh/keys']);
  } finally {
    process.umask(umask);
  }
  assert.equal(await readFile(join(scratch.root, 'a/b/new'), 'utf8'), 'text');
  assert.equal(await modeOf(join(scratch.root, 'a/b/new')), 0o666);
  assert.equal(await modeOf(join(scratch.root, 'a/b')), 0o755);
  assert.equal(await modeOf(join(scratch.root, 'home/.ssh')), 0o700);
  assert.deepEqual(await tree(scratch.root), ['a', 'a/b', 'a/b/new', 'home', 'home/.ssh', 'home/.ssh/keys']);
});

test('an existing file keeps its mode, owner and attributes', async () => {
  await using scratch = await createScratch();
  const path = await scratch.write('etc/shadow', 'old', 0o640);
  await chmod(path, 0o4640);
  if (process.geteuid?.() === 0) await chown(path, 1234, 42);
  await chmod(path, 0o4640);
  execFileSync('python3', ['-c', 'import os, sys; os.setxattr(sys.argv[1], "user.label", b"x")', path]);
  const before = await stat(path);
  await (await createFiles(scratch.root, scratch.state).commit([write('/etc/shadow', 'new')])).confirm();
  const after = await stat(path);
  assert.deepEqual([after.mode, after.uid, after.gid], [before.mode, before.uid, before.gid]);
  assert.notEqual(after.ino, before.ino);
  const list = execFileSync('python3', ['-c', 'import os, sys; print(os.getxattr(sys.argv[1], "user.label"))', path]);
  assert.equal(list.toString(), "b'x'\n");
});

test('an exact mode is set even where the content is right already', async () => {
  await using scratch = await createScratch();
  const path = await scratch.write('etc/f', 'same', 0o644);
  const files = createFiles(scratch.root, scratch.state);
  const exact = [write('/etc/f', 'same', { mode: 0o600, exactMode: true })];
  const commit = await files.commit(exact);
  assert.deepEqual(commit.changed, ['/etc/f']);
  assert.equal(await modeOf(path), 0o600);
  await commit.rollback();
  assert.equal(await modeOf(path), 0o644);
});

test('a file that is right already is not written and not among the changed', async () => {
  await using scratch = await createScratch();
  const path = await scratch.write('etc/f', 'same', 0o600);
  const before = await stat(path);
  const commit = await createFiles(scratch.root, scratch.state).commit([
    write('/etc/f', 'same'),
    { type: 'remove', path: '/etc/none' },
    { type: 'remove', path: '/none/none' },
  ]);
  await commit.confirm();
  assert.deepEqual(commit.changed, []);
  assert.equal((await stat(path)).ino, before.ino);
  await assert.rejects(readdir(scratch.state), { code: 'ENOENT' });
});

test('links are followed as a chroot follows them, and survive', async () => {
  await using scratch = await createScratch();
  await scratch.write('run/real', 'old');
  await mkdir(join(scratch.root, 'etc'));
  await symlink('/run/real', join(scratch.root, 'etc/absolute'));
  await symlink('../../../../run/real', join(scratch.root, 'etc/relative'));
  await symlink('/run', join(scratch.root, 'var'));
  const files = createFiles(scratch.root, scratch.state);
  for (const path of ['/etc/absolute', '/etc/relative', '/var/real', '/var/../run/real', '/../../run/real']) {
    assert.equal(await files.readText(path), 'old', path);
    const commit = await files.commit([write(path, `by ${path}`)]);
    assert.equal(await readFile(join(scratch.root, 'run/real'), 'utf8'), `by ${path}`);
    await commit.rollback();
  }
  assert.equal(await readlink(join(scratch.root, 'etc/absolute')), '/run/real');
  assert.equal((await files.status('/etc/absolute'))?.type, 'link');
  assert.deepEqual(await files.list('/var'), ['real']);
  assert.equal(await files.resolve('/etc/absolute'), '/run/real');
});

test('no path leads out of the root', async () => {
  await using scratch = await createScratch();
  const outside = join(scratch.directory, 'outside');
  await writeFile(outside, 'secret');
  await symlink(outside, join(scratch.root, 'absolute'));
  await symlink('../outside', join(scratch.root, 'relative'));
  await symlink('..', join(scratch.root, 'up'));
  const files = createFiles(scratch.root, scratch.state);
  for (const path of ['/../outside', '/absolute', '/relative', '/up/outside', '/up/../../outside']) {
    assert.equal(await files.read(path), null, path);
    assert.equal(await files.resolve(path), null, path);
  }
  await (await files.commit([write('/../outside', 'inside')])).confirm();
  await assert.rejects(files.commit([write('/relative/x', 'x')]), { code: 'GW_FILE_FAILED' });
  assert.equal(await readFile(outside, 'utf8'), 'secret');
  assert.equal(await readFile(join(scratch.root, 'outside'), 'utf8'), 'inside');
});

test('a link that leads nowhere, or round in a circle, is refused', async () => {
  await using scratch = await createScratch();
  await symlink('/none', join(scratch.root, 'dangling'));
  await symlink('circle', join(scratch.root, 'circle'));
  const files = createFiles(scratch.root, scratch.state);
  await assert.rejects(files.commit([write('/dangling', 'x')]), { code: 'GW_FILE_FAILED', message: /leads to \/none/ });
  await assert.rejects(files.commit([write('/circle', 'x')]), { code: 'GW_FILE_FAILED', message: /too many links/ });
  assert.deepEqual(await tree(scratch.root), ['circle', 'dangling']);
});

test('directories, pipes and paths through files are refused with nothing changed', async () => {
  await using scratch = await createScratch();
  await scratch.write('etc/f', 'old');
  execFileSync('mkfifo', [join(scratch.root, 'pipe')]);
  const files = createFiles(scratch.root, scratch.state);
  for (const path of ['/etc', '/', '/pipe', '/etc/f/g']) {
    const changes = [write('/etc/f', 'new'), write('/made/here', 'x'), write(path, 'x')];
    await assert.rejects(files.commit(changes), { code: 'GW_FILE_FAILED' }, path);
    assert.deepEqual(await tree(scratch.root), ['etc', 'etc/f', 'pipe']);
    assert.equal(await files.readText('/etc/f'), 'old');
  }
  await assert.rejects(files.read('/pipe'));
});

test('rollback puts everything back: content, marks, removed files, removed links, made directories', async () => {
  await using scratch = await createScratch();
  await scratch.write('etc/changed', 'old', 0o640);
  await scratch.write('etc/removed', 'gone', 0o600);
  await symlink('changed', join(scratch.root, 'etc/link'));
  const before = await tree(scratch.root);
  const commit = await createFiles(scratch.root, scratch.state).commit([
    write('/etc/changed', 'new'),
    write('/new/dir/file', 'new'),
    { type: 'remove', path: '/etc/removed' },
    { type: 'remove', path: '/etc/link' },
  ]);
  assert.deepEqual(commit.changed, ['/etc/changed', '/new/dir/file', '/etc/removed', '/etc/link']);
  assert.deepEqual(await tree(scratch.root), ['etc', 'etc/changed', 'new', 'new/dir', 'new/dir/file']);
  await commit.rollback();
  assert.deepEqual(await tree(scratch.root), before);
  assert.equal(await readFile(join(scratch.root, 'etc/changed'), 'utf8'), 'old');
  assert.equal(await readFile(join(scratch.root, 'etc/removed'), 'utf8'), 'gone');
  assert.equal(await modeOf(join(scratch.root, 'etc/removed')), 0o600);
  assert.equal(await readlink(join(scratch.root, 'etc/link')), 'changed');
  assert.deepEqual(await readdir(join(scratch.state, 'backup')), []);
});

test('once confirmed, a change is not rolled back', async () => {
  await using scratch = await createScratch();
  const path = await scratch.write('f', 'old');
  const commit = await createFiles(scratch.root, scratch.state).commit([write('/f', 'new')]);
  await commit.confirm();
  await commit.rollback();
  assert.equal(await readFile(path, 'utf8'), 'new');
  assert.deepEqual((await recoverFiles(scratch.root, scratch.state)).restored, []);
  assert.equal(await readFile(path, 'utf8'), 'new');
});

test('an unconfirmed change is put back at the next start, once', async () => {
  await using scratch = await createScratch();
  const path = await scratch.write('etc/f', 'old', 0o640);
  await createFiles(scratch.root, scratch.state).commit([write('/etc/f', 'new'), write('/etc/d/new', 'new')]);
  assert.deepEqual((await recoverFiles(scratch.root, scratch.state)).restored, ['/etc/d/new', '/etc/f']);
  assert.equal(await readFile(path, 'utf8'), 'old');
  assert.equal(await modeOf(path), 0o640);
  assert.deepEqual(await tree(scratch.root), ['etc', 'etc/f']);
  assert.deepEqual((await recoverFiles(scratch.root, scratch.state)).restored, []);
});

test('what somebody changed by hand after a crash is left alone', async () => {
  await using scratch = await createScratch();
  const path = await scratch.write('etc/f', 'old');
  await createFiles(scratch.root, scratch.state).commit([write('/etc/f', 'new')]);
  await writeFile(path, 'by hand');
  assert.deepEqual((await recoverFiles(scratch.root, scratch.state)).restored, []);
  assert.equal(await readFile(path, 'utf8'), 'by hand');
});

test('changes on top of one another are undone newest first', async () => {
  await using scratch = await createScratch();
  const path = await scratch.write('f', 'one');
  const files = createFiles(scratch.root, scratch.state);
  await files.commit([write('/f', 'two')]);
  // Names of change sets sort by the millisecond.
  await new Promise((resolve) => setTimeout(resolve, 5));
  await files.commit([write('/f', 'three')]);
  assert.deepEqual((await recoverFiles(scratch.root, scratch.state)).restored, ['/f', '/f']);
  assert.equal(await readFile(path, 'utf8'), 'one');
});

test('a crash at any point of a change leaves the old state or, once confirmed, the new', async () => {
  await using scratch = await createScratch();
  const crash = fileURLToPath(new URL('../../support/commit-until-killed.js', import.meta.url));
  const outcomes = new Set<string>();
  for (let call = 0; call < 200; call++) {
    await scratch.write('etc/a', 'old', 0o640);
    await scratch.write('etc/b', 'old', 0o600);
    await rm(join(scratch.root, 'etc/d'), { recursive: true, force: true });
    const args = [crash, scratch.root, scratch.state, String(call)];
    const { stdout, signal } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    assert.equal(signal, stdout === '' ? 'SIGKILL' : null);
    await recoverFiles(scratch.root, scratch.state);
    const [a, b] = [
      await readFile(join(scratch.root, 'etc/a'), 'utf8'),
      await readFile(join(scratch.root, 'etc/b'), 'utf8'),
    ];
    assert.equal(a, b, `call ${call}`);
    const names = await tree(scratch.root);
    assert.deepEqual(names, a === 'old' ? ['etc', 'etc/a', 'etc/b'] : ['etc', 'etc/a', 'etc/b', 'etc/d', 'etc/d/c']);
    outcomes.add(a);
    if (stdout === 'finished\n') {
      assert.deepEqual([...outcomes], ['old', 'new']);
      return;
    }
  }
  assert.fail('the change made more system calls than were tried');
});

test('backups are bounded and for root alone', async () => {
  await using scratch = await createScratch();
  const files = createFiles(scratch.root, scratch.state);
  for (let i = 0; i < 13; i++) await (await files.commit([write('/f', `content ${i}`)])).confirm();
  const sets = await readdir(join(scratch.state, 'backup'));
  assert.equal(sets.length, 10);
  const newest = join(scratch.state, 'backup', sets.sort().at(-1)!);
  assert.equal(await readFile(join(newest, '0'), 'utf8'), 'content 11');
  for (const directory of [scratch.state, join(scratch.state, 'backup'), newest])
    assert.equal(await modeOf(directory), 0o700);
  for (const name of await readdir(newest)) assert.equal(await modeOf(join(newest, name)), 0o600);
});

test('two changes that lead to one file are refused', async () => {
  await using scratch = await createScratch();
  await scratch.write('f', 'old');
  await symlink('f', join(scratch.root, 'link'));
  const files = createFiles(scratch.root, scratch.state);
  await assert.rejects(files.commit([write('/f', 'a'), write('/link', 'b')]), { code: 'GW_FILE_FAILED' });
  assert.equal(await files.readText('/f'), 'old');
});

test('names of 255 bytes work', async () => {
  await using scratch = await createScratch();
  const files = createFiles(scratch.root, scratch.state);
  for (const name of ['n'.repeat(255), 'ä'.repeat(127)]) {
    await (await files.commit([write(`/${name}`, 'text')])).confirm();
    assert.equal(await files.readText(`/${name}`), 'text');
  }
});

test('reading tells files from what is not there', async () => {
  await using scratch = await createScratch();
  await scratch.write('etc/f', Buffer.from([0, 0xff, 0x0a]), 0o604);
  const files = createFiles(scratch.root, scratch.state);
  assert.deepEqual(await files.read('/etc/f'), Buffer.from([0, 0xff, 0x0a]));
  assert.equal(await files.read('/etc/none'), null);
  assert.equal(await files.read('/etc/f/below'), null);
  assert.deepEqual(await files.list('/none'), []);
  assert.equal(await files.status('/none'), null);
  const { uid, gid } = await lstat(scratch.root);
  assert.deepEqual(await files.status('/etc/f'), { type: 'file', mode: 0o604, uid, gid, size: 3, target: null });
});

interface Outcome {
  readonly outcome: { readonly changed?: string[]; readonly code?: string; readonly message?: string };
  readonly files: Record<string, string>;
}

/** Runs a commit in a mount namespace of its own, after `mounts`, a shell script that sees $ROOT and $STATE. */
function inNamespace(scratch: Scratch, mounts: string, changes: FileChange[], settle: string): Outcome {
  const script = fileURLToPath(new URL('../../support/commit-once.js', import.meta.url));
  const run = '; exec "$NODE" "$SCRIPT" "$ROOT" "$STATE" "$CHANGES" "$SETTLE"';
  const env = {
    ...process.env,
    ...{ ROOT: scratch.root, STATE: scratch.state, NODE: process.execPath, SCRIPT: script },
    ...{ CHANGES: JSON.stringify(changes), SETTLE: settle },
  };
  const unshare = process.geteuid?.() === 0 ? ['-m'] : ['-r', '-m'];
  return JSON.parse(execFileSync('unshare', [...unshare, 'sh', '-ec', mounts + run], { env }).toString()) as Outcome;
}

test('a file that is a mount of its own is written in place, and put back in place', async () => {
  await using scratch = await createScratch();
  await scratch.write('etc/hosts', 'image');
  await scratch.write('mounted', 'old', 0o644);
  const mounts = 'mount --bind "$ROOT/mounted" "$ROOT/etc/hosts"';
  const kept = inNamespace(scratch, mounts, [write('/etc/hosts', 'new')], 'confirm');
  assert.deepEqual(kept.outcome, { changed: ['/etc/hosts'] });
  assert.deepEqual(kept.files, { '/etc/hosts': 'new', '/mounted': 'new' });
  const undone = inNamespace(scratch, mounts, [write('/etc/hosts', 'newer')], 'rollback');
  assert.deepEqual(undone.files, { '/etc/hosts': 'new', '/mounted': 'new' });
  // A crash may leave such a file half written, so it is put back whatever it holds.
  const recovered = inNamespace(scratch, mounts, [write('/etc/hosts', 'newest')], 'crash half written');
  assert.deepEqual(recovered.files, { '/etc/hosts': 'new', '/mounted': 'new' });
});

test('a file that nobody can change is said to be so beforehand', async () => {
  await using scratch = await createScratch();
  const path = await scratch.write('etc/fixed', 'text');
  await scratch.write('etc/free', 'text', 0o400);
  await symlink('fixed', join(scratch.root, 'etc/link'));
  const files = createFiles(scratch.root, scratch.state);
  const said = (): Promise<readonly (string | null)[]> =>
    Promise.all(['/etc/fixed', '/etc/link', '/etc/free', '/etc/absent'].map((one) => files.sealed(one)));
  assert.deepEqual(await said(), [null, null, null, null]);
  execFileSync('chattr', ['+i', path]);
  try {
    assert.deepEqual(await said(), ['immutable', 'immutable', null, null]);
  } finally {
    execFileSync('chattr', ['-i', path]);
  }
});

test('a full disk leaves every file as it was', async () => {
  await using scratch = await createScratch();
  const mounts = 'mount -t tmpfs -o size=64k none "$ROOT"; echo old > "$ROOT/a"; echo old > "$ROOT/b"';
  const changes = [write('/a', 'new'), write('/d/new', 'new'), write('/b', 'x'.repeat(100_000))];
  const { outcome, files } = inNamespace(scratch, mounts, changes, 'confirm');
  assert.deepEqual(outcome, { code: 'GW_FILE_FAILED', message: 'Could not write /b: the disk is full' });
  assert.deepEqual(files, { '/a': 'old\n', '/b': 'old\n' });
});

test('a full state directory stops the change before it begins', async () => {
  await using scratch = await createScratch();
  await scratch.write('a', 'old'.repeat(30_000));
  await mkdir(scratch.state);
  const mounts = 'mount -t tmpfs -o size=64k none "$STATE"';
  const { outcome, files } = inNamespace(scratch, mounts, [write('/a', 'new')], 'confirm');
  assert.deepEqual(outcome, { code: 'GW_FILE_FAILED', message: 'Could not write /a: the disk is full' });
  assert.ok(files['/a']?.startsWith('oldold'));
});

test('a read-only file system is said to be one', async () => {
  await using scratch = await createScratch();
  await scratch.write('etc/a', 'old');
  const mounts = 'mount --bind "$ROOT/etc" "$ROOT/etc"; mount -o remount,ro,bind "$ROOT/etc"';
  const changes = [write('/fine', 'new'), write('/etc/a', 'new')];
  const { outcome, files } = inNamespace(scratch, mounts, changes, 'confirm');
  assert.deepEqual(outcome, {
    code: 'GW_FILE_FAILED',
    message: 'Could not write /etc/a: the file system is read-only',
  });
  assert.deepEqual(files, { '/etc/a': 'old' });
});

suite('what cannot be changed is found by a check, which leaves nothing behind, and by a commit', () => {
  const SEALS: Readonly<Record<string, readonly [flag: string, on: string, reason: RegExp]>> = {
    'an immutable file': ['i', 'etc/f', /^Could not write \/etc\/f: it is immutable \(chattr \+i\)$/],
    'a file to which one may only append': ['a', 'etc/f', /\/etc\/f: it is append-only \(chattr \+a\)$/],
    'an immutable directory': ['i', 'etc', /\/etc\/f: the directory that holds it is immutable \(chattr \+i\)$/],
    'a directory to which one may only add': ['a', 'etc', /\/etc\/f: the directory that holds it is append-only/],
  };
  const CHANGES = {
    'a write': write('/etc/f', 'new'),
    'a removal': { type: 'remove', path: '/etc/f' },
  } satisfies Readonly<Record<string, FileChange>>;
  for (const [what, [flag, path, message]] of Object.entries(SEALS)) {
    for (const [how, change] of Object.entries(CHANGES)) {
      test(`${what}: ${how}`, async () => {
        await using scratch = await createScratch();
        await scratch.write('etc/f', 'old');
        const files = createFiles(scratch.root, scratch.state);
        const changes = [write('/made/here', 'x'), change];
        execFileSync('chattr', [`+${flag}`, join(scratch.root, path)]);
        try {
          await assert.rejects(files.check(changes), { code: 'GW_FILE_FAILED', message });
          await assert.rejects(files.commit(changes), { code: 'GW_FILE_FAILED', message });
        } finally {
          execFileSync('chattr', [`-${flag}`, join(scratch.root, path)]);
        }
        assert.deepEqual(await tree(scratch.root), ['etc', 'etc/f']);
        assert.deepEqual(await readdir(join(scratch.state, 'backup')), []);
        await files.check(changes);
        assert.deepEqual(await tree(scratch.root), ['etc', 'etc/f']);
        assert.equal(await files.readText('/etc/f'), 'old');
        assert.deepEqual(await readdir(join(scratch.state, 'backup')), []);
      });
    }
  }

  test('a path that leads through a file', async () => {
    await using scratch = await createScratch();
    await scratch.write('etc/f', 'old');
    const files = createFiles(scratch.root, scratch.state);
    const changes = [write('/etc/new', 'x'), write('/etc/f/g', 'x')];
    await assert.rejects(files.check(changes), { code: 'GW_FILE_FAILED', message: /^Could not write \/etc\/f\/g: / });
    assert.deepEqual(await tree(scratch.root), ['etc', 'etc/f']);
  });

  test('files that are right already are looked at only', async () => {
    await using scratch = await createScratch();
    const path = await scratch.write('etc/f', 'text', 0o644);
    execFileSync('chattr', ['+i', path]);
    try {
      await createFiles(scratch.root, scratch.state).check([write('/etc/f', 'text')]);
    } finally {
      execFileSync('chattr', ['-i', path]);
    }
  });
});
