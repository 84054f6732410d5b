/**
 * The host's side of the wire: writes requests byte for byte as nova's XenAPI driver and its dom0 plugin do, and waits
 * for the answers. `guestwire call`, the demo and the tests speak through it.
 */
import type { Secret } from '../api/secret.js';
import { type KeyDigest, encryptPassword } from '../crypto/password.js';
import { SEALED_FEATURE } from '../crypto/forms.js';
import { decodeSealed, encodePasswordRequest, encodeSealed } from '../crypto/sealed.js';
import { createKeyExchange, createSealedExchange } from '../host/shared/key-exchange.js';
import { type StoreConnection, openStore } from '../host/shared/store.js';
import { randomUUID } from '../host/shared/runtime/digest.js';

/** nova's `agent_timeout`. */
const DEFAULT_TIMEOUT_MS = 30_000;
/** The plugin's own pace; here it only covers for a lost event. */
const POLL_MS = 500;

export interface Answer {
  readonly returncode: string;
  readonly message: string;
  /** From before the request was written until the answer was read, milliseconds. */
  readonly elapsedMs: number;
  /** The answer exactly as it stood in the store. */
  readonly raw: string;
}

export interface ControllerOptions {
  /** Socket of the store, as dom0 sees it. */
  readonly endpoint: string | null;
  readonly domain: number;
}

export interface RequestOptions {
  /** 30 s when absent. */
  readonly timeoutMs?: number;
  /** A fresh UUID when absent. */
  readonly id?: string;
}

/** X25519, or the 107-bit group that nova uses. */
export type ExchangeForm = 'strong' | 'weak';

export interface PasswordOptions extends RequestOptions {
  readonly exchange?: ExchangeForm;
  /** Of the host's openssl, in the weak form, which it chooses; SHA-256 when absent. */
  readonly digest?: KeyDigest;
  /** Whose password; the one that the agent is configured for when absent. */
  readonly user?: string;
}

export interface PasswordAnswers {
  readonly keyinit: Answer;
  /** null when the key exchange failed. */
  readonly password: Answer | null;
}

/** No answer came; the request was removed, as the dom0 plugin does. */
export class AnswerTimeout extends Error {
  override readonly name = 'AnswerTimeout';
}

/** Remembers a wake that comes while nobody waits: an event may arrive while the node is being read. */
class Wakeup {
  #woken = false;
  #resolve: () => void = () => undefined;

  wake(): void {
    this.#woken = true;
    this.#resolve();
  }

  async wait(milliseconds: number): Promise<void> {
    if (!this.#woken) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, milliseconds);
        this.#resolve = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#woken = false;
  }
}

export class Controller implements Disposable {
  readonly #store: StoreConnection;
  readonly #waiting = new Map<string, () => void>();
  #lost: string | null = null;

  private constructor({ endpoint, domain }: ControllerOptions) {
    this.#store = openStore({ endpoint, domain, poll: 'loop' }, (reason) => {
      this.#lost = reason;
      for (const wake of this.#waiting.values()) wake();
    });
  }

