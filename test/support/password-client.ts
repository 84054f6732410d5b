import assert from 'node:assert/strict';
import { type CommandModule, type Host, type Reply, Secret } from '../../ts/api/index.js';
import { passwordCommands, type PasswordOptions } from '../../ts/commands/password.js';
import { decodeSealed, encodePasswordRequest, encodeSealed } from '../../ts/crypto/sealed.js';
import { createAccounts } from '../../ts/host/unix/accounts.js';
import { createKeyExchange, createSealedExchange } from '../../ts/host/shared/key-exchange.js';
import { call } from './command-context.js';

/** The password commands as the configuration's defaults have them. */
export function commandsFor(host: Host, options: Partial<PasswordOptions> = {}): CommandModule {
  // The accounts of this very host, whose programs may be others than those of the one that it was made of.
  const accounts = createAccounts(host, host.accounts, options.now);
  return passwordCommands(
    { ...host, accounts },
    {
      createExchange: createKeyExchange,
      createSealedExchange,
      user: 'root',
      users: [],
      unlock: 'always',
      weakExchange: true,
      keyLifetimeMs: 300_000,
      ...options,
    },
  );
}

/** The host's side of both requests, in the strong form. */
export async function askForPassword(module: CommandModule, user: string, password: string): Promise<Reply> {
  const ours = createSealedExchange();
  const reply = await call(module, 'keyinit', encodeSealed(ours.publicKey));
  assert.equal(reply.returncode, 'D0', reply.message);
  ours.agreeAsHost(decodeSealed(reply.message, 'public key')!);
  const request = encodePasswordRequest({ user, password: new Secret(Buffer.from(password)) });
  return call(module, 'password', encodeSealed(ours.seal(request)));
}
