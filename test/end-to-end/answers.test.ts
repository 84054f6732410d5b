/** That every request has its answer though nobody removes answers and a guest's quota is small: as a guest, by UUIDs. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StoreConnection } from '../../ts/host/shared/store.js';
import { Agent } from '../support/agent.js';
import { localTools } from '../support/dom0.js';
import { GUEST, type GuestStore, hostOf, inGuest, startGuestStore } from '../support/guest-store.js';
import { ScratchRoot } from '../support/scratch-root.js';

const VERSION = '{"name": "version", "value": "agent"}';
/** How the dom0 plugin waits, milliseconds. */
const PLUGIN = { looks: 500, givesUp: 30_000 } as const;
const NAMES_IN_A_FOLDER = 50;
const INJECT = JSON.stringify({
  name: 'injectfile',
  value: Buffer.from('/etc/from-the-host,text\n').toString('base64'),
});

/** One call of the dom0 plugin; rejects as it does when its time is up, and takes the request back as it does. */
async function ask(host: StoreConnection, body = VERSION, id: string = randomUUID()): Promise<string> {
  await host.write(`data/host/${id}`, body);
  return answerTo(host, id);
}

async function answerTo(host: StoreConnection, id: string): Promise<string> {
  for (const end = performance.now() + PLUGIN.givesUp; performance.now() < end;) {
    const answer = await host.read(`data/guest/${id}`);
    if (answer !== null) return answer.toString();
    await sleep(PLUGIN.looks);
  }
  await host.remove(`data/host/${id}`);
  throw new Error(`TIMEOUT: ${id}`);
}

/** Somebody else in the guest uses up its quota of nodes. Gives the store's word for it. */
async function fill(guest: StoreConnection): Promise<string> {
  for (let number = 0; ; number += 1) {
    const path = `data/fill/${Math.floor(number / NAMES_IN_A_FOLDER)}/${number}`;
    try {
      await guest.write(path, '');
    } catch (error) {
      assert.ok(number > 500, (error as Error).message);
      return /\w+$/.exec((error as Error).message)?.[0] ?? '';
    }
  }
}

function lines(agent: Agent, text: string): readonly string[] {
  return agent.log.split('\n').filter((line) => line.includes(text));
}

async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (const end = performance.now() + 60_000; !(await holds());) {
    assert.ok(performance.now() < end, `waited in vain for ${what}`);
    await sleep(20);
  }
}

async function withAgent(
  kind: Parameters<typeof startGuestStore>[0],
  work: (host: StoreConnection, agent: Agent, scratch: ScratchRoot, store: GuestStore) => Promise<void>,
  before: (store: GuestStore) => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  using scratch = new ScratchRoot();
  await using store = await startGuestStore(kind, scratch.directory);
  await before(store);
  await using agent = await Agent.start({ ...store.agent, root: scratch.root });
  using host = hostOf(store);
  await work(host, agent, scratch, store);
  assert.equal(await agent.stop(), 0);
}

