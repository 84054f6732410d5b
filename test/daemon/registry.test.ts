import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Command } from '../../ts/api/command.js';
import { registryOf } from '../support/registry.js';

const named = (name: string, forms?: readonly string[]): Command => ({
  name,
  lane: 'serial',
  ...(forms === undefined ? {} : { forms }),
  handle: () => Promise.resolve({ returncode: '0', message: name }),
});
const COMMANDS = [named('version'), named('keyinit', ['keyinit_strong']), named('password')];

const CASES: readonly (readonly [what: string, allow: readonly string[], deny: readonly string[], features: string])[] =
  [
    ['all', ['*'], [], 'version,keyinit,password,keyinit_strong'],
    ['those that are named', ['version', 'password'], [], 'version,password'],
    ['all but the denied ones, and none of their forms', ['*'], ['keyinit'], 'version,password'],
    ['none that is allowed and denied', ['version', 'password'], ['password'], 'version'],
    ['none', [], [], ''],
    ['none when all are denied', ['*'], ['*'], ''],
  ];

for (const [what, allow, deny, features] of CASES) {
  test(`features tells ${what}, and the host can use no others`, () => {
    const registry = registryOf(COMMANDS, { allow, deny });
    assert.equal(registry.features().join(','), features);
    for (const { name } of COMMANDS) {
      const allowed = features.split(',').includes(name);
      if (allowed) assert.equal(registry.get(name).name, name);
      else assert.throws(() => registry.get(name), { code: 'GW_COMMAND_DENIED', returncode: '403' });
      assert.equal(registry.list().find((listed) => listed.name === name)?.allowed, allowed);
    }
    assert.throws(() => registry.get('else'), { code: 'GW_COMMAND_UNKNOWN' });
  });
}

test('a name belongs to the module that took it first, and whoever comes later is told', () => {
  const registry = registryOf(COMMANDS);
  const late = { name: 'late', commands: [named('version'), named('backup')] };
  const taken = registry.add(late, { kind: 'plugin', where: '/etc/guestwire/plugins/late.js' });
  assert.deepEqual([...taken], [['version', { kind: 'native', where: 'test' }]]);
  assert.equal(registry.get('backup').name, 'backup');
  assert.equal(registry.list().find(({ name }) => name === 'version')?.origin.kind, 'native');
});

test('a rule that names no command is told', () => {
  const registry = registryOf(COMMANDS, { allow: ['*', 'verison'], deny: ['password', 'reboot'] });
  assert.deepEqual(registry.unknownRules(), ['verison', 'reboot']);
});
