import { AgentError, command, type CommandModule, type Host, type Secret } from '../api/index.js';
import { chooseScheme } from '../accounts/hash-policy.js';
import { isLocked, lastChangeDay, passwordHash, type PasswordFiles, setPasswordHash } from '../accounts/shadow.js';
import { decodeCiphertext, decryptPassword, type KeyExchange } from '../crypto/password.js';
import {
  decodePasswordRequest,
  decodeSealed,
  encodeSealed,
  type PasswordRequest,
  type SealedExchange,
} from '../crypto/sealed.js';
import { describe } from './describe.js';

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

/** In the order in which their say counts: Debian and SUSE, Red Hat, Arch. */
const PAM_STACKS = ['/etc/pam.d/common-password', '/etc/pam.d/password-auth', '/etc/pam.d/system-auth'];
const LOGIN_DEFS = ['/etc/login.defs', '/usr/etc/login.defs'];
/** libxcrypt takes no more. */
const MAX_PASSWORD_BYTES = 511;

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
          return Promise.resolve({ returncode: 'D0', message: exchangeKeys(peer, key, options) });
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
          checkPassword(password);
          await setPassword(host, { user, unlock: options.unlock, password, now: now() });
          key.drop();
          log.info({ user }, 'password set');
          return '';
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
  const got = typeof value === 'number' ? 'a number that JSON does not carry exactly' : describe(value);
  throw new AgentError('GW_ARGUMENT_INVALID', ['public key', 'a decimal number as text', got]);
}

function parseMessage(value: unknown): Sent<Buffer> {
  const sealed = decodeSealed(value, 'password');
  if (sealed !== null) return { form: 'sealed', value: sealed };
  if (typeof value !== 'string') throw new AgentError('GW_PASSWORD_UNDECODABLE');
  return { form: 'weak', value: decodeCiphertext(value) };
}

/** Refuses what crypt(3) or a login prompt would cut off: the user could never type it. */
export function checkPassword(password: Secret): void {
  const bytes = password.reveal();
  const wanted = `text of at most ${MAX_PASSWORD_BYTES} bytes in one line`;
  if (bytes.length === 0) throw new AgentError('GW_PASSWORD_EMPTY');
  if (bytes.length > MAX_PASSWORD_BYTES) {
    throw new AgentError('GW_ARGUMENT_INVALID', ['password', wanted, `${bytes.length} bytes`]);
  }
  if (bytes.includes('\n') || bytes.includes(0)) {
    throw new AgentError('GW_ARGUMENT_INVALID', ['password', wanted, 'a line break or a NUL inside']);
  }
}

export interface NewPassword {
  readonly user: string;
  readonly unlock: 'always' | 'never';
  readonly password: Secret;
  /** The password is a hash for crypt(3) already. */
  readonly crypted?: boolean;
  readonly now: number;
}

export async function setPassword(host: Host, wanted: NewPassword): Promise<void> {
  const lock = await host.accounts.lock();
  try {
    await changeHash(host, wanted);
  } finally {
    await lock[Symbol.asyncDispose]();
  }
}

async function changeHash(host: Host, wanted: NewPassword): Promise<void> {
  const { user, unlock, password, crypted = false, now } = wanted;
  const files = await readPasswordFiles(host);
  const present = passwordHash(files, user);
  if (unlock === 'never' && present !== null && isLocked(present)) throw new AgentError('GW_ACCOUNT_LOCKED', [user]);
  const hash = crypted ? password.reveal().toString('latin1') : await hashAsConfigured(host, password, present);
  const edits = setPasswordHash(files, user, hash, lastChangeDay(now));
  const commit = await host.files.commit(
    // The files are there, so they keep their own mode.
    edits.map(({ path, text }) => ({ type: 'write', path, content: Buffer.from(text, 'latin1'), mode: 0o600 })),
  );
  try {
    if (passwordHash(await readPasswordFiles(host), user) !== hash) {
      throw new AgentError('GW_FILE_FAILED', [edits[0]?.path ?? '', 'it does not hold the new hash; it was put back']);
    }
    await commit.confirm();
  } finally {
    // Does nothing once the change is confirmed.
    await commit.rollback();
  }
}

async function hashAsConfigured(host: Host, password: Secret, present: string | null): Promise<string> {
  const scheme = chooseScheme({
    present,
    pam: await readAll(host, PAM_STACKS),
    loginDefs: await readAll(host, LOGIN_DEFS),
  });
  return host.accounts.hashPassword(password, scheme);
}

async function readPasswordFiles(host: Host): Promise<PasswordFiles> {
  const [passwd, shadow] = await Promise.all([host.files.read('/etc/passwd'), host.files.read('/etc/shadow')]);
  return { passwd: passwd?.toString('latin1') ?? null, shadow: shadow?.toString('latin1') ?? null };
}

async function readAll(host: Host, paths: readonly string[]): Promise<readonly string[]> {
  const texts = await Promise.all(paths.map((path) => host.files.readText(path)));
  return texts.filter((text) => text !== null);
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
