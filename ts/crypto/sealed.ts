import { AgentError, Secret } from '../api/index.js';
import { decodeCiphertext } from './password.js';

/** One run of the strong key exchange, as whoever holds the private key offers it. docs/protocol.md has the whole. */
export interface SealedExchange {
  /** 32 bytes, as RFC 7748 has them. */
  readonly publicKey: Buffer;
  /** The agent's side: makes the key for `open`. Throws AgentError GW_ARGUMENT_INVALID for a key that is none. */
  agreeAsAgent(hostPublicKey: Uint8Array): void;
  /** The host's side: makes the key for `seal`. */
  agreeAsHost(agentPublicKey: Uint8Array): void;
  /** The message that holds `text`. It erases the key: one key serves one message. */
  seal(text: Secret): Buffer;
  /** The text of the message. It erases the key, too. Throws AgentError GW_PASSWORD_UNREADABLE. */
  open(message: Uint8Array): Secret;
  /** Erases whatever key is held. */
  erase(): void;
}

/** Stands before whatever is sent in this form: no decimal number and no base64 holds a colon. */
const PREFIX = 'x25519-v1:';
/** What any version of this form starts with. */
const FAMILY = /^x25519-[^:]*:/;
/** The text is filled up to a multiple of it, so that its length tells nothing of the password's. */
const FILL = 256;
const BLANK = 0x20;
/** JSON can hold half a character, UTF-8 cannot. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/** Bytes as they stand in a request or an answer. */
export function encodeSealed(bytes: Uint8Array): string {
  return PREFIX + Buffer.from(bytes).toString('base64');
}

/**
 * The bytes of a value in this form; null for a value in the other form. `what` says what the value is, in the error
 * GW_ARGUMENT_INVALID for another version and for what is not base64.
 */
export function decodeSealed(value: unknown, what: string): Buffer | null {
  if (typeof value !== 'string' || !FAMILY.test(value)) return null;
  const invalid = (got: string): AgentError =>
    new AgentError('GW_ARGUMENT_INVALID', [what, `${PREFIX} and base64`, got]);
  if (!value.startsWith(PREFIX)) throw invalid(`the unknown form ${value.slice(0, value.indexOf(':')).slice(0, 40)}`);
  try {
    return decodeCiphertext(value.slice(PREFIX.length));
  } catch (cause) {
    throw cause instanceof AgentError ? invalid('something else than base64') : cause;
  }
}

/** What the host asks for inside a sealed message. */
export interface PasswordRequest {
  /** null: the one that the agent is configured for. */
  readonly user: string | null;
  readonly password: Secret;
}

/** The text that the host seals. */
export function encodePasswordRequest({ user, password }: PasswordRequest): Secret {
  const members = { ...(user === null ? {} : { user }), password: password.reveal().toString('utf8') };
  const json = Buffer.from(JSON.stringify(members));
  const text = Buffer.alloc(Math.ceil(json.length / FILL) * FILL, BLANK);
  json.copy(text);
  json.fill(0);
  return new Secret(text);
}

/** The text that the host has sealed. Throws AgentError GW_PASSWORD_UNREADABLE, which never tells what was in it. */
export function decodePasswordRequest(text: Secret): PasswordRequest {
  // JSON.parse makes strings, which JavaScript cannot overwrite: they stay in the heap until it is collected.
  const value = parseJson(text.reveal());
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw unreadable('no JSON object is in it');
  const { user, password } = value as Record<string, unknown>;
  if (typeof password !== 'string' || LONE_SURROGATE.test(password)) throw unreadable('its password is no text');
  if (user !== undefined && user !== null && (typeof user !== 'string' || user === '')) {
    throw unreadable('its user is no name');
  }
  return { user: user ?? null, password: new Secret(Buffer.from(password)) };
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    // The parser's own message quotes the text.
    throw unreadable('no JSON object is in it');
  }
}

function unreadable(reason: string): AgentError {
  return new AgentError('GW_PASSWORD_UNREADABLE', [reason]);
}
