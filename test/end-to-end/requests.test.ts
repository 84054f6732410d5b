import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openStore, type StoreConnection } from '../../ts/host/shared/store.js';
import { Agent } from '../support/agent.js';
import { novaReads, xenstoreRead } from '../support/host-view.js';
import { ScratchRoot } from '../support/scratch-root.js';
import { startXenstored } from '../support/xenstored.js';

interface Requests {
  readonly cases: readonly { readonly id: string; readonly request_value: string }[];
}

const DOMAIN = 7;
const SEED = 20_240_917;
const REQUESTS = 10_000;
const MARKER = 'never-to-be-logged';
const AT_ONCE = 200;

/** mulberry32: the same requests in every run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Any request at all, but for those that may rightly succeed in changing a file. */
function body(next: () => number): Buffer {
  const pick = <T>(values: readonly T[]): T => values[Math.floor(next() * values.length)]!;
  const names = ['version', 'features', 'password', 'keyinit', 'injectfile', 'file_inject', '', '__proto__', 'é'];
  const values: readonly unknown[] = [
    MARKER,
    '',
    null,
    5,
    [MARKER],
    { b64_path: MARKER },
    '5',
    true,
    -1,
    `${MARKER}==`,
  ];
  const valid = Buffer.from(JSON.stringify({ name: pick(names), value: pick(values) }));
  const kind = next();
  if (kind < 0.3) return valid;
  if (kind < 0.6) {
    valid[Math.floor(next() * valid.length)] = Math.floor(next() * 256);
    return valid.subarray(0, Math.ceil(next() * valid.length));
  }
  if (kind < 0.7) return Buffer.from(pick(['', '[]', '[1]', '5', 'null', '"x"', '{}', `"${MARKER}"`, '{"name":{}}']));
  // Path and value together fill one message of 4096 bytes at most.
  const length = next() < 0.1 ? 3800 : Math.floor(next() * 300);
  return Buffer.from(Array.from({ length }, () => Math.floor(next() * 256)));
}

/** Resolves once no request stands. */
async function settled(store: StoreConnection): Promise<void> {
  const until = performance.now() + 60_000;
  while (((await store.list('data/host')) ?? []).length > 0) {
    if (performance.now() > until) throw new Error(`left: ${((await store.list('data/host')) ?? []).join(' ')}`);
    await sleep(5);
  }
}

test(
  '10,000 requests of every kind get one answer each, and leave nothing in memory or log',
  { timeout: 240_000 },
  async () => {
    using scratch = new ScratchRoot();
    await using store = await startXenstored('c', scratch.directory);
    await using agent = await Agent.start({ store: store.socket, domain: DOMAIN, root: scratch.root });
    using host = openStore({ endpoint: store.socket, domain: DOMAIN, poll: 'loop' }, () => undefined);
    const known = (JSON.parse(readFileSync('test/fixtures/unix-protocol-requests.json', 'utf8')) as Requests).cases;
    const before = scratch.files();
    const answer = async (id: string): Promise<{ returncode: string; message: string }> => {
      const value = await host.read(`data/guest/${id}`);
      assert.ok(value !== null, `${id} has no answer`);
      const printed = xenstoreRead(value);
      const reply = JSON.parse(printed) as { returncode: string; message: string };
      // What nova takes the answer for, with its own code as the one that it waits for.
      assert.equal(novaReads(printed, [reply.returncode])?.kind, 'ok', printed);
      await host.remove(`data/guest/${id}`);
      return reply;
    };

    for (const { id, request_value: value } of known) await host.write(`data/host/${id}`, Buffer.from(value));
    await settled(host);
    const returncodes = new Map<string, string>();
    for (const { id } of known) returncodes.set(id, (await answer(id)).returncode);
    for (const id of ['11-version', '12-version-noval', '13-features', '33-dupname'])
      assert.equal(returncodes.get(id), '0');
    for (const id of ['10-unknown', '32-unicode']) assert.equal(returncodes.get(id), '404');
    for (const id of ['01-empty', '02-garbage', '03-list', '05-number', '07-noname', '16-password-nokey', '30-kms']) {
      assert.equal(returncodes.get(id), '500', id);
    }

    const next = random(SEED);
    let sizeAfterHalf = 0;
    for (let sent = 0; sent < REQUESTS; sent += AT_ONCE) {
      const ids = Array.from({ length: AT_ONCE }, (_, index) => `${sent + index}`.padEnd(next() < 0.05 ? 200 : 1, 'x'));
      await Promise.all(ids.map((id) => host.write(`data/host/${id}`, body(next))));
      await settled(host);
      for (const id of ids) await answer(id);
      assert.deepEqual(await host.list('data/guest'), [], 'nothing was answered again');
      if (sent === REQUESTS / 2) sizeAfterHalf = agent.residentKib;
    }
    // The heap has found its size in the first half. 5,000 requests kept at 4 KiB each would be 20 MiB.
    const growth = agent.residentKib - sizeAfterHalf;
    assert.ok(growth < 16 * 1024, `grew by ${growth} KiB in the second half`);

    await host.write('data/host/last', Buffer.from('{"name":"version","value":""}'));
    await settled(host);
    assert.equal((await answer('last')).returncode, '0');
    assert.equal(await agent.stop(), 0);
    assert.ok(!agent.log.includes(MARKER), 'the log holds a value of a request');
    assert.equal(scratch.files().get('etc/shadow'), before.get('etc/shadow'));
  },
);
