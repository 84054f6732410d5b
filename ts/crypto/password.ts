import type forge from 'node-forge';
import { AgentError, Secret } from '../api/index.js';

/** One run of the key exchange, as whoever holds the private key offers it. */
export interface KeyExchange {
  /** Decimal text. */
  readonly publicKey: string;
  /**
   * The shared number as decimal text; to be asked for once. Throws AgentError GW_ARGUMENT_INVALID for a key the peer
   * cannot have meant.
   */
  sharedSecret(peerPublicKey: string): Secret;
}

/**
 * The digest that `openssl enc -pass` makes its key with when it is given no `-md`: MD5 before OpenSSL 1.1.0, SHA-256
 * since. The host does not say which one it has.
 */
export type KeyDigest = 'md5' | 'sha256';

const DIGESTS: readonly KeyDigest[] = ['md5', 'sha256'];
const BLOCK = 16;
const NEWLINE = 0x0a;

/** Ciphertext from base64; line breaks and blanks are skipped. Throws AgentError GW_PASSWORD_UNDECODABLE. */
export function decodeCiphertext(base64: string): Buffer {
  const text = base64.replace(/[ \t\r\n]/g, '');
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw new AgentError('GW_PASSWORD_UNDECODABLE');
  return Buffer.from(text, 'base64');
}

/**
 * Undoes `openssl aes-128-cbc -nosalt -pass pass:SHARED`, made with either digest, and takes off the line break that
 * the host puts behind the password.
 *
 * Nothing in the message tells the digest: the right one is that with whole PKCS#7 padding and UTF-8 inside, and when
 * both have that, the one that ends in a line break. Throws AgentError GW_PASSWORD_UNREADABLE.
 */
export async function decryptPassword(ciphertext: Uint8Array, shared: Secret): Promise<Secret> {
  if (ciphertext.length === 0 || ciphertext.length % BLOCK !== 0) {
    throw new AgentError('GW_PASSWORD_UNREADABLE', [`expected blocks of 16 bytes, got ${ciphertext.length} bytes`]);
  }
  const readable: Secret[] = [];
  for (const digest of DIGESTS) {
    using padded = await decrypt(ciphertext, shared, digest);
    const text = unpad(padded.reveal());
    if (text !== null && isUtf8(text)) readable.push(new Secret(Buffer.from(text)));
  }
  try {
    const ended = readable.filter((secret) => secret.reveal().at(-1) === NEWLINE);
    const candidates = ended.length > 0 ? ended : readable;
    const [chosen] = candidates;
    if (chosen === undefined) throw new AgentError('GW_PASSWORD_UNREADABLE', ['neither an MD5 nor a SHA-256 key fits']);
    // One chance in a hundred million; a new key exchange makes another message.
    if (candidates.length > 1)
      throw new AgentError('GW_PASSWORD_UNREADABLE', ['both keys fit; send it with a new key']);
    return new Secret(Buffer.from(withoutLineBreaks(chosen.reveal())));
  } finally {
    for (const secret of readable) secret.wipe();
  }
}

/** What the host does: encrypts the password and a line break behind it. One line of base64. */
export async function encryptPassword(plain: Secret, shared: Secret, digest: KeyDigest): Promise<string> {
  const forge = await loadForge();
  const { key, iv } = await deriveKey(shared, digest);
  const cipher = forge.cipher.createCipher('AES-CBC', key);
  cipher.start({ iv });
  cipher.update(forge.util.createBuffer(`${plain.reveal().toString('latin1')}\n`));
  cipher.finish();
  return Buffer.from(cipher.output.getBytes(), 'latin1').toString('base64');
}

/** Loaded when first needed: it is large, and most starts of the agent never see a password. */
async function loadForge(): Promise<typeof forge> {
  return (await import('node-forge')).default;
}

// node-forge works on strings, which JavaScript cannot overwrite: copies of key and text stay in the heap until it is
// collected. What is ours is wiped.

async function decrypt(ciphertext: Uint8Array, shared: Secret, digest: KeyDigest): Promise<Secret> {
  const forge = await loadForge();
  const { key, iv } = await deriveKey(shared, digest);
  const decipher = forge.cipher.createDecipher('AES-CBC', key);
  decipher.start({ iv });
  // Never finished: `finish` would take the padding off after a look at its last byte alone.
  decipher.update(forge.util.createBuffer(Buffer.from(ciphertext).toString('latin1')));
  return new Secret(Buffer.from(decipher.output.getBytes(), 'latin1'));
}

/** OpenSSL's EVP_BytesToKey without salt, count 1: digest after digest, each of the one before and the password. */
async function deriveKey(shared: Secret, digest: KeyDigest): Promise<{ key: string; iv: string }> {
  const forge = await loadForge();
  const password = shared.reveal().toString('latin1');
  let bytes = '';
  for (let last = ''; bytes.length < 2 * BLOCK; bytes += last) {
    last = forge.md[digest]
      .create()
      .update(last + password)
      .digest()
      .getBytes();
  }
  return { key: bytes.slice(0, BLOCK), iv: bytes.slice(BLOCK, 2 * BLOCK) };
}

/** The text before PKCS#7 padding, or null where the padding is not whole. */
function unpad(padded: Buffer): Buffer | null {
  const length = padded.at(-1) ?? 0;
  if (length < 1 || length > BLOCK) return null;
  const text = padded.subarray(0, -length);
  return padded.subarray(-length).every((byte) => byte === length) ? text : null;
}

function isUtf8(bytes: Buffer): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

/** Old agents took line breaks off both ends, so hosts may rely on it. */
function withoutLineBreaks(bytes: Buffer): Buffer {
  let start = 0;
  let end = bytes.length;
  while (start < end && bytes[start] === NEWLINE) start++;
  while (end > start && bytes[end - 1] === NEWLINE) end--;
  return bytes.subarray(start, end);
}
