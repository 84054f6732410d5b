/** What a look again does to plugins that run, by the real loader. */
import assert from 'node:assert/strict';
import { chmod, copyFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { context } from '../support/command-context.js';
import { type Folders, answers, createFolders, pluginText } from '../support/plugins.js';

const ask = async (folders: Folders, name: string): Promise<string> =>
  (await folders.registry.get(name).handle(null, context)).message;

/** What the log says of plugins, by file. */
const told = ({ log, plugins }: Folders, message: string): readonly string[] =>
  log.filter(({ msg }) => msg === message).map(({ where }) => String(where).slice(plugins.length + 1));

const KEPT = 'the version before it keeps running';

/** Tells by `globalThis.ended` that it was unloaded. */
const telling = (name: string, handlers: Readonly<Record<string, string>>): string =>
  pluginText(name, handlers, `signal.addEventListener('abort', () => (globalThis.ended ??= []).push('${name}'));`);

const ended = (): readonly string[] => {
  const all = globalThis as { ended?: readonly string[] };
  const names = all.ended ?? [];
  all.ended = [];
  return names;
};

const BROKEN: readonly (readonly [what: string, text: string, reason: RegExp])[] = [
  ['is no JavaScript', 'export default {', /^SyntaxError: /],
  ['throws', "throw new Error('no');", /^Error: no; /],
  ['has no plugin in it', '', /^has no default export/],
  ['takes a command of the agent', pluginText('x', { version: answers('1') }), /^brings the command 'version'/],
  ['takes a command of another plugin', pluginText('x', { other: answers('1') }), /^brings the command 'other'/],
];
for (const [what, text, reason] of BROKEN) {
  test(`an edit that ${what} leaves the version before it running, and the log says so`, async () => {
    await using folders = await createFolders();
    await folders.write('plugins/a-other.mjs', pluginText('o', { other: answers("'other'") }));
    await folders.write('plugins/x.mjs', telling('x', { mine: answers("'first'") }));
    await folders.extensions.load();
    await folders.write('plugins/x.mjs', text);
    for (let time = 0; time < 2; time += 1) {
      await folders.extensions.load();
      assert.equal(await ask(folders, 'mine'), 'first');
      assert.equal(await ask(folders, 'other'), 'other');
      assert.match(folders.problems()['plugins/x.mjs']!, reason);
      assert.ok(folders.problems()['plugins/x.mjs']!.endsWith(`; ${KEPT}`));
      assert.deepEqual(ended(), []);
    }
    assert.ok(folders.log.some(({ reason: logged }) => String(logged).endsWith(KEPT)));
    await folders.write('plugins/x.mjs', pluginText('x', { mine: answers("'second, mended'") }));
    await folders.extensions.load();
    assert.deepEqual([await ask(folders, 'mine'), folders.problems()], ['second, mended', {}]);
    assert.deepEqual(ended(), ['x']);
  });
}

test('a package whose package.json is broken by an edit keeps running; one that others can write does not', async () => {
  await using folders = await createFolders();
  await folders.write('plugins/x/package.json', '{"type":"module","exports":"./x.js"}');
  await folders.write('plugins/x/x.js', pluginText('x', { mine: answers("'first'") }));
  await folders.extensions.load();
  await folders.write('plugins/x/package.json', '{"type":');
  await folders.extensions.load();
  assert.equal(await ask(folders, 'mine'), 'first');
  assert.match(folders.problems()['plugins/x']!, /JSON.*; the version before it keeps running$/);
  await folders.write('plugins/x/package.json', '{"type":"module","exports":"./x.js"}');
  await chmod(join(folders.plugins, 'x/x.js'), 0o666);
  await folders.extensions.load();
  assert.equal(folders.registry.origin('mine'), null);
  assert.doesNotMatch(folders.problems()['plugins/x']!, /keeps running/);
});

test('a newcomer takes no name of what runs, whatever their order, and is told to end what it began', async () => {
  await using folders = await createFolders();
  await folders.write('plugins/m.mjs', telling('m', { mine: answers("'m'") }));
  await folders.extensions.load();
  await folders.write('plugins/a.mjs', telling('a', { mine: answers("'a'"), more: answers("'a'") }));
  await folders.extensions.load();
  assert.equal(await ask(folders, 'mine'), 'm');
  assert.equal(folders.registry.origin('more'), null);
  assert.deepEqual(folders.problems(), {
    'plugins/a.mjs': `brings the command 'mine', which ${folders.plugins}/m.mjs has too`,
  });
  assert.deepEqual(ended(), ['a']);
  assert.deepEqual(told(folders, 'plugin loaded'), ['m.mjs']);
});

test('a command may move from one plugin to another in one look again', async () => {
  await using folders = await createFolders();
  await folders.write('plugins/a.mjs', pluginText('a', { one: answers("'a'") }));
  await folders.write('plugins/b.mjs', pluginText('b', { two: answers("'b'") }));
  await folders.extensions.load();
  await folders.write('plugins/a.mjs', pluginText('a', { two: answers("'a, now'") }));
  await folders.write('plugins/b.mjs', pluginText('b', { one: answers("'b, now'") }));
  await folders.extensions.load();
  assert.deepEqual([await ask(folders, 'one'), await ask(folders, 'two')], ['b, now', 'a, now']);
  assert.deepEqual(folders.problems(), {});
});

test('one whose edit cannot be used keeps its names even where another edit wants them', async () => {
  await using folders = await createFolders();
  await folders.write('plugins/a.mjs', pluginText('a', { one: answers("'a'") }));
  await folders.write('plugins/b.mjs', pluginText('b', { two: answers("'b'") }));
  await folders.extensions.load();
  await folders.write('plugins/a.mjs', pluginText('a', { two: answers("'a, now'") }));
  await folders.write('plugins/b.mjs', pluginText('b', { version: answers("'b, now'") }));
  await folders.extensions.load();
  assert.deepEqual([await ask(folders, 'one'), await ask(folders, 'two')], ['a', 'b']);
  assert.deepEqual(Object.keys(folders.problems()), ['plugins/a.mjs', 'plugins/b.mjs']);
});

test('the log says that a plugin is loaded when it is put to use, and when it is not any more', async () => {
  await using folders = await createFolders();
  await folders.write('plugins/taken.mjs', pluginText('taken', { version: answers('1') }));
  await folders.write('plugins/good.mjs', pluginText('good', { good: answers('1') }));
  await folders.extensions.load();
  assert.deepEqual(told(folders, 'plugin loaded'), ['good.mjs']);
  await folders.write('plugins/good.mjs', pluginText('good', { better: answers('11') }));
  await folders.extensions.load();
  assert.deepEqual(told(folders, 'plugin loaded'), ['good.mjs', 'good.mjs']);
  assert.deepEqual(told(folders, 'plugin unloaded'), []);
  await rm(join(folders.plugins, 'good.mjs'));
  await folders.extensions.load();
  assert.deepEqual(told(folders, 'plugin unloaded'), ['good.mjs']);
});

test('what is CommonJS in a plugin is loaded anew too, and nothing of another plugin is', async () => {
  await using folders = await createFolders();
  const counted = (text: string): string =>
    `globalThis.loads = (globalThis.loads ?? 0) + 1; exports.text = '${text}' + require('./deep.cjs');`;
  const whole = async (name: string, text: string): Promise<void> => {
    const plugin = pluginText(name, { [name]: answers('text') });
    await folders.write(`plugins/${name}/package.json`, '{"type":"module","exports":"./index.js"}');
    await folders.write(`plugins/${name}/index.js`, `import { text } from './part.cjs';\n${plugin}`);
    await folders.write(`plugins/${name}/part.cjs`, counted(text));
    await folders.write(`plugins/${name}/deep.cjs`, `module.exports = ', ${text}';`);
  };
  await whole('x', 'first');
  await whole('y', 'only');
  const single = (): string =>
    `import { createRequire } from 'node:module';\nconst { text } = createRequire(import.meta.url)('./lib/single.cjs');\n` +
    pluginText('z', { z: answers('text') });
  await folders.write('plugins/z.mjs', single());
  await folders.write('plugins/lib/single.cjs', "exports.text = 'single';");
  await folders.extensions.load();
  const all = async (): Promise<readonly string[]> => [
    await ask(folders, 'x'),
    await ask(folders, 'y'),
    await ask(folders, 'z'),
  ];
  assert.deepEqual([folders.problems(), await all()], [{}, ['first, first', 'only, only', 'single']]);
  await whole('x', 'the second');
  await folders.write('plugins/lib/single.cjs', "exports.text = 'single, too';");
  await folders.write('plugins/z.mjs', `${single()}// edited`);
  await folders.extensions.load();
  assert.deepEqual(await all(), ['the second, the second', 'only, only', 'single, too']);
  assert.equal((globalThis as { loads?: number }).loads, 3);
});

test('a plugin with native code is changed only by a restart, and is told so', async () => {
  await using folders = await createFolders();
  await folders.write('plugins/x/package.json', '{"type":"module","exports":"./x.js"}');
  const text = (answer: string): string =>
    `import { createRequire } from 'node:module';\ncreateRequire(import.meta.url)('./native.node');\n` +
    pluginText('x', { mine: answers(answer) });
  await folders.write('plugins/x/x.js', text("'first'"));
  const [addon = ''] = (await readdir('native')).filter((name) => name.endsWith('.node'));
  await copyFile(join('native', addon), join(folders.plugins, 'x/native.node'));
  await folders.extensions.load();
  assert.deepEqual([folders.problems(), await ask(folders, 'mine')], [{}, 'first']);
  await folders.write('plugins/x/x.js', text("'the second'"));
  await folders.extensions.load();
  assert.equal(await ask(folders, 'mine'), 'first');
  assert.match(
    folders.problems()['plugins/x']!,
    /^Error: native code is loaded once \(.*native\.node\): restart the agent; the version before it keeps running$/,
  );
});
