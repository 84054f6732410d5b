import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import type { RawRequest } from '../../../../ts/api/communication.js';
import { NovaTransport } from '../../../../ts/communication/xenstore/nova/transport.js';
import { SharedStoreLine } from '../../../../ts/host/shared/store-line.js';
import { MemoryXenStore, storeError } from '../../../support/memory-xenstore.js';

/** A transport on `store`, and the requests it has yielded so far. */
class Bench implements AsyncDisposable {
  readonly transport: NovaTransport;
  readonly received: RawRequest[] = [];
  readonly logged: string[];
  readonly #line: SharedStoreLine;
  readonly #stop = new AbortController();
  readonly #ended: Promise<void>;

  private constructor(transport: NovaTransport, line: SharedStoreLine, logged: string[]) {
    this.transport = transport;
    this.#line = line;
    this.logged = logged;
    this.#ended = this.#receive();
  }

  static async open(
    store: MemoryXenStore,
    options: { answerLifetime?: number; scanInterval?: number } = {},
  ): Promise<Bench> {
    const logged: string[] = [];
    const log = pino({ level: 'trace' }, { write: (line: string) => void logged.push(line) });
    const { answerLifetime = 600_000, scanInterval = 600_000 } = options;
    const line = new SharedStoreLine({ open: store.open, log });
    try {
      return new Bench(await NovaTransport.open({ line, log, answerLifetime, scanInterval }), line, logged);
    } catch (error) {
      line[Symbol.dispose]();
      throw error;
    }
  }

  get ids(): string[] {
    return this.received.map(({ id }) => id);
  }

  async #receive(): Promise<void> {
    for await (const request of this.transport.requests(this.#stop.signal)) this.received.push(request);
  }

  async request(id: string): Promise<RawRequest> {
    await until(() => this.ids.includes(id), `request ${id}`);
    const found = this.received.find((request) => request.id === id);
    assert.ok(found);
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#ended;
    await this.transport[Symbol.asyncDispose]();
    this.#line[Symbol.dispose]();
  }
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let tries = 0; !condition(); tries += 1) {
    assert.ok(tries < 1000, `never came: ${what}`);
    await sleep(5);
  }
}

/** Lets what is under way come to rest. */
const settle = (): Promise<void> => sleep(30);

test('a request costs one read, one write and one removal, and its own removal wakes nobody', async () => {
  const store = new MemoryXenStore();
  store.nodes.set('data/host', Buffer.alloc(0));
  await using bench = await Bench.open(store);
  await settle();
  store.operations.length = 0;
  store.write('data/host/a', 'hello');
  const request = await bench.request('a');
  assert.equal(Buffer.from(request.body).toString(), 'hello');
  assert.equal(request.answered, false);
  await bench.transport.respond(request, Buffer.from('answer'));
  await bench.transport.retire(request);
  await settle();
  assert.deepEqual(store.operations, ['read data/host/a', 'write data/guest/a', 'rm data/host/a']);
});

test('a value that comes with an event is the request: nothing is read, and the order stays', async () => {
  const store = new MemoryXenStore();
  store.nodes.set('data/host', Buffer.alloc(0));
  store.nodes.set('data/guest/old', Buffer.from('answer'));
  await using bench = await Bench.open(store);
  await settle();
  store.operations.length = 0;
  store.before = async (operation) => {
    if (operation.endsWith('/a')) await sleep(40);
  };
  store.write('data/host/a', 'read by the transport');
  store.eventValue = (path) => store.nodes.get(path) ?? null;
  store.write('data/host/b', 'read ahead');
  store.write('data/host/old', 'answered by an earlier run');
  store.fire('data/host/b', 'data/host/gone');
  await bench.request('old');
  store.fire('data/host/b', 'data/host/b/below');
  await settle();
  assert.deepEqual(
    bench.received.map(({ id, body, answered }) => [id, Buffer.from(body).toString(), answered]),
    [
      ['a', 'read by the transport', false],
      ['b', 'read ahead', false],
      ['old', 'answered by an earlier run', true],
    ],
  );
  assert.deepEqual(store.operations, ['read data/host/a']);
});

