import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type CommandModule,
  type Host,
  type Plugin,
  type PluginWire,
  type RawRequest,
  type Report,
  Secret,
  type Transport,
  command,
  definePlugin,
} from '../../ts/api/index.js';
import { fakeHost, fakeWire, memoryStore } from '../../ts/testing/index.js';

const plugin = (commands: (host: Host) => CommandModule['commands']): Plugin =>
  definePlugin({
    name: 'test',
    setup: (host) => [{ kind: 'commands', module: { name: 'test', commands: commands(host) } }],
  });

test('a plugin is handed what the test has in its table, checked as the agent does, and new settings by a reload', async (t) => {
  const counting = definePlugin({
    name: 'counting',
    settings: { count: { kind: 'integer', min: 1, max: 9, default: 3, about: 'How many.' } },
    setup: (_, { settings }) => {
      const run = (): string => String(settings.count + 1);
      return [
        {
          kind: 'commands',
          module: { name: 'c', commands: [command({ name: 'count', lane: 'serial', parse: () => null, run })] },
        },
      ];
    },
  });
  await assert.rejects(fakeWire(counting, fakeHost(), { settings: { count: 10 } }), {
    message: 'the test: plugin.counting.count: found 10, wanted a whole number from 1 to 9',
  });
  const wire = await fakeWire(counting);
  t.after(() => wire.close());
  assert.equal((await wire.request('count')).message, '4');
  await wire.reload(counting, { count: 7 });
  await assert.rejects(wire.reload(counting, { number: 8 }), {
    message: 'the test: unknown key plugin.counting.number',
  });
  await wire.reload(counting);
  await wire.crash();
  assert.equal((await wire.request('count')).message, '8');
});

test('scheduled work is done by hand, in line with commands, and what it throws reaches the test', async (t) => {
  const host = fakeHost();
  const scheduled = definePlugin({
    name: 'scheduled',
    setup: ({ state }) => [
      {
        kind: 'schedule',
        tasks: [
          { name: 'sweep', every: '15m', run: () => state.write('scheduled/swept', 'yes') },
          {
            name: 'fail',
            every: 1000,
            delay: 0,
            run() {
              throw new TypeError('no');
            },
          },
        ],
      },
    ],
  });
  const wire = await fakeWire(scheduled, host);
  t.after(() => wire.close());
  assert.equal(await host.state.read('scheduled/swept'), null);
  await wire.runTask('sweep');
  assert.equal(await host.state.read('scheduled/swept'), 'yes');
  await assert.rejects(wire.runTask('fail'), { message: 'TypeError: no' });
  await assert.rejects(wire.runTask('other'), { message: 'wanted a task of the plugin (sweep, fail), got other' });
});

const TASKS: readonly (readonly [tasks: unknown, reason: string])[] = [
  [undefined, 'contribution 1.tasks: wanted a list, got nothing'],
  [[{}], 'contribution 1.tasks[0].name: wanted letters, digits, _ and -, at most 64, got nothing'],
  [[{ name: 'x' }], 'contribution 1.tasks[0].run: wanted a function, got nothing'],
  [
    [{ name: 'x', run: String, every: '15 min' }],
    "contribution 1.tasks[0].every: wanted a duration such as '15m' or '90s', or milliseconds, 1000 to 2147483647, got '15 min'",
  ],
  [
    [{ name: 'x', run: String, every: '500ms' }],
    "contribution 1.tasks[0].every: wanted a duration such as '15m' or '90s', or milliseconds, 1000 to 2147483647, got '500ms'",
  ],
  [
    [{ name: 'x', run: String, every: '1s', delay: -1 }],
    "contribution 1.tasks[0].delay: wanted a duration such as '15m' or '90s', or milliseconds, 0 to 2147483647, got -1",
  ],
  [
    [{ name: 'x', run: String, every: '1s', timeout: '1s' }],
    "contribution 1.tasks[0].timeout: wanted milliseconds, 1 to 2147483647, got '1s'",
  ],
  [['x', 'x'].map((name) => ({ name, run: String, every: '1s' })), "brings the task 'x' twice"],
];
for (const [tasks, reason] of TASKS) {
  test(`scheduled work that is not well described is refused: ${reason}`, async () => {
    const setup = (): never => [{ kind: 'schedule', tasks }] as never;
    await assert.rejects(fakeWire(definePlugin({ name: 'x', setup })), { message: reason });
  });
}

