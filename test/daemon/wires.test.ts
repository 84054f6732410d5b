import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { command } from '../../ts/api/command.js';
import type { CommunicationModule, Transport } from '../../ts/api/communication.js';
import { AgentError } from '../../ts/api/errors.js';
import type { Reports } from '../../ts/api/report.js';
import { codec } from '../../ts/communication/xenstore/nova/codec.js';
import { Dispatcher } from '../../ts/daemon/dispatcher.js';
import { FileJournal } from '../../ts/daemon/journal.js';
import { type WatchedReports, createReports } from '../../ts/daemon/reports.js';
import { chooseWires, serveWires } from '../../ts/daemon/wires.js';
import { ScratchDirectory } from '../../ts/host/shared/scratch-directory.js';
import { appendOnlyFile } from '../../ts/host/shared/system.js';
import { type FakeHost, fakeHost } from '../../ts/testing/index.js';
import { MemoryTransport } from '../support/memory-transport.js';
import { registryOf } from '../support/registry.js';

const wire = (name: string, open: () => Promise<Transport>): CommunicationModule => ({ name, codec, open });
const absent = (): Promise<never> => Promise.reject(new AgentError('GW_WIRE_ABSENT', ['a device', 'none']));
const request = (name: string, value: unknown = ''): string => JSON.stringify({ name, value });

/** Several wires in memory on one dispatcher with a real journal. */
class Bench implements AsyncDisposable {
  readonly ready: string[][] = [];
  readonly logged: string[] = [];
  readonly ran: string[] = [];
  /** How many serial commands run at once, at most. */
  most = 0;
  served: Promise<boolean> = Promise.resolve(true);
  readonly #stop = new AbortController();
  readonly #scratch: ScratchDirectory;
  readonly journal: string;

  private constructor(scratch: ScratchDirectory) {
    this.#scratch = scratch;
    this.journal = `${scratch.path}/journal`;
  }

  static async open(modules: readonly CommunicationModule[], reports?: Reports): Promise<Bench> {
    const bench = new Bench(await ScratchDirectory.create());
    let running = 0;
    const work = command({
      name: 'work',
      lane: 'serial',
      parse: (value) => String(value),
      async run(value) {
        running += 1;
        bench.most = Math.max(bench.most, running);
        bench.ran.push(value);
        await sleep(5);
        running -= 1;
        return value;
      },
    });
    const log = pino({ level: 'trace' }, { write: (line: string) => void bench.logged.push(line) });
    const journal = await FileJournal.open(appendOnlyFile(bench.journal));
    const dispatcher = new Dispatcher({ commands: registryOf([work]), journal, log });
    bench.served = serveWires(modules, {
      dispatcher,
      ...(reports === undefined ? {} : { reports }),
      signal: bench.#stop.signal,
      log,
      onReady: (names) => void bench.ready.push([...names]),
    });
    return bench;
  }

  async stop(): Promise<boolean> {
    this.#stop.abort();
    return this.served;
  }