test('an event with a value during the removal is no new request, and one after it is', async () => {
  const store = new MemoryXenStore();
  store.eventValue = (path) => store.nodes.get(path);
  await using bench = await Bench.open(store);
  await settle();
  store.write('data/host/a', 'first');
  const request = await bench.request('a');
  await bench.transport.respond(request, Buffer.from('answer'));
  store.before = () => {
    store.before = () => undefined;
    store.fire('data/host/a');
  };
  await bench.transport.retire(request);
  await settle();
  assert.deepEqual(bench.ids, ['a']);
  store.write('data/host/a', 'second');
  await until(() => bench.ids.length === 2, 'the second a');
});

test('at the start the watch comes first, then everything is looked at once, and old answers are known', async () => {
  const store = new MemoryXenStore();
  store.nodes.set('data/host/new', Buffer.from('1'));
  store.nodes.set('data/host/answered', Buffer.from('2'));
  store.nodes.set('data/guest/answered', Buffer.from('3'));
  await using bench = await Bench.open(store);
  await settle();
  assert.deepEqual(store.operations.slice(0, 3), ['watch data/host', 'list data/guest', 'list data/host']);
  assert.deepEqual(
    bench.received.map(({ id, answered }) => [id, answered]),
    [
      ['new', false],
      ['answered', true],
    ],
  );
});

test('a directory for requests is made where there is none, one for answers never', async () => {
  const store = new MemoryXenStore();
  await using bench = await Bench.open(store);
  await settle();
  assert.ok(bench.ids.length === 0 && store.nodes.has('data/host'));
  assert.ok(!store.operations.includes('mkdir data/guest'));
});

test('events for a request under way, however many, yield it once', async () => {
  const store = new MemoryXenStore();
  await using bench = await Bench.open(store);
  store.write('data/host/a', 'x');
  store.fire('data/host/a', 'data/host', 'data/host/a/below', 'data/host/a');
  const request = await bench.request('a');
  store.fire('data/host/a', 'data/host');
  await settle();
  assert.deepEqual(bench.ids, ['a']);
  await bench.transport.respond(request, Buffer.from('r'));
  await bench.transport.retire(request);
  store.write('data/host/a', 'again');
  await until(() => bench.ids.length === 2, 'the second a');
});

test('requests come in the order of their events, whichever read ends first', async () => {
  const store = new MemoryXenStore();
  await using bench = await Bench.open(store);
  await settle();
  store.before = async (operation) => {
    if (operation.endsWith('/a')) await sleep(40);
  };
  for (const id of ['a', 'b', 'c']) store.write(`data/host/${id}`, id);
  await bench.request('c');
  assert.deepEqual(bench.ids, ['a', 'b', 'c']);
});

test('a request whose event was lost is found by the safety poll', async () => {
  const store = new MemoryXenStore();
  await using bench = await Bench.open(store, { scanInterval: 20 });
  await settle();
  store.nodes.set('data/host/silent', Buffer.from('x'));
  await bench.request('silent');
});

test('a request that the host withdraws before it is read is none', async () => {
  const store = new MemoryXenStore();
  await using bench = await Bench.open(store);
  await settle();
  store.fire('data/host/gone');
  await settle();
  assert.deepEqual(bench.ids, []);
  store.write('data/host/gone', 'back');
  await bench.request('gone');
  assert.equal(await bench.transport.stillWanted(await bench.request('gone')), true);
  store.nodes.delete('data/host/gone');
  assert.equal(await bench.transport.stillWanted(await bench.request('gone')), false);
});

test('after a lost connection it comes back, watches again, looks at everything once, and the pending answer is written', async () => {
  const store = new MemoryXenStore();
  await using bench = await Bench.open(store);
  store.write('data/host/a', 'x');
  const request = await bench.request('a');
  store.before = (operation) => {
    if (operation !== 'write data/guest/a') return;
    store.before = () => undefined;
    store.refusing = 'XS_IO';
    store.drop();
  };
  const responding = bench.transport.respond(request, Buffer.from('answer'));
  await until(() => bench.logged.some((line) => line.includes('cannot be reached')), 'a failed attempt');
  store.nodes.set('data/host/meanwhile', Buffer.from('y'));
  store.operations.length = 0;
  store.refusing = null;
  await responding;
  await bench.request('meanwhile');
  assert.equal(Buffer.from(store.nodes.get('data/guest/a') ?? []).toString(), 'answer');
  assert.deepEqual(bench.ids, ['a', 'meanwhile']);
  assert.equal(store.operations.filter((operation) => operation === 'watch data/host').length, 1);
  assert.equal(store.connections, 1);
});

