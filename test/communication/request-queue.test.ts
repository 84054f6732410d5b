import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RawRequest, Requests } from '../../ts/api/communication.js';
import { RequestQueue } from '../../ts/communication/request-queue.js';

const request = (id: string): RawRequest => ({ id, body: Buffer.alloc(0), answered: false });
const turn = (): Promise<unknown> => new Promise(setImmediate);

async function iterate(requests: Required<Requests>): Promise<readonly string[]> {
  const ids: string[] = [];
  for await (const { id } of requests) ids.push(id);
  return ids;
}

async function each(requests: Required<Requests>): Promise<readonly string[]> {
  const ids: string[] = [];
  await requests.each(({ id }) => ids.push(id));
  return ids;
}

for (const read of [iterate, each]) {
  test(`${read.name}: gives what is there and what comes, in order, until it is closed`, async () => {
    const queue = new RequestQueue();
    queue.push(request('a'));
    queue.push(request('b'));
    const ids = read(queue.take(new AbortController().signal));
    await turn();
    queue.push(request('c'));
    await turn();
    queue.close();
    queue.push(request('d'));
    assert.deepEqual(await ids, ['a', 'b', 'c']);
    assert.deepEqual(await read(queue.take(new AbortController().signal)), []);
  });

  test(`${read.name}: ends at the signal, whether it waits or not, and leaves what is there`, async () => {
    const queue = new RequestQueue();
    const stop = new AbortController();
    const waiting = read(queue.take(stop.signal));
    await turn();
    stop.abort();
    queue.push(request('a'));
    assert.deepEqual(await waiting, []);
    assert.deepEqual(await read(queue.take(stop.signal)), []);
    const later = new AbortController();
    const rest = read(queue.take(later.signal));
    await turn();
    later.abort();
    assert.deepEqual(await rest, ['a']);
  });
}

test('each: calls from where a request comes in, and ends with what the call throws', async () => {
  const queue = new RequestQueue();
  const seen: string[] = [];
  const reading = queue.take(new AbortController().signal).each(({ id }) => {
    if (id === 'bad') throw new Error('refused');
    seen.push(id);
  });
  queue.push(request('a'));
  assert.deepEqual(seen, ['a']);
  queue.push(request('bad'));
  queue.push(request('b'));
  await assert.rejects(reading, /refused/);
  assert.deepEqual(seen, ['a']);
  const stop = new AbortController();
  const rest = iterate(queue.take(stop.signal));
  await turn();
  stop.abort();
  assert.deepEqual(await rest, ['b']);
});
