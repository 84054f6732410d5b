import { AgentError, command, type CommandModule, type Host, type Secret } from '../api/index.js';
import { chooseScheme } from '../accounts/hash-policy.js';
import { lastChangeDay, passwordHash, type PasswordFiles, setPasswordHash } from '../accounts/shadow.js';
import { decodeCiphertext, decryptPassword, type KeyExchange } from '../crypto/password.js';

export interface PasswordOptions {
  /** Makes a key exchange with a fresh private key. */
  readonly createExchange: () => KeyExchange;
  /** Whose password the host sets. */
  readonly user: string;
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
 * `keyinit` and `password`: the host agrees on a key, then sends the user's new password under it. The key is kept in
 * memory only, until a password was set with it, until the next key exchange, or until it is too old; a password that
 * failed may be sent again.
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
        run(peerPublicKey) {
          const exchange = options.createExchange();
          key.hold(exchange.sharedSecret(peerPublicKey));
          return Promise.resolve({ returncode: 'D0', message: exchange.publicKey });
        },
      }),
      command({
        name: 'password',
        lane: 'serial',
        parse: parseCiphertext,
        async run(ciphertext, { log }) {
          const shared = key.get();
          if (shared === null) throw new AgentError('GW_KEY_MISSING');
          using password = await decryptPassword(ciphertext, shared);
          checkPassword(password);
          await setPassword(host, options.user, password, now());
          key.drop();
          log.info({ user: options.user }, 'password set');
          return '';
        },
      }),
    ],
  };
}

/** nova sends text, because old Windows agents took nothing else; other controllers send a number. */
function parsePublicKey(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'bigint' || Number.isSafeInteger(value)) return String(value);
  const got = typeof value === 'number' ? 'a number that JSON does not carry exactly' : describe(value);
  throw new AgentError('GW_ARGUMENT_INVALID', ['public key', 'a decimal number as text', got]);
}

function parseCiphertext(value: unknown): Buffer {
  if (typeof value !== 'string') throw new AgentError('GW_PASSWORD_UNDECODABLE');
  return decodeCiphertext(value);
}

function describe(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  return Array.isArray(value) ? 'a list' : typeof value;
}

/** Refuses what crypt(3) or a login prompt would cut off: the user could never type it. */
function checkPassword(password: Secret): void {
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

async function setPassword(host: Host, user: string, password: Secret, now: number): Promise<void> {
  const lock = await host.accounts.lock();
  try {
    await changeHash(host, user, password, now);
  } finally {
    await lock[Symbol.asyncDispose]();
  }
}

async function changeHash(host: Host, user: string, password: Secret, now: number): Promise<void> {
  const files = await readPasswordFiles(host);
  const scheme = chooseScheme({
    present: passwordHash(files, user),
    pam: await readAll(host, PAM_STACKS),
    loginDefs: await readAll(host, LOGIN_DEFS),
  });
  const hash = await host.accounts.hashPassword(password, scheme);
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

async function readPasswordFiles(host: Host): Promise<PasswordFiles> {
  const [passwd, shadow] = await Promise.all([host.files.read('/etc/passwd'), host.files.read('/etc/shadow')]);
  return { passwd: passwd?.toString('latin1') ?? null, shadow: shadow?.toString('latin1') ?? null };
}

async function readAll(host: Host, paths: readonly string[]): Promise<readonly string[]> {
  const texts = await Promise.all(paths.map((path) => host.files.readText(path)));
  return texts.filter((text) => text !== null);
}

/** The one shared key, for a limited time. */
class HeldKey {
  readonly #lifetime: number;
  readonly #now: () => number;
  #secret: Secret | null = null;
  #since = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(lifetime: number, now: () => number) {
    this.#lifetime = lifetime;
    this.#now = now;
  }

  hold(secret: Secret): void {
    this.drop();
    this.#secret = secret;
    this.#since = this.#now();
    this.#timer = setTimeout(() => {
      this.drop();
    }, this.#lifetime).unref();
  }

  get(): Secret | null {
    // Timers stand still while the machine is suspended; the clock does not.
    if (this.#now() - this.#since > this.#lifetime) this.drop();
    return this.#secret;
  }

  drop(): void {
    clearTimeout(this.#timer);
    this.#secret?.wipe();
    this.#secret = null;
  }
}