  /** Connects and watches for answers. */
  static async open(options: ControllerOptions): Promise<Controller> {
    const controller = new Controller(options);
    await controller.#store.watch('data/guest', (path) => {
      controller.#waiting.get(path.slice('data/guest/'.length))?.();
    });
    return controller;
  }

  /** Sends a request and waits for its answer. Throws {@link AnswerTimeout}. */
  async request(name: string, value: unknown, options: RequestOptions = {}): Promise<Answer> {
    return this.send(pythonJson({ name, value }), options);
  }

  /** As `request`, with any bytes at all. */
  async send(body: string | Uint8Array, options: RequestOptions = {}): Promise<Answer> {
    const { timeoutMs = DEFAULT_TIMEOUT_MS, id = randomUUID() } = options;
    const started = performance.now();
    const answer = new Wakeup();
    this.#waiting.set(id, () => {
      answer.wake();
    });
    try {
      await this.#store.write(`data/host/${id}`, body);
      for (;;) {
        const raw = await this.#store.read(`data/guest/${id}`);
        if (raw !== null) return { ...parseAnswer(raw), elapsedMs: performance.now() - started, raw: raw.toString() };
        if (this.#lost !== null) throw new Error(`connection to XenStore lost: ${this.#lost}`);
        const left = timeoutMs - (performance.now() - started);
        if (left <= 0) {
          await this.#store.remove(`data/host/${id}`);
          throw new AnswerTimeout(`no answer within ${timeoutMs / 1000} s; the request was withdrawn`);
        }
        await answer.wait(Math.min(left, POLL_MS));
      }
    } finally {
      this.#waiting.delete(id);
    }
  }

  /**
   * A key exchange, then the password under its key. Without a form it is the strong one where the agent's features
   * tell it, else nova's. A user can be named in the strong form alone.
   */
  async setPassword(password: Secret, options: PasswordOptions = {}): Promise<PasswordAnswers> {
    const { exchange, digest, user, ...rest } = options;
    const strong =
      exchange === undefined ? digest === undefined && (await this.#knowsSealed(rest)) : exchange === 'strong';
    if (strong) return this.#sealPassword(password, user ?? null, rest);
    if (user !== undefined) throw new Error('the agent does not know the strong key exchange: no user can be named');
    return this.#encryptPassword(password, digest ?? 'sha256', rest);
  }

  async #knowsSealed(options: RequestOptions): Promise<boolean> {
    const features = await this.request('features', '', options);
    return isSuccess('features', features) && features.message.split(',').includes(SEALED_FEATURE);
  }

  async #sealPassword(password: Secret, user: string | null, options: RequestOptions): Promise<PasswordAnswers> {
    const exchange = createSealedExchange();
    try {
      const keyinit = await this.request('keyinit', encodeSealed(exchange.publicKey), options);
      if (!isSuccess('keyinit', keyinit)) return { keyinit, password: null };
      const agentKey = decodeSealed(keyinit.message, 'public key');
      if (agentKey === null) throw new Error(`keyinit: no public key of the strong form: ${keyinit.message}`);
      exchange.agreeAsHost(agentKey);
      using text = encodePasswordRequest({ user, password });
      const sealed = encodeSealed(exchange.seal(text));
      return { keyinit, password: await this.request('password', sealed, options) };
    } finally {
      exchange.erase();
    }
  }

  /** As `openssl aes-128-cbc` of the host's version does it. */
  async #encryptPassword(password: Secret, digest: KeyDigest, options: RequestOptions): Promise<PasswordAnswers> {
    const exchange = createKeyExchange();
    const keyinit = await this.request('keyinit', exchange.publicKey, options);
    if (!isSuccess('keyinit', keyinit)) return { keyinit, password: null };
    using shared = exchange.sharedSecret(keyinit.message);
    const encrypted = await encryptPassword(password, shared, digest);
    return { keyinit, password: await this.request('password', encrypted, options) };
  }

  [Symbol.dispose](): void {
    this.#store[Symbol.dispose]();
  }
}

/** What nova takes for success: it compares text. */
export function isSuccess(name: string, answer: { readonly returncode: string }): boolean {
  return answer.returncode === (name === 'keyinit' ? 'D0' : '0');
}

function parseAnswer(raw: Buffer): { returncode: string; message: string } {
  const value: unknown = JSON.parse(raw.toString('utf8'));
  const { returncode, message } = (value ?? {}) as Record<string, unknown>;
  if (typeof returncode !== 'string' || typeof message !== 'string') {
    throw new Error(`answer is not what nova reads: wanted text as returncode and message, got ${raw.toString()}`);
  }
  return { returncode, message };
}

/** JSON as Python's `json.dumps` writes it: a blank after `,` and `:`, and ASCII alone. */
export function pythonJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(pythonJson).join(', ')}]`;
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).map(([key, member]) => `${pythonJson(key)}: ${pythonJson(member)}`);
    return `{${members.join(', ')}}`;
  }
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
