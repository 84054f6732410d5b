import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Controller } from '../../ts/controller/controller.js';
import { sendFile } from '../../ts/controller/send-file.js';
import { Agent } from '../support/agent.js';
import { runCli } from '../support/run-cli.js';
import { ScratchRoot } from '../support/scratch-root.js';
import { startXenstored } from '../support/xenstored.js';

const DOMAIN = 7;
const SIZE = 100_000;

for (const kind of ['c', 'ocaml'] as const) {
  const title = `guestwire call sends a binary file of 100 kB whole, over ${kind === 'c' ? 'xenstored' : 'oxenstored'}`;
  test(title, { timeout: 120_000 }, async (t) => {
    using scratch = new ScratchRoot();
    await using store = await startXenstored(kind, scratch.directory);
    await using agent = await Agent.start({ store: store.socket, domain: DOMAIN, root: scratch.root });
    const file = randomBytes(SIZE);
    const local = join(scratch.directory, 'local');
    writeFileSync(local, file);
    const started = performance.now();
    const args = ['call', '--store', store.socket, '--domain', String(DOMAIN), 'file_inject', local, '/opt/new/remote'];
    const { code, stdout, stderr } = await runCli(args);
    t.diagnostic(`${Math.round(performance.now() - started)} ms: ${stdout}`);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^file_inject: 0 "100000 of 100000 bytes"/);
    assert.equal(stderr, '', 'progress is for terminals alone');
    const target = join(scratch.root, 'opt/new/remote');
    assert.deepEqual(readFileSync(target), file);
    assert.equal(statSync(target).mode & 0o7777, 0o600);
    assert.deepEqual(readdirSync(join(scratch.root, 'var/lib/guestwire/uploads')), []);
    assert.equal(await agent.stop(), 0);
  });
}

test('an agent that is killed between parts goes on with the file, and with another content begins anew', async () => {
  using scratch = new ScratchRoot();
  await using store = await startXenstored('c', scratch.directory);
  const start = (): Promise<Agent> => Agent.start({ store: store.socket, domain: DOMAIN, root: scratch.root });
  using controller = await Controller.open({ endpoint: store.socket, domain: DOMAIN });
  const target = join(scratch.root, 'opt/remote');
  const first = randomBytes(20_000);
  const stopped = new Error('stopped half-way');

  /** The agent's counts until it has half of the file, and is killed. */
  async function sendHalf(content: Buffer): Promise<void> {
    await using agent = await start();
    const sending = sendFile(controller, '/opt/remote', content, {
      onProgress(held) {
        if (held > 10_000) throw stopped;
      },
    });
    await assert.rejects(sending, stopped);
    process.kill(agent.pid, 'SIGKILL');
    await agent.ended();
  }

  await sendHalf(first);
  {
    await using agent = await start();
    const counts: number[] = [];
    const answer = await sendFile(controller, '/opt/remote', first, { onProgress: (held) => counts.push(held) });
    assert.equal(answer.message, '20000 of 20000 bytes');
    assert.ok(counts[0]! > 10_000, `it began at ${counts[0]!}`);
    assert.deepEqual(readFileSync(target), first);
    await agent.stop();
  }

  await sendHalf(randomBytes(20_000));
  assert.deepEqual(readFileSync(target), first, 'half a file is not at its place');
  {
    await using agent = await start();
    const second = randomBytes(20_000);
    assert.equal((await sendFile(controller, '/opt/remote', second)).message, '20000 of 20000 bytes');
    assert.deepEqual(readFileSync(target), second);
    await agent.stop();
  }
});
