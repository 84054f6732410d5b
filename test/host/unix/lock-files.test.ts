import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createPrimitives } from '../../../ts/host/unix/accounts.js';
import { removeStaleLockFiles, takeLockFiles } from '../../../ts/host/unix/lock-files.js';
import { createScratch, type Scratch, tree } from '../../support/scratch.js';

async function scratchEtc(): Promise<Scratch> {
  const scratch = await createScratch();
  await scratch.write('etc/shadow', 'root:*:1::::::\n', 0o600);
  return scratch;
}

async function deadProcess(): Promise<number> {
  const child = spawn('true');
  await new Promise((resolve) => child.once('exit', resolve));
  return child.pid!;
}

test('the locks are there while they are held, name this process, and leave nothing behind', async () => {
  await using scratch = await scratchEtc();
  {
    await using lock = await createPrimitives(scratch.root).lock();
    assert.ok(lock);
    assert.deepEqual(await tree(join(scratch.root, 'etc')), ['.pwd.lock', 'passwd.lock', 'shadow', 'shadow.lock']);
    for (const name of ['passwd.lock', 'shadow.lock']) {
      const text = await readFile(join(scratch.root, 'etc', name), 'latin1');
      assert.equal(text.split('\0')[0], String(process.pid));
    }
  }
  assert.deepEqual(await tree(join(scratch.root, 'etc')), ['.pwd.lock', 'shadow']);
});

test('a lock file of a process that is dead is taken over, and so is one of this process before a restart', async () => {
  for (const holder of [`${await deadProcess()}\0`, `${process.pid}\0`, '1\0guestwire', `${await deadProcess()}`]) {
    await using scratch = await scratchEtc();
    const path = await scratch.write('etc/shadow.lock', holder, 0o600);
    {
      await using lock = await createPrimitives(scratch.root, 500).lock();
      assert.ok(lock);
      assert.equal((await readFile(path, 'latin1')).split('\0')[0], String(process.pid));
    }
    assert.deepEqual(await tree(join(scratch.root, 'etc')), ['.pwd.lock', 'shadow']);
  }
});

test('a live holder is waited for, and named when it does not let go', async () => {
  const cases = [
    ['passwd.lock', `${process.ppid}\0`, `process ${process.ppid} holds it; waited for 0.2 s`],
    ['shadow.lock', `${process.ppid}\0`, `process ${process.ppid} holds it; waited for 0.2 s`],
    ['shadow.lock', '', 'a process that it does not name holds it; waited for 0.2 s'],
    ['shadow.lock', '-1\0', 'a process that it does not name holds it; waited for 0.2 s'],
  ] as const;
  for (const [name, holder, why] of cases) {
    await using scratch = await scratchEtc();
    const path = await scratch.write(`etc/${name}`, holder, 0o600);
    const message = `Could not write /etc/${name}: ${why}`;
    await assert.rejects(createPrimitives(scratch.root, 200).lock(), { code: 'GW_FILE_FAILED', message });
    assert.equal(await readFile(path, 'latin1'), holder);
    assert.deepEqual(await tree(join(scratch.root, 'etc')), ['.pwd.lock', name, 'shadow'].sort());
    const waiting = createPrimitives(scratch.root, 10_000).lock();
    // As the holder does at its end.
    await new Promise((resolve) => setTimeout(resolve, 100));
    await writeFile(path, `${await deadProcess()}\0`);
    await (await waiting)[Symbol.asyncDispose]();
  }
});

test('a lock file that is a link or a pipe is held by somebody unknown: nothing behind it is read', async () => {
  for (const make of [
    (path: string) => symlink('nowhere', path),
    (path: string) => symlink('/dev/zero', path),
    async (path: string) => symlink(await outside(), path),
    (path: string) => Promise.resolve(execFileSync('mkfifo', [path])),
  ]) {
    await using scratch = await scratchEtc();
    await make(join(scratch.root, 'etc/shadow.lock'));
    const message = 'Could not write /etc/shadow.lock: a process that it does not name holds it; waited for 0.2 s';
    await assert.rejects(createPrimitives(scratch.root, 200).lock(), { code: 'GW_FILE_FAILED', message });
  }

  /** What would be taken over, if it were the lock file itself. */
  async function outside(): Promise<string> {
    const scratch = await createScratch();
    return scratch.write('lock', `${await deadProcess()}\0`);
  }
});

test('two who want the locks have them one after the other', async () => {
  await using scratch = await scratchEtc();
  let inside = 0;
  let most = 0;
  const work = async (): Promise<void> => {
    await using lock = await createPrimitives(scratch.root).lock();
    assert.ok(lock);
    most = Math.max(most, ++inside);
    await new Promise((resolve) => setTimeout(resolve, 30));
    inside -= 1;
  };
  await Promise.all([work(), work(), work()]);
  assert.equal(most, 1);
});

test('lock files that a crash of the agent left are removed, and those of others stay', async () => {
  await using scratch = await scratchEtc();
  await scratch.write('etc/passwd.lock', `${process.ppid}\0guestwire`, 0o600);
  await scratch.write('etc/.guestwire.lock', '', 0o600);
  await scratch.write('etc/shadow.lock', `${process.ppid}\0`, 0o600);
  await removeStaleLockFiles(scratch.root);
  assert.deepEqual(await tree(join(scratch.root, 'etc')), ['.pwd.lock', 'shadow', 'shadow.lock']);
});

test('lock files of an agent that is at work stay', async () => {
  await using scratch = await scratchEtc();
  await using lock = await createPrimitives(scratch.root).lock();
  assert.ok(lock);
  await assert.rejects(removeStaleLockFiles(scratch.root), { code: 'LOCK_TIMEOUT' });
  assert.deepEqual(await tree(join(scratch.root, 'etc')), ['.pwd.lock', 'passwd.lock', 'shadow', 'shadow.lock']);
});

test('where the files cannot be locked at all, nothing is left and the reason is told', async () => {
  await using scratch = await scratchEtc();
  await scratch.write('etc/shadow.lock/in-the-way', '');
  await assert.rejects(takeLockFiles(scratch.root, Date.now()), { code: 'EISDIR' });
  assert.deepEqual(await tree(join(scratch.root, 'etc')), ['shadow', 'shadow.lock', 'shadow.lock/in-the-way']);
  await using empty = await createScratch();
  const message = /^Could not write \/etc\/[.]pwd[.]lock: cannot open .*No such file/;
  await assert.rejects(createPrimitives(empty.root).lock(), { code: 'GW_FILE_FAILED', message });
});
