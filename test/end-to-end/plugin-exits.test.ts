/** Plugins that end the process that they run in, in the whole agent, asked by xenstored's own tools. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { Agent, BUNDLE } from '../support/agent.js';
import { Dom0, localTools } from '../support/dom0.js';
import { answers, pluginText } from '../support/plugins.js';
import { runCli } from '../support/run-cli.js';
import { ScratchRoot } from '../support/scratch-root.js';
import { startXenstored } from '../support/xenstored.js';

const DOMAIN = 7;
const IMMEDIATE = (text: string): string => text.replaceAll("lane: 'serial'", "lane: 'immediate'");

/** By the command: what its handler does, and how the log and the host are told of it. */
const WAYS: Readonly<Record<string, readonly [handle: string, how: string]>> = {
  exit: ['() => { process.exit(0); }', 'process.exit(0)'],
  status: ['() => { process.exitCode = 78; process.exit(); }', 'process.exit()'],
  named: ['() => { exit(69); }', 'process.exit(69)'],
  swallowed: [
    "async () => { try { process.exit(1); } catch {} return { returncode: '0', message: 'all is well' }; }",
    'process.exit(1)',
  ],
  timer: ['() => new Promise(() => setTimeout(() => process.exit(2), 1))', 'process.exit(2)'],
  rejected: ['() => new Promise(() => void Promise.resolve().then(() => process.exit(3)))', 'process.exit(3)'],
  really: ['() => process.reallyExit(4)', 'process.reallyExit(4)'],
  abort: ['() => process.abort()', 'process.abort()'],
  killed: ["() => process.kill(process.pid, 'SIGKILL')", 'process.kill(SIGKILL)'],
  termed: ['() => process.kill(0)', 'process.kill(SIGTERM)'],
};

test('a plugin that wants to end the agent is answered, and the log says who it was', async () => {
  using scratch = new ScratchRoot();
  await using store = await startXenstored('c', scratch.directory);
  const handlers = Object.fromEntries(Object.entries(WAYS).map(([name, [handle]]) => [name, handle]));
  const file = join(scratch.directory, 'plugins/wild.mjs');
  scratch.write(
    '../plugins/wild.mjs',
    `import { exit } from 'node:process';\n${IMMEDIATE(pluginText('wild', handlers))}`,
  );
  const args = ['--plugins', join(scratch.directory, 'plugins')];
  await using agent = await Agent.start({ store: store.socket, domain: DOMAIN, root: scratch.root, args });
  const dom0 = new Dom0(localTools(store.socket), DOMAIN);
  for (const [name, [, how]] of Object.entries(WAYS)) {
    const printed = await dom0.answer(await dom0.send(JSON.stringify({ name, value: '' })));
    const message = `Plugin wild wanted to end the agent (${how}), which was refused`;
    assert.deepEqual(JSON.parse(printed), { returncode: '500', message }, agent.log);
  }
  assert.equal((await dom0.call('version', '')).kind, 'ok');
  const lines = agent.log
    .split('\n')
    .filter((line) => line.includes('"msg":"plugin wanted to end the agent, which goes on"'))
    .map((line) => JSON.parse(line) as { level: number; plugin: string; reason: string; at: readonly string[] });
  assert.deepEqual(
    lines.map(({ level, plugin, reason }) => [level, plugin, reason]),
    Object.values(WAYS).map(([, how]) => [50, file, how]),
    agent.log,
  );
  assert.ok(
    lines.every(({ at }) => at.some((frame) => frame.includes('wild.mjs'))),
    agent.log,
  );
  assert.match(agent.log, /"code":"GW_PLUGIN_EXIT".*"msg":"command failed"/);
  assert.equal(await agent.stop(), 0);
});

test('a plugin that ends the agent when it is loaded, from a timer or from a listener is named, and the agent goes on', async () => {
  using scratch = new ScratchRoot();
  await using store = await startXenstored('c', scratch.directory);
  const good = { good: answers('1') };
  scratch.write('../plugins/loaded.mjs', `process.exit(5);\n${pluginText('loaded', good)}`);
  scratch.write('../plugins/setup.mjs', pluginText('setup', good, 'process.exit(6);'));
  const later = 'setTimeout(() => process.exit(7), 1); process.once("SIGHUP", process.exit);';
  scratch.write('../plugins/timer.mjs', pluginText('timer', good, later));
  const plugins = join(scratch.directory, 'plugins');
  const options = { store: store.socket, domain: DOMAIN, root: scratch.root, args: ['--plugins', plugins] };
  await using agent = await Agent.start(options);
  await agent.logged('process.exit(7)');
  // What it throws keeps the signal from the agent's own listener, once.
  process.kill(agent.pid, 'SIGHUP');
  await agent.logged('process.exit(SIGHUP)');
  await agent.reload();
  for (const [name, how] of [
    ['loaded', 'process.exit(5)'],
    ['setup', 'process.exit(6)'],
    ['timer', 'process.exit(7)'],
  ] as const) {
    assert.ok(agent.log.includes(`"plugin":"${plugins}/${name}.mjs"`), agent.log);
    assert.ok(agent.log.includes(`"reason":"${how}","msg":"plugin wanted to end the agent, which goes on"`), agent.log);
  }
  assert.match(agent.log, /"where":"[^"]*loaded\.mjs","reason":"wanted to end the agent \(process\.exit\(5\)\)"/);
  assert.match(agent.log, /"where":"[^"]*setup\.mjs","reason":"wanted to end the agent \(process\.exit\(6\)\)"/);
  // A listener of Node's own is nobody's code: the agent goes on even so.
  assert.match(agent.log, /"reason":"process\.exit\(SIGHUP\)","msg":"plugin wanted to end the agent, which goes on"/);
  assert.deepEqual(await new Dom0(localTools(store.socket), DOMAIN).call('good', ''), { kind: 'ok', message: '1' });
  assert.equal(await agent.stop(), 0);
});

