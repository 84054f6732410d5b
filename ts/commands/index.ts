/**
 * Every command that a host can send.
 *
 * To add one: a file here that makes a `CommandModule` (ts/api/command.ts says what it promises), a line in the list
 * below, and a test under test/commands/. What the command needs of the machine comes through `Host`.
 */
import type { Command, CommandModule, Lane } from '../api/command.js';
import type { Host } from '../api/host.js';
import { SEALED_FEATURE } from '../crypto/forms.js';
import type { FileOptions } from './file.js';
import { featuresCommands } from './features.js';
import type { NetworkOptions } from './network.js';
import type { PasswordOptions } from './password.js';
import type { UpdateOptions } from './agentupdate.js';
import { versionCommands } from './version.js';

export interface CommandOptions {
  readonly password: PasswordOptions;
  readonly files: FileOptions;
  readonly network: NetworkOptions;
  readonly update: UpdateOptions;
}

/**
 * Further forms of commands that `features` tells beside the commands: an agent that does not know `file_inject` in
 * parts would write each part as a whole file, so a host has to be able to ask.
 */
const FORMS = ['file_inject_parts', SEALED_FEATURE] as const;

/** The commands by name, in the order that `features` tells them. */
export function createCommands(host: Host, options: CommandOptions): ReadonlyMap<string, Command> {
  const modules: readonly CommandModule[] = [
    versionCommands(),
    featuresCommands(() => [...commands.keys(), ...FORMS]),
    deferred('password', 'serial', ['keyinit', 'password'], async () =>
      (await import('./password.js')).passwordCommands(host, options.password),
    ),
    deferred('file', 'serial', ['injectfile', 'file_inject'], async () =>
      (await import('./file.js')).fileCommands(host, options.files),
    ),
    deferred('sshkeys', 'serial', ['sshkeys'], async () =>
      (await import('./sshkeys.js')).sshKeysCommands(host, { user: options.password.user }),
    ),
    deferred('network', 'serial', ['resetnetwork'], async () =>
      (await import('./network.js')).networkCommands(host, options.network),
    ),
    deferred('update', 'serial', ['agentupdate'], async () =>
      (await import('./agentupdate.js')).updateCommands(host, options.update),
    ),
  ];
  const commands = new Map(
    modules.flatMap((module) => module.commands.map((command) => [command.name, command] as const)),
  );
  return commands;
}

/**
 * A module that is loaded at the first of its commands. An agent mostly waits: what it has not needed yet costs neither
 * start-up time nor memory.
 */
function deferred(
  name: string,
  lane: Lane,
  names: readonly string[],
  load: () => Promise<CommandModule>,
): CommandModule {
  let loaded: Promise<CommandModule> | null = null;
  return {
    name,
    commands: names.map((commandName) => ({
      name: commandName,
      lane,
      async handle(value, context) {
        const { commands } = await (loaded ??= load());
        const command = commands.find((candidate) => candidate.name === commandName);
        if (command === undefined) throw new Error(`module ${name} has no command ${commandName}`);
        return command.handle(value, context);
      },
    })),
  };
}