test('a command sees the fake machine, and what it did there can be looked at', async (t) => {
  const host = fakeHost({
    files: { '/etc/motd': 'hello' },
    store: { 'vm-data/hostname': 'web1', 'vm-data/networking/a': '{}' },
    nics: [{ name: 'eth0', mac: '52:54:00:00:00:01' }],
    programs: {
      '/bin/true': {},
      '/bin/cat': ({ stdin, argv }) => ({ stdout: `${argv.length} ${stdin}`, code: 3 }),
    },
  });
  const work = command({
    name: 'work',
    lane: 'serial',
    parse: (value) => value,
    async run() {
      const { code } = await host.processes.run(['/bin/true']);
      const cat = await host.processes.run(['/bin/cat', '-'], { stdin: new Secret(Buffer.from('x')) });
      const none = await host.processes.run(['/bin/none']);
      await (await host.files.commit([{ type: 'write', path: '/etc/motd', content: 'bye', mode: 0o644 }])).confirm();
      await host.network.setHostname((await host.store.read('vm-data/hostname')) ?? '');
      await host.state.write('test/seen', 'yes');
      const [nic] = await host.network.nics();
      const listed = await host.store.list('vm-data');
      return [code, cat.code, cat.stdout, none.code, nic?.name, listed.join(), await host.network.hostname()].join(' ');
    },
  });
  const wire = await fakeWire(
    plugin(() => [work]),
    host,
  );
  t.after(() => wire.close());
  assert.deepEqual(await wire.request('work'), {
    returncode: '0',
    message: '0 3 2 x 127 eth0 hostname,networking web1',
  });
  assert.equal(await host.files.readText('/etc/motd'), 'bye');
  assert.deepEqual(
    host.runs.map(({ argv, stdin }) => [argv.join(' '), stdin]),
    [
      ['/bin/true', ''],
      ['/bin/cat -', 'x'],
      ['/bin/none', ''],
    ],
  );
  assert.equal(await host.state.read('test/seen'), 'yes');
});

test('requests and answers are those of the host: odd bytes, unknown commands, characters that dom0 breaks on', async (t) => {
  const echo = command({ name: 'echo', lane: 'immediate', parse: String, run: (text) => Promise.resolve(text) });
  const wire = await fakeWire(plugin(() => [echo]));
  t.after(() => wire.close());
  assert.equal((await wire.request('features')).message, 'version,features,echo');
  assert.equal((await wire.request('echo', 'a"b\\cä')).message, "a'b/c?");
  assert.equal((await wire.request('none')).returncode, '404');
  assert.match((await wire.send('{')).message, /^Request is malformed/);
});

test('a plugin is checked as the agent checks it', async () => {
  const bad = { apiVersion: 1, name: 'bad', setup: () => [{ kind: 'commands' }] } as unknown as Plugin;
  await assert.rejects(fakeWire(bad), { message: 'contribution 1.module: wanted an object, got nothing' });
  const taken = command({ name: 'version', lane: 'immediate', parse: () => null, run: () => Promise.resolve('') });
  await assert.rejects(fakeWire(plugin(() => [taken])), /brings the command 'version', which the agent has itself/);
});

test('a command that takes too long is answered here too', async (t) => {
  const hang = command({
    name: 'hang',
    lane: 'serial',
    parse: () => null,
    run: () => new Promise<string>(() => undefined),
  });
  const wire = await fakeWire(
    plugin(() => [hang]),
    fakeHost(),
    { commandTimeout: 50 },
  );
  t.after(() => wire.close());
  assert.equal((await wire.request('hang')).message, 'Plugin test failed: no answer within 0.05 s');
});

/** A wire whose requests are handed in by the test. */
function handed(
  requests: readonly Partial<RawRequest>[],
  more: Partial<Transport> = {},
  { tell, commands }: Pick<PluginWire, 'tell'> & { commands?: (host: Host) => CommandModule['commands'] } = {},
) {
  const events: string[] = [];
  const transport: Transport = {
    async *requests(signal) {
      for (const request of requests) yield request as RawRequest;
      await new Promise((resolve) => {
        signal.addEventListener('abort', resolve);
      });
    },
    stillWanted: () => Promise.resolve(true),
    respond: ({ id }, body) => Promise.resolve(void events.push(`${id} ${Buffer.from(body).toString()}`)),
    retire: ({ id }) => Promise.resolve(void events.push(`${id} retired`)),
    [Symbol.asyncDispose]: () => Promise.resolve(void events.push('closed')),
    ...more,
  };
  const brought = definePlugin({
    name: 'wire',
    setup: (host) => [
      {
        kind: 'communication',
        module: {
          name: 'handed',
          open: () => Promise.resolve(transport),
          ...(tell === undefined ? {} : { tell }),
        },
      },
      { kind: 'commands', module: { name: 'test', commands: commands?.(host) ?? [] } },
    ],
  });
  return { events, brought };
}

