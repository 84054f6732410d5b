/** The plugin that `guestwire new` begins: one command, and a test that passes. */
import type { NewFileText } from '../host/new-files.js';

export function pluginFiles(name: string): Readonly<Record<string, NewFileText>> {
  return {
    'package.json': { text: manifest(name), mode: 0o644 },
    'index.js': { text: PLUGIN.replaceAll('NAME', name), mode: 0o644 },
    'index.test.js': { text: TEST.replaceAll('NAME', name), mode: 0o644 },
  };
}

function manifest(name: string): string {
  const content = {
    name: `guestwire-plugin-${name}`,
    version: '0.1.0',
    private: true,
    type: 'module',
    exports: './index.js',
    files: ['index.js'],
    keywords: ['guestwire-plugin'],
    scripts: { test: 'node --test' },
  };
  return `${JSON.stringify(content, null, 2)}\n`;
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
