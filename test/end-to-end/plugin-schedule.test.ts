/** Scheduled work of plugins, done by the whole agent beside what xenstored's own tools ask for. */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent } from '../support/agent.js';
import { Dom0, localTools } from '../support/dom0.js';
import { ScratchRoot } from '../support/scratch-root.js';
import { startXenstored } from '../support/xenstored.js';

const DOMAIN = 7;

/** With a serial command that takes its time. */
const plugin = (name: string, tasks: string): string => `import { definePlugin } from 'guestwire';
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export default definePlugin({
  name: '${name}',
  setup: () => [
    { kind: 'schedule', tasks: [${tasks}] },
    { kind: 'commands', module: { name: '${name}', commands: [{ name: 'slow-${name}', lane: 'serial', async handle(_, { log }) {
      log.info('slow begins');
      await sleep(2500);
      log.info('slow ends');
      return { returncode: '0', message: 'slept' };
    } }] } },
  ],
});
`;

test('a task is done again and again, never beside a command that changes the machine, until its plugin is gone', async () => {
  using scratch = new ScratchRoot();
  await using store = await startXenstored('c', scratch.directory);
  const tick = `{ name: 'tick', every: '1s', delay: '10ms', async run({ log }) {
    log.info('tick begins');
    await sleep(50);
    log.info('tick ends');
  } }`;
  scratch.write('../plugins/t.mjs', plugin('t', tick));
  const plugins = join(scratch.directory, 'plugins');
  const args = ['--plugins', plugins];
  await using agent = await Agent.start({ store: store.socket, domain: DOMAIN, root: scratch.root, args });
  const dom0 = new Dom0(localTools(store.socket), DOMAIN);
  await agent.logged('tick ends');
  assert.deepEqual(await dom0.call('slow-t', ''), { kind: 'ok', message: 'slept' });
  await agent.logged('tick ends', agent.log.indexOf('slow ends'));
  const between = agent.log.slice(agent.log.indexOf('slow begins'), agent.log.indexOf('slow ends'));
  assert.ok(!between.includes('tick'), agent.log);
  await agent.logged('tick ends', agent.log.length);
  const lines = agent.log.split('\n').filter((line) => /"msg":"tick (?:begins|ends)"/.test(line));
  assert.ok(
    lines.every((line) => line.includes('"plugin":"t"') && line.includes('"task":"tick"')),
    agent.log,
  );
  // Not begun again before it has ended.
  const order = [...agent.log.matchAll(/tick (begins|ends)/g)].map(([, what]) => what);
  assert.ok(
    order.every((what, index) => what === (index % 2 === 0 ? 'begins' : 'ends')),
    agent.log,
  );
  await rm(join(plugins, 't.mjs'));
  await agent.reload();
  const before = agent.log.length;
  await sleep(2500);
  assert.ok(!agent.log.slice(before).includes('tick begins'), agent.log);
  assert.equal(await agent.stop(), 0);
});

test("a task that throws, ends the agent or takes too long is logged as its plugin's, and others go on", async () => {
  using scratch = new ScratchRoot();
  await using store = await startXenstored('c', scratch.directory);
  const tasks = `
    { name: 'throws', every: 1000, delay: 1, run() { throw new Error('no luck'); } },
    { name: 'exits', every: '1s', delay: 1, run() { process.exit(0); } },
    { name: 'hangs', every: '1s', delay: 1, timeout: 200, run: ({ log, signal }) => new Promise(() => {
      signal.addEventListener('abort', () => log.info('told to end'));
    }) },
    { name: 'works', every: '1s', run({ log }) { log.info('worked'); } },`;
  scratch.write('../plugins/t.mjs', plugin('t', tasks));
  const args = ['--plugins', join(scratch.directory, 'plugins')];
  await using agent = await Agent.start({ store: store.socket, domain: DOMAIN, root: scratch.root, args });
  const failed = (task: string, reason: string): string =>
    `"plugin":"t","task":"${task}","reason":"${reason}","msg":"task of a plugin failed"`;
  await agent.logged(failed('throws', 'Error: no luck'));
  await agent.logged(failed('exits', 'wanted to end the agent (process.exit(0))'));
  await agent.logged(failed('hangs', 'took longer than 0.2 s'));
  await agent.logged('"task":"hangs","msg":"told to end"');
  await agent.logged(failed('hangs', 'an earlier run has not ended yet'));
  await agent.logged('"task":"works","msg":"worked"');
  // Once for each reason, and not each second.
  await agent.logged('"msg":"worked"', agent.log.lastIndexOf('"msg":"worked"') + 1);
  const errors = agent.log
    .split('\n')
    .filter((line) => line.startsWith('{"level":50') && line.includes('task of a plugin'));
  assert.equal(errors.length, 4, errors.join('\n'));
  const dom0 = new Dom0(localTools(store.socket), DOMAIN);
  assert.equal((await dom0.call('slow-t', '')).kind, 'ok');
  assert.equal(await agent.stop(), 0);
});

test('a task that runs is told when its plugin is loaded anew, and when the agent stops, which waits for it', async () => {
  using scratch = new ScratchRoot();
  await using store = await startXenstored('c', scratch.directory);
  const waits = (version: string): string =>
    plugin(
      't',
      `{ name: 'waits', every: '1s', delay: 1, run: ({ log, signal }) => new Promise((resolve) => {
      log.info('${version} begins');
      signal.addEventListener('abort', () => {
        log.info({ reason: signal.reason.message }, '${version} told');
        setTimeout(() => { log.info('${version} done'); resolve(); }, 300);
      });
    }) }`,
    );
  scratch.write('../plugins/t.mjs', waits('first'));
  const args = ['--plugins', join(scratch.directory, 'plugins')];
  await using agent = await Agent.start({ store: store.socket, domain: DOMAIN, root: scratch.root, args });
  await agent.logged('first begins');
  scratch.write('../plugins/t.mjs', waits('other'));
  await agent.reload();
  await agent.logged('first done');
  await agent.logged('other begins');
  assert.ok(agent.log.indexOf('first done') < agent.log.indexOf('other begins'), agent.log);
  assert.equal(await agent.stop(), 0);
  assert.match(agent.log, /"reason":"the agent stops","msg":"other told"/);
  assert.match(agent.log, /other done[^]*"msg":"stopped"/);
});
