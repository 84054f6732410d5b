import { type Command } from '../../ts/api/command.js';
import { type CommandRules, Registry } from '../../ts/daemon/registry.js';

/** A registry of these commands and no others. */
export function registryOf(commands: readonly Command[], rules: CommandRules = { allow: ['*'], deny: [] }): Registry {
  const registry = new Registry(rules);
  registry.add({ name: 'test', commands }, { kind: 'native', where: 'test' });
  return registry;
}
