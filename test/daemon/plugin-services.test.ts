/** What plugins tell of services, in the report: kept apart, so that none spoils it for the others. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { type PluginReports, type ReportedService, definePlugin } from '../../ts/api/index.js';
import { type LoadedPlugin, loadPlugin } from '../../ts/daemon/plugin.js';
import { PluginServices } from '../../ts/daemon/plugin-services.js';
import { fakeHost, fakeWire } from '../../ts/testing/index.js';
import { createFolders } from '../support/plugins.js';

const RUNNING: ReportedService = { name: 'db', values: { version: '15.4', status: 'running' } };

interface Bench {
  readonly logged: string[];
  readonly ask: () => Promise<readonly ReportedService[]>;
}

/** Plugins that are called a, b and so on. */
async function bench(...services: readonly PluginReports['services'][]): Promise<Bench> {
  const logged: string[] = [];
  const log = pino({ base: null, timestamp: false }, { write: (line: string) => void logged.push(line) });
  const plugins = await Promise.all(
    services.map((one, index): Promise<LoadedPlugin> => {
      const name = String.fromCharCode(97 + index);
      const plugin = definePlugin({ name, setup: () => [{ kind: 'reports', module: { services: one } }] });
      const options = { host: fakeHost(), log, loadTimeout: 10_000, commandTimeout: 1000, table: () => null };
      return loadPlugin(name, () => Promise.resolve(plugin), options);
    }),
  );
  const asked = new PluginServices(log, 50);
  return { logged, ask: () => asked.ask(plugins) };
}

test("services of all plugins are told, in the order of the plugins, and each one's values in order", async () => {
  const { ask, logged } = await bench(
    () => [RUNNING],
    () => Promise.resolve([{ name: 'web', values: {} }]),
  );
  const services = await ask();
  assert.deepEqual(services, [RUNNING, { name: 'web', values: {} }]);
  assert.deepEqual(Object.keys(services[0]?.values ?? {}), ['status', 'version']);
  assert.deepEqual(logged, []);
});

const WRONG: readonly (readonly [what: string, given: unknown, reason: string])[] = [
  ['nothing', undefined, 'what services gives: wanted a list, got nothing'],
  ['a service without values', [{ name: 'x' }], 'service 1.values: wanted an object, got nothing'],
  [
    'a name that is a path',
    [RUNNING, { name: 'a/b', values: {} }],
    "service 2.name: wanted letters, digits, _ and -, at most 64, got 'a/b'",
  ],
  ["the agent's own name", [{ name: 'guestwire', values: {} }], "service 1.name: 'guestwire' is the agent's own"],
  [
    'a number for a text',
    [{ name: 'x', values: { version: 1 } }],
    'service 1.values.version: wanted text of one line, at most 512, got 1',
  ],
  [
    'two lines',
    [{ name: 'x', values: { status: 'a\nb' } }],
    "service 1.values.status: wanted text of one line, at most 512, got 'a\nb'",
  ],
  [
    'a long text',
    [{ name: 'x', values: { status: 'y'.repeat(513) } }],
    `service 1.values.status: wanted text of one line, at most 512, got '${'y'.repeat(40)}'`,
  ],
  ['a service twice', [RUNNING, RUNNING], "brings the service 'db' twice"],
  [
    'too many',
    Array.from({ length: 17 }, (_, index) => ({ name: `s${index}`, values: {} })),
    'what services gives: wanted at most 16, got 17',
  ],
];

for (const [what, given, reason] of WRONG) {
  test(`a plugin that tells ${what} is left out of the report, and the log says why, once`, async () => {
    const { ask, logged } = await bench(
      () => given as readonly ReportedService[],
      () => [{ name: 'web', values: {} }],
    );
    for (let times = 0; times < 3; times += 1) assert.deepEqual(await ask(), [{ name: 'web', values: {} }]);
    assert.equal(logged.length, 1, logged.join(''));
    const line = JSON.parse(logged[0] ?? '') as Readonly<Record<string, unknown>>;
    assert.deepEqual(
      [line['plugin'], line['reason'], line['msg']],
      ['a', reason, 'plugin cannot be asked for its services'],
    );
  });
}

