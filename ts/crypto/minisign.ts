/**
 * Signatures in the format of minisign: Ed25519 over the file (`Ed`) or over its BLAKE2b-512 (`ED`), and a second one over
 * the first and the trusted comment. https://jedisct1.github.io/minisign/ has the format.
 */
import { Ed25519Key, digest } from '../host/shared/runtime/digest.js';

const KEY_ID_BYTES = 8;
const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const TRUSTED = 'trusted comment: ';

export interface PublicKey {
  readonly id: Buffer;
  readonly key: Ed25519Key;
}

interface Signature {
  readonly prehashed: boolean;
  readonly keyId: Buffer;
  readonly signature: Buffer;
  readonly trustedComment: string;
  readonly globalSignature: Buffer;
}

/** The line of base64 in a `.pub` file, or null when it is none. */
export function parsePublicKey(text: string): PublicKey | null {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length !== 2 + KEY_ID_BYTES + KEY_BYTES || bytes.toString('latin1', 0, 2) !== 'Ed') return null;
  const [id, key] = [bytes.subarray(2, 2 + KEY_ID_BYTES), bytes.subarray(2 + KEY_ID_BYTES)];
  return { id, key: new Ed25519Key(key) };
}

/** Whether `signature`, the text of a `.minisig` file, is one of `keys`' over `content`; if not, why. */
export function checkSignature(
  content: Uint8Array,
  signature: string,
  keys: readonly PublicKey[],
): { readonly trusted: true } | { readonly trusted: false; readonly why: string } {
  const parsed = parseSignature(signature);
  if (parsed === null) return { trusted: false, why: 'its signature is not in the form of minisign' };
  const { prehashed, keyId, signature: first, trustedComment, globalSignature } = parsed;
  const signer = keys.find(({ id }) => id.equals(keyId));
  // minisign prints a key's id as a little-endian number.
  if (signer === undefined) {
    const id = Buffer.from(keyId).reverse().toString('hex').toUpperCase();
    return { trusted: false, why: `it is signed with the key ${id}, which is not among update.keys` };
  }
  const signed = prehashed ? digest('blake2b512', content) : content;
  if (!signer.key.verify(signed, first)) return { trusted: false, why: 'its signature is wrong' };
  const commented = Buffer.concat([first, Buffer.from(trustedComment)]);
  return signer.key.verify(commented, globalSignature)
    ? { trusted: true }
    : { trusted: false, why: 'the signature of its trusted comment is wrong' };
}

function parseSignature(text: string): Signature | null {
  const [, first = '', comment = '', second = ''] = text.split('\n').map((line) => line.replace(/\r$/, ''));
  const bytes = Buffer.from(first, 'base64');
  const globalSignature = Buffer.from(second, 'base64');
  const algorithm = bytes.toString('latin1', 0, 2);
  if (
    bytes.length !== 2 + KEY_ID_BYTES + SIGNATURE_BYTES ||
    (algorithm !== 'Ed' && algorithm !== 'ED') ||
    !comment.startsWith(TRUSTED) ||
    globalSignature.length !== SIGNATURE_BYTES
  ) {
    return null;
  }
  return {
    prehashed: algorithm === 'ED',
    keyId: bytes.subarray(2, 2 + KEY_ID_BYTES),
    signature: bytes.subarray(2 + KEY_ID_BYTES),
    trustedComment: comment.slice(TRUSTED.length),
    globalSignature,
  };
}
