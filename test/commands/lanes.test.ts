/** The list of commands, and the modules that it names: loaded at the first of their requests. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { command } from '../../ts/api/command.js';
import { deferred } from '../../ts/commands/deferred.js';
import { commandOptions } from '../../ts/daemon/command-options.js';
import { DEFAULTS } from '../../ts/daemon/config.js';
import { addNativeCommands } from '../../ts/daemon/native-commands.js';
import { Registry } from '../../ts/daemon/registry.js';
import { fakeHost } from '../../ts/testing/fake-host.js';

/** All others change the machine, and want their turn and a line in the journal. */
const AT_ONCE = [
  'version',
  'features',
  'guest-sync',
  'guest-sync-delimited',
  'guest-ping',
  'guest-info',
  'guest-get-host-name',
  'guest-get-osinfo',
  'guest-network-get-interfaces',
  'guest-ssh-get-authorized-keys',
  'guest-file-open',
  'guest-file-read',
  'guest-file-write',
];

function nativeCommands(): Registry {
  const registry = new Registry({ allow: ['*'], deny: [] });
  addNativeCommands(registry, fakeHost(), commandOptions(DEFAULTS));
  return registry;
}

test('what changes the machine runs in its turn, and what only tells something at once, as its module says', async () => {
  const registry = nativeCommands();
  await registry.load();
  assert.deepEqual(
    registry.list().map(({ name, lane }) => [name, lane]),
    registry.list().map(({ name }) => [name, AT_ONCE.includes(name) ? 'immediate' : 'serial']),
  );
});

test('a module is loaded at the first of its requests, and no other with it', async () => {
  const registry = nativeCommands();
  const loaded = (): readonly string[] =>
    registry
      .list()
      .filter(({ lane }) => lane !== null)
      .map(({ name }) => name);
  assert.deepEqual(loaded(), ['version', 'features']);
  const keyinit = registry.get('keyinit');
  assert.ok(keyinit.lane === null);
  const command = await keyinit.load();
  assert.equal(command.lane, 'serial');
  assert.equal(registry.get('keyinit'), command);
  assert.deepEqual(loaded(), ['version', 'features', 'keyinit', 'password']);
});

test('what the list has of a command before it is loaded stays as it is', async () => {
  const registry = nativeCommands();
  const told = registry.features();
  await registry.load();
  assert.deepEqual(registry.features(), told);
  assert.ok(told.includes('file_inject_parts'));
  const reset = registry.get('resetnetwork');
  assert.deepEqual([reset.lane, reset.failureCode], ['serial', '1']);
});

const done = (name: string) => command({ name, lane: 'serial', parse: () => null, run: () => '' });

test('a module that has not just the commands that the list names cannot be loaded', async () => {
  const load = (...names: readonly string[]): Promise<unknown> => {
    const module = deferred('m', [{ name: 'a' }, { name: 'b' }], () =>
      Promise.resolve({ name: 'm', commands: names.map(done) }),
    );
    return Promise.all(module.commands.map((one) => one.load()));
  };
  await load('b', 'a');
  await assert.rejects(load('a'), /^Error: module m has no command b$/);
  await assert.rejects(load('a', 'b', 'c'), /^Error: module m has a command c that is not named$/);
});

test('a module that could not be loaded once is loaded at the next request', async () => {
  let tries = 0;
  const { commands } = deferred('m', [{ name: 'a' }], () => {
    tries += 1;
    if (tries === 1) return Promise.reject(new Error('too many open files'));
    return Promise.resolve({ name: 'm', commands: [done('a')] });
  });
  const [one] = commands;
  await assert.rejects(one!.load(), /too many open files/);
  assert.equal((await one!.load()).name, 'a');
  assert.equal(tries, 2);
});
