/**
 * Every command that a host can send.
 *
 * To add one: a file here that makes a `CommandModule` (ts/api/command.ts says what it promises), a line in the list
 * below, and a test under test/commands/. What the command needs of the machine comes through `Host`.
 */
import type { Command, CommandModule } from '../api/command.js';
import type { Host } from '../api/host.js';
import { SEALED_FEATURE } from '../crypto/forms.js';
import type { FileOptions } from './file.js';
import { featuresCommands } from './features.js';
import type { KmsOptions } from './kms.js';
import type { NetworkOptions } from './network.js';
import type { PasswordOptions } from './password.js';
import type { UpdateOptions } from './agentupdate.js';
import { QEMU_COMMANDS } from './qemu/names.js';
import type { QemuCommand } from './qemu/index.js';
import { versionCommands } from './version.js';

/** nova takes 500 for success of `resetnetwork`: docs/decisions/0012-failures-of-resetnetwork.md. */
const RESET_FAILURE = '1';

export interface CommandOptions {
  readonly password: PasswordOptions;
  readonly files: FileOptions;
  readonly network: NetworkOptions;
  readonly kms: KmsOptions;
  readonly update: UpdateOptions;
}

/**
 * The agent's own commands, in the order that `features` tells them, then those of other dialects. `features` and
 * `supported` are asked at each request that wants to know.
 */
export function createCommands(
  host: Host,
  options: CommandOptions,
  features: () => readonly string[],
  supported: () => readonly QemuCommand[],
): readonly CommandModule[] {
  return [
    versionCommands(),
    featuresCommands(features),
    deferred('password', serial({ keyinit: [SEALED_FEATURE], password: [] }), async () =>
      (await import('./password.js')).passwordCommands(host, options.password),
    ),
    deferred('file', serial({ injectfile: [], file_inject: ['file_inject_parts'] }), async () =>
      (await import('./file.js')).fileCommands(host, options.files),
    ),
    deferred('sshkeys', serial({ sshkeys: [] }), async () =>
      (await import('./sshkeys.js')).sshKeysCommands(host, { user: options.password.user }),
    ),
    deferred('network', [{ name: 'resetnetwork', lane: 'serial', failureCode: RESET_FAILURE }], async () =>
      (await import('./network.js')).networkCommands(host, options.network),
    ),
    deferred('kms', serial({ kmsactivate: [] }), async () => (await import('./kms.js')).kmsCommands(host, options.kms)),
    deferred('update', serial({ agentupdate: [] }), async () =>
      (await import('./agentupdate.js')).updateCommands(host, options.update),
    ),
    deferred('qemu', QEMU_COMMANDS, async () =>
      (await import('./qemu/index.js')).qemuCommands(host, options, supported),
    ),
  ];
}

/** What the dispatcher has to know of a command before its module is loaded. */
type Shape = Omit<Command, 'handle'>;

/** Of `serial` commands, each with its further forms. */
function serial(names: Readonly<Record<string, readonly string[]>>): readonly Shape[] {
  return Object.entries(names).map(([name, forms]) => ({ name, lane: 'serial', forms }));
}

/**
 * A module that is loaded at the first of its commands. An agent mostly waits: what it has not needed yet costs neither
 * start-up time nor memory.
 */
function deferred(name: string, shapes: readonly Shape[], load: () => Promise<CommandModule>): CommandModule {
  let loaded: Promise<CommandModule> | null = null;
  return {
    name,
    commands: shapes.map((shape) => ({
      ...shape,
      async handle(value, context) {
        const { commands } = await (loaded ??= load());
        const command = commands.find((candidate) => candidate.name === shape.name);
        if (command === undefined) throw new Error(`module ${name} has no command ${shape.name}`);
        return command.handle(value, context);
      },
    })),
  };
}
