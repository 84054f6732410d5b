import type { Host } from '../api/host.js';
import { type CommandOptions, createCommands } from '../commands/index.js';
import { reportsOf } from './deferred-reports.js';
import type { Registry } from './registry.js';

/** Puts the agent's own commands into `registry`, which those among them that tell of commands then ask. */
export function addNativeCommands(registry: Registry, host: Host, options: CommandOptions): void {
  const reports = reportsOf({ host });
  const modules = createCommands(
    host,
    reports,
    options,
    () => registry.features(),
    () => registry.list().filter(({ dialect }) => dialect === 'qemu'),
  );
  for (const module of modules) registry.add(module, { kind: 'native', where: module.name });
}