/** Answers the requests of these ids, in their order. */
async function answer(store: MemoryXenStore, bench: Bench, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    store.write(`data/host/${id}`, 'x');
    const request = await bench.request(id);
    await bench.transport.respond(request, Buffer.from('answer'));
    store.nodes.delete(`data/host/${id}`);
    await bench.transport.retire(request);
  }
}

function answersIn(store: MemoryXenStore): readonly string[] {
  return [...store.nodes.keys()].flatMap((path) => /^data\/guest\/(.*)$/.exec(path)?.slice(1) ?? []);
}

test('old answers are removed when their time is up, those of an earlier run too, but for the newest four', async () => {
  const store = new MemoryXenStore();
  store.nodes.set('data/guest/earlier', Buffer.from('z'));
  await using bench = await Bench.open(store, { answerLifetime: 150 });
  await answer(store, bench, ['a', 'b', 'c', 'd', 'e']);
  assert.deepEqual(answersIn(store), ['earlier', 'a', 'b', 'c', 'd', 'e']);
  await until(() => answersIn(store).length < 5, 'the collection');
  await sleep(300);
  assert.deepEqual(answersIn(store), ['b', 'c', 'd', 'e']);
});

test('where the store is full the oldest answer makes room, and is logged when it is not ten seconds old', async () => {
  const store = new MemoryXenStore();
  await using bench = await Bench.open(store);
  await answer(store, bench, ['a', 'b']);
  store.before = async (operation) => {
    // Behind the removal that came before it.
    await sleep(1);
    if (operation.startsWith('write') && answersIn(store).length >= 2) throw storeError('XS_REFUSED', 'no: EQUOTA');
  };
  const begun = performance.now();
  await answer(store, bench, ['c']);
  assert.ok(performance.now() - begun > 1500, 'a host that looks twice a second had time to read it');
  assert.deepEqual(answersIn(store), ['b', 'c']);
  const told = bench.logged.filter((line) => line.includes('made room for the next before'));
  assert.equal(told.length, 1);
  assert.match(told[0]!, /"level":40.*"request":"a"/);
});

test('the answer of a request that still stands makes room for none', async () => {
  const store = new MemoryXenStore();
  await using bench = await Bench.open(store);
  store.write('data/host/stays', 'x');
  await bench.transport.respond(await bench.request('stays'), Buffer.from('answer'));
  store.before = (operation) => {
    if (operation.startsWith('write data/guest')) throw storeError('XS_REFUSED', 'no: ENOSPC');
  };
  store.write('data/host/next', 'x');
  const request = await bench.request('next');
  const responding = bench.transport.respond(request, Buffer.from('answer'));
  await until(() => bench.logged.some((line) => line.includes('has no room for answers')), 'a full store');
  assert.deepEqual(answersIn(store), ['stays']);
  store.nodes.delete('data/host/next');
  await responding;
  assert.deepEqual(answersIn(store), ['stays'], 'nobody wants it any more');
});

test('a place for an answer is made where there is none, not among the answers, and the answer takes it', async () => {
  const store = new MemoryXenStore();
  await using bench = await Bench.open(store);
  store.write('data/host/a', 'x');
  const request = await bench.request('a');
  assert.equal(await bench.transport.reserve(request), true);
  const place = 'data/guestwire-keeps-a-place';
  assert.ok(store.nodes.has(place));
  assert.deepEqual(answersIn(store), []);
  store.before = async (operation) => {
    await sleep(1);
    if (operation.startsWith('write') && store.nodes.has(place)) throw storeError('XS_REFUSED', 'no: ENOSPC');
  };
  await bench.transport.respond(request, Buffer.from('answer'));
  assert.deepEqual([answersIn(store), store.nodes.has(place)], [['a'], false]);
});