const body = Buffer.from('{"name":"version"}');

test('a wire of a plugin is served, with the ids that it gave, and closed at the end', async () => {
  const { events, brought } = handed([{ id: '7', body, answered: false }]);
  const wire = await fakeWire(brought);
  while (events.length < 2) await sleep(5);
  await wire.close();
  assert.deepEqual(events, ['7 {"returncode":"0","message":"0.1.0"}', '7 retired', 'closed']);
});

const rename = (host: Host): CommandModule['commands'] => [
  command({
    name: 'rename',
    lane: 'serial',
    parse: String,
    async run(name) {
      await host.network.setHostname(name);
      return '';
    },
  }),
];

test('a wire of a plugin shows what has begun, and tells the report and each change of it', async () => {
  const told: Report[] = [];
  const { events, brought } = handed(
    [],
    {
      async *requests(signal) {
        yield { id: '1', body: '{"name":"rename","value":"web2"}', answered: false };
        await new Promise((resolve) => {
          signal.addEventListener('abort', resolve);
        });
      },
      begun: ({ id }) => Promise.resolve(void events.push(`${id} begun`)),
    },
    {
      commands: rename,
      async tell(reports, signal) {
        for await (const report of reports.changes(signal)) told.push(report);
        events.push('told to end');
      },
    },
  );
  const host = fakeHost({ hostname: 'web1', nics: [{ name: 'eth0', mac: '52:54:00:00:00:01' }] });
  const wire = await fakeWire(brought, host);
  const until = async (name: string): Promise<void> => {
    for (let tries = 0; told.at(-1)?.os.hostname !== name; tries += 1) {
      assert.ok(tries < 6000, JSON.stringify(told));
      await sleep(5);
    }
  };
  await until('web2');
  await wire.request('rename', 'web3');
  await until('web3');
  assert.deepEqual(told.at(-1), await wire.report());
  assert.equal(told.at(-1)?.nics[0]?.mac, '52:54:00:00:00:01');
  await wire.close();
  assert.deepEqual(events, ['1 begun', '1 {"returncode":"0","message":""}', '1 retired', 'told to end', 'closed']);
});

test('a wire of a plugin that never ends its telling is named in the log, and the agent ends in time', async () => {
  const { brought } = handed([], {}, { tell: () => new Promise(() => undefined) });
  const wire = await fakeWire(brought, fakeHost(), { commandTimeout: 50 });
  assert.equal((await wire.request('version')).returncode, '0');
  await wire.close();
  const line = wire.logged.find(({ msg }) => msg === 'wire does not tell the host about the guest any more');
  assert.deepEqual([line?.['wire'], line?.['reason']], ['handed', 'handed of wire took longer than 0.05 s']);
});

const BROKEN: readonly (readonly [what: string, requests: readonly Partial<RawRequest>[], more: Partial<Transport>])[] =
  [
    [
      'throws',
      [],
      {
        requests: () => {
          throw new Error('broken');
        },
      },
    ],
    ['gives what is no request', [{ id: 'a\n', body }], {}],
    ['never answers', [{ id: '1', body, answered: false }], { respond: () => new Promise(() => undefined) }],
    [
      'does not end when it is told',
      [],
      {
        requests: async function* () {
          yield { id: '1', body, answered: false };
          await new Promise(() => undefined);
        },
      },
    ],
    ['cannot be closed', [], { [Symbol.asyncDispose]: () => Promise.reject(new Error('broken')) }],
  ];
for (const [what, requests, more] of BROKEN) {
  test(`a wire that ${what} harms nobody else, and the agent ends in time`, async () => {
    const { brought } = handed(requests, more);
    const wire = await fakeWire(brought, fakeHost(), { commandTimeout: 50 });
    await sleep(20);
    assert.equal((await wire.request('version')).returncode, '0');
    await wire.close();
  });
}

