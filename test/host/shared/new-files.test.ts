import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeFolder } from '../../../ts/host/shared/new-files.js';
import { createScratch } from '../../support/scratch.js';

const file = (text: string): { text: string; mode: number } => ({ text, mode: 0o644 });

test('a folder that cannot be filled leaves nothing behind', async () => {
  await using scratch = await createScratch();
  const folder = join(scratch.directory, 'new');
  await assert.rejects(makeFolder(folder, { one: file('1'), 'no/two': file('2') }), { code: 'ENOENT' });
  assert.ok(!existsSync(folder));
});

test('nothing is made in a directory that is not there, or over what is', async () => {
  await using scratch = await createScratch();
  await assert.rejects(makeFolder(join(scratch.directory, 'misyped/new'), { one: file('1') }), { code: 'ENOENT' });
  assert.ok(!existsSync(join(scratch.directory, 'misyped')));
  await mkdir(join(scratch.directory, 'new'));
  await assert.rejects(makeFolder(join(scratch.directory, 'new'), { one: file('1') }), { code: 'EEXIST' });
  assert.ok(!existsSync(join(scratch.directory, 'new/one')));
});