test('a place that is not needed any more goes', async () => {
  const store = new MemoryXenStore();
  await using bench = await Bench.open(store);
  store.write('data/host/a', 'x');
  assert.equal(await bench.transport.reserve(await bench.request('a')), true);
  store.nodes.delete('data/host/a');
  await bench.transport.retire(await bench.request('a'));
  await answer(store, bench, ['b', 'c', 'd']);
  await until(() => !store.nodes.has('data/guestwire-keeps-a-place'), 'the place to go');
});

test('a guest that may not write beside its answers is not kept from its commands by that', async () => {
  const store = new MemoryXenStore();
  await using bench = await Bench.open(store);
  store.before = (operation) => {
    if (operation.includes('keeps-a-place')) throw storeError('XS_REFUSED', 'no: EACCES');
  };
  store.write('data/host/a', 'x');
  assert.equal(await bench.transport.reserve(await bench.request('a')), true);
});

test('a place is not made where answers that were read have one each for all that is asked', async () => {
  const store = new MemoryXenStore();
  await using bench = await Bench.open(store);
  await answer(store, bench, ['a', 'b']);
  store.write('data/host/c', 'x');
  const request = await bench.request('c');
  store.operations.length = 0;
  assert.equal(await bench.transport.reserve(request), true);
  assert.deepEqual(store.operations, ['list data/guest']);
});

test('a name that is too long for an answer is refused before anything is done', async () => {
  const store = new MemoryXenStore();
  await using bench = await Bench.open(store);
  const id = 'x'.repeat(2020);
  store.write(`data/host/${id}`, 'x');
  await assert.rejects(bench.transport.reserve(await bench.request(id)), { code: 'XS_TOO_LARGE' });
});

test('a store that is away for long is one line of the log for each reason, and one when it is back', async () => {
  const store = new MemoryXenStore();
  await using bench = await Bench.open(store);
  store.refusing = 'XS_IO';
  store.drop();
  await sleep(2500);
  store.refusing = null;
  await until(() => store.connections === 1, 'a connection');
  await settle();
  const told = bench.logged.filter((line) => !line.includes('"level":20'));
  assert.deepEqual(
    told.map((line) => (JSON.parse(line) as { msg: string }).msg),
    ['XenStore connection lost', 'XenStore cannot be reached', 'XenStore connection re-established'],
  );
  assert.ok(bench.logged.length > 5, 'every attempt is there at the level debug');
});

test('a request that cannot be removed is never yielded again, and its answer stays as long as it does', async () => {
  const store = new MemoryXenStore();
  await using bench = await Bench.open(store, { answerLifetime: 30, scanInterval: 20 });
  store.before = (operation) => {
    if (operation === 'rm data/host/a') throw storeError('XS_REFUSED');
  };
  store.write('data/host/a', 'x');
  const request = await bench.request('a');
  await bench.transport.respond(request, Buffer.from('answer'));
  await assert.rejects(bench.transport.retire(request), { code: 'XS_REFUSED' });
  await sleep(300);
  store.fire('data/host/a');
  await settle();
  assert.deepEqual(bench.ids, ['a']);
  assert.ok(store.nodes.has('data/guest/a'));
});

test('an answer that the store refuses is reported to the caller, not tried for ever', async () => {
  const store = new MemoryXenStore();
  await using bench = await Bench.open(store);
  store.before = (operation) => {
    if (operation.startsWith('write')) throw storeError('XS_TOO_LARGE');
  };
  store.write('data/host/a', 'x');
  await assert.rejects(bench.transport.respond(await bench.request('a'), Buffer.from('r')), { code: 'XS_TOO_LARGE' });
});

test('a machine without XenStore is an error at once, a store that is not there yet is waited for', async () => {
  const store = new MemoryXenStore();
  store.refusing = 'XS_NO_ENDPOINT';
  await assert.rejects(Bench.open(store), { code: 'XS_NO_ENDPOINT' });
  store.refusing = 'XS_IO';
  const opening = Bench.open(store);
  await sleep(120);
  store.refusing = null;
  await using bench = await opening;
  assert.deepEqual(bench.ids, []);
});