  async until(what: string, isSo: () => boolean): Promise<void> {
    for (let tries = 0; !isSo(); tries += 1) {
      assert.ok(tries < 1000, `not so: ${what}; ${this.logged.join('')}`);
      await sleep(5);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop().catch(() => undefined);
    await this.#scratch[Symbol.asyncDispose]();
  }
}

test('serial commands of several wires run one after another, and equal ids do not meet', async () => {
  const [a, b] = [new MemoryTransport(), new MemoryTransport()];
  await using bench = await Bench.open([wire('a', () => Promise.resolve(a)), wire('b', () => Promise.resolve(b))]);
  for (let id = 0; id < 10; id += 1) {
    a.push(String(id), request('work', `a${id}`));
    b.push(String(id), request('work', `b${id}`));
  }
  await bench.until('all answered', () => a.answers.size + b.answers.size === 20);
  assert.equal(bench.most, 1);
  for (let id = 0; id < 10; id += 1) {
    assert.equal(a.answer(String(id)).message, `a${id}`);
    assert.equal(b.answer(String(id)).message, `b${id}`);
  }
  assert.equal(await bench.stop(), true);
  assert.deepEqual(bench.ready, [['a', 'b']]);
});

test('the journal keeps the requests of two wires apart', async () => {
  const first = new MemoryTransport();
  await using bench = await Bench.open([wire('a', () => Promise.resolve(first))]);
  first.push('1', request('work', 'x'));
  await bench.until('answered', () => first.answers.size === 1);
  await bench.stop();
  await using file = appendOnlyFile(bench.journal);
  assert.match(await file.read(), /"id":"a:1","state":"started"/);
});

test('a wire that is not there is passed over without a word', async () => {
  const there = new MemoryTransport();
  await using bench = await Bench.open([wire('gone', absent), wire('there', () => Promise.resolve(there))]);
  there.push('1', request('work', 'x'));
  await bench.until('answered', () => there.answers.size === 1);
  assert.deepEqual(bench.ready, [['there']]);
  assert.ok(!bench.logged.some((line) => (JSON.parse(line) as { level: number }).level >= 40));
});

function ending(): Transport {
  return Object.assign(new MemoryTransport(), {
    async *requests() {
      await sleep(1);
      yield* [];
    },
  });
}

test('one wire that ends or fails leaves the other serving', async () => {
  const there = new MemoryTransport();
  const failing: Transport = Object.assign(new MemoryTransport(), {
    // eslint-disable-next-line require-yield -- it fails before the first
    async *requests() {
      await sleep(1);
      throw Object.assign(new Error('read of S3cret failed'), { code: 'EIO' });
    },
  });
  await using bench = await Bench.open([
    wire('failing', () => Promise.resolve(failing)),
    wire('ending', () => Promise.resolve(ending())),
    wire('there', () => Promise.resolve(there)),
  ]);
  await bench.until(
    'both told',
    () => bench.logged.join('').includes('wire failed') && bench.logged.join('').includes('wire ended'),
  );
  assert.match(bench.logged.join(''), /"wire":"failing","reason":"the device failed: input\/output error"/);
  assert.doesNotMatch(bench.logged.join(''), /S3cret/);
  there.push('1', request('work', 'x'));
  await bench.until('answered', () => there.answers.size === 1);
  assert.equal(await bench.stop(), true);
});

test('a wire that fails is closed only when what it gave is answered', async () => {
  const memory = new MemoryTransport();
  const failing: Transport = Object.assign(memory, {
    async *requests() {
      await sleep(1);
      for (const id of ['1', '2']) yield { id, body: Buffer.from(request('work', id)), answered: false };
      throw new Error('broken');
    },
    [Symbol.asyncDispose]: () => Promise.resolve(void memory.events.push('closed')),
  });
  await using bench = await Bench.open([wire('failing', () => Promise.resolve(failing))]);
  assert.equal(await bench.served, false);
  assert.deepEqual(memory.events, ['answered 1', 'retired 1', 'answered 2', 'retired 2', 'closed']);
});

test('an agent that is stopped while it waits for its only wire ends well', async () => {
  await using bench = await Bench.open([wire('gone', absent), wire('slow', () => new Promise(() => undefined))]);
  await sleep(5);
  assert.equal(await bench.stop(), true);
  assert.deepEqual(bench.ready, []);
});

test('a wire that cannot be opened is told at once, while another is still waited for', async () => {
  await using bench = await Bench.open([
    wire('broken', () => Promise.reject(new Error('no permission'))),
    wire('slow', () => new Promise(() => undefined)),
  ]);
  await bench.until('told', () => bench.logged.some((line) => line.includes('"wire cannot be opened"')));
});

test('when all wires have ended, so has the agent, and that is no good end', async () => {
  await using bench = await Bench.open([wire('one', () => Promise.resolve(ending())), wire('gone', absent)]);
  assert.equal(await bench.served, false);
});

test('a wire that is never ready keeps the other from nothing, and the agent from ending', async () => {
  const there = new MemoryTransport();
  await using bench = await Bench.open([
    wire('slow', () => new Promise(() => undefined)),
    wire('there', () => Promise.resolve(there)),
  ]);
  there.push('1', request('work', 'x'));
  await bench.until('answered', () => there.answers.size === 1);
  assert.equal(await bench.stop(), true);
});

test('without any wire the error tells what was looked for', async () => {
  await using none = await Bench.open([wire('a', absent), wire('b', absent)]);
  await assert.rejects(none.served, {
    code: 'GW_WIRE_ABSENT',
    message:
      'No host can reach this machine: wanted one of the wires in wires.use, ' +
      'got none; a: wanted a device, got none; b: wanted a device, got none',
  });
  await using broken = await Bench.open([
    wire('a', absent),
    wire('b', () => Promise.reject(new Error('no permission'))),
  ]);
  await assert.rejects(broken.served, /no permission/);
  assert.deepEqual([none.ready, broken.ready], [[], []]);
});

test('wires are chosen by name; a name that none has is logged, and an error when no other is left', () => {
  const modules = [wire('a', absent), wire('b', absent)];
  const logged: string[] = [];
  const log = pino({}, { write: (line: string) => void logged.push(line) });
  const names = (use: readonly string[]): readonly string[] => chooseWires(modules, use, log).map(({ name }) => name);
  assert.deepEqual(names(['auto']), ['a', 'b']);
  assert.deepEqual(names(['b']), ['b']);
  assert.deepEqual(names(['b', 'a']), ['a', 'b']);
  assert.deepEqual(logged, []);
  assert.deepEqual(names(['a', 'c']), ['a']);
  assert.match(logged.join(''), /^\{"level":50,.*"name":"c","known":\["a","b"\],"msg":"wires.use names/);
  assert.throws(() => names(['c']), {
    code: 'GW_CONFIG_INVALID',
    message: /found c, wanted auto or some of a, b/,
  });
});

/** A wire that tells its host the names of the machine, and the machine. */
function telling(
  transport: Transport,
  tell?: CommunicationModule['tell'],
): { module: CommunicationModule; told: (string | null)[]; host: FakeHost; reports: WatchedReports } {
  const host = fakeHost({ hostname: 'web1' });
  const told: (string | null)[] = [];
  const reports = createReports({ host, log: pino({ level: 'silent' }) });
  const all: CommunicationModule['tell'] = async (given, signal) => {
    for await (const { os } of given.changes(signal)) told.push(os.hostname);
    told.push('end');
  };
  return { module: { ...wire('a', () => Promise.resolve(transport)), tell: tell ?? all }, told, host, reports };
}

test('a wire that is open is told the report and each change, until the agent stops', async () => {
  const { module, told, host, reports } = telling(new MemoryTransport());
  await using bench = await Bench.open([module], reports);
  await bench.until('told', () => told.length === 1);
  await host.network.setHostname('web2');
  reports.look();
  await bench.until('told again', () => told.length === 2);
  assert.equal(await bench.stop(), true);
  assert.deepEqual(told, ['web1', 'web2', 'end']);
});

test('a wire that has ended tells no more, and is closed after that', async () => {
  const events: string[] = [];
  const transport = Object.assign(ending(), {
    [Symbol.asyncDispose]: () => Promise.resolve(void events.push('closed')),
  });
  const { module, reports } = telling(transport, async (_, signal) => {
    await sleep(1_000_000, undefined, { signal }).catch(() => undefined);
    await sleep(5);
    events.push('told to end');
  });
  await using bench = await Bench.open([module], reports);
  assert.equal(await bench.served, false);
  assert.deepEqual(events, ['told to end', 'closed']);
});

for (const [how, tell] of [
  ['rejects', () => Promise.reject(Object.assign(new Error('S3cret'), { code: 'EIO' }))],
  [
    'throws',
    () => {
      throw Object.assign(new Error('S3cret'), { code: 'EIO' });
    },
  ],
] as const) {
  test(`a wire whose telling ${how} says so in the log, and its requests are served`, async () => {
    const transport = new MemoryTransport();
    const { module, reports } = telling(transport, tell);
    await using bench = await Bench.open([module], reports);
    const isLogged = (): boolean => bench.logged.some((line) => line.includes('does not tell the host'));
    await bench.until('logged', isLogged);
    transport.push('1', request('work', 'x'));
    await bench.until('answered', () => transport.answers.size === 1);
    assert.equal(await bench.stop(), true);
    assert.match(bench.logged.join(''), /"wire":"a","reason":"the device failed: input\/output error"/);
    assert.doesNotMatch(bench.logged.join(''), /S3cret/);
  });
}

test('one that is interrupted in its waiting has not failed', async () => {
  const { module, reports } = telling(new MemoryTransport(), async (_, signal) => {
    await sleep(1_000_000, undefined, { signal });
  });
  await using bench = await Bench.open([module], reports);
  await bench.until('ready', () => bench.ready.length === 1);
  assert.equal(await bench.stop(), true);
  assert.ok(!bench.logged.some((line) => line.includes('does not tell')), bench.logged.join(''));
});

test('where there are no reports, as in a trial, no wire tells anything', async () => {
  const { module, told } = telling(new MemoryTransport());
  await using bench = await Bench.open([module]);
  await bench.until('ready', () => bench.ready.length === 1);
  await bench.stop();
  assert.deepEqual(told, []);
});
