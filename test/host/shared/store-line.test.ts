import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import type { StoreConnection } from '../../../ts/api/endpoints.js';
import { codeOf } from '../../../ts/api/errors.js';
import { EmbeddedStore } from '../../../ts/host/unix/embedded-store.js';
import { SharedStoreLine, createStoreLine, storeThrough } from '../../../ts/host/shared/store-line.js';
import { openStore } from '../../../ts/host/shared/store.js';
import { MemoryXenStore, storeError } from '../../support/memory-xenstore.js';
import { createScratch } from '../../support/scratch.js';

const log = pino({ level: 'silent' });

function lineTo(store: MemoryXenStore): SharedStoreLine {
  return new SharedStoreLine({ open: store.open, log });
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let tries = 0; !condition(); tries += 1) {
    assert.ok(tries < 1000, `never came: ${what}`);
    await sleep(5);
  }
}

test('nothing is connected before somebody asks, and all share one connection', async () => {
  const store = new MemoryXenStore();
  using line = lineTo(store);
  assert.equal(store.connections, 0);
  const { signal } = new AbortController();
  const prepared: StoreConnection[] = [];
  const user = { prepare: (connection: StoreConnection) => Promise.resolve(void prepared.push(connection)) };
  const [value] = await Promise.all([
    storeThrough(line).read('vm-data/hostname'),
    line.join(user, signal),
    line.onNewDomain(() => undefined, signal),
    line.join(user, signal),
  ]);
  assert.equal(value, null);
  assert.equal(store.connections, 1);
  assert.equal(new Set(prepared).size, 1);
});

test('a machine without a store is an error at once, each time that it is asked', async () => {
  const store = new MemoryXenStore();
  store.refusing = 'XS_NO_ENDPOINT';
  using line = lineTo(store);
  const commands = storeThrough(line);
  for (const asked of [commands.read('a'), commands.list('a'), commands.read('b')]) {
    await assert.rejects(asked, {
      code: 'GW_STORE_ABSENT',
      message: 'Cannot read what the host wants: XS_NO_ENDPOINT',
    });
  }
  await assert.rejects(line.join({ prepare: () => Promise.resolve() }, new AbortController().signal), {
    code: 'XS_NO_ENDPOINT',
  });
  // The driver of a device may be loaded later.
  store.refusing = null;
  store.nodes.set('a', Buffer.from('there'));
  assert.equal(await commands.read('a'), 'there');
});

test('a store that is away is waited for as long as whoever waits is patient', async () => {
  const store = new MemoryXenStore();
  store.refusing = 'XS_IO';
  using line = lineTo(store);
  const stop = new AbortController();
  const read = (connection: StoreConnection): Promise<Uint8Array | null> => connection.read('a');
  const patient = line.run(read);
  const stopped = line.run(read, { signal: stop.signal });
  await assert.rejects(line.run(read, { patience: 20 }), {
    code: 'GW_STORE_AWAY',
    message: 'Cannot read what the host wants: XenStore was not reached within 0.02 s',
  });
  stop.abort(new Error('no more'));
  await assert.rejects(stopped, /no more/);
  store.refusing = null;
  store.nodes.set('a', Buffer.from('there'));
  assert.equal(String(await patient), 'there');
});

test('an operation that loses the connection is run on the next one; what the store refuses is not', async () => {
  const store = new MemoryXenStore();
  store.nodes.set('a', Buffer.from('there'));
  using line = lineTo(store);
  let losses = 2;
  store.before = (operation) => {
    if (operation === 'read a' && losses-- > 0) throw storeError('XS_CLOSED');
    if (operation === 'rm a') throw storeError('XS_REFUSED');
  };
  assert.equal(String(await line.run((connection) => connection.read('a'))), 'there');
  await assert.rejects(
    line.run((connection) => connection.remove('a')),
    { code: 'XS_REFUSED' },
  );
  assert.equal(store.connections, 1);
});

test('a user is prepared for on each connection, whoever joins while one is made, and not once it has left', async () => {
  const store = new MemoryXenStore();
  using line = lineTo(store);
  const calls: string[] = [];
  const stop = new AbortController();
  const user = (name: string, before: () => Promise<void> = () => Promise.resolve()) => ({
    async prepare(connection: StoreConnection) {
      await before();
      await connection.list(name);
      calls.push(`prepare ${name}`);
    },
    ready: () => void calls.push(`ready ${name}`),
  });
  let second: Promise<void> | null = null;
  const first = user('first', () => {
    second ??= line.join(user('second'), stop.signal);
    return sleep(10);
  });
  await line.join(first, new AbortController().signal);
  await Promise.resolve(second);
  assert.deepEqual(calls, ['prepare first', 'prepare second', 'ready first', 'ready second']);
  stop.abort();
  calls.length = 0;
  store.drop();
  await until(() => calls.length === 2, 'the next connection');
  assert.deepEqual(calls, ['prepare first', 'ready first']);
});

