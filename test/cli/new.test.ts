/** What `guestwire new` makes; that a plugin's own test passes is proved with the tutorial (test/docs/plugins.test.ts). */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { ScratchDirectory } from '../../ts/host/shared/scratch-directory.js';
import { runCli } from '../support/run-cli.js';

test('new plugin makes a plugin that the agent can use', async () => {
  await using scratch = await ScratchDirectory.create();
  await scratch.write({ 'deep/down/.keep': '' });
  const { code, stdout, stderr } = await runCli(['new', 'plugin', 'greet', '--directory', `${scratch.path}/deep/down`]);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /npm test/);
  const listed = await runCli(['commands', '--plugins', `${scratch.path}/deep/down`]);
  assert.equal(listed.code, 0, listed.stdout);
  assert.ok(listed.stdout.includes(`plugin ${scratch.path}/deep/down/greet\n`), listed.stdout);
});

test('new script makes a script and a test that passes, and that fails when the script does', async () => {
  await using scratch = await ScratchDirectory.create();
  const { code, stdout } = await runCli(['new', 'script', 'backup', '--directory', scratch.path]);
  assert.equal(code, 0);
  assert.match(stdout, /\/etc\/guestwire\/commands/);
  const script = `${scratch.path}/backup/backup`;
  assert.equal(statSync(script).mode & 0o777, 0o755);
  assert.equal(execFileSync(`${scratch.path}/backup/test.sh`, { encoding: 'utf8' }), 'backup: passed\n');
  writeFileSync(script, readFileSync(script, 'utf8').replace('echo 0', 'echo 1'));
  assert.equal(spawnSync(`${scratch.path}/backup/test.sh`).status, 1);
});

test('new overwrites nothing', async () => {
  await using scratch = await ScratchDirectory.create();
  await scratch.write({ 'greet/index.js': 'mine' });
  const { code, stderr } = await runCli(['new', 'plugin', 'greet', '--directory', scratch.path]);
  assert.equal(code, 2);
  assert.match(stderr, /^guestwire: \S+\/greet is there already; nothing was changed\n/);
  assert.deepEqual([...(await scratch.snapshot('.'))], [['greet/index.js', 'mine']]);
});

test('new makes no directory that was only mistyped, and no folder in the place of a link', async () => {
  await using scratch = await ScratchDirectory.create();
  await scratch.write({ file: 'mine', 'there/.keep': '' });
  for (const directory of ['misyped', 'misyped/deeper', 'file', 'file/deeper']) {
    const { code, stderr } = await runCli(['new', 'script', 'greet', '--directory', `${scratch.path}/${directory}`]);
    assert.equal(code, 2);
    assert.equal(stderr.split('\n')[0], `guestwire: --directory: ${scratch.path}/${directory} is not a directory`);
  }
  symlinkSync('there', `${scratch.path}/greet`);
  const { code, stderr } = await runCli(['new', 'script', 'greet', '--directory', scratch.path]);
  assert.equal(code, 2);
  assert.match(stderr, /greet is there already; nothing was changed/);
  assert.deepEqual([...(await scratch.snapshot('.')).keys()], ['file', 'there/.keep']);
});

for (const [args, complaint] of [
  [[], "wanted 'plugin NAME' or 'script NAME'"],
  [['plugin'], "wanted 'plugin NAME' or 'script NAME'"],
  [['wire', 'x'], "the first argument: wanted plugin, script, got 'wire'"],
  [['script', '../x'], "NAME: wanted small letters, digits, _ and -, at most 64, got '../x'"],
  [['script', 'x', 'y'], "unexpected argument 'y'"],
  [['script', 'x', '--typescript'], '--typescript: wanted with a plugin alone'],
  [['plugin', 'version'], "NAME: the agent has a command 'version' itself; wanted another name"],
] as const) {
  test(`wrong usage of new is explained: ${args.join(' ')}`, async () => {
    const { code, stderr } = await runCli(['new', ...args]);
    assert.equal(code, 2);
    assert.ok(stderr.startsWith(`guestwire: ${complaint}\n`), stderr);
  });
}
