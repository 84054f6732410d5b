/** Digests, and the check of a signature: what Node has of cryptography that every runtime can offer. */
import { type KeyObject, createHash, createPublicKey, verify } from 'node:crypto';

export type Digest = 'sha256' | 'blake2b512';

export function digest(algorithm: Digest, content: Uint8Array): Buffer {
  return createHash(algorithm).update(content).digest();
}

/** What stands before the 32 bytes of an Ed25519 key in its SubjectPublicKeyInfo (RFC 8410). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** A public key of Ed25519. */
export class Ed25519Key {
  readonly #key: KeyObject;

  /** Throws an Error where `bytes` are not 32. */
  constructor(bytes: Uint8Array) {
    this.#key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, bytes]), format: 'der', type: 'spki' });
  }

  /** Whether `signature`, 64 bytes, is this key's over `content`. */
  verify(content: Uint8Array, signature: Uint8Array): boolean {
    return verify(null, content, this.#key, signature);
  }
}

/** A random UUID of version 4. */
export { randomUUID } from 'node:crypto';
