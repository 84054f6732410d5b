import { AgentError, command, type CommandModule, type Host, type Secret, kindOf } from '../api/index.js';
import { decodeCiphertext, decryptPassword, type KeyExchange } from '../crypto/password.js';
import {
  decodePasswordRequest,
  decodeSealed,
  encodeSealed,
  type PasswordRequest,
  type SealedExchange,
} from '../crypto/sealed.js';
import { passwordSet } from './password-set.js';

export interface PasswordOptions {
  /** Makes a key exchange with a fresh private key. */
  readonly createExchange: () => KeyExchange;
  /** The same in the strong form. */
  readonly createSealedExchange: () => SealedExchange;
  /** Whose password the host sets when it names nobody. */
  readonly user: string;
  /** Whom it may name besides. */
  readonly users: readonly string[];
  /** Whether an account that is locked gets a password, which unlocks it. */
  readonly unlock: 'always' | 'never';
  /** Whether the host may use the 107-bit group, which anyone who sees the exchange can break. */
  readonly weakExchange: boolean;
  /** Milliseconds that a shared key waits for its password. */
  readonly keyLifetimeMs: number;
  /** Milliseconds since 1970; for tests. */
  readonly now?: () => number;
}

/**
 * `keyinit` and `password`: the host agrees on a key, then sends a user's new password under it. The key is kept in
 * memory only, until a password was set with it, until the next key exchange, or until it is too old. A password that
 * failed may be sent again in nova's form; in the strong form a key serves one message, so it takes a new exchange.
 */
export function passwordCommands(host: Host, options: PasswordOptions): CommandModule {
  const now = options.now ?? Date.now;
  const key = new HeldKey(options.keyLifetimeMs, now);
  return {
    name: 'password',
    commands: [
      command({
        name: 'keyinit',
        // In turn with `password`, so that neither sees the other's key half way.
        lane: 'serial',
        parse: parsePublicKey,
        run(peer) {
          return { returncode: 'D0', message: exchangeKeys(peer, key, options) };
        },
      }),
      command({
        name: 'password',
        lane: 'serial',
        parse: parseMessage,
        async run(message, { log }) {
          const request = await readRequest(message, key);
          using password = request.password;
          const user = request.user ?? options.user;
          if (user !== options.user && !options.users.includes(user)) throw new AgentError('GW_USER_REFUSED', [user]);
          const obstacles = await host.accounts.setPassword(user, password, { unlock: options.unlock });
          key.drop();
          return passwordSet(log, user, obstacles);
        },
      }),
    ],
  };
}

/** What the host sends, by the form that it has chosen. */
type Sent<Weak> = { readonly form: 'weak'; readonly value: Weak } | { readonly form: 'sealed'; readonly value: Buffer };

/** The agent's public key for the host; holds what the two share. A key that is refused leaves what was held before. */
function exchangeKeys(peer: Sent<string>, key: HeldKey, options: PasswordOptions): string {
  if (peer.form === 'weak') {
    if (!options.weakExchange) throw new AgentError('GW_EXCHANGE_REFUSED');
    const exchange = options.createExchange();
    key.hold({ form: 'weak', shared: exchange.sharedSecret(peer.value) });
    return exchange.publicKey;
  }
  const exchange = options.createSealedExchange();
  exchange.agreeAsAgent(peer.value);
  key.hold({ form: 'sealed', exchange });
  return encodeSealed(exchange.publicKey);
}

async function readRequest(message: Sent<Buffer>, key: HeldKey): Promise<PasswordRequest> {
  const held = key.get();
  if (held?.form === 'weak' && message.form === 'weak') {
    return { user: null, password: await decryptPassword(message.value, held.shared) };
  }
  if (held?.form === 'sealed' && message.form === 'sealed') {
    try {
      using text = held.exchange.open(message.value);
      return decodePasswordRequest(text);
    } finally {
      // Used up, whatever came of it.
      key.drop();
    }
  }
  throw new AgentError('GW_KEY_MISSING');
}

/** nova sends text, because old Windows agents took nothing else; other controllers send a number. */
function parsePublicKey(value: unknown): Sent<string> {
  const sealed = decodeSealed(value, 'public key');
  if (sealed !== null) return { form: 'sealed', value: sealed };
  if (typeof value === 'string') return { form: 'weak', value };
  if (typeof value === 'bigint' || Number.isSafeInteger(value)) return { form: 'weak', value: String(value) };
  const got = typeof value === 'number' ? 'a number that JSON does not carry exactly' : kindOf(value);
  throw new AgentError('GW_ARGUMENT_INVALID', ['public key', 'a decimal number as text', got]);
}

function parseMessage(value: unknown): Sent<Buffer> {
  const sealed = decodeSealed(value, 'password');
  if (sealed !== null) return { form: 'sealed', value: sealed };
  if (typeof value !== 'string') throw new AgentError('GW_PASSWORD_UNDECODABLE');
  return { form: 'weak', value: decodeCiphertext(value) };
}

/** What the two sides share, in either form. */
type SharedKey =
  { readonly form: 'weak'; readonly shared: Secret } | { readonly form: 'sealed'; readonly exchange: SealedExchange };

/** The one shared key, for a limited time. */
class HeldKey {
  readonly #lifetime: number;
  readonly #now: () => number;
  #key: SharedKey | null = null;
  #since = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(lifetime: number, now: () => number) {
    this.#lifetime = lifetime;
    this.#now = now;
  }

  hold(key: SharedKey): void {
    this.drop();
    this.#key = key;
    this.#since = this.#now();
    this.#timer = setTimeout(() => {
      this.drop();
    }, this.#lifetime).unref();
  }

  get(): SharedKey | null {
    // Timers stand still while the machine is suspended; the clock does not.
    if (this.#now() - this.#since > this.#lifetime) this.drop();
    return this.#key;
  }

  drop(): void {
    clearTimeout(this.#timer);
    if (this.#key?.form === 'weak') this.#key.shared.wipe();
    else this.#key?.exchange.erase();
    this.#key = null;
  }
}
