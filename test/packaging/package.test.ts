/** What `npm pack` makes, as an author of plugins gets it: nothing but it and TypeScript. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { ScratchDirectory } from '../../ts/host/shared/scratch-directory.js';

const PLUGIN = `import {
  AgentError, type Bytes, type CommandModule, type Host, type Log, Secret, type Signal, command, definePlugin,
} from 'guestwire';

async function text(host: Host, signal: Signal, log: Log): Promise<string> {
  const bytes: Bytes | null = await host.files.read('/etc/motd');
  if (signal.aborted) throw new AgentError('GW_ARGUMENT_INVALID', ['a', 'b', 'c']);
  log.info({ size: bytes?.length ?? 0 }, 'read');
  using secret = new Secret(bytes ?? new Uint8Array());
  await using lock = await host.accounts.lock();
  void lock;
  return bytes?.toString('utf8') ?? secret.toString();
}

export default definePlugin({
  name: 'typed',
  settings: {
    colour: { kind: 'choice', choices: ['red', 'blue'], default: 'red', about: 'The colour.' },
    every: { kind: 'duration', default: '15m', about: 'How often.' },
    file: { kind: 'path', default: null, about: 'Where.' },
  },
  setup(host, { log, settings, signal }) {
    const { colour, every, file }: { colour: 'red' | 'blue'; every: number; file: string | null } = settings;
    log.info({ colour, every, file }, 'settings');
    // @ts-expect-error it was not declared
    void settings.other;
    const module: CommandModule = {
      name: 'typed',
      commands: [command({ name: 'typed', lane: 'serial', parse: String, run: () => text(host, signal, log) })],
    };
    return [{ kind: 'commands', module }];
  },
});
`;
const USE = `import { type FakeHost, fakeHost, fakeWire, memoryFiles, memoryStore } from 'guestwire/testing';
import plugin from './plugin.js';
const host: FakeHost = fakeHost({ files: { '/etc/motd': 'x' } });
const wire = await fakeWire(plugin, host, { log: true, settings: { every: '1m' } });
const { message }: { message: string } = await wire.request('typed');
export const all: unknown[] = [message, memoryFiles(), memoryStore({})];
`;
/** Everything that can be asked of types, and nothing that comes with others. */
const STRICT = {
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  skipLibCheck: false,
  types: [],
  target: 'ES2023',
  module: 'nodenext',
  noEmit: true,
};

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

suite('the package', () => {
  let scratch: ScratchDirectory;
  let installed = '';

  before(async () => {
    scratch = await ScratchDirectory.create();
    execFileSync('npm', ['pack', '--silent', '--pack-destination', scratch.path]);
    const [archive = ''] = readdirSync(scratch.path).filter((name) => name.endsWith('.tgz'));
    await scratch.write({ 'package.json': '{"private":true,"type":"module"}' });
    // Without a registry: what it needs of others would be missing.
    const args = ['install', '--offline', '--no-audit', '--no-fund', '--silent', join(scratch.path, archive)];
    execFileSync('npm', args, { cwd: scratch.path });
    installed = join(scratch.path, 'node_modules/guestwire');
  });

  after(async () => {
    await scratch[Symbol.asyncDispose]();
  });

  /** What tsc complains of in that folder. */
  const complaints = (): string => {
    const tsc = resolve('node_modules/typescript/bin/tsc');
    return spawnSync(process.execPath, [tsc, '-p', '.'], { cwd: scratch.path, encoding: 'utf8' }).stdout;
  };

  for (const [what, lib] of [
    ['the usual libraries', {}],
    ['no DOM', { lib: ['ES2023'] }],
  ] as const) {
    test(`its types compile with nothing but it and TypeScript, by ${what}`, async () => {
      await scratch.write({
        'plugin.ts': PLUGIN,
        'use.ts': USE,
        'tsconfig.json': JSON.stringify({ compilerOptions: { ...STRICT, ...lib }, files: ['plugin.ts', 'use.ts'] }),
      });
      assert.equal(complaints(), '');
    });
  }

  test('its types are Node’s own where those are', async () => {
    await scratch.write({
      'own.ts': `import type { Bytes, Signal, Url } from 'guestwire';
        type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
        export const same: [Same<Bytes, Buffer>, Same<Signal, AbortSignal>, Same<Url, URL>] = [true, true, true];`,
      'tsconfig.json': JSON.stringify({
        compilerOptions: {
          ...STRICT,
          types: ['node'],
          typeRoots: [resolve('node_modules/@types')],
          skipLibCheck: true,
        },
        files: ['own.ts'],
      }),
    });
    assert.equal(complaints(), '');
  });

  test('new plugin --typescript makes one that its compiler, its test and the agent take', async () => {
    const guestwire = (...args: readonly string[]): string =>
      execFileSync(process.execPath, [join(installed, 'dist/guestwire.js'), ...args], { encoding: 'utf8' });
    await scratch.write({ 'plugins/.keep': '' });
    const plugins = join(scratch.path, 'plugins');
    const told = guestwire('new', 'plugin', 'greet', '--typescript', '--directory', plugins);
    assert.match(told, /index\.ts is the plugin/);
    const cwd = join(plugins, 'greet');
    const tsc = spawnSync(process.execPath, [resolve('node_modules/typescript/bin/tsc')], { cwd, encoding: 'utf8' });
    assert.deepEqual([tsc.stdout, tsc.status], ['', 0]);
    const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
    const tested = spawnSync(process.execPath, ['--test'], { cwd, env, encoding: 'utf8' });
    assert.equal(tested.status, 0, tested.stdout);
    assert.match(tested.stdout, /^. pass 2$/m);
    assert.match(guestwire('commands', '--plugins', plugins), /^greet +immediate +allowed +plugin .*greet$/m);
  });

  test('it needs no other package, and is small', () => {
    const { dependencies = {}, peerDependencies = {} } = JSON.parse(
      readFileSync(join(installed, 'package.json'), 'utf8'),
    ) as Manifest;
    assert.deepEqual([dependencies, peerDependencies], [{}, {}]);
    assert.deepEqual(
      readdirSync(join(scratch.path, 'node_modules')).filter((name) => !name.startsWith('.')),
      ['guestwire'],
    );
    const files = readdirSync(installed, { recursive: true }).map((name) => join(installed, String(name)));
    const bytes = files.map((file) => statSync(file)).reduce((sum, { size }) => sum + size, 0);
    assert.ok(bytes < 4_000_000, `${bytes} bytes`);
    const text = files
      .filter((file) => file.endsWith('.d.ts'))
      .map((file) => readFileSync(file, 'utf8'))
      .join('');
    assert.deepEqual(
      [...text.matchAll(/from '([^.'][^']*)'/g)].map(([, name]) => name),
      [],
    );
  });
});
