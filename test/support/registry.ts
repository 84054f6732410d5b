import type { ListedModule } from '../../ts/commands/deferred.js';
import { type CommandRules, Registry } from '../../ts/daemon/registry.js';

/** A registry of these commands and no others. */
export function registryOf(
  commands: ListedModule['commands'],
  rules: CommandRules = { allow: ['*'], deny: [] },
): Registry {
  const registry = new Registry(rules);
  registry.add({ name: 'test', commands }, { kind: 'native', where: 'test' });
  return registry;
}
