import {
  FileLock,
  hashPassword,
  KeyExchange as NativeKeyExchange,
  SealedExchange as NativeSealedExchange,
} from '#binding';
import { type Accounts, AgentError, Secret } from '../api/index.js';
import { type KeyExchange } from '../crypto/password.js';
import { type SealedExchange } from '../crypto/sealed.js';
import { errorCode, resolveInRoot } from './root-path.js';

/** The file that lckpwdf(3) locks. */
const LOCK = '/etc/.pwd.lock';
/** How long lckpwdf(3) waits, too. Milliseconds. */
const LOCK_TIMEOUT = 15_000;

/** The accounts of the system below `root`. */
export function createAccounts(root: string): Accounts {
  return {
    async hashPassword(password, scheme) {
      try {
        return await hashPassword(password.reveal(), scheme);
      } catch (cause) {
        throw new AgentError('GW_INTERNAL', [`the password could not be hashed with ${scheme}`], { cause });
      }
    },

    async lock() {
      try {
        const { real } = await resolveInRoot(root, LOCK, 'follow');
        const lock = await FileLock.acquire(real, LOCK_TIMEOUT);
        return {
          [Symbol.asyncDispose]: () => {
            lock.release();
            return Promise.resolve();
          },
        };
      } catch (cause) {
        const busy = errorCode(cause) === 'LOCK_TIMEOUT';
        const reason = busy
          ? 'another program has held it for 15 s'
          : cause instanceof Error
            ? cause.message
            : String(cause);
        throw new AgentError('GW_FILE_FAILED', [LOCK, reason], { cause });
      }
    },
  };
}

/** Digits of the largest secret there is. */
const SECRET_BYTES = 33;

/** A key exchange with a fresh private key, which stays inside the addon and is erased once it has served. */
export function createKeyExchange(): KeyExchange {
  const native = new NativeKeyExchange();
  return {
    publicKey: native.begin(),
    sharedSecret(peerPublicKey) {
      const bytes = Buffer.alloc(SECRET_BYTES);
      try {
        return new Secret(bytes.subarray(0, native.finish(peerPublicKey, bytes)));
      } catch (cause) {
        const wanted = 'a decimal number between 2 and p-2';
        const got = errorCode(cause) === 'DH_OUT_OF_RANGE' ? 'a number out of range' : 'something else';
        throw new AgentError('GW_ARGUMENT_INVALID', ['public key', wanted, got], { cause });
      }
    },
  };
}

/** A strong key exchange with a fresh private key; that key and the message key stay inside the addon. */
export function createSealedExchange(): SealedExchange {
  const native = new NativeSealedExchange();
  const publicKey = native.begin();
  return {
    publicKey,
    agreeAsAgent(hostPublicKey) {
      agree(hostPublicKey, () => {
        native.agreeAsAgent(hostPublicKey);
      });
    },
    agreeAsHost(agentPublicKey) {
      agree(agentPublicKey, () => {
        native.agreeAsHost(agentPublicKey);
      });
    },
    seal: (text) => native.seal(text.reveal()),
    open(message) {
      const bytes = Buffer.alloc(message.length);
      try {
        return new Secret(bytes.subarray(0, native.open(message, bytes)));
      } catch (cause) {
        if (errorCode(cause) !== 'SEAL_BROKEN') throw cause;
        throw new AgentError('GW_PASSWORD_UNREADABLE', ['sealed with another key, or changed on the way'], { cause });
      }
    },
    erase() {
      native.erase();
    },
  };
}

function agree(peerPublicKey: Uint8Array, work: () => void): void {
  try {
    work();
  } catch (cause) {
    const code = errorCode(cause);
    if (code !== 'DH_BAD_LENGTH' && code !== 'DH_LOW_ORDER') throw cause;
    const got = code === 'DH_LOW_ORDER' ? 'a point of low order' : `${peerPublicKey.length} bytes`;
    throw new AgentError('GW_ARGUMENT_INVALID', ['public key', '32 bytes of X25519', got], { cause });
  }
}
