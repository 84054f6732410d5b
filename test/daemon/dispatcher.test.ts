import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import type { AgentContext } from '../../ts/agent/command.js';
import { type Command, type CommandModule, command } from '../../ts/api/command.js';
import type { Codec, RawRequest } from '../../ts/api/communication.js';
import { AgentError } from '../../ts/api/errors.js';
import { type ListedModule, deferred } from '../../ts/commands/deferred.js';
import { createCodec } from '../../ts/communication/stream/codec.js';
import { codec } from '../../ts/communication/xenstore/nova/codec.js';
import { Dispatcher } from '../../ts/daemon/dispatcher.js';
import { FileJournal } from '../../ts/daemon/journal.js';
import { ScratchDirectory } from '../../ts/host/shared/scratch-directory.js';
import { appendOnlyFile } from '../../ts/host/shared/system.js';
import { MemoryTransport } from '../support/memory-transport.js';
import { registryOf } from '../support/registry.js';

/** A dispatcher on a real journal, with what it logs. */
class Bench implements AsyncDisposable {
  readonly transport = new MemoryTransport();
  readonly logged: string[] = [];
  /** What was asked to be done once serving has stopped. */
  readonly handedOver: (() => Promise<void>)[] = [];
  dispatcher: Dispatcher | null = null;
  readonly #scratch: ScratchDirectory;
  readonly #stop = new AbortController();
  readonly #file: ReturnType<typeof appendOnlyFile>;
  #served: Promise<void> = Promise.resolve();

  private constructor(scratch: ScratchDirectory) {
    this.#scratch = scratch;
    this.#file = appendOnlyFile(this.journalPath);
  }

  get journalPath(): string {
    return `${this.#scratch.path}/state/journal`;
  }

