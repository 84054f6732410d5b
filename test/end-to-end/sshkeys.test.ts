import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Agent } from '../support/agent.js';
import { runCli } from '../support/run-cli.js';
import { ScratchRoot } from '../support/scratch-root.js';
import { startXenstored } from '../support/xenstored.js';

const DOMAIN = 7;

test('guestwire call merges, lists, removes and replaces the keys of a file over a real store', async () => {
  using scratch = new ScratchRoot();
  await using store = await startXenstored('c', scratch.directory);
  await using agent = await Agent.start({ store: store.socket, domain: DOMAIN, root: scratch.root });
  const pair = join(scratch.directory, 'id');
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'me@example.org', '-f', pair]);
  const file = `${pair}.pub`;
  const line = readFileSync(file, 'utf8');
  writeFileSync(file, `# mine\n\n${line}`);
  const sshkeys = async (...args: string[]): Promise<readonly [code: number, message: string]> => {
    const to = ['--store', store.socket, '--domain', String(DOMAIN), '--json'];
    const { code, stdout, stderr } = await runCli(['call', ...to, 'sshkeys', ...args]);
    return [code, code === 2 ? stderr : (JSON.parse(stdout) as { message: string }).message];
  };
  const [fingerprint = ''] = /SHA256:\S+/.exec(execFileSync('ssh-keygen', ['-lf', file], { encoding: 'utf8' })) ?? [];
  const keys = 'root/.ssh/authorized_keys';

  assert.deepEqual(await sshkeys('merge', file), [0, 'added 1, there already 0']);
  assert.equal(scratch.read(keys), line);
  assert.deepEqual(await sshkeys('list'), [0, `${fingerprint} ssh-ed25519 me@example.org`]);
  assert.deepEqual(await sshkeys('list', 'root'), [0, `${fingerprint} ssh-ed25519 me@example.org`]);
  assert.deepEqual(await sshkeys('remove', 'root', file), [0, 'removed 1, not there 0']);
  assert.deepEqual(await sshkeys('replace', 'root', file), [0, 'replaced 0 by 1']);
  assert.deepEqual(await sshkeys('merge', 'nobody', file), [1, 'Refused the ssh keys of nobody: its home is /']);
  for (const wrong of [[], ['merge'], ['list', 'root', file], ['merge', 'root', file, 'more']]) {
    const [code, text] = await sshkeys(...wrong);
    assert.equal(code, 2);
    assert.match(
      text,
      /^guestwire: sshkeys: wanted list \[USER\], or merge, remove or replace with \[USER\] KEYFILE, got /,
    );
  }
  appendFileSync(file, 'ssh-ed25519 rubbish\n');
  const [code, text] = await sshkeys('merge', file);
  assert.equal(code, 1);
  assert.equal(text, 'Invalid key 2: expected an OpenSSH public key in one line, got a key that is not base64');
  assert.equal(scratch.read(keys), line);
  assert.equal(await agent.stop(), 0);
  assert.ok(!agent.log.includes('me@example.org'), 'the log holds a value of a request');
});
