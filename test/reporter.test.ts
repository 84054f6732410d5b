import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { createScratch } from './support/scratch.js';

test('what failed is told again just before the closing lines, and nothing of it where all went well', async () => {
  await using scratch = await createScratch();
  const file = await scratch.write(
    'of-a-scratch.test.mjs',
    `import { test } from 'node:test';
    test('outer', (t) => t.test('inner', () => { throw new Error('the first line\\nthe second'); }));
    test('good', () => {});
    test('slow', { timeout: 50 }, () => new Promise((resolve) => setTimeout(resolve, 500)));`,
  );
  const good = await scratch.write('good.test.mjs', `import { test } from 'node:test'; test('good', () => {});`);
  // A runner that finds the context of another one reports to it.
  const env = { ...process.env };
  delete env['NODE_TEST_CONTEXT'];
  const ends = [file, good].map((path) => {
    const args = ['--test', `--test-reporter=${resolve('test/reporter.js')}`, path];
    const { status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8', env });
    const lines = stdout.split('\n');
    return { status, end: lines.slice(lines.findLastIndex((line) => /^1\.\.\d+$/.test(line)) + 1) };
  });
  const [failed, passed] = ends;
  assert.equal(failed?.status, 1);
  assert.deepEqual(
    failed.end.filter((line) => /^# (failed|tests|fail|cancelled)\b/.test(line)),
    [`# failed: inner (${file}:2)`, `# failed: slow (${file}:4)`, '# tests 4', '# fail 2', '# cancelled 1'],
  );
  assert.ok(failed.end.includes('#   Error: the first line'));
  assert.ok(failed.end.includes('#   the second'));
  assert.equal(passed?.status, 0);
  assert.equal(passed.end[0], '# tests 1');
});
