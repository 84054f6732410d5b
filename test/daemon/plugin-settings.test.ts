/** Settings that plugins bring, from the text of a configuration file to what `setup` is handed, by the real loader. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type PluginTables, loadConfig } from '../../ts/daemon/config.js';
import { context } from '../support/command-context.js';
import { type Folders, createFolders } from '../support/plugins.js';

const SCHEMA = `{
  on: { kind: 'boolean', default: true, about: 'x' },
  colour: { kind: 'choice', choices: ['red', 'blue'], default: 'red', about: 'x' },
  count: { kind: 'integer', min: 1, max: 9, default: 3, about: 'x' },
  every: { kind: 'duration', default: '15m', about: 'x' },
  'max-size': { kind: 'size', default: '4KiB', about: 'x' },
  file: { kind: 'path', default: null, about: 'x' },
  greeting: { kind: 'text', default: 'hello', about: 'x' },
  names: { kind: 'texts', default: [], about: 'x' },
}`;

/** A plugin whose one command, `tell-NAME`, answers with its settings. */
const telling = (name: string, schema: string | null): string => `import { definePlugin } from 'guestwire';
export default definePlugin({
  name: '${name}',
  ${schema === null ? '' : `settings: ${schema},`}
  setup(host, { settings }) {
    const handle = () => ({ returncode: '0', message: JSON.stringify(settings) });
    return [{ kind: 'commands', module: { name: '${name}', commands: [{ name: 'tell-${name}', lane: 'immediate', handle }] } }];
  },
});
`;

const tablesOf = async (text: string): Promise<PluginTables> =>
  (await loadConfig([{ path: '/own.toml', text }])).plugins;

const loaded = async (text: string, schema: string | null = SCHEMA): Promise<Folders> => {
  const folders = await createFolders({ tables: await tablesOf(text) });
  await folders.write('plugins/a.mjs', telling('a', schema));
  await folders.write('plugins/b.mjs', telling('b', null));
  await folders.extensions.load();
  return folders;
};

const told = async ({ registry }: Folders, name: string): Promise<unknown> =>
  JSON.parse((await registry.get(`tell-${name}`).handle(null, context)).message);

test('a plugin is handed its defaults where the configuration has nothing, and values of its table where it has', async () => {
  const defaults = {
    on: true,
    colour: 'red',
    count: 3,
    every: 900_000,
    'max-size': 4096,
    file: null,
    greeting: 'hello',
    names: [],
  };
  await using without = await loaded('');
  assert.deepEqual([await told(without, 'a'), await told(without, 'b')], [defaults, {}]);
  await using folders = await loaded(`[plugin.a]
colour = "blue"
on = false
count = 9
every = "1.5h"
max-size = "2MiB"
file = "/srv/x"
greeting = ""
names = ["x", "y"]
`);
  assert.deepEqual(folders.problems(), {});
  assert.deepEqual(await told(folders, 'a'), {
    on: false,
    colour: 'blue',
    count: 9,
    every: 5_400_000,
    'max-size': 2 * 1024 * 1024,
    file: '/srv/x',
    greeting: '',
    names: ['x', 'y'],
  });
});

const WRONG: readonly (readonly [text: string, reason: string])[] = [
  ['on = 1', 'plugin.a.on: found 1, wanted true or false'],
  ['colour = "green"', 'plugin.a.colour: found "green", wanted one of "red", "blue"'],
  ['count = 10', 'plugin.a.count: found 10, wanted a whole number from 1 to 9'],
  ['every = 15', 'plugin.a.every: found 15, wanted a duration such as "90s" or "10m"'],
  [
    'max-size = "4"',
    'plugin.a.max-size: found "4", wanted a size between "0B" and "256MiB", such as "512KiB" or "16MiB"',
  ],
  ['file = "x"', 'plugin.a.file: found "x", wanted an absolute path'],
  ['greeting = 1979-05-27', 'plugin.a.greeting: found "1979-05-27", wanted text'],
  ['names = "x"', 'plugin.a.names: found "x", wanted a list of texts'],
  ['names = [1]', 'plugin.a.names: found [1], wanted a list of texts'],
  ['gretting = "x"', 'unknown key plugin.a.gretting (the nearest known one is plugin.a.greeting)'],
  ['constructor = 1', 'unknown key plugin.a.constructor'],
];
for (const [text, reason] of WRONG) {
  test(`a wrong setting keeps its plugin out and no other, and is told with file and line: ${text}`, async () => {
    await using folders = await loaded(`# mine\n[plugin.a]\n${text}\n`);
    assert.deepEqual(folders.problems(), { 'plugins/a.mjs': `/own.toml:3: ${reason}` });
    assert.deepEqual(await told(folders, 'b'), {});
    assert.equal(folders.registry.origin('tell-a'), null);
    assert.ok(folders.log.some(({ level, reason: logged }) => level === 50 && logged === `/own.toml:3: ${reason}`));
  });
}

