import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RawRequest } from '../../ts/api/communication.js';
import { RequestQueue } from '../../ts/communication/request-queue.js';

const request = (id: string): RawRequest => ({ id, body: Buffer.alloc(0), answered: false });

async function idsOf(requests: AsyncIterable<RawRequest>): Promise<readonly string[]> {
  const ids: string[] = [];
  for await (const { id } of requests) ids.push(id);
  return ids;
}

test('gives what is there and what comes, in order, until it is closed', async () => {
  const queue = new RequestQueue();
  queue.push(request('a'));
  queue.push(request('b'));
  const ids = idsOf(queue.take(new AbortController().signal));
  await new Promise(setImmediate);
  queue.push(request('c'));
  await new Promise(setImmediate);
  queue.close();
  assert.deepEqual(await ids, ['a', 'b', 'c']);
});

test('ends at the signal, whether it waits or not, and leaves what is there', async () => {
  const queue = new RequestQueue();
  const stop = new AbortController();
  const waiting = idsOf(queue.take(stop.signal));
  await new Promise(setImmediate);
  stop.abort();
  queue.push(request('a'));
  assert.deepEqual(await waiting, []);
  assert.deepEqual(await idsOf(queue.take(stop.signal)), []);
  const next = await queue.take(new AbortController().signal).next();
  assert.equal((next.value as RawRequest).id, 'a');
});
