/** The test kit's files, held against the real ones: the same steps, the same outcome. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentError, type FileChange, type Files } from '../../ts/api/index.js';
import { createFiles } from '../../ts/host/unix/files.js';
import { memoryFiles } from '../../ts/testing/index.js';
import { createScratch } from '../support/scratch.js';

const write = (path: string, content: string, more: object = {}): FileChange => ({
  type: 'write',
  path,
  content,
  mode: 0o600,
  ...more,
});

/** What came of a step, as plain data. */
async function outcome(step: () => Promise<unknown>): Promise<unknown> {
  try {
    const result = await step();
    return Buffer.isBuffer(result) ? result.toString() : result;
  } catch (error) {
    return error instanceof AgentError ? [error.code, error.message] : 'error';
  }
}

const PATHS = [
  '/',
  '/etc',
  '/etc/a',
  '/etc/../etc/b',
  '/../etc/a',
  '/etc/none',
  '/etc/a/below',
  '/new/deep/file',
  '/gone',
];

async function look(files: Files): Promise<unknown> {
  const seen: unknown[] = [];
  for (const path of PATHS) {
    const { type, mode, uid, gid, size } = (await files.status(path)) ?? {};
    seen.push([
      path,
      await outcome(() => files.readText(path)),
      await outcome(() => files.list(path)),
      await outcome(() => files.resolve(path)),
      // A directory's size is the file system's own affair.
      { type, mode, uid, gid, size: type === 'directory' ? null : size },
    ]);
  }
  return seen;
}

const COMMITS: readonly (readonly [what: string, changes: readonly FileChange[]])[] = [
  ['new and changed files', [write('/new/deep/file', 'x', { mode: 0o644 }), write('/etc/a', 'changed')]],
  ['directories of a mode', [write('/new/deep/file', 'x', { directoryMode: 0o700 })]],
  ['what is right already', [write('/etc/a', 'a'), { type: 'remove', path: '/etc/none' }]],
  ['an exact mode', [write('/etc/a', 'a', { exactMode: true })]],
  [
    'an owner',
    [write('/etc/a', 'a', { owner: { uid: 5, gid: 6 } }), write('/new/deep/file', '', { owner: { uid: 5, gid: 6 } })],
  ],
  ['a removal', [{ type: 'remove', path: '/gone' }]],
  ['a directory in the place', [write('/gone', 'x'), write('/etc', 'x')]],
  ['the removal of a directory', [{ type: 'remove', path: '/etc' }]],
  ['one file twice', [write('/etc/a', '1'), write('/etc/../etc/a', '2')]],
  ['nothing', []],
];

for (const [what, changes] of COMMITS) {
  test(`files in memory do as real ones do with ${what}`, async () => {
    await using scratch = await createScratch();
    const fake = memoryFiles({ '/etc/a': { content: 'a', mode: 0o640 }, '/etc/b': 'b', '/gone': 'g' });
    await scratch.write('etc/a', 'a', 0o640);
    await scratch.write('etc/b', 'b');
    await scratch.write('gone', 'g');
    const real = createFiles(scratch.root, scratch.state);
    assert.deepEqual(await look(fake), await look(real));
    const settle = async (files: Files, how: 'confirm' | 'rollback'): Promise<unknown> =>
      outcome(async () => {
        const commit = await files.commit(changes);
        const between = await look(files);
        await commit[how]();
        await commit[how]();
        return { changed: commit.changed, between, after: await look(files) };
      });
    for (const how of ['rollback', 'confirm'] as const) {
      assert.deepEqual(await settle(fake, how), await settle(real, how), how);
      assert.deepEqual(await look(fake), await look(real), how);
    }
  });
}
