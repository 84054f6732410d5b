/** Plugins in the whole agent, asked by xenstored's own tools. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Report } from '../../ts/api/index.js';
import { Agent, BUNDLE } from '../support/agent.js';
import { Dom0, localTools } from '../support/dom0.js';
import { answers, pluginText } from '../support/plugins.js';
import { ScratchDirectory } from '../../ts/host/shared/scratch-directory.js';
import { ScratchRoot } from '../support/scratch-root.js';
import { startXenstored } from '../support/xenstored.js';

const DOMAIN = 7;
const SECRET = 'never-to-be-logged';

test('whatever a plugin does outside of a call, the agent goes on and says whose it was', async () => {
  using scratch = new ScratchRoot();
  await using store = await startXenstored('c', scratch.directory);
  const timers = `
    setTimeout(() => { throw new Error('${SECRET}'); }, 1);
    setTimeout(() => { void Promise.reject(new TypeError('${SECRET}')); }, 2);
    setTimeout(() => { void Promise.reject('${SECRET}'); }, 3);
    setTimeout(() => { void host.files.read('/etc'); }, 4);
    setTimeout(() => { connect('/no/such/socket'); }, 5);`;
  const later = `() => { setTimeout(() => { throw new RangeError('${SECRET}'); }, 1); return { returncode: '0', message: 'soon' }; }`;
  const text = pluginText('wild', { later, value: answers('value.length') }, timers);
  scratch.write('../plugins/wild.mjs', `import { connect } from 'node:net';\n${text}`);
  const args = ['--plugins', join(scratch.directory, 'plugins')];
  await using agent = await Agent.start({ store: store.socket, domain: DOMAIN, root: scratch.root, args });
  const dom0 = new Dom0(localTools(store.socket), DOMAIN);
  assert.deepEqual(await dom0.call('later', null), { kind: 'ok', message: 'soon' });
  assert.deepEqual(await dom0.call('value', SECRET), { kind: 'ok', message: String(SECRET.length) });
  await agent.logged('RangeError');
  const lines = agent.log.split('\n').filter((line) => line.includes('plugin threw outside of a call'));
  const thrown = lines.map((line) => JSON.parse(line) as { plugin: string; error: { type: string; code?: string } });
  assert.ok(thrown.every(({ plugin }) => plugin === join(scratch.directory, 'plugins/wild.mjs')));
  assert.deepEqual(
    thrown.map(({ error: { code, type } }) => code ?? type).sort(),
    ['EINVAL', 'ENOENT', 'ERR_UNHANDLED_REJECTION', 'Error', 'RangeError', 'TypeError'],
    agent.log,
  );
  assert.ok(!agent.log.includes(SECRET), agent.log);
  assert.equal(await agent.stop(), 0);
});

test('a listener on the signals is known by its file; what nobody can be blamed for ends the agent', async () => {
  using scratch = new ScratchRoot();
  await using store = await startXenstored('c', scratch.directory);
  const listeners = `
    process.once('SIGHUP', () => { throw new RangeError('${SECRET}'); });
    process.once('SIGHUP', () => process.once('SIGHUP', () => { throw '${SECRET}'; }));`;
  scratch.write('../plugins/wild.mjs', pluginText('wild', { value: answers('1') }, listeners));
  const args = ['--plugins', join(scratch.directory, 'plugins')];
  await using agent = await Agent.start({ store: store.socket, domain: DOMAIN, root: scratch.root, args });
  process.kill(agent.pid, 'SIGHUP');
  await agent.logged('"type":"RangeError"');
  assert.match(agent.log, /"plugin":"[^"]*\/wild\.mjs","origin":"uncaughtException"/);
  assert.deepEqual(await new Dom0(localTools(store.socket), DOMAIN).call('value', ''), { kind: 'ok', message: '1' });
  // The first of them was taken by the listener that threw, and the other listener's turn did not come.
  await agent.reload();
  process.kill(agent.pid, 'SIGHUP');
  assert.equal(await Promise.race([agent.ended(), sleep(10_000, 'still there')]), 1, agent.log);
  assert.match(agent.log, /"level":60,.*"msg":"the agent threw; it ends"/);
  assert.ok(!agent.log.includes(SECRET));
});

test('SIGHUP brings new plugins and takes old ones away while a command runs, which finishes', async () => {
  using scratch = new ScratchRoot();
  await using store = await startXenstored('c', scratch.directory);
  const slow =
    "async () => { await new Promise((resolve) => setTimeout(resolve, 1500)); return { returncode: '0', message: 'done' }; }";
  scratch.write('../plugins/slow.mjs', pluginText('slow', { slow }));
  const plugins = join(scratch.directory, 'plugins');
  await using agent = await Agent.start({
    store: store.socket,
    domain: DOMAIN,
    root: scratch.root,
    args: ['--plugins', plugins],
  });
  const dom0 = new Dom0(localTools(store.socket), DOMAIN);
  const features = async (): Promise<readonly string[]> => {
    const view = await dom0.call('features', '');
    return view.kind === 'ok' ? view.message.split(',') : [];
  };
  assert.ok((await features()).includes('slow'));
  const id = await dom0.send(JSON.stringify({ name: 'slow', value: '' }));
  await sleep(200);
  rmSync(join(plugins, 'slow.mjs'));
  scratch.write('../plugins/fresh.mjs', pluginText('fresh', { fresh: answers("'hello'") }));
  scratch.write('../plugins/broken.mjs', 'export default');
  await agent.reload();
  assert.match(await dom0.answer(id), /"done"/);
  const now = await features();
  assert.deepEqual([now.includes('slow'), now.includes('fresh')], [false, true]);
  assert.deepEqual(await dom0.call('fresh', ''), { kind: 'ok', message: 'hello' });
  assert.match(
    agent.log,
    /"where":"[^"]*broken\.mjs","reason":"SyntaxError: [^"]*","msg":"plugin or script cannot be used"/,
  );
  assert.equal(await agent.stop(), 0);
});

const ownWire = (version: string): string => `import { definePlugin } from 'guestwire';
  const transport = {
    async *requests(signal) {
      yield { id: '1', body: '{"name":"version"}', answered: false };
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    },
    async stillWanted() { return true; },
    async respond() { console.log('answered by ${version}'); },
    async retire() {},
    async [Symbol.asyncDispose]() {},
  };
  export default definePlugin({
    name: 'wire',
    setup: () => [{ kind: 'communication', module: { name: 'own', open: async () => transport } }],
  });`;

const telling = `import { definePlugin } from 'guestwire';
  const transport = {
    async *requests(signal) { await new Promise((resolve) => signal.addEventListener('abort', resolve)); },
    async stillWanted() { return true; },
    async respond() {},
    async retire() {},
    async [Symbol.asyncDispose]() {},
  };
  const tell = async (reports, signal) => {
    for await (const report of reports.changes(signal)) console.log('told ' + JSON.stringify(report));
    console.log('told to end');
  };
  const services = async (host) => [{ name: 'db', values: { status: (await host.files.readText('/run/db')) ?? 'none' } }];
  export default definePlugin({
    name: 'teller',
    setup: (host) => [
      { kind: 'communication', module: { name: 'teller', open: async () => transport, tell } },
      { kind: 'reports', module: { services: () => services(host) } },
    ],
  });`;

test("a plugin's wire is told the system's report, and each change that a command makes of it", async () => {
  using scratch = new ScratchRoot();
  await using store = await startXenstored('c', scratch.directory);
  scratch.write('../plugins/teller.mjs', telling);
  scratch.write('etc/os-release', 'ID=debian\nVERSION_ID="12"\n');
  scratch.write('etc/hostname', 'web1\n');
  const args = ['--plugins', join(scratch.directory, 'plugins')];
  await using agent = await Agent.start({ store: store.socket, domain: DOMAIN, root: scratch.root, args });
  const reports = (): readonly Report[] =>
    [...agent.log.matchAll(/^told (\{.*)$/gm)].map(([, text = '']) => JSON.parse(text) as Report);
  await agent.logged('told {');
  const [{ os, memory, services, agent: own }] = reports() as [Report];
  assert.deepEqual([os.id, os.versionId, os.hostname, memory, own.name], ['debian', '12', 'web1', null, 'guestwire']);
  assert.deepEqual(services, [{ name: 'db', values: { status: 'none' } }]);
  const dom0 = new Dom0(localTools(store.socket), DOMAIN);
  assert.equal((await dom0.call('injectfile', btoa('/etc/hostname,web2'))).kind, 'ok');
  await agent.logged('"hostname":"web2"');
  assert.equal((await dom0.call('injectfile', btoa('/run/db,running'))).kind, 'ok');
  await agent.logged('"status":"running"');
  assert.deepEqual(
    reports().map((report) => [report.os.hostname, report.services[0]?.values['status']]),
    [
      ['web1', 'none'],
      ['web2', 'none'],
      ['web2', 'running'],
    ],
  );
  scratch.write(
    '../plugins/more.mjs',
    telling
      .replaceAll('teller', 'more')
      .replace(/^.*kind: 'communication'.*$/m, '')
      .replaceAll('db', 'more'),
  );
  await agent.reload();
  await agent.logged('"name":"more"');
  assert.equal(await agent.stop(), 0);
  assert.match(agent.log, /^told to end$/m);
});

test('a plugin may bring the only wire, chosen by its name, and the agent serves until it is stopped', async () => {
  using scratch = new ScratchRoot();
  scratch.write('../plugins/wire.mjs', ownWire('it'));
  const plugins = join(scratch.directory, 'plugins');
  const args = [BUNDLE, 'run', '--wire', 'own,gone', '--root', scratch.root, '--plugins', plugins];
  await using agent = await Agent.of(process.execPath, args);
  await agent.logged('answered by it');
  assert.match(agent.log, /"wires":\["own"\],"msg":"ready"/);
  assert.match(agent.log, /"name":"gone","known":\["xenstore","stream","own"\]/);
  await sleep(500);
  assert.ok(agent.running, agent.log);
  assert.equal(await agent.stop(), 0);
});

test('a plugin with a wire stays as it is until the agent is restarted, and the log says so', async () => {
  using scratch = new ScratchRoot();
  await using store = await startXenstored('c', scratch.directory);
  scratch.write('../plugins/wire.mjs', ownWire('old'));
  const args = ['--plugins', join(scratch.directory, 'plugins')];
  await using agent = await Agent.start({ store: store.socket, domain: DOMAIN, root: scratch.root, args });
  await agent.logged('answered by old');
  await agent.logged('"request":"1","command":"version","wire":"own"');
  scratch.write('../plugins/wire.mjs', ownWire('new'));
  scratch.write('../plugins/other.mjs', ownWire('other').replace("'own'", "'other'"));
  await agent.reload();
  assert.match(agent.log, /wire\.mjs","reason":"has changed; it brings a wire.*restart the agent"/);
  assert.match(agent.log, /other\.mjs","reason":"it brings a wire.*restart the agent"/);
  rmSync(join(scratch.directory, 'plugins/wire.mjs'));
  await agent.reload();
  assert.match(agent.log, /wire\.mjs","reason":"is gone; it brings a wire.*restart the agent"/);
  assert.ok(!agent.log.includes('answered by new'));
  assert.equal(await agent.stop(), 0);
});

test('what lies in a copy of a system is not loaded', async () => {
  using scratch = new ScratchRoot();
  await using store = await startXenstored('c', scratch.directory);
  scratch.write(
    'etc/guestwire/plugins/x.mjs',
    `console.log('the code of the copy ran');${pluginText('x', { x: answers('1') })}`,
  );
  await using agent = await Agent.start({ store: store.socket, domain: DOMAIN, root: scratch.root });
  const view = await new Dom0(localTools(store.socket), DOMAIN).call('x', '');
  assert.equal(view.kind, 'error');
  assert.equal(await agent.stop(), 0);
  assert.ok(!agent.log.includes('the code of the copy ran'));
});

test('a reload after a broken edit leaves the plugin at work, and the next one brings the mended edit', async () => {
  using scratch = new ScratchRoot();
  await using store = await startXenstored('c', scratch.directory);
  const write = (text: string): void => {
    scratch.write('../plugins/x/index.js', text);
  };
  scratch.write('../plugins/x/package.json', '{"type":"module"}');
  scratch.write('../plugins/x/words.cjs', "module.exports = 'first';");
  const importing = `import words from './words.cjs';\n${pluginText('x', { words: answers('words') })}`;
  write(importing);
  const args = ['--plugins', join(scratch.directory, 'plugins')];
  await using agent = await Agent.start({ store: store.socket, domain: DOMAIN, root: scratch.root, args });
  const dom0 = new Dom0(localTools(store.socket), DOMAIN);
  write('export default {');
  await agent.reload();
  assert.deepEqual(await dom0.call('words', ''), { kind: 'ok', message: 'first' });
  assert.match(agent.log, /"where":"[^"]*\/x","reason":"SyntaxError: [^"]*; the version before it keeps running"/);
  write(importing);
  scratch.write('../plugins/x/words.cjs', "module.exports = 'the second';");
  await agent.reload();
  assert.deepEqual(await dom0.call('words', ''), { kind: 'ok', message: 'the second' });
  assert.equal(await agent.stop(), 0);
});

for (const lane of ['serial', 'immediate'] as const) {
  test(`a command of a plugin is told when the host withdraws its request: ${lane}`, async () => {
    using scratch = new ScratchRoot();
    await using store = await startXenstored('c', scratch.directory);
    const waits = `(value, { signal, log }) => new Promise((resolve) => signal.addEventListener('abort', () => {
      log.info({ reason: signal.reason.message }, 'given up');
      resolve({ returncode: '1', message: 'given up' });
    }))`;
    const text = pluginText('x', { waits, other: answers('1') }).replaceAll("lane: 'serial'", `lane: '${lane}'`);
    scratch.write('../plugins/x.mjs', text);
    const args = ['--plugins', join(scratch.directory, 'plugins')];
    await using agent = await Agent.start({ store: store.socket, domain: DOMAIN, root: scratch.root, args });
    const dom0 = new Dom0(localTools(store.socket), DOMAIN);
    const id = await dom0.send(JSON.stringify({ name: 'waits', value: '' }));
    await sleep(500);
    assert.doesNotMatch(agent.log, /given up/);
    await dom0.tool('rm', dom0.path(`data/host/${id}`));
    await agent.logged('"reason":"the host has withdrawn the request","msg":"given up"');
    assert.deepEqual(await dom0.call('other', ''), { kind: 'ok', message: '1' });
    assert.equal(await agent.stop(), 0);
  });
}

test('SIGHUP hands a plugin new settings, and the agent keeps those of before when the file is broken', async () => {
  await using scratch = await ScratchDirectory.create();
  await using store = await startXenstored('c', scratch.path);
  const config = `${scratch.path}/own.toml`;
  const base =
    `[state]\ndirectory = "${scratch.path}/state"\n[hooks]\ndirectory = "${scratch.path}/hooks"\n` +
    `[scripts]\ndirectory = "${scratch.path}/commands"\n[plugins]\ndirectory = "${scratch.path}/plugins"\n`;
  const schema = `settings: { word: { kind: 'text', default: 'none', about: 'A word.' } },`;
  const plugin = pluginText('x', { word: answers('settings.word') })
    .replace('{ signal }', '{ settings }')
    .replace('async setup', `${schema}\n  async setup`);
  await scratch.write({ 'plugins/x.mjs': plugin, 'own.toml': `${base}[plugin.x]\nword = "first"\n` });
  await using agent = await Agent.start({ store: store.socket, domain: DOMAIN, config });
  const dom0 = new Dom0(localTools(store.socket), DOMAIN);
  const word = (): Promise<unknown> => dom0.call('word', '');
  assert.deepEqual(await word(), { kind: 'ok', message: 'first' });
  await scratch.write({ 'own.toml': `${base}[plugin.x]\nword = "second"\n[plugin.y]\n` });
  await agent.reload();
  assert.deepEqual(await word(), { kind: 'ok', message: 'second' });
  assert.match(agent.log, /"level":40,[^\n]*"plugin":"y","msg":"settings are for no plugin that is there"/);
  await scratch.write({ 'own.toml': `${base}[plugin.x]\nwrod = "third"\n` });
  await agent.reload();
  assert.match(agent.log, /own\.toml:10: unknown key plugin\.x\.wrod \(the nearest known one is plugin\.x\.word\)/);
  await scratch.write({ 'own.toml': `${base}[plugin.x` });
  await agent.reload();
  assert.match(agent.log, /"msg":"configuration cannot be read: plugins keep their settings"/);
  assert.deepEqual(await word(), { kind: 'ok', message: 'second' });
  assert.equal(await agent.stop(), 0);
});
