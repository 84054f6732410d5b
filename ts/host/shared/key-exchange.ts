import { KeyExchange as NativeKeyExchange, SealedExchange as NativeSealedExchange } from '#binding';
import { AgentError, Secret } from '../../api/index.js';
import { codeOf } from '../../api/errors.js';
import { type KeyExchange } from '../../crypto/password.js';
import { type SealedExchange } from '../../crypto/sealed.js';

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
        const got = codeOf(cause) === 'DH_OUT_OF_RANGE' ? 'a number out of range' : 'something else';
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
        if (codeOf(cause) !== 'SEAL_BROKEN') throw cause;
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
    const code = codeOf(cause);
    if (code !== 'DH_BAD_LENGTH' && code !== 'DH_LOW_ORDER') throw cause;
    const got = code === 'DH_LOW_ORDER' ? 'a point of low order' : `${peerPublicKey.length} bytes`;
    throw new AgentError('GW_ARGUMENT_INVALID', ['public key', '32 bytes of X25519', got], { cause });
  }
}
