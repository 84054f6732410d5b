/** The plugin that `guestwire new` begins: one command, and a test that passes. */
import type { NewFileText } from '../host/shared/new-files.js';

/** In TypeScript it is compiled to `dist`, and its test, which needs Node's types otherwise, is JavaScript all the same. */
export function typedPluginFiles(name: string): Readonly<Record<string, NewFileText>> {
  const [first = '', ...rest] = PLUGIN.split('\n');
  const typed = [first.replace('// @ts-check', ''), ...rest].join('\n').trimStart();
  return {
    'package.json': {
      text: manifest(name, { exports: './dist/index.js', file: 'dist', test: 'tsc && ' }),
      mode: 0o644,
    },
    'tsconfig.json': { text: json({ compilerOptions: COMPILER, files: ['index.ts'] }), mode: 0o644 },
    'index.ts': {
      text: typed.replace('parse(value) {', 'parse(value: unknown): string {').replaceAll('NAME', name),
      mode: 0o644,
    },
    'index.test.js': { text: TEST.replace('./index.js', './dist/index.js').replaceAll('NAME', name), mode: 0o644 },
  };
}

export function pluginFiles(name: string): Readonly<Record<string, NewFileText>> {
  return {
    'package.json': { text: manifest(name, { exports: './index.js', file: 'index.js', test: '' }), mode: 0o644 },
    'index.js': { text: PLUGIN.replaceAll('NAME', name), mode: 0o644 },
    'index.test.js': { text: TEST.replaceAll('NAME', name), mode: 0o644 },
  };
}

interface Built {
  readonly exports: string;
  /** What the package holds. */
  readonly file: string;
  /** What has to be done before a test. */
  readonly test: string;
}

/** Strict, as the agent's own; `types`: those of no other package. */
const COMPILER = {
  target: 'ES2023',
  module: 'nodenext',
  outDir: 'dist',
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  verbatimModuleSyntax: true,
  types: [],
};

function json(content: object): string {
  return `${JSON.stringify(content, null, 2)}\n`;
}

function manifest(name: string, { exports, file, test }: Built): string {
  return json({
    name: `guestwire-plugin-${name}`,
    version: '0.1.0',
    private: true,
    type: 'module',
    exports,
    files: [file],
    keywords: ['guestwire-plugin'],
    scripts: { test: `${test}node --test` },
  });
}

const PLUGIN = `// @ts-check
import { AgentError, command, definePlugin } from 'guestwire';

/** The command NAME: greets whom the request names, in the name of this machine. */
export default definePlugin({
  name: 'NAME',
  setup(host) {
    const greet = command({
      name: 'NAME',
      // It only tells something. What changes the machine is 'serial'.
      lane: 'immediate',
      parse(value) {
        if (typeof value === 'string' && value !== '') return value;
        throw new AgentError('GW_ARGUMENT_INVALID', ['value', 'a name', 'something else']);
      },
      async run(name) {
        return \`Hello \${name}, this is \${await host.network.hostname()}\`;
      },
    });
    return [{ kind: 'commands', module: { name: 'NAME', commands: [greet] } }];
  },
});
`;

const TEST = `// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeHost, fakeWire } from 'guestwire/testing';
import plugin from './index.js';

test('NAME greets whom the request names', async (t) => {
  const wire = await fakeWire(plugin, fakeHost({ hostname: 'web1' }));
  t.after(() => wire.close());
  assert.deepEqual(await wire.request('NAME', 'Ada'), { returncode: '0', message: 'Hello Ada, this is web1' });
});

test('NAME says what it wanted', async (t) => {
  const wire = await fakeWire(plugin);
  t.after(() => wire.close());
  const { returncode, message } = await wire.request('NAME', 5);
  assert.equal(returncode, '500');
  assert.equal(message, 'Invalid value: expected a name, got something else');
});
`;