  static async open(commands: ListedModule['commands'], journal = '', wire: Codec = codec): Promise<Bench> {
    const scratch = await ScratchDirectory.create();
    if (journal !== '') await scratch.write({ 'state/journal': journal });
    const bench = new Bench(scratch);
    const dispatcher = new Dispatcher({
      commands: registryOf(commands),
      journal: await FileJournal.open(bench.#file),
      log: pino({ level: 'trace' }, { write: (line: string) => void bench.logged.push(line) }),
      handOver(next) {
        bench.transport.events.push('handed over');
        bench.handedOver.push(next);
        bench.#stop.abort();
      },
    });
    bench.dispatcher = dispatcher;
    bench.#served = dispatcher.serve(bench.transport, wire, bench.#stop.signal);
    return bench;
  }

  stop(): Promise<void> {
    this.#stop.abort();
    return this.#served;
  }

  async retired(...ids: readonly string[]): Promise<void> {
    const all = (): boolean => ids.every((id) => this.transport.events.includes(`retired ${id}`));
    for (let tries = 0; !all(); tries += 1) {
      assert.ok(tries < 2000, `not retired: ${this.transport.events.join(', ')}`);
      await sleep(5);
    }
  }

  journal(): Promise<string> {
    return this.#file.read();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.#file[Symbol.asyncDispose]();
    await this.#scratch[Symbol.asyncDispose]();
  }
}

const request = (name: string, value: unknown = ''): string => JSON.stringify({ name, value });

function serial(name: string, run: (value: unknown, signal: AbortSignal) => Promise<string>): Command {
  return command({ name, lane: 'serial', parse: (value) => value, run: (value, { signal }) => run(value, signal) });
}

const version = command({ name: 'version', lane: 'immediate', parse: () => null, run: () => Promise.resolve('1.2.3') });

test('every request is answered first and then retired', async () => {
  await using bench = await Bench.open([version, serial('work', () => Promise.resolve('done'))]);
  bench.transport.push('a', request('version'));
  bench.transport.push('b', request('work'));
  bench.transport.push('c', request('nonsense'));
  bench.transport.push('d', 'not JSON');
  await bench.retired('a', 'b', 'c', 'd');
  for (const id of ['a', 'b', 'c', 'd']) {
    const { events } = bench.transport;
    assert.ok(events.indexOf(`answered ${id}`) < events.indexOf(`retired ${id}`));
  }
  assert.deepEqual(bench.transport.answer('a'), { returncode: '0', message: '1.2.3' });
  assert.deepEqual(bench.transport.answer('b'), { returncode: '0', message: 'done' });
  assert.deepEqual(bench.transport.answer('c'), { returncode: '404', message: "No such agent command 'nonsense'" });
  assert.equal(bench.transport.answer('d').returncode, '500');
});

test('an immediate command is answered while a serial one runs, and serial ones keep their order', async () => {
  const ran: unknown[] = [];
  let finish: () => void = () => undefined;
  const slow = serial('slow', async (value) => {
    ran.push(value);
    if (value === 1) await new Promise<void>((resolve) => (finish = resolve));
    return '';
  });
  await using bench = await Bench.open([version, slow]);
  bench.transport.push('first', request('slow', 1));
  bench.transport.push('second', request('slow', 2));
  bench.transport.push('third', request('slow', 3));
  bench.transport.push('quick', request('version'));
  await bench.retired('quick');
  assert.deepEqual(bench.transport.events, ['answered quick', 'retired quick']);
  while (ran.length === 0) await sleep(1);
  finish();
  await bench.retired('first', 'second', 'third');
  assert.deepEqual(ran, [1, 2, 3]);
});

/** A command whose module is there when `load` is called, or cannot be loaded. */
function later(own: Command): { readonly command: ListedModule['commands'][number]; load(): void; fail(): void } {
  let settle: (module: Promise<CommandModule>) => void = () => undefined;
  const module = new Promise<CommandModule>((resolve) => (settle = resolve));
  const { commands } = deferred(own.name, [{ name: own.name }], () => module);
  return {
    command: commands[0]!,
    load() {
      settle(Promise.resolve({ name: own.name, commands: [own] }));
    },
    fail() {
      settle(Promise.reject(Object.assign(new Error('S3cret'), { code: 'ENOENT' })));
    },
  };
}

test('a request whose module has to be loaded first keeps its place among serial ones', async () => {
  const ran: string[] = [];
  const runs = (name: string): Command =>
    serial(name, () => {
      ran.push(name);
      return Promise.resolve('');
    });
  const slow = later(runs('slow'));
  await using bench = await Bench.open([version, slow.command, runs('quick')]);
  for (const [id, name] of Object.entries({ a: 'quick', b: 'slow', c: 'quick', d: 'slow', e: 'quick' })) {
    bench.transport.push(id, request(name));
  }
  bench.transport.push('f', request('version'));
  await bench.retired('a', 'f');
  // What waits for the module would have run by now if it waited for nothing.
  await sleep(50);
  assert.deepEqual(ran, ['quick']);
  assert.equal(bench.transport.answers.size, 2);
  slow.load();
  await bench.retired('b', 'c', 'd', 'e');
  assert.deepEqual(ran, ['quick', 'slow', 'quick', 'slow', 'quick']);
});

test('an immediate command whose module has to be loaded first does not wait for a serial one, and leaves no trace in line', async () => {
  let finish: () => void = () => undefined;
  let begun = 0;
  const work = serial('work', async () => {
    begun += 1;
    await new Promise<void>((resolve) => (finish = resolve));
    return 'done';
  });
  const look = later(command({ name: 'look', lane: 'immediate', parse: () => null, run: () => 'seen' }));
  await using bench = await Bench.open([work, look.command]);
  bench.transport.push('running', request('work'));
  bench.transport.push('look', request('look'));
  bench.transport.push('waiting', request('work'));
  look.load();
  await bench.retired('look');
  assert.deepEqual(bench.transport.events, ['answered look', 'retired look']);
  while (begun < 1) await sleep(1);
  finish();
  await bench.retired('running');
  while (begun < 2) await sleep(1);
  finish();
  await bench.retired('waiting');
  assert.doesNotMatch(await bench.journal(), /look/);
});

test('once its module is loaded, an immediate command is answered in the call that brings it', async () => {
  const look = later(command({ name: 'look', lane: 'immediate', parse: () => null, run: () => 'seen' }));
  await using bench = await Bench.open([look.command]);
  bench.transport.push('first', request('look'));
  look.load();
  await bench.retired('first');
  const responded: string[] = [];
  Object.assign(bench.transport, {
    respond: ({ id }: { id: string }) => {
      responded.push(id);
      return Promise.resolve();
    },
  });
  bench.transport.push('second', request('look'));
  assert.deepEqual(responded, ['second']);
});

test('a request whose module cannot be loaded is answered once, in its turn, and others are none the worse', async () => {
  const broken = later(serial('broken', () => Promise.resolve('')));
  await using bench = await Bench.open([broken.command, serial('work', () => Promise.resolve('done'))]);
  bench.transport.push('a', request('broken', 'S3cret'));
  bench.transport.push('b', request('work'));
  broken.fail();
  await bench.retired('a', 'b');
  bench.transport.push('c', request('broken'));
  await bench.retired('c');
  await bench.stop();
  for (const id of ['a', 'c']) {
    assert.deepEqual(bench.transport.answer(id), { returncode: '500', message: 'Internal error: ENOENT' });
  }
  assert.deepEqual(bench.transport.events.slice(0, 4), ['answered a', 'retired a', 'answered b', 'retired b']);
  assert.ok(!bench.logged.join('').includes('S3cret'));
});

test('an agent that is stopped while a module is loaded leaves its serial request to the next run', async () => {
  const ran: unknown[] = [];
  const slow = later(
    serial('slow', (value) => {
      ran.push(value);
      return Promise.resolve('');
    }),
  );
  await using bench = await Bench.open([slow.command]);
  bench.transport.push('a', request('slow'));
  await sleep(20);
  const stopped = bench.stop();
  slow.load();
  await stopped;
  assert.deepEqual([ran, bench.transport.events, await bench.journal()], [[], [], '']);
});

test('a command that hands over is answered and retired before, and what waits behind it is left alone', async () => {
  const ran: unknown[] = [];
  const next = (): Promise<void> => Promise.resolve();
  const last = command({
    name: 'last',
    lane: 'serial',
    parse: (value) => value,
    async run(_, { handOver }: AgentContext) {
      handOver(next);
      await sleep(20);
      return 'done';
    },
  });
  const work = serial('work', (value) => {
    ran.push(value);
    return Promise.resolve('');
  });
  await using bench = await Bench.open([version, last, work]);
  bench.transport.push('before', request('work', 'before'));
  bench.transport.push('last', request('last'));
  bench.transport.push('behind', request('work', 'behind'));
  bench.transport.push('quick', request('version'));
  await bench.retired('before', 'last');
  await bench.stop();
  const { events } = bench.transport;
  assert.deepEqual(events.slice(-3), ['answered last', 'retired last', 'handed over']);
  assert.deepEqual(bench.handedOver, [next]);
  assert.deepEqual(ran, ['before']);
  assert.ok(events.includes('answered quick'));
  assert.ok(!events.includes('answered behind'));
  assert.doesNotMatch(await bench.journal(), /"behind"/);
});

test('a request that waited for long and was withdrawn meanwhile is not run', async () => {
  const ran: unknown[] = [];
  const slow = serial('slow', async (value) => {
    ran.push(value);
    if (value === 1) await sleep(1100);
    return '';
  });
  await using bench = await Bench.open([slow]);
  bench.transport.push('first', request('slow', 1));
  bench.transport.push('given-up', request('slow', 2));
  bench.transport.push('wanted', request('slow', 3));
  bench.transport.withdrawn.add('given-up');
  await bench.retired('first', 'wanted');
  assert.deepEqual(ran, [1, 3]);
  assert.equal(bench.transport.answers.has('given-up'), false);
});

test('an unforeseen exception becomes an internal error that quotes nothing, to the host or in the log', async () => {
  const leaky = serial('leaky', () => Promise.reject(new TypeError('the password is S3cret')));
  await using bench = await Bench.open([leaky]);
  bench.transport.push('a', request('leaky', 'S3cret'));
  await bench.retired('a');
  await bench.stop();
  assert.deepEqual(bench.transport.answer('a'), { returncode: '500', message: 'Internal error: TypeError' });
  assert.ok(bench.logged.some((line) => line.includes('command failed') && line.includes('dispatcher.test')));
  assert.ok(!bench.logged.join('').includes('S3cret'));
});

test("an error of the table is answered with its own code and message, and the request's value is not logged", async () => {
  const picky = serial('picky', (value) =>
    Promise.reject(new AgentError('GW_ARGUMENT_INVALID', ['path', 'x', String(value)])),
  );
  await using bench = await Bench.open([picky]);
  bench.transport.push('a', request('picky', 'S3cret'));
  await bench.retired('a');
  await bench.stop();
  assert.deepEqual(bench.transport.answer('a'), { returncode: '500', message: 'Invalid path: expected x, got S3cret' });
  assert.ok(bench.logged.some((line) => line.includes('"reason":"Invalid path: expected x, got (not logged)"')));
  assert.ok(!bench.logged.join('').includes('S3cret'));
});

test('a request whose answer cannot be published is retired all the same', async () => {
  await using bench = await Bench.open([version]);
  bench.transport.onRespond = () => {
    throw Object.assign(new Error('too long'), { code: 'XS_TOO_LARGE' });
  };
  bench.transport.push('a', request('version'));
  await bench.retired('a');
  assert.ok(bench.logged.some((line) => line.includes('answer cannot be published') && line.includes('XS_TOO_LARGE')));
});

/** What is logged at the usual level and above. */
function messages(bench: Bench): readonly string[] {
  const lines = bench.logged.map((line) => JSON.parse(line) as { level: number; msg: string; reason?: string });
  return lines
    .filter(({ level }) => level >= 30)
    .map(({ msg, reason }) => (reason === undefined ? msg : `${msg}: ${reason}`));
}

test('what only tells something is logged for whoever debugs, what changes the machine for everybody', async () => {
  await using bench = await Bench.open([version, serial('work', () => Promise.resolve(''))]);
  for (const [id, name] of Object.entries({ a: 'version', b: 'work', c: 'version' })) {
    bench.transport.push(id, request(name));
    await bench.retired(id);
  }
  await bench.stop();
  assert.deepEqual(messages(bench), ['command finished']);
  assert.equal(bench.logged.filter((line) => line.includes('"command":"version"')).length, 2);
});

test('a command that fails is logged once for each reason, and again after it succeeded', async () => {
  let works = false;
  const fails = (name: string, lane: 'immediate' | 'serial'): Command =>
    command({
      name,
      lane,
      parse: (value) => value,
      run: (value) =>
        works ? 'done' : Promise.reject(new AgentError('GW_RUN_FAILED', [String(value), 'it is broken'])),
    });
  await using bench = await Bench.open([fails('look', 'immediate'), fails('work', 'serial'), fails('more', 'serial')]);
  let last = 0;
  const ask = async (name: string, value: string): Promise<void> => {
    last += 1;
    bench.transport.push(`r${last}`, request(name, value));
    await bench.retired(`r${last}`);
  };
  for (let round = 0; round < 20; round += 1) {
    for (const name of ['look', 'work', 'more']) await ask(name, 'it');
    await ask('work', 'another');
  }
  works = true;
  await ask('work', '');
  works = false;
  await ask('work', 'it');
  await bench.stop();
  const lines = bench.logged.map((line) => JSON.parse(line) as Record<'level' | 'msg' | 'command' | 'reason', unknown>);
  const shown = lines.filter(({ level }) => Number(level) >= 30);
  assert.deepEqual(
    shown.map(({ msg, command: name, reason }) => [msg, name, reason]),
    [
      ['command failed', 'look', 'it failed: it is broken'],
      ['command failed', 'work', 'it failed: it is broken'],
      ['command failed', 'more', 'it failed: it is broken'],
      ['command failed', 'work', 'another failed: it is broken'],
      ['command finished', 'work', undefined],
      ['command failed', 'work', 'it failed: it is broken'],
    ],
  );
  assert.equal(lines.filter(({ msg }) => msg === 'command failed').length, 81);
});

test('a serial command that only told something is logged for whoever debugs', async () => {
  const list = command({
    name: 'list',
    lane: 'serial',
    parse: () => null,
    run: () => ({ returncode: '0', message: '', changed: false }),
  });
  await using bench = await Bench.open([list]);
  bench.transport.push('a', request('list'));
  await bench.retired('a');
  await bench.stop();
  assert.deepEqual(messages(bench), []);
  assert.equal(bench.logged.filter((line) => line.includes('command finished')).length, 1);
});

test('a request whose answer has no place waits for one, with those behind it on its wire, and is not begun', async () => {
  const ran: unknown[] = [];
  const work = serial('work', (value) => {
    ran.push(value);
    return Promise.resolve('');
  });
  await using bench = await Bench.open([version, work]);
  let places = 0;
  const asked: string[] = [];
  Object.assign(bench.transport, {
    reserve: ({ id }: { id: string }) => {
      asked.push(id);
      return Promise.resolve(places > 0);
    },
  });
  for (const id of ['a', 'b', 'c']) bench.transport.push(id, request('work', id));
  bench.transport.push('quick', request('version'));
  await bench.retired('quick');
  while (asked.length < 2) await sleep(10);
  assert.deepEqual([ran, await bench.journal()], [[], '']);
  assert.deepEqual(new Set(asked), new Set(['a']), 'nothing overtakes the first');
  bench.transport.withdrawn.add('b');
  places = 1;
  await bench.retired('a', 'c');
  assert.deepEqual(ran, ['a', 'c']);
  await bench.stop();
  assert.ok(messages(bench).includes('request was withdrawn before its turn: no answer to work is wanted any more'));
});

test('requests of a wire keep their order when one of them waited for a place meanwhile', async () => {
  const ran: unknown[] = [];
  const work = serial('work', (value) => {
    ran.push(value);
    return Promise.resolve('');
  });
  await using bench = await Bench.open([work]);
  const asked: string[] = [];
  let places = 0;
  Object.assign(bench.transport, {
    reserve: ({ id }: { id: string }) => {
      asked.push(id);
      return Promise.resolve(places > 0);
    },
  });
  bench.transport.push('a', request('work', 'a'));
  while (asked.length === 0) await sleep(10);
  // Whatever another wire has that lasts until after `a` is tried again.
  const other = bench.dispatcher?.inTurn(() => sleep(3000));
  bench.transport.push('b', request('work', 'b'));
  places = 1;
  await other;
  await bench.retired('a', 'b');
  assert.deepEqual(ran, ['a', 'b']);
});

test('a request whose answer can never be published is retired, and not begun', async () => {
  const ran: unknown[] = [];
  const work = serial('work', (value) => {
    ran.push(value);
    return Promise.resolve('');
  });
  await using bench = await Bench.open([work]);
  const error = Object.assign(new Error('message for data/guest/a has 5000 bytes'), { code: 'XS_TOO_LARGE' });
  Object.assign(bench.transport, { reserve: () => Promise.reject(error) });
  bench.transport.push('a', request('work'));
  await bench.retired('a');
  await bench.stop();
  assert.deepEqual(ran, []);
  assert.deepEqual(bench.transport.events, ['retired a']);
  assert.deepEqual(messages(bench), ['answer cannot be published: message for data/guest/(id) has 5000 bytes']);
});

test('a serial command is in the journal before it runs, and out of it when it is done', async () => {
  let during = '';
  let bench: Bench | null = null;
  const look = serial('look', async () => {
    during = (await bench?.journal()) ?? '';
    return '';
  });
  await using opened = await Bench.open([look]);
  bench = opened;
  opened.transport.push('a', request('look', 'S3cret'));
  await opened.retired('a');
  await opened.stop();
  assert.match(during, /^\{"id":"a","state":"started","command":"look","time":\d+\}\n$/);
  const states = (await opened.journal())
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { state: string }).state);
  assert.deepEqual(states, ['started', 'answered', 'done']);
});

