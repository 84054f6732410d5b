/** Plugins in a folder, loaded by the real loader. */
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { chmod, chown, lchown, mkdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { AgentError, type Reply } from '../../ts/api/index.js';
import { fileOptions } from '../../ts/daemon/command-options.js';
import { fileCommands } from '../../ts/commands/file.js';
import { codec } from '../../ts/communication/xenstore/nova/codec.js';
import { DEFAULTS } from '../../ts/daemon/config.js';
import { reasonOf } from '../../ts/daemon/reason.js';
import { openHost } from '../../ts/host/index.js';
import { type Folders, answers, createFolders, pluginText } from '../support/plugins.js';
import { call, context } from '../support/command-context.js';
import { createScratch } from '../support/scratch.js';
import { createScratchHost } from '../support/scratch-host.js';

const ask = async (folders: Folders, name: string, value: unknown = null): Promise<Reply> =>
  folders.registry.get(name).handle(value, context);

const added = (folders: Folders): readonly string[] =>
  folders.registry
    .list()
    .filter(({ origin }) => origin.kind !== 'native')
    .map(({ name }) => name);

const exporting = (text: string): string => `export default ${text};`;
const setup = (text: string): string => exporting(`{ apiVersion: 1, name: 'x', setup() { return ${text}; } }`);
const commands = (text: string): string => setup(`[{ kind: 'commands', module: { name: 'm', commands: ${text} } }]`);

const wires = (...names: readonly string[]): string =>
  setup(`[${names.map((name) => `{ kind: 'communication', module: { name: '${name}', open() {} } }`).join(', ')}]`);

const WRONG: readonly (readonly [what: string, text: string, reason: RegExp])[] = [
  ['is no JavaScript', 'import {', /^SyntaxError: .* \(node --check FILE tells the line\)$/],
  ['imports what is not there', "import 'nowhere';", /^Error: Cannot find package 'nowhere'/],
  ['throws when it is loaded', "throw new RangeError('too far\\nmore');", /^RangeError: too far$/],
  ['throws what is no error', "throw 'a word';", /^threw a word$/],
  ['is never done loading', 'await new Promise(() => {});', /^loading it took longer than 0.3 s$/],
  ['has no default export', 'export const a = 1;', /^has no default export: wanted export default definePlugin/],
  [
    'exports a function',
    exporting('() => 1'),
    /^default export: wanted what definePlugin\(\{\.\.\.\}\) gives, got a function$/,
  ],
  ['is of another version', exporting('{ apiVersion: 2 }'), /^apiVersion: wanted 1, which this agent has, got 2$/],
  ['has no version', exporting('{}'), /^apiVersion: is not there; wanted export default definePlugin/],
  ['has no name', exporting("{ apiVersion: 1, name: '' }"), /^name: wanted text, got empty text$/],
  ['has no setup', exporting("{ apiVersion: 1, name: 'x', setup: 3 }"), /^setup: wanted a function, got 3$/],
  ['gives no list', setup('undefined'), /^what setup gives: wanted a list, got nothing$/],
  ['fails to set up', setup("Promise.reject(new Error('no luck'))"), /^Error: no luck$/],
  ['is never set up', setup('new Promise(() => {})'), /^setup took longer than 0.3 s$/],
  ['gives a number', setup('[5]'), /^contribution 1: wanted an object, got 5$/],
  [
    'gives another kind',
    setup("[{ kind: 'menu' }]"),
    /^contribution 1.kind: wanted 'commands', 'communication', 'reports' or 'schedule', got 'menu'$/,
  ],
  ['has no module', setup("[{ kind: 'commands' }]"), /^contribution 1.module: wanted an object, got nothing$/],
  ['has no commands', commands('null'), /^contribution 1.module.commands: wanted a list, got null$/],
  [
    'has a name with a comma',
    commands("[{ name: 'a,b' }]"),
    /commands\[0\].name: wanted letters, digits, _ and -.*got 'a,b'$/,
  ],
  [
    'has a third lane',
    commands("[{ name: 'a', lane: 'fast' }]"),
    /commands\[0\].lane: wanted 'serial' or 'immediate', got 'fast'$/,
  ],
  [
    'has no handler',
    commands("[{ name: 'a', lane: 'serial' }]"),
    /commands\[0\].handle: wanted a function, got nothing$/,
  ],
  [
    'has a command twice',
    pluginText('x', { a: '() => 1' }).replace('commands: [', "commands: [{ name: 'a', lane: 'serial', handle() {} }, "),
    /^brings the command 'a' twice$/,
  ],
  [
    'has what the agent has',
    pluginText('x', { mine: '() => 1', password: '() => 1' }),
    /^brings the command 'password', which the agent has itself$/,
  ],
  [
    'has a wire that cannot be opened',
    setup("[{ kind: 'communication', module: { name: 'w' } }]"),
    /^contribution 1.module.open: wanted a function, got nothing$/,
  ],
  [
    'has reports without services',
    setup("[{ kind: 'reports', module: {} }]"),
    /^contribution 1.module.services: wanted a function, got nothing$/,
  ],
  [
    'has a wire whose tell is no function',
    setup("[{ kind: 'communication', module: { name: 'w', open() {}, tell: 5 } }]"),
    /^contribution 1.module.tell: wanted a function, got 5$/,
  ],
  [
    'has a wire that wires.use cannot name',
    wires('my_wire'),
    /^contribution 1.module.name: wanted small letters, digits and -, at most 64, got 'my_wire'$/,
  ],
  [
    'has a failure code that is no text',
    pluginText('p', { c: answers("''") }).replace("lane: 'serial'", "lane: 'serial', failureCode: 1"),
    /^contribution 1\.module\.commands\[0\]\.failureCode: wanted text, got 1$/,
  ],
  ['has a wire twice', wires('w', 'w'), /^brings the wire 'w' twice$/],
  ['has a wire that the agent has', wires('w', 'stream'), /^brings the wire 'stream', which the agent has itself$/],
  ['has a wire that means all', wires('auto'), /^brings the wire 'auto', which the agent has itself$/],
];
for (const [what, text, reason] of WRONG) {
  test(`a plugin that ${what} is named, and the others load`, async () => {
    await using folders = await createFolders({ loadTimeout: 300 });
    await folders.write('plugins/bad.mjs', text);
    await folders.write('plugins/good.mjs', pluginText('good', { good: answers('value') }));
    await folders.extensions.load();
    assert.deepEqual(Object.keys(folders.problems()), ['plugins/bad.mjs']);
    assert.match(folders.problems()['plugins/bad.mjs']!, reason);
    assert.deepEqual(added(folders), ['good']);
    assert.deepEqual(await ask(folders, 'good', 'x'), { returncode: '0', message: 'x' });
    const logged = folders.log.filter(({ level }) => level === 50);
    assert.deepEqual(
      logged.map(({ where }) => where),
      [join(folders.plugins, 'bad.mjs')],
    );
  });
}

test('of two plugins with the same command the first by name has it, and the other is told who', async () => {
  await using folders = await createFolders();
  await folders.write('plugins/a.mjs', pluginText('a', { same: answers("'a'") }));
  await folders.write('plugins/b.mjs', pluginText('b', { other: answers("'b'"), same: answers("'b'") }));
  await folders.extensions.load();
  assert.deepEqual(folders.problems(), {
    'plugins/b.mjs': `brings the command 'same', which ${folders.plugins}/a.mjs has too`,
  });
  assert.deepEqual(added(folders), ['same']);
});

test('of two plugins with the same wire the first by name has it, also when they are looked at again', async () => {
  await using folders = await createFolders();
  await folders.write('plugins/a.mjs', wires('same', 'other'));
  await folders.write('plugins/b.mjs', wires('same'));
  const refused = { 'plugins/b.mjs': `brings the wire 'same', which ${folders.plugins}/a.mjs has too` };
  await folders.extensions.load();
  assert.deepEqual(folders.problems(), refused);
  const names = (await folders.extensions.wires(codec)).map(({ name }) => name);
  assert.deepEqual(names, ['same', 'other']);
  await folders.extensions.load();
  assert.deepEqual(folders.problems()['plugins/b.mjs'], refused['plugins/b.mjs']);
});

test('files, folders and packages of npm are plugins; other packages and left-overs are not', async () => {
  await using folders = await createFolders();
  const text = (name: string): string =>
    pluginText(name, { [name]: answers('helper') }).replace('import', "import { helper } from './helper.js'; import");
  const manifest = (more: object): string => JSON.stringify({ type: 'module', ...more });
  const keywords = ['guestwire-plugin'];
  await folders.write('plugins/file.js', pluginText('file', { file: answers('1') }));
  await folders.write('plugins/.hidden.mjs', '{');
  await folders.write('plugins/file.mjs~', '{');
  await folders.write('plugins/file.test.mjs', '{');
  await folders.write('plugins/package.json', manifest({}));
  for (const [folder, file, more] of [
    ['folder', 'index.js', {}],
    ['main', 'lib/main.js', { main: './lib/main.js' }],
    ['node_modules/exported', 'x.js', { exports: { '.': { types: './x.d.ts', import: './x.js' } }, keywords }],
    ['node_modules/@scope/scoped', 'x.js', { exports: './x.js', keywords }],
    ['node_modules/other', 'index.js', {}],
  ] as const) {
    const name = folder.split('/').at(-1)!;
    await folders.write(`plugins/${folder}/package.json`, manifest(more));
    await folders.write(`plugins/${folder}/${file}`, text(name));
    await folders.write(`plugins/${folder}/${join(file, '..')}/helper.js`, 'export const helper = 1;');
  }
  await folders.extensions.load();
  assert.deepEqual(folders.problems(), {});
  assert.deepEqual(added(folders), ['file', 'folder', 'main', 'scoped', 'exported']);
  for (const name of added(folders)) assert.equal((await ask(folders, name)).message, '1');
});

test('a package whose package.json leads nowhere good is named', async () => {
  await using folders = await createFolders();
  await folders.write('plugins/broken/package.json', '{');
  await folders.write('plugins/outside/package.json', JSON.stringify({ main: '../../etc/x.js' }));
  await folders.extensions.load();
  const { 'plugins/broken': broken, 'plugins/outside': outside } = folders.problems();
  assert.match(broken!, /JSON/);
  assert.equal(outside, "package.json: wanted a path of the package in 'exports' or 'main'");
});

test('a plugin to which a link of a user’s leads is not loaded, wherever it leads now', async () => {
  await using folders = await createFolders();
  await folders.write('elsewhere/good.mjs', pluginText('x', { x: answers('1') }));
  const base = join(folders.plugins, '..');
  await mkdir(folders.plugins, { recursive: true });
  await symlink('../elsewhere/good.mjs', join(folders.plugins, 'his.mjs'));
  await lchown(join(folders.plugins, 'his.mjs'), 65_534, 65_534);
  await mkdir(join(base, 'hers'));
  await symlink('../elsewhere', join(base, 'hers/link'));
  await chown(join(base, 'hers'), 65_534, 65_534);
  await symlink('../hers/link/good.mjs', join(folders.plugins, 'way.mjs'));
  await folders.extensions.load();
  assert.deepEqual(added(folders), []);
  assert.deepEqual(folders.problems(), {
    'plugins/his.mjs': "is a link of user 65534: wanted root's",
    'plugins/way.mjs': `${base}/hers belongs to user 65534: wanted root's, which no other user can change`,
  });
});

test('what others than root can change is not loaded: file, folder, a file beside it, owner, target of a link', async () => {
  await using folders = await createFolders();
  const text = pluginText('x', { x: answers('1') });
  await folders.write('plugins/file.mjs', text, 0o664);
  await folders.write('plugins/folder/package.json', '{"type":"module"}');
  await folders.write('plugins/folder/index.js', text);
  await folders.write('plugins/folder/helper.js', '', 0o646);
  await folders.write('plugins/owned.mjs', text);
  await chown(join(folders.plugins, 'owned.mjs'), 65_534, 0);
  await folders.write('elsewhere/open.mjs', text, 0o666);
  await symlink('../elsewhere/open.mjs', join(folders.plugins, 'link.mjs'));
  await folders.extensions.load();
  assert.deepEqual(added(folders), []);
  const wanted = 'wanted one that only its owner can write (chmod go-w)';
  const base = join(folders.plugins, '..');
  assert.deepEqual(folders.problems(), {
    'plugins/file.mjs': `has mode 0664: ${wanted}`,
    'plugins/folder': `${folders.plugins}/folder/helper.js has mode 0646: ${wanted}`,
    'plugins/link.mjs': `${base}/elsewhere/open.mjs has mode 0666: ${wanted}`,
    'plugins/owned.mjs': "belongs to user 65534: wanted root's, which no other user can change",
  });
  await folders.write('plugins/file.mjs', text);
  await rm(join(folders.plugins, 'folder'), { recursive: true });
  await chmod(folders.plugins, 0o777);
  await folders.extensions.load();
  assert.equal(folders.problems()['plugins/file.mjs'], `${folders.plugins} has mode 0777: ${wanted}`);
});

test('a command that throws is answered with the kind of its error, not with its words', async () => {
  await using folders = await createFolders();
  const handlers = {
    sync: "() => { throw new TypeError('s3cret'); }",
    late: "async () => { throw Object.assign(new Error('s3cret'), { code: 'ENOENT' }); }",
    word: "() => Promise.reject('s3cret')",
    odd: '() => 5',
    half: "() => ({ returncode: 0, message: 'x' })",
    long: "() => ({ returncode: '5'.repeat(2000), message: 'x' })",
    own: "() => { throw new AgentError('GW_ARGUMENT_INVALID', ['value', 'a', 'b']); }",
  };
  await folders.write('plugins/x.mjs', pluginText('x', handlers));
  await folders.extensions.load();
  const failure = async (name: string): Promise<string> =>
    ask(folders, name).then(
      () => 'none',
      (error: unknown) => (error instanceof AgentError ? `${error.code}: ${error.message}` : 'another'),
    );
  assert.equal(await failure('sync'), 'GW_PLUGIN_FAILED: Plugin x failed: it threw TypeError');
  assert.equal(await failure('late'), 'GW_PLUGIN_FAILED: Plugin x failed: it threw ENOENT');
  assert.equal(await failure('word'), 'GW_PLUGIN_FAILED: Plugin x failed: it threw string');
  const odd = 'GW_PLUGIN_FAILED: Plugin x failed: wanted a returncode and a message, both text, got something else';
  assert.equal(await failure('odd'), odd);
  assert.equal(await failure('half'), odd);
  assert.match(await failure('long'), /wanted a returncode of 1 to 16 printable characters, got 2000$/);
  assert.equal(await failure('own'), 'GW_ARGUMENT_INVALID: Invalid value: expected a, got b');
  assert.ok(!JSON.stringify(folders.log).includes('s3cret'));
});

test('a command that takes too long is answered, told to stop, and refused until the call has ended', async () => {
  await using folders = await createFolders({ commandTimeout: 100 });
  const hangs = `(value, { signal }) => new Promise((resolve) => {
    if (value === 'quick') resolve({ returncode: '0', message: 'quick' });
    signal.addEventListener('abort', () => setTimeout(resolve, 200, { returncode: '0', message: 'late' }));
  })`;
  await folders.write('plugins/x.mjs', pluginText('x', { hangs, other: answers('1') }));
  await folders.extensions.load();
  await assert.rejects(ask(folders, 'hangs'), { message: 'Plugin x failed: no answer within 0.1 s' });
  const still = 'Plugin x failed: an earlier call of the command has not ended yet';
  await assert.rejects(ask(folders, 'hangs', 'quick'), { message: still });
  assert.equal((await ask(folders, 'other')).message, '1');
  await sleep(400);
  assert.equal((await ask(folders, 'hangs', 'quick')).message, 'quick');
});

test('a command may have a time limit of its own', async () => {
  await using folders = await createFolders({ commandTimeout: 60_000 });
  const text = pluginText('x', { hangs: '() => new Promise(() => {})' });
  await folders.write('plugins/x.mjs', text.replace("lane: 'serial'", "lane: 'serial', timeout: 200"));
  await folders.write('plugins/wrong.mjs', text.replace("lane: 'serial'", "lane: 'serial', timeout: '2s'"));
  await folders.extensions.load();
  await assert.rejects(ask(folders, 'hangs'), { message: 'Plugin x failed: no answer within 0.2 s' });
  assert.match(
    folders.problems()['plugins/wrong.mjs']!,
    /commands\[0\]\.timeout: wanted milliseconds, 1 to 2147483647, got '2s'$/,
  );
});

test('a command may fail with a code of its own, whose words are not logged', async () => {
  await using folders = await createFolders();
  const handlers = {
    full: "() => { throw new PluginError('DISK_FULL', 's3cret', { returncode: '28' }); }",
    plain: "() => { throw new PluginError('DISK_FULL', 'no room'); }",
    wrong: "() => { throw new PluginError('disk full', 'no room'); }",
  };
  await folders.write('plugins/x.mjs', pluginText('x', handlers, '', 'PluginError'));
  await folders.extensions.load();
  const failure = async (name: string): Promise<AgentError> =>
    ask(folders, name).then(
      () => assert.fail(),
      (error: unknown) => error as AgentError,
    );
  const full = await failure('full');
  assert.deepEqual([full.code, full.returncode, full.message], ['GW_PLUGIN_REFUSED', '28', 's3cret (DISK_FULL)']);
  assert.equal(reasonOf(full), '(not logged) (DISK_FULL)');
  assert.equal((await failure('plain')).returncode, '500');
  assert.match((await failure('wrong')).message, /wanted capitals, digits and _ for the code of a PluginError$/);
});

test('a command is told when the agent stops, and leaves nothing with the signal for that', async () => {
  await using folders = await createFolders();
  const waits = `(value, { signal }) => new Promise((resolve) => {
    const reply = { returncode: '0', message: value };
    if (value === 'quick' || signal.aborted) resolve(reply);
    else signal.addEventListener('abort', () => resolve(reply));
  })`;
  await folders.write('plugins/x.mjs', pluginText('x', { waits }));
  await folders.extensions.load();
  const stop = new AbortController();
  const { signal } = stop;
  const send = async (value: string): Promise<Reply> =>
    folders.registry.get('waits').handle(value, { ...context, signal });
  for (let count = 0; count < 100; count += 1) await send('quick');
  // Signals that depend on it, and the like: Node keeps them in sets below symbols.
  const held = Object.getOwnPropertySymbols(signal)
    .map((key) => (signal as unknown as Record<symbol, { size?: number } | undefined>)[key])
    .reduce((sum, value) => sum + (value?.size ?? 0), 0);
  assert.deepEqual([getEventListeners(signal, 'abort').length, held], [0, 0]);
  const waiting = send('told');
  stop.abort();
  assert.equal((await waiting).message, 'told');
  assert.equal((await send('at once')).message, 'at once');
});

test('a look again finds what is new, changed, gone and mended, and leaves the rest as it is', async () => {
  await using folders = await createFolders();
  const counting = pluginText('same', { same: answers('++count') }, 'let count = 0;');
  await folders.write('plugins/same.mjs', counting);
  await folders.write('plugins/changed.mjs', pluginText('changed', { changed: answers('1') }));
  await folders.write(
    'plugins/gone.mjs',
    pluginText(
      'gone',
      { gone: answers('1') },
      "signal.addEventListener('abort', () => { globalThis.goneWasTold = true; });",
    ),
  );
  await folders.write('plugins/mended.mjs', 'broken');
  await folders.write('plugins/folder/package.json', '{"type":"module"}');
  await folders.write(
    'plugins/folder/index.js',
    `import { helper } from './helper.js';${pluginText('folder', { folder: answers('helper') })}`,
  );
  await folders.write('plugins/folder/helper.js', "export const helper = 'old';");
  await folders.extensions.load();
  assert.equal((await ask(folders, 'same')).message, '1');
  assert.equal((await ask(folders, 'folder')).message, 'old');
  const running = folders.registry.get('gone');

  await folders.write('plugins/changed.mjs', pluginText('changed', { changed: answers('2'), more: answers('3') }));
  await rm(join(folders.plugins, 'gone.mjs'));
  await folders.write('plugins/mended.mjs', pluginText('mended', { mended: answers('4') }));
  await folders.write('plugins/new.mjs', pluginText('new', { new: answers('5') }));
  await folders.write('plugins/folder/helper.js', "export const helper = 'fresh';");
  await folders.extensions.load();
  assert.deepEqual(folders.problems(), {});
  assert.deepEqual(added(folders), ['changed', 'more', 'folder', 'mended', 'new', 'same']);
  assert.equal((await ask(folders, 'changed')).message, '2');
  assert.equal((await ask(folders, 'same')).message, '2');
  assert.equal((await ask(folders, 'folder')).message, 'fresh');
  assert.equal((await running.handle(null, context)).message, '1');
  assert.equal((globalThis as { goneWasTold?: boolean }).goneWasTold, true);
  assert.deepEqual(
    folders.registry.features().filter((name) => added(folders).includes(name)),
    added(folders),
  );
});

test('the host cannot write into the folders of plugins and scripts, wherever they are', async () => {
  await using scratch = await createScratch();
  const config = {
    ...DEFAULTS,
    plugins: { ...DEFAULTS.plugins, directory: '/opt/p' },
    scripts: { directory: '/opt/s', timeout: 1 },
  };
  const files = fileCommands(createScratchHost(scratch), fileOptions(config));
  await mkdir(join(scratch.root, 'opt/p'), { recursive: true });
  await symlink('/opt/p', join(scratch.root, 'elsewhere'));
  const send = (path: string): Promise<Reply> =>
    call(files, 'injectfile', Buffer.from(`${path},code`).toString('base64'));
  for (const path of [
    '/opt/p/x.mjs',
    '/opt/s/x',
    '/elsewhere/x.mjs',
    '/etc/guestwire/plugins/x.mjs',
    '/etc/guestwire/commands/x',
  ]) {
    assert.match((await send(path)).message, /^Refused to write /, path);
  }
  assert.equal((await send('/opt/other')).returncode, '0');
});

test('no folder, or an empty one, is no problem', async () => {
  await using folders = await createFolders();
  await folders.extensions.load();
  assert.deepEqual([folders.problems(), added(folders)], [{}, []]);
  await mkdir(folders.scripts);
  await folders.extensions.load();
  assert.deepEqual(folders.problems(), {});
});

test('a plugin sees neither the versions of the agent nor how to hand over to another', async () => {
  await using scratch = await createScratch();
  const store = { read: () => Promise.resolve(null), list: () => Promise.resolve([]) };
  const host = openHost({ root: scratch.root, stateDirectory: scratch.state, live: false, store });
  await using folders = await createFolders({ host });
  const handle = "(_, context) => ({ returncode: '0', message: ['updates' in host, 'handOver' in context].join(' ') })";
  await folders.write('plugins/look.js', pluginText('look', { look: handle }));
  await folders.extensions.load();
  assert.deepEqual(await ask(folders, 'look'), { returncode: '0', message: 'false false' });
});