test('a wire that cannot be opened is told to whoever tests it', async () => {
  const brought = definePlugin({
    name: 'wire',
    setup: () => [
      { kind: 'communication', module: { name: 'shut', open: () => Promise.reject(new Error('no such device')) } },
    ],
  });
  await assert.rejects(fakeWire(brought), /wire shut cannot be opened: no such device/);
});

test('a store in memory tells values and names', async () => {
  const store = memoryStore({ 'a/b': '1', 'a/c/d': '2' });
  assert.deepEqual([await store.read('a/b'), await store.read('a'), await store.list('a')], ['1', null, ['b', 'c']]);
});

test('what the agent and the plugin log can be asked for', async (t) => {
  const work = command({
    name: 'work',
    lane: 'serial',
    parse: String,
    run(value, { log }) {
      if (value === 'fail') throw new RangeError('s3cret');
      log.info({ letters: value.length }, 'work is done');
      return '';
    },
  });
  const wire = await fakeWire(plugin(() => [work]));
  t.after(() => wire.close());
  await wire.request('work', 's3cret');
  await wire.request('work', 'fail');
  const [done] = wire.logged.filter(({ msg }) => msg === 'work is done');
  assert.deepEqual([done?.level, done?.['letters'], done?.['command']], ['info', 6, 'work']);
  assert.ok(wire.logged.some(({ level, msg }) => level === 'error' && msg === 'command failed'));
  assert.ok(!JSON.stringify(wire.logged).includes('s3cret'));
});

test('hooks of the fake host run around the command, and one before it may refuse', async (t) => {
  const host = fakeHost({
    files: {
      '/etc/guestwire/hooks/before/work/10-look': { content: '#!/bin/sh', mode: 0o755 },
      '/etc/guestwire/hooks/after/all/20-tell': { content: '#!/bin/sh', mode: 0o755 },
    },
    programs: {
      '/etc/guestwire/hooks/before/work/10-look': ({ environment }) =>
        environment['GUESTWIRE_REQUEST'] === '2' ? { code: 1, stderr: 'not now' } : {},
      '/etc/guestwire/hooks/after/all/20-tell': {},
    },
  });
  const wire = await fakeWire(
    plugin(() => [command({ name: 'work', lane: 'serial', parse: () => null, run: () => 'done' })]),
    host,
  );
  t.after(() => wire.close());
  assert.deepEqual(await wire.request('work'), { returncode: '0', message: 'done' });
  assert.deepEqual(await wire.request('work'), {
    returncode: '500',
    message: 'Refused by the hook before/work/10-look: not now',
  });
  assert.deepEqual(
    host.runs.map(({ argv: [program] }) => program.split('/').at(-1)),
    ['10-look', '20-tell', '10-look'],
  );
});

test('a reload puts another version to use, and one that cannot be used leaves the one before', async (t) => {
  const version = (name: string, message: string): Plugin =>
    plugin(() => [command({ name, lane: 'serial', parse: () => null, run: () => message })]);
  const wire = await fakeWire(version('work', 'first'));
  t.after(() => wire.close());
  await assert.rejects(wire.reload(version('version', 'taken')), {
    message: "the plugin brings the command 'version', which the agent has itself",
  });
  assert.equal((await wire.request('work')).message, 'first');
  await wire.reload(version('work', 'second'));
  assert.equal((await wire.request('work')).message, 'second');
});

for (const lane of ['serial', 'immediate'] as const) {
  test(`after a crash what had begun is answered as interrupted, and what had not is run: ${lane}`, async (t) => {
    const runs: string[] = [];
    let begun = (): void => undefined;
    const hasBegun = new Promise<void>((resolve) => (begun = resolve));
    const work = command({
      name: 'work',
      lane,
      parse: String,
      run(value) {
        runs.push(value);
        if (value !== 'deadly') return value;
        begun();
        return new Promise<string>(() => undefined);
      },
    });
    const wire = await fakeWire(plugin(() => [work]));
    t.after(() => wire.close());
    assert.equal((await wire.request('work', 'before')).message, 'before');
    const deadly = wire.request('work', 'deadly');
    await hasBegun;
    const after = wire.request('work', 'after');
    await wire.crash();
    assert.match((await deadly).message, /^Interrupted: the agent was stopped while it ran work; it was not run again/);
    const { message } = await after;
    if (lane === 'serial') assert.equal(message, 'after');
    assert.equal(runs.filter((value) => value === 'deadly').length, 1);
    assert.equal((await wire.request('work', 'later')).message, 'later');
  });
}