test('a plugin that throws is left out, without its words in the log, until it does not any more', async () => {
  let isBroken = true;
  const { ask, logged } = await bench(
    () => {
      if (isBroken) throw new RangeError('s3cret');
      return [RUNNING];
    },
    () => [{ name: 'web', values: {} }],
  );
  assert.deepEqual(await ask(), [{ name: 'web', values: {} }]);
  isBroken = false;
  assert.deepEqual(await ask(), [RUNNING, { name: 'web', values: {} }]);
  assert.match(logged[0] ?? '', /"plugin":"a",.*"reason":"RangeError"/);
  assert.match(logged[1] ?? '', /"plugin":"a","msg":"plugin can be asked for its services again"/);
  assert.doesNotMatch(logged.join(''), /s3cret/);
});

test('a plugin that hangs is waited for once, and not asked again before it has ended', async () => {
  let calls = 0;
  let finish = (): void => undefined;
  let aborted = 0;
  const { ask, logged } = await bench(
    (signal) => {
      calls += 1;
      signal.addEventListener('abort', () => (aborted += 1));
      if (calls > 1) return [RUNNING];
      return new Promise((resolve) => {
        finish = () => {
          resolve([]);
        };
      });
    },
    () => [{ name: 'web', values: {} }],
  );
  assert.deepEqual(await ask(), [{ name: 'web', values: {} }]);
  assert.deepEqual(await ask(), [{ name: 'web', values: {} }]);
  assert.deepEqual([calls, aborted], [1, 1]);
  assert.match(logged[0] ?? '', /"reason":"services took longer than 0\.05 s"/);
  assert.match(logged[1] ?? '', /"reason":"an earlier call of services has not ended yet"/);
  finish();
  await sleep(1);
  assert.deepEqual(await ask(), [RUNNING, { name: 'web', values: {} }]);
});

test('of two plugins that tell a service the first is believed, and the other named in the log', async () => {
  const { ask, logged } = await bench(
    () => [RUNNING],
    () => [
      { name: 'db', values: { status: 'stopped' } },
      { name: 'web', values: {} },
    ],
  );
  assert.deepEqual(await ask(), [RUNNING, { name: 'web', values: {} }]);
  assert.match(logged.join(''), /"plugin":"b",.*"reason":"another plugin tells the service 'db' too"/);
});

test('the report of an agent with the plugin has its services', async () => {
  const plugin = definePlugin({
    name: 'db',
    setup: (host) => [
      {
        kind: 'reports',
        module: {
          services: async () => [
            { name: 'db', values: { status: (await host.files.readText('/run/db')) ?? 'stopped' } },
          ],
        },
      },
    ],
  });
  const host = fakeHost();
  const wire = await fakeWire(plugin, host);
  assert.deepEqual((await wire.report()).services, [{ name: 'db', values: { status: 'stopped' } }]);
  host.files.put('/run/db', 'running');
  assert.deepEqual((await wire.report()).services, [{ name: 'db', values: { status: 'running' } }]);
  await wire.close();
});

test('plugins of the folder tell services, and no more once they are gone', async () => {
  await using folders = await createFolders();
  assert.deepEqual(await folders.extensions.services(), []);
  await folders.write(
    'plugins/db.mjs',
    `import { definePlugin } from 'guestwire';
    const services = () => [{ name: 'db', values: { status: 'running' } }];
    export default definePlugin({ name: 'db', setup: () => [{ kind: 'reports', module: { services } }] });`,
  );
  await folders.extensions.load();
  assert.deepEqual(folders.problems(), {});
  assert.deepEqual(await folders.extensions.services(), [{ name: 'db', values: { status: 'running' } }]);
});