test('what the store refuses one user is asked again, and the others use the connection meanwhile', async () => {
  const store = new MemoryXenStore();
  store.nodes.set('a', Buffer.from('there'));
  using line = lineTo(store);
  const stop = new AbortController();
  let isRefused = true;
  const prepare = (connection: StoreConnection): Promise<unknown> =>
    isRefused ? Promise.reject(storeError('XS_REFUSED', 'the store refused a watch: EQUOTA')) : connection.list('b');
  const user = () => ({
    prepare: async (connection: StoreConnection) => {
      await prepare(connection);
    },
  });
  const first = line.join(user(), stop.signal);
  assert.equal(String(await line.run((connection) => connection.read('a'))), 'there');
  const second = line.join(user(), stop.signal);
  await assert.rejects(Promise.race([first, second, sleep(100).then(() => Promise.reject(new Error('both wait')))]), {
    message: 'both wait',
  });
  isRefused = false;
  await Promise.all([first, second]);
  assert.equal(store.connections, 1);
});

test('who gives up joining is prepared for no more', async () => {
  const store = new MemoryXenStore();
  using line = lineTo(store);
  const stop = new AbortController();
  let tries = 0;
  const joining = line.join(
    { prepare: () => Promise.reject(storeError('XS_REFUSED', `try ${(tries += 1)}`)) },
    stop.signal,
  );
  await until(() => tries > 0, 'a first try');
  stop.abort(new Error('no more'));
  await assert.rejects(joining, /no more/);
  const before = tries;
  store.drop();
  await line.run((connection) => connection.list('a'));
  await sleep(200);
  assert.equal(tries, before);
});

test('closing the line fails what still waits, and whoever comes later', async () => {
  const store = new MemoryXenStore();
  store.refusing = 'XS_IO';
  const line = lineTo(store);
  const waits = line.run((connection) => connection.list('a'));
  line[Symbol.dispose]();
  line[Symbol.dispose]();
  await assert.rejects(waits, /the line to XenStore is closed/);
  await assert.rejects(
    line.run((connection) => connection.list('a')),
    /the line to XenStore is closed/,
  );
});

test('who asks of a new domain is told of each, by a watch and by a lost connection, and of nothing else', async () => {
  await using scratch = await createScratch();
  const [dom0, guest] = [join(scratch.directory, 'dom0'), join(scratch.directory, 'guest')];
  using store = new EmbeddedStore(dom0);
  store.addDomain(7, guest);
  using host = openStore({ endpoint: dom0, domain: 7, poll: 'loop' }, () => undefined);
  await host.write('domid', '7');
  await host.write('unique-domain-id', 'first');
  using line = createStoreLine({ endpoint: guest, domain: null, poll: 'loop' }, log);
  const stop = new AbortController();
  let told = 0;
  await line.onNewDomain(() => (told += 1), stop.signal);
  await host.write('unique-domain-id', 'first');
  await host.write('data/other', 'x');
  await host.write('unique-domain-id', 'second');
  await until(() => told === 1, 'the second domain');
  await host.write('domid', '8');
  await until(() => told === 2, 'the third domain');
  // One that came while there was no connection.
  const lost = line.run(() => Promise.reject(Object.assign(new Error('lost'), { code: 'XS_IO' })));
  await host.write('unique-domain-id', 'third');
  await assert.rejects(lost, (error) => codeOf(error) === 'XS_IO');
  await until(() => told === 3, 'the fourth domain');
  stop.abort();
  await host.write('unique-domain-id', 'fifth');
  await line.run((connection) => connection.read('domid'));
  await sleep(20);
  assert.equal(told, 3);
});

test('a store that takes everybody in and turns everybody out again is asked with pauses between', async () => {
  const store = new MemoryXenStore();
  let opened = 0;
  const open = (onClose: (reason: string) => void): StoreConnection => {
    opened += 1;
    return store.open(onClose);
  };
  using line = new SharedStoreLine({ open, log });
  const ready = (): void =>
    void setImmediate(() => {
      store.drop();
    });
  await line.join({ prepare: () => Promise.resolve(), ready }, new AbortController().signal);
  await sleep(1000);
  // Pauses of 25 ms at least, twice as long each time.
  assert.ok(opened < 10, `${opened} connections in a second`);
});

test('who joins is told when the line is closed, and a connection that is still being prepared is closed', async () => {
  const store = new MemoryXenStore();
  const line = lineTo(store);
  const { signal } = new AbortController();
  const refused = line.join({ prepare: () => Promise.reject(storeError('XS_REFUSED')) }, signal);
  await until(() => store.connections === 1, 'a connection');
  await sleep(20);
  line[Symbol.dispose]();
  await assert.rejects(refused, /the line to XenStore is closed/);
  assert.equal(store.connections, 0);
  const silent = lineTo(store);
  const waiting = silent.join({ prepare: () => new Promise(() => undefined) }, signal);
  await until(() => store.connections === 1, 'a connection');
  silent[Symbol.dispose]();
  await assert.rejects(waiting, /the line to XenStore is closed/);
  assert.equal(store.connections, 0);
});

test('the log says that refusals are over once nobody is refused any more', async () => {
  const store = new MemoryXenStore();
  const logged: string[] = [];
  using line = new SharedStoreLine({
    open: store.open,
    log: pino({ level: 'info' }, { write: (text: string) => void logged.push(text) }),
  });
  const { signal } = new AbortController();
  let isRefused = true;
  const refused = line.join(
    { prepare: () => (isRefused ? Promise.reject(storeError('XS_REFUSED')) : Promise.resolve()) },
    signal,
  );
  await line.join({ prepare: () => Promise.resolve() }, signal);
  await sleep(50);
  const over = (): number => logged.filter((text) => text.includes('accepts watches and reads again')).length;
  assert.equal(over(), 0);
  isRefused = false;
  await refused;
  assert.equal(over(), 1);
});
