/** What the agent's own commands and wires are told of the configuration. */
import type { UpdateOptions } from '../commands/agentupdate.js';
import type { FileOptions } from '../commands/file.js';
import type { CommandOptions } from '../commands/index.js';
import type { NetworkOptions } from '../commands/network.js';
import type { PasswordOptions } from '../commands/password.js';
import type { CommunicationOptions } from '../communication/index.js';
import type { Config } from './config.js';
import { createKeyExchange, createSealedExchange } from '../host/shared/key-exchange.js';
import { CONFIG_DIRECTORY } from '../host/shared/system.js';
import { resolve } from '../host/shared/runtime/path.js';

export function commandOptions(config: Config): CommandOptions {
  return {
    password: passwordOptions(config),
    files: fileOptions(config),
    network: networkOptions(config),
    kms: { org: config.kms.org, timeoutMs: config.kms.timeout },
    update: updateOptions(config),
  };
}

function passwordOptions({ password }: Config): PasswordOptions {
  return {
    createExchange: createKeyExchange,
    createSealedExchange,
    user: password.user,
    users: password.users,
    unlock: password.unlock,
    weakExchange: password['weak-exchange'],
    keyLifetimeMs: password['key-lifetime'],
  };
}

export function fileOptions({ files, hooks, plugins, scripts, state, update }: Config): FileOptions {
  // Who could write there could change what the agent does.
  const own = [
    CONFIG_DIRECTORY,
    ...[state, hooks, plugins, scripts, update].map(({ directory }) => resolve(directory)),
  ];
  return {
    rules: { allow: files.allow, deny: files.deny, own },
    mode: files.mode,
    authorizedKeys: files['authorized-keys'],
    maxSize: files['max-size'],
    uploads: files.uploads,
    uploadLifetimeMs: files['upload-lifetime'],
  };
}

export function networkOptions({ network }: Config): NetworkOptions {
  return {
    verifyTimeoutMs: network['verify-timeout'],
    deviceTimeoutMs: network['device-timeout'],
    programTimeoutMs: network['program-timeout'],
  };
}

export function updateOptions({ update }: Config): UpdateOptions {
  return {
    keys: update.keys,
    requireSignature: update['require-signature'],
    insecure: update.http,
    maxSize: update['max-size'],
    timeoutMs: update.timeout,
    trialTimeoutMs: update['trial-timeout'],
    allowDowngrade: update['allow-downgrade'],
  };
}

/** An agent on a copy of a system leaves this machine's port alone. */
export function communicationOptions({ xenstore, stream }: Config, live: boolean): CommunicationOptions {
  return {
    xenstore: { answerLifetime: xenstore['answer-lifetime'], scanInterval: xenstore['scan-interval'] },
    stream: {
      path: stream.path,
      findPort: live,
      listen: stream.listen,
      vsockPort: stream['vsock-port'],
      anyVsockPeerPort: stream['vsock-peer-ports'] === 'any',
      maxLine: stream['max-line'],
      lineTimeout: stream['line-timeout'],
    },
  };
}
