import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { test } from 'node:test';
import { openStore } from '../../ts/host/shared/store.js';
import { Agent } from '../support/agent.js';
import { Dom0, localTools } from '../support/dom0.js';
import { ScratchRoot } from '../support/scratch-root.js';
import { startXenstored } from '../support/xenstored.js';

const DOMAIN = 7;

test('a store that was killed under requests comes back: none is answered twice', { timeout: 60_000 }, async () => {
  using scratch = new ScratchRoot();
  scratch.write('etc/motd', 'the old content\n');
  const options = { domain: DOMAIN, poll: 'loop' } as const;
  await using first = await startXenstored('c', scratch.directory);
  await using agent = await Agent.start({ store: first.socket, domain: DOMAIN, root: scratch.root });
  const dom0 = new Dom0(localTools(first.socket), DOMAIN);
  const ids: string[] = [];
  const answered = new Map<string, number>();
  const count = (path: string): void => {
    const id = path.split('/')[2];
    if (id !== undefined) answered.set(id, (answered.get(id) ?? 0) + 1);
  };
  {
    using reader = openStore({ endpoint: first.socket, ...options }, () => undefined);
    let killed = Promise.resolve();
    const died = new Promise<void>((resolve) => {
      void reader.watch('data/guest', (path) => {
        count(path);
        // In the middle of the burst: each command takes longer than this event.
        if (answered.size > 0) killed = first.kill().then(resolve);
      });
    });
    for (let number = 0; number < 20; number += 1) {
      const value = { b64_path: btoa(`/opt/${number}`), b64_file: btoa(`content ${number}`) };
      const id = `burst-${number}`;
      ids.push(id);
      // Written by our own client, because a process for each would give the agent time to keep up.
      void reader.write(`data/host/${id}`, Buffer.from(JSON.stringify({ name: 'file_inject', value }))).catch(() => {
        // Those that the store did not live to see.
      });
    }
    await died;
    await killed;
  }
  assert.ok(answered.size < ids.length, 'requests were under way');
  rmSync(first.socket);
  await using second = await startXenstored('c', scratch.directory);
  assert.equal(second.socket, first.socket);
  using reader = openStore({ endpoint: second.socket, ...options }, () => undefined);
  await reader.watch('data/guest', count);
  const waiting = await dom0.send('{"name": "version", "value": "agent"}');
  assert.match(await dom0.answer(waiting), /"returncode":"0"/);
  // Serial, so what was taken before the store died has ended too.
  assert.equal((await dom0.call('injectfile', btoa('/etc/motd,x'))).kind, 'ok');
  assert.deepEqual(await dom0.list('data/host'), []);
  for (const [id, times] of answered) assert.equal(times, 1, id);
  for (const [path, content] of scratch.files()) {
    if (path.startsWith('opt/')) assert.equal(content, `content ${path.slice(4)}`);
  }
  assert.equal(await agent.stop(), 0);
});
