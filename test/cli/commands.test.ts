import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ScratchDirectory } from '../../ts/host/shared/scratch-directory.js';
import { runCli } from '../support/run-cli.js';
import { answers, pluginText } from '../support/plugins.js';

const SCRIPT = { text: '#!/bin/sh\necho 0\n', mode: 0o755 };

/** Plugins and scripts in folders of their own, and a configuration that names them. */
async function folders(extra: Readonly<Record<string, string>> = {}): Promise<ScratchDirectory> {
  const scratch = await ScratchDirectory.create();
  await scratch.write({
    'plugins/x.mjs': pluginText('x', { mine: answers('1') }),
    'commands/greet': SCRIPT,
    'commands/password': SCRIPT,
    'commands/secret': SCRIPT,
    'guestwire.toml':
      `[plugins]\ndirectory = "${scratch.path}/plugins"\n[scripts]\ndirectory = "${scratch.path}/commands"\n` +
      '[commands]\ndeny = ["secret"]\n',
    ...extra,
  });
  return scratch;
}

test('commands tells where each command comes from, and which the host may use', async () => {
  await using scratch = await folders();
  const { code, stdout, stderr } = await runCli(['commands', '--config', `${scratch.path}/guestwire.toml`]);
  assert.deepEqual([code, stderr], [0, '']);
  const rows = stdout.split('\n').map((line) => line.split(/ {2,}/));
  assert.deepEqual(rows[0], ['NAME', 'LANE', 'HOST', 'FROM']);
  for (const row of [
    ['version', 'immediate', 'allowed', 'native'],
    ['mine', 'serial', 'allowed', `plugin ${scratch.path}/plugins/x.mjs`],
    ['greet', 'serial', 'allowed', `script ${scratch.path}/commands/greet`],
    ['secret', 'serial', 'denied', `script ${scratch.path}/commands/secret`],
    ['password', '-', 'not asked', `script ${scratch.path}/commands/password; the agent has this command`],
  ]) {
    assert.ok(
      rows.some((found) => found.join() === row.join()),
      `${row.join(' ')}\nnot in\n${stdout}`,
    );
  }
});

test('commands fails when something cannot be used, and says what and why', async () => {
  await using scratch = await folders({ 'plugins/bad.mjs': 'export const x = 1;', 'commands/plain': '#!/bin/sh\n' });
  const args = ['commands', '--config', `${scratch.path}/guestwire.toml`];
  const { code, stdout } = await runCli(args);
  assert.equal(code, 1);
  assert.match(
    stdout,
    /\n\nThese cannot be used:\n {2}\S+\/plain: is not executable .*\n {2}\S+\/bad\.mjs: has no default export: /,
  );
  const json = await runCli([...args, '--json']);
  assert.equal(json.code, 1);
  const { commands, shadowed, problems } = JSON.parse(json.stdout) as Record<
    string,
    readonly Record<string, unknown>[]
  >;
  assert.deepEqual(
    problems?.map(({ where }) => where),
    [`${scratch.path}/commands/plain`, `${scratch.path}/plugins/bad.mjs`],
  );
  assert.deepEqual(
    shadowed?.map(({ name, by }) => [name, by]),
    [['password', { kind: 'native', where: 'password' }]],
  );
  const greet = commands?.find(({ name }) => name === 'greet');
  assert.deepEqual(greet, {
    name: 'greet',
    lane: 'serial',
    origin: { kind: 'script', where: `${scratch.path}/commands/greet` },
    allowed: true,
    dialect: null,
  });
});

test('commands names a script whose interpreter is not there', async () => {
  await using scratch = await folders();
  await scratch.write({ 'commands/lost': { text: '#!/no/such\n', mode: 0o755 } });
  const { code, stdout } = await runCli(['commands', '--config', `${scratch.path}/guestwire.toml`]);
  assert.equal(code, 1);
  assert.match(stdout, /\n {2}\S+\/lost: its interpreter \/no\/such is not there or not executable\n/);
});