for (const kind of ['xenstored', 'embedded', 'oxenstored'] as const) {
  suite(`answers on ${kind}`, { concurrency: 1 }, () => {
    test('three hundred requests at once have one answer each, as long as a host looks twice a second', async () => {
      await withAgent(kind, async (host, agent) => {
        const answers = await Promise.all(Array.from({ length: 300 }, () => ask(host)));
        for (const answer of answers) assert.match(answer, /^\{"returncode":"0"/);
        assert.deepEqual(lines(agent, 'answer cannot be published'), []);
        assert.deepEqual(await host.list('data/host'), []);
      });
    });

    test('requests that come one after the other keep their answers for ten seconds, and there is always room', async () => {
      await withAgent(kind, async (host, agent) => {
        /** When each was first seen, oldest first. */
        const seen = new Map<string, number>();
        const gone: string[] = [];
        for (let number = 0; number < 80; number += 1) {
          const id = randomUUID();
          await host.write(`data/host/${id}`, VERSION);
          await until(async () => (await host.read(`data/guest/${id}`)) !== null, 'an answer');
          seen.set(id, performance.now());
          await sleep(200);
          const names = new Set(await host.list('data/guest'));
          for (const [old, since] of seen) {
            if (names.has(old)) continue;
            const age = performance.now() - since;
            assert.ok(age > 9000, `an answer was there for ${age} ms`);
            gone.push(old);
            seen.delete(old);
          }
        }
        assert.ok(gone.length > 20, `${gone.length} made room`);
        assert.deepEqual(lines(agent, 'made room for the next before'), []);
        assert.deepEqual(lines(agent, 'answer cannot be published'), []);
      });
    });
  });
}

for (const kind of ['xenstored', 'embedded'] as const) {
  suite(`a quota of nodes that others have used up, on ${kind}`, { concurrency: 1 }, () => {
    test('an answer that was read gives its place to the next: every command is still answered', async () => {
      await withAgent(kind, async (host, agent, scratch, store) => {
        for (let number = 0; number < 3; number += 1) await ask(host);
        using other = inGuest(store);
        assert.equal(await fill(other), 'ENOSPC');
        for (let number = 0; number < 3; number += 1) assert.match(await ask(host), /"returncode":"0"/);
        assert.match(await ask(host, INJECT), /"returncode":"0"/);
        assert.equal(scratch.read('etc/from-the-host'), 'text\n');
        assert.deepEqual(lines(agent, 'cannot be published'), []);
      });
    });

    test('without any place nothing is done; the log has the word of the store once, and that it is over', async () => {
      const before = async (store: GuestStore): Promise<void> => {
        using other = inGuest(store);
        assert.equal(await fill(other), 'ENOSPC');
      };
      await withAgent(
        kind,
        async (host, agent, scratch, store) => {
          const target = join(scratch.root, 'etc/from-the-host');
          const [first, second] = [randomUUID(), randomUUID()];
          for (const id of [first, second]) await host.write(`data/host/${id}`, INJECT);
          await agent.logged('the store has no room for answers');
          // Looked at again, and again.
          await sleep(5000);
          assert.ok(!existsSync(target));
          assert.deepEqual([...(await host.list('data/host'))!].sort(), [first, second].sort());
          assert.ok(!existsSync(join(scratch.root, 'var/lib/guestwire/journal')), 'nothing was begun');

          await host.remove(`data/host/${first}`);
          await agent.logged('no answer to injectfile is wanted any more');
          assert.ok(!existsSync(target), 'nothing was done for a request that was withdrawn');

          using other = inGuest(store);
          await other.remove('data/fill');
          assert.match(await answerTo(host, second), /"returncode":"0"/);
          assert.equal(scratch.read('etc/from-the-host'), 'text\n');
          assert.equal(await host.read(`data/guest/${first}`), null);
          const told = lines(agent, 'the store has no room for answers').filter((line) => line.includes('"level":50'));
          assert.equal(told.length, 1, told.join('\n'));
          assert.match(told[0]!, /"reason":"ENOSPC"/);
          assert.equal(lines(agent, 'the store has room for answers again').length, 1);
          assert.deepEqual(await host.list('data/guest'), [second]);
        },
        before,
      );
    });
  });
}

test('an answer that the store refuses for another reason is logged with the word of the store, once', async () => {
  await withAgent('xenstored', async (host, agent, _, store) => {
    await ask(host);
    const answers = `/local/domain/${GUEST}/data/guest`;
    using dom0 = hostOf(store);
    await dom0.remove('data/guest');
    await dom0.write('data/guest', '');
    await localTools(store.dom0)('chmod', [answers, 'n0']);
    for (const id of ['a', 'b', 'c']) {
      await host.write(`data/host/${id}`, VERSION);
      await until(async () => (await host.read(`data/host/${id}`)) === null, 'the request to go');
    }
    await agent.logged('answer cannot be published');
    const told = lines(agent, 'answer cannot be published').filter((line) => line.includes('"level":50'));
    assert.equal(told.length, 1, told.join('\n'));
    assert.match(told[0]!, /"reason":"the store refused data\/guest\/\(id\): EACCES"/);
    await localTools(store.dom0)('chmod', [answers, `n${GUEST}`]);
    assert.match(await ask(host), /"returncode":"0"/);
    await agent.logged('answers can be published again');
  });
});