test('a plugin that brings no settings refuses a table with something in it', async () => {
  await using folders = await loaded('[plugin.b]\nx = 1\n');
  assert.deepEqual(folders.problems(), {
    'plugins/b.mjs': '/own.toml:2: unknown key plugin.b.x: the plugin has no settings',
  });
  await using empty = await loaded('[plugin.b]\n');
  assert.deepEqual(empty.problems(), {});
});

const SHAPES: readonly (readonly [schema: string, reason: string])[] = [
  ['[]', 'settings: wanted an object, got a list'],
  ['{ "a b": {} }', "a key of settings: wanted a letter, then letters, digits, _ and -, at most 64, got 'a b'"],
  [
    "{ x: { kind: 'number' } }",
    "settings.x.kind: wanted one of boolean, choice, integer, duration, size, path, text, texts, got 'number'",
  ],
  ["{ x: { kind: 'text', about: 'x' } }", 'settings.x.default: wanted a value, or null for none, got nothing'],
  ["{ x: { kind: 'text', default: null } }", 'settings.x.about: wanted text, got nothing'],
  ["{ x: { kind: 'choice', default: 'a', about: 'x' } }", 'settings.x.choices: wanted a list, got nothing'],
  ["{ x: { kind: 'integer', min: 1, default: 1, about: 'x' } }", 'settings.x.max: wanted a whole number, got nothing'],
  [
    "{ x: { kind: 'duration', default: 900, about: 'x' } }",
    'settings.x.default: wanted a duration such as "90s" or "10m", got 900',
  ],
];
for (const [schema, reason] of SHAPES) {
  test(`a plugin whose settings are not well described is told so: ${schema}`, async () => {
    await using folders = await loaded('', schema);
    assert.deepEqual(folders.problems(), { 'plugins/a.mjs': reason });
  });
}

test('a table for a plugin that is not there is a warning, and none is there for one that cannot be used', async () => {
  await using folders = await loaded('[plugin.a]\ncount = 0\n[plugin.gone]\nx = 1\n');
  assert.deepEqual(folders.extensions.unclaimed, [{ where: '/own.toml:3', name: 'gone' }]);
  const warnings = folders.log.filter(({ level }) => level === 40);
  assert.deepEqual(
    warnings.map(({ where, plugin, msg }) => [where, plugin, msg]),
    [['/own.toml:3', 'gone', 'settings are for no plugin that is there']],
  );
});

for (const text of ['plugin = 5', '[[plugin]]', '[plugin]\na = "x"', '[[plugin.a]]']) {
  test(`what is no table of a plugin is refused with what was wanted: ${JSON.stringify(text)}`, async () => {
    await assert.rejects(tablesOf(text), {
      code: 'GW_CONFIG_INVALID',
      message: /^\/own\.toml:[12]: plugin(?:\.a)?: found .+, wanted a section \[plugin\.NAME\]$/,
    });
  });
}

test('a reload hands new settings on, wrong ones leave the version before running, and so does a broken file', async () => {
  await using folders = await loaded('[plugin.a]\ncount = 1\n');
  const count = async (): Promise<number> => ((await told(folders, 'a')) as { count: number }).count;
  const loads = (): number => folders.log.filter(({ msg }) => msg === 'plugin loaded').length;
  assert.deepEqual([await count(), loads()], [1, 2]);
  await folders.extensions.load(() => tablesOf('\n\n[plugin.a]\ncount = 1\n'));
  assert.deepEqual([await count(), loads()], [1, 2], 'the same settings on another line change nothing');
  await folders.extensions.load(() => tablesOf('[plugin.a]\ncount = 2\n'));
  assert.deepEqual([await count(), loads()], [2, 3]);
  await folders.extensions.load(() => tablesOf('[plugin.a]\ncount = "x"\n'));
  assert.deepEqual([await count(), loads()], [2, 3]);
  assert.deepEqual(folders.problems(), {
    'plugins/a.mjs':
      '/own.toml:2: plugin.a.count: found "x", wanted a whole number from 1 to 9; the version before it keeps running',
  });
  await folders.extensions.load(() => tablesOf('[plugin.a]\ncount = 4\n'));
  await folders.extensions.load(() => tablesOf('[plugin.a\n'));
  assert.deepEqual([await count(), loads(), folders.problems()], [4, 4, {}]);
  assert.ok(folders.log.some(({ msg }) => msg === 'configuration cannot be read: plugins keep their settings'));
});
