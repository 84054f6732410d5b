/** What test/end-to-end/update-undone.test.ts cannot show: a disk that fails at the wrong moment. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Logger, pino } from 'pino';
import type { AgentHost } from '../../ts/agent/host.js';
import type { Updates } from '../../ts/agent/updates.js';
import { AgentError } from '../../ts/api/index.js';
import { type Pending, readPending, writePending } from '../../ts/commands/update-state.js';
import { startUpdated } from '../../ts/daemon/update-start.js';
import { fakeHost } from '../../ts/testing/fake-host.js';
import { NO_UPDATES } from '../support/no-updates.js';

const flush = (): Promise<void> => Promise.resolve();
const SWITCHED = { previous: '1', next: '2', attempts: 0 };

/** A machine on which version 2 runs, with what an update left. */
async function machine(pending: Pending, updates: Partial<Updates> = {}): Promise<AgentHost> {
  const host = fakeHost();
  await writePending(host.state, pending);
  return {
    ...host,
    updates: {
      ...NO_UPDATES,
      installed: () => Promise.resolve({ running: '2', architecture: 'linux-x64', builtAt: 0 }),
      ...updates,
    },
  };
}

function recorder(): { readonly lines: string[]; readonly log: Logger } {
  const lines: string[] = [];
  return { lines, log: pino({ base: null }, { write: (line) => void lines.push(line) }) };
}

const full = (): Promise<never> =>
  Promise.reject(new AgentError('GW_FILE_FAILED', ['update.json', 'the disk is full']));

for (const [what, pending] of [
  ['a start cannot be counted', SWITCHED],
  ['nothing can be removed', 'preparing'],
] as const) {
  test(`where ${what} the agent starts all the same, and says so`, async () => {
    const host = await machine(pending, { clean: full });
    const { lines, log } = recorder();
    const settling = await startUpdated({ ...host, state: { ...host.state, write: full } }, { log, flush });
    await settling.stopped();
    assert.match(lines.join(''), /"code":"GW_FILE_FAILED".*"what an update left is left there"/);
  });
}

test('a stop is a stop, even when it cannot be noted that it was asked for', async () => {
  const host = await machine(SWITCHED);
  const state = { ...host.state };
  const { lines, log } = recorder();
  const settling = await startUpdated({ ...host, state }, { log, flush });
  state.write = full;
  await settling.stopped();
  assert.match(lines.join(''), /"code":"GW_FILE_FAILED".*"this start counts against the version"/);
});

test('the log is written out before the version before takes the place of the process', async () => {
  const happened: string[] = [];
  const host = await machine(
    { ...SWITCHED, attempts: 3 },
    {
      link: (version) => Promise.resolve(void happened.push(`link ${version}`)),
      restart: () => {
        happened.push('restart');
        return Promise.reject(new Error('not in a test'));
      },
    },
  );
  await startUpdated(host, { log: recorder().log, flush: () => Promise.resolve(void happened.push('flush')) });
  assert.deepEqual(happened, ['link 1', 'flush', 'restart']);
});

test('a version is confirmed although another update was under way when its time was up', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let pruned: readonly string[] = [];
  const host = await machine(SWITCHED, { prune: (keep) => Promise.resolve(void (pruned = keep)) });
  const settling = await startUpdated(host, { log: recorder().log, flush });
  settling.ready();
  await writePending(host.state, 'preparing');
  t.mock.timers.tick(10_000);
  await new Promise((resolve) => setImmediate(resolve));
  await writePending(host.state, SWITCHED);
  t.mock.timers.tick(10_000);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(pruned, ['2', '1']);
  assert.equal(await readPending(host.state), null);
});
