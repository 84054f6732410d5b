/** One state directory serves one agent: two would undo each other's changes and run requests twice. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent } from '../support/agent.js';
import { startGuestStore } from '../support/guest-store.js';
import { ScratchRoot } from '../support/scratch-root.js';

test('an agent that starts while the one before is ending waits for it', async () => {
  using scratch = new ScratchRoot();
  await using store = await startGuestStore('embedded', scratch.directory);
  await using first = await Agent.start({ ...store.agent, root: scratch.root });
  const second = Agent.start({ ...store.agent, root: scratch.root });
  // Long enough for it to find the lock taken; a later one only finds it free.
  await sleep(1000);
  assert.equal(await first.stop(), 0);
  await using agent = await second;
  assert.equal(await agent.stop(), 0);
});

test('an agent that was killed keeps no other from starting', async () => {
  using scratch = new ScratchRoot();
  await using store = await startGuestStore('embedded', scratch.directory);
  await using first = await Agent.start({ ...store.agent, root: scratch.root });
  process.kill(first.pid, 'SIGKILL');
  assert.equal(await first.ended(), 'SIGKILL');
  await using agent = await Agent.start({ ...store.agent, root: scratch.root });
  assert.equal(await agent.stop(), 0);
});
