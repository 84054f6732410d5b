/**
 * The addon's functions under names of ours, so that the rest of the program never imports `#binding`. Its XenStore
 * client is wrapped by host/store.ts; locks, labels and password hashes by host/accounts.ts and host/files.ts.
 */
import * as binding from '#binding';
import { AgentError } from '../api/errors.js';
import { Secret } from '../api/secret.js';
import type { KeyExchange } from '../crypto/password.js';

/** A fresh private key. It never leaves the addon. */
export function createKeyExchange(): KeyExchange {
  const exchange = binding.KeyExchange.create();
  return {
    publicKey: exchange.publicKey,
    sharedSecret(peerPublicKey) {
      try {
        return new Secret(exchange.sharedSecret(peerPublicKey));
      } catch (error) {
        const reason = (error as { code?: unknown }).code;
        const got = reason === 'DH_OUT_OF_RANGE' ? 'a number outside of it' : 'something else';
        throw new AgentError('GW_ARGUMENT_INVALID', ['public key', 'a decimal number from 2 to 2^107 - 3', got], {
          cause: error,
        });
      }
    },
  };
}

/** The commit that the addon was built from, or `unknown`. */
export function buildCommit(): string {
  return binding.commit();
}

/** Tells systemd about the service, as sd_notify(3) does. False when nobody listens. */
export function notifyServiceManager(state: string): boolean {
  return binding.notify(state);
}

/** The embedded XenStore server on a unix socket: for the demo, for tests, for machines without Xen. */
export class EmbeddedStore implements Disposable {
  readonly #server: binding.StoreServer;

  /** Listens at `socket`, which must not exist. Whoever connects there acts as dom0. */
  constructor(socket: string) {
    this.#server = binding.StoreServer.listen(socket);
  }

  /** Makes `/local/domain/<domid>` as a toolstack does; whoever connects to `socket` acts as that guest. */
  addDomain(domid: number, socket: string): void {
    this.#server.addDomain(domid, socket);
  }

  [Symbol.dispose](): void {
    this.#server.close();
  }
}
