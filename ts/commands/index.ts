/**
 * Every command that a host can send.
 *
 * To add one: a file here that makes a `CommandModule` (ts/api/command.ts says what it promises), a line in the list
 * below, and a test under test/commands/. What the command needs of the machine comes through `Host`.
 */
import type { CommandModule } from '../api/command.js';
import type { Host } from '../api/host.js';
import { SEALED_FEATURE } from '../crypto/forms.js';
import type { FileOptions } from './file.js';
import { featuresCommands } from './features.js';
import type { KmsOptions } from './kms.js';
import type { NetworkOptions } from './network.js';
import type { PasswordOptions } from './password.js';
import type { UpdateOptions } from './agentupdate.js';
import { versionCommands } from './version.js';

export interface CommandOptions {
  readonly password: PasswordOptions;
  readonly files: FileOptions;
  readonly network: NetworkOptions;
  readonly kms: KmsOptions;
  readonly update: UpdateOptions;
}

/** The agent's own commands, in the order that `features` tells them. `features` is asked at each request of that name. */
export function createCommands(
  host: Host,
  options: CommandOptions,
  features: () => readonly string[],
): readonly CommandModule[] {
  return [
    versionCommands(),
    featuresCommands(features),
    deferred('password', { keyinit: [SEALED_FEATURE], password: [] }, async () =>
      (await import('./password.js')).passwordCommands(host, options.password),
    ),
    deferred('file', { injectfile: [], file_inject: ['file_inject_parts'] }, async () =>
      (await import('./file.js')).fileCommands(host, options.files),
    ),
    deferred('sshkeys', { sshkeys: [] }, async () =>
      (await import('./sshkeys.js')).sshKeysCommands(host, { user: options.password.user }),
    ),
    deferred('network', { resetnetwork: [] }, async () =>
      (await import('./network.js')).networkCommands(host, options.network),
    ),
    deferred('kms', { kmsactivate: [] }, async () => (await import('./kms.js')).kmsCommands(host, options.kms)),
    deferred('update', { agentupdate: [] }, async () =>
      (await import('./agentupdate.js')).updateCommands(host, options.update),
    ),
  ];
}

/**
 * A module of `serial` commands that is loaded at the first of them; `names` has each with its further forms. An agent
 * mostly waits: what it has not needed yet costs neither start-up time nor memory.
 */
function deferred(
  name: string,
  names: Readonly<Record<string, readonly string[]>>,
  load: () => Promise<CommandModule>,
): CommandModule {
  let loaded: Promise<CommandModule> | null = null;
  return {
    name,
    commands: Object.entries(names).map(([commandName, forms]) => ({
      name: commandName,
      lane: 'serial',
      forms,
      async handle(value, context) {
        const { commands } = await (loaded ??= load());
        const command = commands.find((candidate) => candidate.name === commandName);
        if (command === undefined) throw new Error(`module ${name} has no command ${commandName}`);
        return command.handle(value, context);
      },
    })),
  };
}
