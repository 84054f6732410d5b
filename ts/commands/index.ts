/**
 * Every command that a host can send.
 *
 * To add one: a file here that makes a `CommandModule` (ts/api/command.ts says what it promises), a line in the list
 * below, and a test under test/commands/. What the command needs of the machine comes through `Host`. In which lane it
 * runs its module alone says; the list has what `features` tells and what an answer to a damaged request goes by.
 */
import type { AgentHost } from '../agent/host.js';
import type { Reports } from '../api/report.js';
import { SEALED_FEATURE } from '../crypto/forms.js';
import { type ListedModule, deferred } from './deferred.js';
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
  host: AgentHost,
  reports: Pick<Reports, 'current'>,
  options: CommandOptions,
  features: () => readonly string[],
  supported: () => readonly QemuCommand[],
): readonly ListedModule[] {
  return [
    versionCommands(),
    featuresCommands(features),
    deferred('password', [{ name: 'keyinit', forms: [SEALED_FEATURE] }, { name: 'password' }], async () =>
      (await import('./password.js')).passwordCommands(host, options.password),
    ),
    deferred('file', [{ name: 'injectfile' }, { name: 'file_inject', forms: ['file_inject_parts'] }], async () =>
      (await import('./file.js')).fileCommands(host, options.files),
    ),
    deferred('sshkeys', [{ name: 'sshkeys' }], async () =>
      (await import('./sshkeys.js')).sshKeysCommands(host, { user: options.password.user }),
    ),
    deferred('network', [{ name: 'resetnetwork', failureCode: RESET_FAILURE }], async () =>
      (await import('./network.js')).networkCommands(host, options.network),
    ),
    deferred('kms', [{ name: 'kmsactivate' }], async () => (await import('./kms.js')).kmsCommands(host, options.kms)),
    deferred('update', [{ name: 'agentupdate' }], async () =>
      (await import('./agentupdate.js')).updateCommands(host, options.update),
    ),
    deferred('qemu', QEMU_COMMANDS, async () =>
      (await import('./qemu/index.js')).qemuCommands(host, reports, options, supported),
    ),
  ];
}
