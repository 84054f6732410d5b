import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { BUNDLE } from '../support/agent.js';

test('the demo ends well and shows every command, its answer and what changed', { timeout: 120_000 }, () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [BUNDLE, 'demo'], { encoding: 'utf8' });
  assert.equal(status, 0, stdout + stderr);
  for (const name of [
    'version',
    'features',
    'keyinit',
    'password',
    'injectfile',
    'file_inject',
    'sshkeys',
    'resetnetwork',
    'reboot',
  ]) {
    assert.match(stdout, new RegExp(`host {2}-> ${name} .*\\nguest <- \\{"returncode":"(0|D0|404)".* ms\\n`), name);
  }
  assert.match(stdout, /^\+\+\+ b\/root\/\.ssh\/authorized_keys/m);
  assert.doesNotMatch(stdout, /WRONG/);
});

test('the commands that the README begins with are there', () => {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };
  const [, screen = ''] = /```sh\n([\s\S]*?)```/.exec(readFileSync('README.md', 'utf8'))!;
  const names = [...screen.matchAll(/^npm (?:run )?(\S+)/gm)].map(([, name]) => name!);
  assert.deepEqual(names, ['demo', 'test']);
  for (const name of names) assert.ok(Object.hasOwn(scripts, name), name);
});
