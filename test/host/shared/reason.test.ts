/** The words for what the system says no with, each provoked on the real system. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { ScratchDirectory } from '../../../ts/host/shared/scratch-directory.js';

/** What is done in the scratch directory, in a mount namespace of its own, and what an administrator is told. */
const CASES: readonly (readonly [code: string, setup: string, doing: string, words: string])[] = [
  ['ENOSPC', 'true', "await fs.writeFile('/dev/full', 'x')", 'the disk is full'],
  ['EROFS', 'mount -t tmpfs -o ro none ro', "await fs.writeFile('ro/x', 'x')", 'the file system is read-only'],
  ['EACCES', 'touch none; chmod 0 none', "process.setuid(65534); await fs.readFile('none')", 'permission denied'],
  [
    'EPERM',
    'true',
    "process.setuid(65534); await fs.chown('/etc/passwd', 0, 0)",
    'the system refuses it; the file may be immutable',
  ],
  ['ENOTDIR', 'touch file', "await fs.readFile('file/below')", 'a part of the path is not a directory'],
  ['EISDIR', 'true', "await fs.writeFile('ro', 'x')", 'it is a directory'],
  ['ELOOP', 'ln -s itself itself', "await fs.readFile('itself')", 'too many links, or a link where none is followed'],
  ['ENAMETOOLONG', 'true', "await fs.readFile('x'.repeat(300))", 'the name is too long'],
  [
    'EFBIG',
    'ulimit -f 1; trap "" XFSZ',
    "await fs.writeFile('large', 'x'.repeat(4096))",
    'the file would be larger than the system allows',
  ],
  [
    'ETXTBSY',
    'cp /bin/sleep busy; ./busy 60 & trap "kill $!" EXIT; sleep 0.2',
    "await fs.writeFile('busy', 'x')",
    'it is a program that is running',
  ],
  ['EBUSY', 'mount -t tmpfs none ro', "await fs.rmdir('ro')", 'it is in use'],
  [
    'EMFILE',
    'ulimit -n 40',
    'const all = []; for (;;) all.push(await fs.open("/dev/null"))',
    'the agent has too many open files',
  ],
  [
    'EXDEV',
    'mount -t tmpfs none ro; touch there',
    "await fs.rename('there', 'ro/there')",
    'the two are on different file systems',
  ],
];

for (const [code, setup, doing, words] of CASES) {
  test(`${code}: ${words}`, async () => {
    await using scratch = await ScratchDirectory.create();
    await scratch.write({ 'ro/.keep': '' });
    const build = new URL('../../../ts/host/shared/reason.js', import.meta.url).pathname;
    const program = `
      import * as fs from 'node:fs/promises';
      const { reason } = await import('${build}');
      try {
        ${doing};
        console.log('done');
      } catch (error) {
        console.log(error.code + ': ' + reason(error));
      }
      process.exit(0);`;
    const script = `rm ro/.keep; ${setup}\n"$1" --input-type=module -e "$2"`;
    const { stdout, stderr } = spawnSync(
      'unshare',
      ['--mount', 'bash', '-c', script, 'bash', process.execPath, program],
      {
        cwd: scratch.path,
        encoding: 'utf8',
      },
    );
    assert.equal(stdout, `${code}: ${words}\n`, stderr);
  });
}
