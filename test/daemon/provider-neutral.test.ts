import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const CORE = ['ts/daemon', 'ts/commands', 'ts/network', 'ts/accounts', 'ts/crypto'];
/** What puts the agent together, and the table of what can be set for each wire. */
const COMPOSITION = ['agent.ts', 'command-options.ts', 'settings.ts'].map((name) => join('ts/daemon', name));
/** Names of wires, of their devices and of the products that have them. */
const WIRES = /xen-?(?:store|bus|server)|xapi|dev\/xen/i;

function sources(directory: string): readonly string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(directory, name));
}

test('the core knows no wire by name', () => {
  const files = CORE.flatMap(sources).filter((file) => !COMPOSITION.includes(file));
  assert.ok(files.length > 50, `only ${files.length} files were looked at`);
  const found = files.flatMap((file) =>
    readFileSync(file, 'utf8')
      .split('\n')
      .flatMap((line, index) => (WIRES.test(line) ? [`${file}:${index + 1}: ${line.trim()}`] : [])),
  );
  assert.deepEqual(found, []);
});

test('what is looked for is found where it is', () => {
  assert.match(readFileSync('ts/communication/xenstore/nova/transport.ts', 'utf8'), WIRES);
});
