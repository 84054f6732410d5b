import type { Updates } from '../agent/updates.js';
import type { Host } from '../api/host.js';
import { type CommandOptions, createCommands } from '../commands/index.js';
import { openUpdates } from '../host/index.js';
import { reportsOf } from './deferred-reports.js';
import type { Registry } from './registry.js';

/**
 * Puts the agent's own commands into `registry`, which those among them that tell of commands then ask. `updates`: of the
 * one agent that serves; any other refuses to be updated.
 */
export function addNativeCommands(
  registry: Registry,
  host: Host,
  options: CommandOptions,
  updates: Updates = openUpdates(null),
): void {
  const modules = createCommands(
    { ...host, updates },
    reportsOf({ host }),
    options,
    () => registry.features(),
    () => registry.list().filter(({ dialect }) => dialect === 'qemu'),
  );
  for (const module of modules) registry.add(module, { kind: 'native', where: module.name });
}
