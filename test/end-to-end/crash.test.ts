import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { test } from 'node:test';
import { Agent } from '../support/agent.js';
import { Dom0 } from '../support/dom0.js';
import { ScratchRoot, VM_DATA } from '../support/scratch-root.js';
import { startXenstored } from '../support/xenstored.js';

const DOMAIN = 7;
/** System calls that leave something behind; strace counts each of them, and each thread, on its own. */
const STEPS = ['openat', 'write', 'fsync', 'rename', 'unlink', 'fchmod', 'sendto'] as const;
const FILE = 'etc/motd';
const NEW = 'the new content\n';

/** Kills process `pid` at the `count`-th call of `step` from now on. Resolves once that is armed. */
async function killAt(pid: number, step: string, count: number): Promise<AsyncDisposable> {
  const inject = `inject=${step}:signal=SIGKILL:when=${count}`;
  const args = ['-f', '-p', String(pid), '-e', `trace=${step}`, '-e', inject];
  const strace = spawn('strace', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = once(strace, 'exit');
  let printed = '';
  strace.stderr.setEncoding('utf8').on('data', (text: string) => (printed += text));
  while (!printed.includes('attached')) {
    if (strace.exitCode !== null) throw new Error(`strace: ${printed}`);
    await Promise.race([once(strace.stderr, 'data'), ended]);
  }
  return {
    async [Symbol.asyncDispose]() {
      strace.kill('SIGTERM');
      await ended;
    },
  };
}

test(
  'killed at every step of file_inject, the agent answers once and leaves files whole',
  { timeout: 240_000 },
  async (t) => {
    let deaths = 0;
    for (const step of STEPS) {
      for (let count = 1; ; count += 1) {
        using scratch = new ScratchRoot();
        scratch.write(FILE, 'the old content\n');
        const before = scratch.files();
        await using store = await startXenstored('c', scratch.directory);
        const dom0 = new Dom0(store.socket, DOMAIN);
        const options = { store: store.socket, domain: DOMAIN, root: scratch.root, oneThread: true };
        const value = { b64_path: btoa(`/${FILE}`), b64_file: btoa(NEW) };
        let id: string;
        let died: boolean;
        {
          await using first = await Agent.start(options);
          const strace = await killAt(first.pid, step, count);
          id = await dom0.send(JSON.stringify({ name: 'file_inject', value }));
          await Promise.race([first.ended(), dom0.answer(id).catch(() => undefined)]);
          await strace[Symbol.asyncDispose]();
          died = !first.running;
        }
        if (!died) break;
        deaths += 1;
        const atDeath = scratch.read(FILE);
        await using second = await Agent.start(options);
        const { returncode } = JSON.parse(await dom0.answer(id)) as { returncode: string };
        const where = `${step} ${count}`;
        if (returncode === '0') assert.equal(scratch.read(FILE), NEW, where);
        else assert.ok([before.get(FILE), atDeath].includes(scratch.read(FILE)), `${where}: run again, or cut`);
        assert.deepEqual([...scratch.files().keys()], [...before.keys()], where);
        assert.deepEqual(await dom0.call('file_inject', value), { kind: 'ok', message: '' }, where);
        assert.equal(scratch.read(FILE), NEW, where);
        assert.equal(await second.stop(), 0);
      }
    }
    t.diagnostic(`${deaths} steps covered`);
    assert.ok(deaths >= STEPS.length, `${deaths} deaths`);
  },
);

test('a store that was killed and comes back is found again, with what waits there', { timeout: 60_000 }, async () => {
  using scratch = new ScratchRoot();
  const options = { store: '', domain: DOMAIN, root: scratch.root };
  await using first = await startXenstored('c', scratch.directory);
  await using agent = await Agent.start({ ...options, store: first.socket });
  const dom0 = new Dom0(first.socket, DOMAIN);
  await dom0.publish(VM_DATA);
  await dom0.send('{"name": "resetnetwork", "value": ""}');
  await first.kill();
  rmSync(first.socket);
  await using second = await startXenstored('c', scratch.directory);
  assert.equal(second.socket, first.socket);
  const waiting = await dom0.send('{"name": "version", "value": "agent"}');
  assert.match(await dom0.answer(waiting), /"returncode":"0"/);
  assert.equal((await dom0.call('features', '')).kind, 'ok');
  assert.deepEqual(await dom0.list('data/host'), []);
  assert.equal(await agent.stop(), 0);
});