test('commands tells which wires plugins bring', async () => {
  const module = "{ kind: 'communication', module: { name: 'pigeon', open: () => Promise.reject(new Error('far')) } }";
  await using scratch = await folders({
    'plugins/w.mjs': `export default { apiVersion: 1, name: 'w', setup: () => [${module}] };`,
  });
  const args = ['commands', '--config', `${scratch.path}/guestwire.toml`];
  const { code, stdout } = await runCli(args);
  assert.equal(code, 0, stdout);
  assert.ok(stdout.includes(`\nWires of plugins:\n  pigeon  plugin ${scratch.path}/plugins/w.mjs\n`), stdout);
  const { wires } = JSON.parse((await runCli([...args, '--json'])).stdout) as { wires: unknown };
  assert.deepEqual(wires, [{ name: 'pigeon', where: `${scratch.path}/plugins/w.mjs` }]);
});

test('a folder of plugins that is not there is wrong usage', async () => {
  const { code, stderr } = await runCli(['commands', '--plugins', '/nowhere/plugins']);
  assert.equal(code, 2);
  assert.match(stderr, /^guestwire: --plugins: \/nowhere\/plugins is not a directory\n/);
});

test('commands ends though a plugin keeps timers', async () => {
  await using scratch = await folders({
    'plugins/x.mjs': pluginText('x', { mine: answers('1') }, 'setInterval(() => {}, 1000);'),
  });
  assert.equal((await runCli(['commands', '--plugins', `${scratch.path}/plugins`])).code, 0);
});

test('config prints the tables of plugins, commands checks them, and doctor says who does', async () => {
  const own = `[plugin.x]\ncount = 3\nnames = ["a"]\n[plugin."g one"]\n"a b" = true\n`;
  await using scratch = await folders({ 'own.toml': own });
  const file = `${scratch.path}/own.toml`;
  const config = await runCli(['config', '--config', file]);
  assert.equal(config.code, 0);
  const printed = config.stdout.slice(config.stdout.indexOf('[plugin.x]')).replaceAll(/ +/g, ' ');
  assert.equal(
    printed,
    `[plugin.x]\ncount = 3 # ${file}:2\nnames = ["a"] # ${file}:3\n\n[plugin."g one"]\n"a b" = true # ${file}:5\n`,
  );
  const found = await runCli(['commands', '--config', file, '--plugins', `${scratch.path}/plugins`]);
  assert.equal(found.code, 1);
  assert.ok(
    found.stdout.endsWith(
      `\nSettings for plugins that are not there:\n  ${file}:4: [plugin.g one]\n\nThese cannot be used:\n` +
        `  ${scratch.path}/plugins/x.mjs: ${file}:2: unknown key plugin.x.count: the plugin has no settings\n`,
    ),
    found.stdout,
  );
  const json = await runCli(['commands', '--json', '--config', file, '--plugins', `${scratch.path}/plugins`]);
  assert.deepEqual((JSON.parse(json.stdout) as { unclaimed: unknown }).unclaimed, [
    { where: `${file}:4`, name: 'g one' },
  ]);
});

test('commands tells what plugins do on a schedule, and does none of it', async () => {
  const done = `throw new Error('done');`;
  const text = `import { definePlugin } from 'guestwire';
    const tasks = [{ name: 'sweep', every: '15m', delay: 0, run() { ${done} } }];
    export default definePlugin({ name: 'x', setup: () => [{ kind: 'schedule', tasks }] });`;
  await using scratch = await folders({ 'plugins/x.mjs': text });
  const { code, stdout, stderr } = await runCli(['commands', '--config', `${scratch.path}/guestwire.toml`]);
  assert.deepEqual([code, stderr], [0, '']);
  const where = `${scratch.path}/plugins/x.mjs`;
  assert.ok(stdout.endsWith(`\nScheduled work of plugins:\n  sweep  every 15m  plugin ${where}\n`), stdout);
});