test('a request that was running when the agent died is answered once as interrupted, and not run again', async () => {
  const ran: string[] = [];
  const work = serial('work', (value) => {
    ran.push(String(value));
    return Promise.resolve('');
  });
  const line = JSON.stringify({ id: 'a', state: 'started', command: 'work', time: Date.now() });
  await using bench = await Bench.open([work], `${line}\n`);
  bench.transport.push('a', request('work', 'old'));
  bench.transport.push('b', request('work', 'new'));
  await bench.retired('a', 'b');
  assert.deepEqual(ran, ['new']);
  const { returncode, message } = bench.transport.answer('a');
  assert.equal(returncode, '500');
  assert.match(message, /^Interrupted: the agent was stopped while it ran work; it was not run again/);
});

test('a request that was answered before the agent died is only retired', async () => {
  const line = JSON.stringify({ id: 'b', state: 'answered', command: 'work', time: Date.now() });
  await using bench = await Bench.open([serial('work', () => Promise.resolve(''))], `${line}\n`);
  bench.transport.push('a', request('work'), true);
  bench.transport.push('b', request('work'));
  await bench.retired('a', 'b');
  assert.deepEqual(bench.transport.events.toSorted(), ['retired a', 'retired b']);
});

test('a request that cannot be retired stays in the journal as answered', async () => {
  await using bench = await Bench.open([serial('work', () => Promise.resolve(''))]);
  bench.transport.onRetire = () => {
    throw Object.assign(new Error('no'), { code: 'XS_REFUSED' });
  };
  bench.transport.push('a', request('work'));
  while (!bench.logged.some((line) => line.includes('cannot be retired'))) await sleep(1);
  await bench.stop();
  assert.match(await bench.journal(), /"state":"answered"[^\n]*\n$/);
});