test('disposing ends the requests and closes the connection; twice is quiet', async () => {
  const store = new MemoryXenStore();
  const bench = await Bench.open(store);
  await bench.transport[Symbol.asyncDispose]();
  await bench.transport[Symbol.asyncDispose]();
  await bench[Symbol.asyncDispose]();
  assert.equal(store.connections, 0);
});

test('a guest that may not list its answers serves all the same, with one watch', async () => {
  const store = new MemoryXenStore();
  store.before = (operation) => {
    if (operation === 'list data/guest') throw storeError('XS_REFUSED', 'the store refused data/guest: EACCES');
  };
  store.write('data/host/a', 'hello');
  await using bench = await Bench.open(store);
  await bench.request('a');
  assert.equal(store.operations.filter((operation) => operation === 'watch data/host').length, 1);
});

test('what is refused while a connection is prepared is asked again without another watch', async () => {
  const store = new MemoryXenStore();
  let refusals = 2;
  store.before = (operation) => {
    if (operation === 'list data/guest' && refusals-- > 0)
      throw storeError('XS_REFUSED', 'the store refused it: EINVAL');
  };
  store.write('data/host/a', 'hello');
  await using bench = await Bench.open(store);
  await bench.request('a');
  assert.equal(store.operations.filter((operation) => operation === 'watch data/host').length, 1);
});

test('a request is not given up because the store hangs up again and again', async (t) => {
  const store = new MemoryXenStore();
  store.nodes.set('data/host', Buffer.alloc(0));
  await using bench = await Bench.open(store, { scanInterval: 50 });
  let losses = 30;
  store.before = (operation) => {
    if (operation === 'read data/host/a' && losses-- > 0) throw storeError('XS_CLOSED');
  };
  // Of the pauses between, whose length has a share of chance, a hundredth is left.
  t.mock.method(Math, 'random', () => -0.49);
  store.write('data/host/a', 'hello');
  await bench.request('a');
  assert.ok(losses <= 0);
});

test('a request that the guest may not read is read once it may: an event says so', async () => {
  const store = new MemoryXenStore();
  store.nodes.set('data/host', Buffer.alloc(0));
  await using bench = await Bench.open(store);
  await settle();
  let mayRead = false;
  store.before = (operation) => {
    if (operation === 'read data/host/a' && !mayRead) throw storeError('XS_REFUSED', 'data/host/a: EACCES');
  };
  store.write('data/host/a', 'hello');
  await settle();
  assert.deepEqual(bench.ids, []);
  mayRead = true;
  store.fire('data/host/a');
  await bench.request('a');
});

test('a request of the same name as one of long ago, whose answer is gone, is a new one', async () => {
  const store = new MemoryXenStore();
  store.nodes.set('data/host', Buffer.alloc(0));
  for (const name of ['1', '2', '3', '4', '5', '6']) store.nodes.set(`data/guest/${name}`, Buffer.from('old'));
  await using bench = await Bench.open(store, { answerLifetime: 20 });
  await until(() => !store.nodes.has('data/guest/1'), 'the old answer goes');
  await settle();
  store.write('data/host/1', 'hello');
  assert.equal((await bench.request('1')).answered, false);
});

test('a clock that is set back holds up no answer', async (t) => {
  const store = new MemoryXenStore();
  store.nodes.set('data/host', Buffer.alloc(0));
  for (const name of ['1', '2', '3', '4', '5', '6']) store.nodes.set(`data/guest/${name}`, Buffer.from('old'));
  await using bench = await Bench.open(store);
  store.write('data/host/a', 'hello');
  const request = await bench.request('a');
  store.before = (operation) => {
    const answers = [...store.nodes.keys()].filter((path) => path.startsWith('data/guest/'));
    if (operation === 'write data/guest/a' && answers.length >= 6) throw storeError('XS_REFUSED', 'x: ENOSPC');
  };
  const { now } = Date;
  t.mock.method(Date, 'now', () => now() - 3_600_000);
  await bench.transport.respond(request, 'answer');
  assert.ok(store.nodes.has('data/guest/a'));
});
