import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeDirectories } from '../../../ts/host/shared/make-directories.js';
import { ScratchDirectory } from '../../../ts/host/shared/scratch-directory.js';

test('all directories that are missing are made, with that mode; those that are there stay as they are', async () => {
  await using scratch = await ScratchDirectory.create();
  await makeDirectories(join(scratch.path, 'a/b/c'), 0o700);
  await makeDirectories(join(scratch.path, 'a/b/c'), 0o755);
  for (const name of ['a', 'a/b', 'a/b/c']) assert.equal(statSync(join(scratch.path, name)).mode & 0o777, 0o700);
  assert.deepEqual(readdirSync(join(scratch.path, 'a/b/c')), []);
});

test('the error is the one of the system: a read-only disk is told as such, however many directories are missing', async () => {
  await using scratch = await ScratchDirectory.create();
  await scratch.write({ 'ro/x': '' });
  const build = new URL('../../../ts/host/shared/make-directories.js', import.meta.url).pathname;
  const program = `
    const { makeDirectories } = await import('${build}');
    for (const path of ['ro/a', 'ro/a/b/c']) await makeDirectories(path, 0o700).catch((error) => console.log(error.code));`;
  const script = 'mount -t tmpfs -o ro none ro && "$1" --input-type=module -e "$2"';
  const { stdout, stderr } = spawnSync(
    'unshare',
    ['--mount', 'bash', '-c', script, 'bash', process.execPath, program],
    {
      cwd: scratch.path,
      encoding: 'utf8',
    },
  );
  assert.equal(stdout, 'EROFS\nEROFS\n', stderr);
});
