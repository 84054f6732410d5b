/** Scripts in the whole agent on this machine: it runs none on a copy of a system. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
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
