/** docs/plugins.md is followed to the letter, from `npm init` on, in an empty directory. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { ScratchDirectory } from '../../ts/host/shared/scratch-directory.js';
import { type Step, asScript, readSteps } from '../support/tutorial.js';

const steps = readSteps(readFileSync('docs/plugins.md', 'utf8'));
let scratch: ScratchDirectory;
let outcome: { code: number | null; stderr: string; left: readonly string[] };

/** Packages come from npm's cache where they are in it. */
const NPM = { npm_config_prefer_offline: 'true', npm_config_audit: 'false', npm_config_fund: 'false', npm_config_update_notifier: 'false' };

before(async () => {
  scratch = await ScratchDirectory.create();
  execFileSync('npm', ['pack', '--silent', '--pack-destination', scratch.path], { env: { ...process.env, ...NPM } });
  mkdirSync(join(scratch.path, 'outputs'));
  await scratch.write({ 'follow.sh': asScript(steps, join(scratch.path, 'outputs')) });
  // A session of its own, so that whatever a failed step leaves behind can be ended.
  const child = spawn('bash', [join(scratch.path, 'follow.sh')], {
    cwd: scratch.path,
    env: { ...process.env, ...NPM, NODE_TEST_CONTEXT: undefined },
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [code] = (await once(child, 'exit')) as [number | null];
  outcome = { code, stderr, left: await remaining(child) };
});

after(async () => {
  await scratch[Symbol.asyncDispose]();
});

/** What the steps began and what still runs after five seconds; it is ended then. */
async function remaining({ pid }: ChildProcess): Promise<readonly string[]> {
  // One that has ended and that nobody has asked for its status counts as gone.
  const running = (): readonly string[] =>
    execFileSync('ps', ['-eo', 'pgid=,stat=,args='], { encoding: 'utf8' })
      .split('\n')
      .filter((line) => new RegExp(`^ *${pid!} +[^Z]`).test(line));
  for (let tries = 0; tries < 50 && running().length > 0; tries += 1) await sleep(100);
  const left = running();
  if (left.length > 0) process.kill(-pid!, 'SIGKILL');
  return left;
}

const printed = (index: number): string => readFileSync(join(scratch.path, 'outputs', String(index)), 'utf8');

test('every step of the tutorial succeeds', () => {
  const done = readdirSync(join(scratch.path, 'outputs')).map(Number).sort((a, b) => a - b);
  const last = done.at(-1) ?? 0;
  const step = steps[last]?.text ?? '';
  assert.equal(outcome.code, 0, `step ${last} failed:\n${step}\nIt printed:\n${printed(last)}${outcome.stderr}`);
  assert.equal(done.length, steps.filter(({ type }) => type === 'shell').length);
});

test('the tutorial leaves no process behind', () => {
  assert.deepEqual(outcome.left, []);
});

/** Numbers are whatever they are, and so are the paths behind `plugin` and `script`. */
const comparable = (line: string): string =>
  line.replaceAll(/\d+(?:\.\d+)? ms/g, 'N ms').replace(/((?:plugin|script)) \/.*$/, '$1').trimEnd();

for (const [index, step] of steps.entries()) {
  if (step.type !== 'shell' || step.prints === null) continue;
  const [first = ''] = step.text.split('\n');
  test(`the tutorial says what is printed by: ${first}`, () => {
    const lines = printed(index).split('\n').map(comparable);
    for (const line of (step.prints ?? '').trimEnd().split('\n').map(comparable)) {
      assert.ok(lines.includes(line), `wanted the line\n${line}\ngot\n${printed(index)}`);
    }
  });
}

test('the plugins and tests of the tutorial have the types that the package says', async () => {
  const files = ['motd', 'spool'].flatMap((name) => [`${name}/${name}.mjs`, `${name}/${name}.test.mjs`]);
  files.push('greet/index.js', 'greet/index.test.js');
  await scratch.write({
    'tsconfig.json': JSON.stringify({
      compilerOptions: {
        allowJs: true,
        checkJs: true,
        noEmit: true,
        strict: true,
        target: 'ES2023',
        lib: ['ES2023', 'ESNext.Disposable'],
        module: 'nodenext',
        typeRoots: [resolve('node_modules/@types')],
        types: ['node'],
      },
      files,
    }),
  });
  const tsc = promisify(execFile)(process.execPath, ['node_modules/typescript/bin/tsc', '-p', scratch.path]);
  await assert.doesNotReject(tsc.catch((error: unknown) => Promise.reject(new Error((error as { stdout: string }).stdout))));
});

test('every file of the tutorial is shown, and every block of it is a step or plainly none', () => {
  const files = steps.filter((step): step is Extract<Step, { type: 'file' }> => step.type === 'file');
  assert.deepEqual(
    files.map(({ path }) => path),
    ['motd.mjs', 'motd.test.mjs', 'folder-wire.mjs', 'folder-wire.test.mjs', 'spool.mjs', 'spool.test.mjs', 'commands/greet'],
  );
});