test('when the agent is stopped the running command is finished and answered, and what waits is left for the next run', async () => {
  const ran: unknown[] = [];
  const slow = serial('slow', async (value, signal) => {
    ran.push(value);
    await sleep(50);
    return signal.aborted ? 'asked to stop' : 'undisturbed';
  });
  await using bench = await Bench.open([slow]);
  bench.transport.push('a', request('slow', 1));
  bench.transport.push('b', request('slow', 2));
  while (ran.length === 0) await sleep(1);
  await bench.stop();
  assert.equal(bench.transport.answer('a').message, 'asked to stop');
  assert.deepEqual(ran, [1]);
  assert.equal(bench.transport.answers.has('b'), false);
  assert.ok(!bench.transport.events.includes('retired b'));
});

test('a journal that cannot be written does not lock the owner out', async () => {
  const failing = {
    read: () => Promise.resolve(''),
    append: () => Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' })),
    replace: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const logged: string[] = [];
  const transport = new MemoryTransport();
  const stop = new AbortController();
  const served = new Dispatcher({
    commands: registryOf([serial('work', () => Promise.resolve('done'))]),
    journal: await FileJournal.open(failing),
    log: pino({}, { write: (line: string) => void logged.push(line) }),
  }).serve(transport, codec, stop.signal);
  transport.push('a', request('work'));
  while (!transport.events.includes('retired a')) await sleep(1);
  stop.abort();
  await served;
  assert.deepEqual(transport.answer('a'), { returncode: '0', message: 'done' });
  assert.ok(logged.some((line) => line.includes('journal cannot be written') && line.includes('ENOSPC')));
});

test('what a wire cannot repeat of a request is left out, rather than the answer', async () => {
  const stubborn: Codec = {
    decode: () => ({ name: 'version', value: '' }),
    encode(reply, body) {
      if (body.length > 0) throw new RangeError('its id cannot be repeated');
      return JSON.stringify(reply);
    },
  };
  await using bench = await Bench.open([version], '', stubborn);
  bench.transport.push('a', 'an id');
  await bench.retired('a');
  assert.deepEqual(bench.transport.events, ['answered a', 'retired a']);
  assert.deepEqual(bench.transport.answer('a'), { returncode: '500', message: 'Internal error: RangeError' });
});

test('an answer that the wire cannot carry is told as an error, and not kept back', async () => {
  const endless: Record<string, unknown> = {};
  endless['itself'] = endless;
  const odd: Command = {
    name: 'odd',
    lane: 'immediate',
    handle: () => Promise.resolve({ returncode: '0', message: '', data: endless }),
  };
  await using bench = await Bench.open([odd], '', createCodec(1000));
  bench.transport.push('1', '{"id":7,"name":"odd"}\n');
  await bench.retired('1');
  assert.deepEqual(bench.transport.answers.get('1'), [
    '{"id":7,"returncode":"500","message":"Internal error: TypeError"}\n',
  ]);
});

/** Commands that say when they run, on a wire whose host is shown what has begun. */
async function shown(begun: (id: string) => Promise<void>): Promise<Bench> {
  let ran: string[] = [];
  const work = (name: string, lane: 'serial' | 'immediate', more: Partial<Command> = {}): Command => ({
    ...command({ name, lane, parse: () => null, run: () => String(ran.push(`ran ${name}`)) }),
    ...more,
  });
  const bench = await Bench.open([
    work('change', 'serial'),
    work('tell', 'immediate'),
    work('plugged', 'immediate', { journaled: true }),
  ]);
  ran = bench.transport.events;
  Object.assign(bench.transport, { begun: ({ id }: RawRequest) => begun(id) });
  return bench;
}

test('the host sees that work has begun before anything changes, of what is journaled and of nothing else', async () => {
  await using bench = await shown(async (id) => {
    await sleep(5);
    bench.transport.events.push(`begun ${id}`);
  });
  for (const [id, name] of Object.entries({ '1': 'change', '2': 'plugged', '3': 'tell' })) {
    bench.transport.push(id, request(name));
    await bench.retired(id);
  }
  bench.transport.push('4', request('unknown'));
  await bench.retired('4');
  assert.deepEqual(bench.transport.events, [
    ...['begun 1', 'ran change', 'answered 1', 'retired 1'],
    ...['begun 2', 'ran plugged', 'answered 2', 'retired 2'],
    ...['ran tell', 'answered 3', 'retired 3'],
    ...['answered 4', 'retired 4'],
  ]);
});

test('where the host cannot be shown that work has begun, the request is answered all the same', async () => {
  let isAway = true;
  await using bench = await shown((id) =>
    isAway ? Promise.reject(Object.assign(new Error(`/${id}: S3cret`), { code: 'EIO' })) : Promise.resolve(),
  );
  for (const id of ['1', '2', '3']) {
    isAway = id !== '3';
    bench.transport.push(id, request('change'));
    await bench.retired(id);
    assert.equal(bench.transport.answer(id).returncode, '0');
  }
  const told = bench.logged
    .filter((line) => /host can(not)? be shown/.test(line))
    .map((line) => JSON.parse(line) as Line);
  assert.deepEqual(
    told.map(({ level, msg }) => [level, msg]),
    [
      [40, 'host cannot be shown that a request has begun'],
      [20, 'host cannot be shown that a request has begun'],
      [30, 'host can be shown again that requests have begun'],
    ],
  );
  assert.doesNotMatch(bench.logged.join(''), /S3cret/);
});

interface Line {
  readonly level: number;
  readonly msg: string;
}