for (const lane of ['immediate', 'serial'] as const) {
  test(`a request to a plugin under which the agent died is refused at the next start, and dies no more: ${lane}`, async () => {
    using scratch = new ScratchRoot();
    await using store = await startXenstored('c', scratch.directory);
    // Nothing in the process can keep another one from doing this.
    const deadly = `() => { execFileSync('kill', ['-9', String(process.pid)]); }`;
    const text = pluginText('deadly', { deadly, alive: answers("'alive'") });
    const import_ = "import { execFileSync } from 'node:child_process';\n";
    scratch.write('../plugins/deadly.mjs', import_ + (lane === 'immediate' ? IMMEDIATE(text) : text));
    const args = ['--plugins', join(scratch.directory, 'plugins')];
    const options = { store: store.socket, domain: DOMAIN, root: scratch.root, args };
    const dom0 = new Dom0(localTools(store.socket), DOMAIN);
    let id: string;
    {
      await using agent = await Agent.start(options);
      // An answered one leaves nothing that a later start would refuse.
      assert.deepEqual(await dom0.call('alive', ''), { kind: 'ok', message: 'alive' });
      id = await dom0.send(JSON.stringify({ name: 'deadly', value: 'never-to-be-logged' }));
      assert.equal(await agent.ended(), 'SIGKILL');
    }
    await using agent = await Agent.start(options);
    const { returncode, message } = JSON.parse(await dom0.answer(id)) as { returncode: string; message: string };
    assert.equal(returncode, '500');
    assert.match(message, /^Interrupted: the agent was stopped while it ran deadly; it was not run again/);
    await agent.logged('"reason":"Interrupted: the agent was stopped while it ran deadly;');
    assert.match(agent.log, /"level":40.*"code":"GW_REQUEST_INTERRUPTED".*"msg":"request refused"/);
    assert.deepEqual(await dom0.call('alive', ''), { kind: 'ok', message: 'alive' });
    assert.ok(!agent.log.includes('never-to-be-logged'));
    assert.equal(await agent.stop(), 0);
  });
}

/** At the top level; the last one never comes to its end, and it is the watchdog of the service that ends it. */
const DEADLY: readonly (readonly [what: string, text: string])[] = [
  [
    'kills the agent',
    "import { execFileSync } from 'node:child_process'; execFileSync('kill', ['-9', `${process.pid}`]);",
  ],
  ['never gives the processor back', "import { writeSync } from 'node:fs'; writeSync(1, 'spinning'); for (;;);"],
];
for (const [what, deadly] of DEADLY) {
  test(`a plugin that ${what} while it is loaded does so once: the next start leaves it out and serves`, async () => {
    using scratch = new ScratchRoot();
    await using store = await startXenstored('c', scratch.directory);
    const plugins = join(scratch.directory, 'plugins');
    const file = join(plugins, 'deadly.mjs');
    scratch.write('../plugins/deadly.mjs', `${deadly}\n${pluginText('deadly', { mine: answers('1') })}`);
    scratch.write('../plugins/good.mjs', pluginText('good', { good: answers("'good'") }));
    const options = { store: store.socket, domain: DOMAIN, root: scratch.root, args: ['--plugins', plugins] };
    const dom0 = new Dom0(localTools(store.socket), DOMAIN);
    const dies = async (): Promise<void> => {
      const args = [BUNDLE, 'run', '--store', store.socket, '--domain', String(DOMAIN), '--root', scratch.root];
      const agent = spawn(process.execPath, [...args, ...options.args], { stdio: ['ignore', 'pipe', 'ignore'] });
      agent.stdout.on('data', (text: Buffer) => {
        if (text.includes('spinning')) agent.kill('SIGKILL');
      });
      const [, signal] = (await once(agent, 'close')) as [unknown, string];
      assert.equal(signal, 'SIGKILL');
    };
    const reason =
      'the agent ended while it loaded it; it is left out until its file changes, or the agent is told to reload (SIGHUP)';
    await dies();
    // As often as it is started.
    for (let start = 0; start < 2; start += 1) {
      await using agent = await Agent.start(options);
      assert.ok(
        agent.log.includes(`"level":50`) && agent.log.includes(`"where":"${file}","reason":"${reason}"`),
        agent.log,
      );
      assert.deepEqual(await dom0.call('good', ''), { kind: 'ok', message: 'good' });
      assert.equal(await agent.stop(), 0);
    }
    const told = await runCli(['commands', '--root', scratch.root, '--plugins', plugins]);
    assert.equal(told.code, 1);
    assert.ok(told.stdout.endsWith(`\nThese cannot be used:\n  ${file}: ${reason}\n`), told.stdout);
    // It may have been mended from outside: the operator says so.
    {
      await using agent = await Agent.start(options);
      process.kill(agent.pid, 'SIGHUP');
      if (what === 'kills the agent') assert.equal(await agent.ended(), 'SIGKILL');
      else {
        await agent.logged('spinning');
        process.kill(agent.pid, 'SIGKILL');
        await agent.ended();
      }
    }
    scratch.write('../plugins/deadly.mjs', pluginText('deadly', { mine: answers("'mended'") }));
    await using agent = await Agent.start(options);
    assert.deepEqual(await dom0.call('mine', ''), { kind: 'ok', message: 'mended' });
    assert.ok(!agent.log.includes('is left out'), agent.log);
    assert.equal(await agent.stop(), 0);
    await using again = await Agent.start(options);
    assert.deepEqual(await dom0.call('mine', ''), { kind: 'ok', message: 'mended' });
    assert.equal(await again.stop(), 0);
  });
}
