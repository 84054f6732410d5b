/** Scripts in the whole agent on this machine: it runs none on a copy of a system. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent } from '../support/agent.js';
import { Dom0, localTools } from '../support/dom0.js';
import { ScratchDirectory } from '../../ts/host/shared/scratch-directory.js';
import { pluginText } from '../support/plugins.js';
import { startXenstored } from '../support/xenstored.js';

test('the log has the exit status and the time-out of scripts and plugins, and nothing that they printed', async () => {
  await using scratch = await ScratchDirectory.create();
  await using store = await startXenstored('c', scratch.path);
  const sh = (text: string): { text: string; mode: number } => ({ text: `#!/bin/sh\n${text}\n`, mode: 0o755 });
  await scratch.write({
    'commands/status': sh('echo s3cret; echo s3cret >&2; exit 3'),
    'commands/slow': sh('echo s3cret; sleep 30'),
    'commands/lost': { text: '#!/no/such\n', mode: 0o755 },
    'plugins/x.mjs': pluginText('x', { hangs: '() => new Promise(() => {})' }),
    'own.toml':
      `[state]\ndirectory = "${scratch.path}/state"\n[hooks]\ndirectory = "${scratch.path}/hooks"\n` +
      `[scripts]\ndirectory = "${scratch.path}/commands"\ntimeout = "500ms"\n` +
      `[plugins]\ndirectory = "${scratch.path}/plugins"\ncommand-timeout = "500ms"\n`,
  });
  const config = `${scratch.path}/own.toml`;
  await using agent = await Agent.start({ store: store.socket, domain: 7, config, args: ['--log-level', 'info'] });
  assert.match(agent.log, /commands\/lost","reason":"its interpreter \/no\/such is not there or not executable"/);
  const dom0 = new Dom0(localTools(store.socket), 7);
  for (const [name, reason] of [
    ['status', 'Script status failed: exit status 3, wanted 0'],
    ['slow', 'Script slow failed: no answer within 0.5 s'],
    ['hangs', 'Plugin x failed: no answer within 0.5 s'],
  ] as const) {
    const answer = JSON.parse(await dom0.answer(await dom0.send(`{"name":"${name}","value":"s3cret"}`))) as unknown;
    assert.deepEqual(answer, { returncode: '500', message: reason });
    await agent.logged(`"reason":"${reason}","msg":"command failed"`);
  }
  assert.ok(!agent.log.includes('s3cret'), agent.log);
  assert.equal(await agent.stop(), 0);
});

test('a script is killed with its children when the host withdraws the request, and when the agent stops', async () => {
  await using scratch = await ScratchDirectory.create();
  await using store = await startXenstored('c', scratch.path);
  const pids = `${scratch.path}/pids`;
  const text = `#!/bin/sh\nsleep 600 &\necho $! >> ${pids}\nwait\necho 0\n`;
  await scratch.write({
    'commands/long': { text, mode: 0o755 },
    'own.toml':
      `[state]\ndirectory = "${scratch.path}/state"\n[hooks]\ndirectory = "${scratch.path}/hooks"\n` +
      `[scripts]\ndirectory = "${scratch.path}/commands"\n[plugins]\ndirectory = "${scratch.path}/plugins"\n`,
  });
  const begun = async (count: number): Promise<string> => {
    for (;;) {
      const lines = existsSync(pids) ? readFileSync(pids, 'utf8').split('\n') : [];
      // The last one is what follows the line feed.
      if (lines.length > count) return lines[count - 1]!;
      await sleep(20);
    }
  };
  const gone = async (pid: string): Promise<void> => {
    const state = (): string =>
      existsSync(`/proc/${pid}/stat`) ? /\) (.)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))![1]! : 'Z';
    while (state() !== 'Z') await sleep(20);
  };
  const config = `${scratch.path}/own.toml`;
  await using agent = await Agent.start({ store: store.socket, domain: 7, config });
  const dom0 = new Dom0(localTools(store.socket), 7);
  const id = await dom0.send('{"name":"long","value":""}');
  const first = await begun(1);
  await dom0.tool('rm', dom0.path(`data/host/${id}`));
  await agent.logged('"reason":"Script long failed: it was killed: the host has withdrawn the request"');
  await gone(first);
  assert.equal((await dom0.call('version', '')).kind, 'ok');
  const last = await dom0.send('{"name":"long","value":""}');
  const second = await begun(2);
  assert.equal(await agent.stop(), 0);
  await gone(second);
  assert.deepEqual(JSON.parse(await dom0.answer(last)), {
    returncode: '500',
    message: 'Script long failed: it was killed: the agent stops',
  });
  assert.match(agent.log, /"reason":"Script long failed: it was killed: the agent stops","msg":"command failed"/);
});
