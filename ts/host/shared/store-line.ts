/** The guest's one connection to XenStore, for all that use it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import {
  type LineUser,
  type StoreConnection,
  type StoreLine,
  type Wait,
  isConnectionLoss,
} from '../../api/endpoints.js';
import { AgentError, codeOf, messageOf } from '../../api/errors.js';
import type { Store } from '../../api/host.js';
import { Repeated } from '../../api/repeated.js';
import { type StoreOptions, openExpectedStore, storeBy } from './store.js';

const BACK_OFF_MS = { first: 50, last: 5000 } as const;
/** A connection that lasted so long was a good one: what follows it is tried at once. Milliseconds. */
const LASTING_MS = 5000;
/** An operation that loses the connection so often is itself the reason. */
const ATTEMPTS = 10;
/** How long a command waits for a store that is away, milliseconds: longer than its restart takes. */
const PATIENCE_MS = 15_000;
/**
 * A new domain has new ones: the toolstack's own word for it, which xl does not write, and the domain's number. Both may
 * stay through a resume in place, which loses nothing.
 */
const IDENTITY = ['unique-domain-id', 'domid'] as const;

export interface StoreLineOptions {
  /** Throws an error whose `code` is XS_NO_ENDPOINT where the machine has no store. */
  readonly open: (onClose: (reason: string) => void) => StoreConnection;
  readonly log: Logger;
}

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** See {@link StoreLine}. Disposing of it hangs up, and fails what still waits. */
export class SharedStoreLine implements StoreLine, Disposable {
  readonly #options: StoreLineOptions;
  readonly #users = new Set<LineUser>();
  readonly #closing = new AbortController();
  /** Those whose first connection is still to be prepared. */
  readonly #joining = new Map<LineUser, Waiter>();
  readonly #away: Repeated;
  readonly #refused: Repeated;
  readonly #waiting = new Set<Waiter>();
  /** Whom the store refuses what they want of the connection that there is. */
  readonly #unprepared = new Set<LineUser>();
  #connection: StoreConnection | null = null;
  /** The one that is being prepared. */
  #opening: StoreConnection | null = null;
  /** When the connection came into use. */
  #since = Number.NEGATIVE_INFINITY;
  /** Before the next try, milliseconds. */
  #delay = 0;
  #connecting = false;
  /** There was a connection: the machine has a store, wherever it is now. */
  #wasThere = false;

  constructor(options: StoreLineOptions) {
    this.#options = options;
    this.#away = new Repeated({
      log: options.log,
      level: 'warn',
      message: 'XenStore cannot be reached',
      ending: 'XenStore connection re-established',
    });
    this.#refused = new Repeated({
      log: options.log,
      level: 'error',
      message: 'XenStore refuses a watch or a read; the agent keeps trying',
      ending: 'XenStore accepts watches and reads again',
    });
  }

  run<T>(operation: (connection: StoreConnection) => Promise<T>, wait?: Wait): Promise<T> {
    return this.#attempt(operation, wait, 1);
  }

  async join(user: LineUser, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    const leave = (): void => {
      this.#users.delete(user);
      this.#joining.delete(user);
      this.#unprepared.delete(user);
    };
    this.#users.add(user);
    let stop = (): void => undefined;
    const ready = new Promise<void>((resolve, reject) => {
      const earlier = this.#joining.get(user);
      this.#joining.set(user, {
        resolve: () => {
          earlier?.resolve();
          resolve();
        },
        reject: (error) => {
          earlier?.reject(error);
          reject(error);
        },
      });
      stop = () => {
        leave();
        reject(signal.reason as Error);
      };
    });
    // A user leaves by its signal, however long after.
    signal.addEventListener('abort', stop, { once: true });
    try {
      const connection = this.#connection;
      if (connection === null) await Promise.race([this.#next({ signal }), ready]);
      else void this.#introduce(user, connection);
      await ready;
    } catch (error) {
      ready.catch(() => undefined);
      signal.removeEventListener('abort', stop);
      leave();
      throw error;
    }
  }

  async onNewDomain(callback: () => void, signal: AbortSignal): Promise<void> {
    let known = null as string | null;
    const look = async (connection: StoreConnection): Promise<void> => {
      const nodes = await Promise.all(IDENTITY.map((path) => connection.read(path)));
      const now = nodes.map((node) => (node === null ? '' : Buffer.from(node).toString('latin1'))).join('\0');
      const isNew = known !== null && known !== now;
      known = now;
      if (isNew && !signal.aborted) callback();
    };
    const prepare = async (connection: StoreConnection): Promise<void> => {
      const again = (): void => {
        // A connection that is lost meanwhile has a next one, which looks by itself.
        look(connection).catch(() => undefined);
      };
      for (const path of IDENTITY) await connection.watchValues(path, again);
      await look(connection);
    };
    await this.join({ prepare }, signal);
  }

  [Symbol.dispose](): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(new Error('the line to XenStore is closed'));
    for (const repeated of [this.#away, this.#refused]) repeated[Symbol.dispose]();
    this.#connection?.[Symbol.dispose]();
    this.#connection = null;
    this.#opening?.[Symbol.dispose]();
    const closed = this.#closing.signal.reason as Error;
    this.#settle(({ reject }) => {
      reject(closed);
    });
    for (const { reject } of [...this.#joining.values()]) reject(closed);
  }

  /** Not an async function: an answer is behind this one. */
  #attempt<T>(
    operation: (connection: StoreConnection) => Promise<T>,
    wait: Wait | undefined,
    attempt: number,
  ): Promise<T> {
    const connection = this.#connection;
    if (connection === null) return this.#next(wait).then(() => this.#attempt(operation, wait, attempt));
    return operation(connection).catch((error: unknown) => {
      const isOver = wait?.signal?.aborted === true || this.#closing.signal.aborted;
      if (!isConnectionLoss(error) || attempt === ATTEMPTS || isOver) throw error;
      this.#lose(connection, codeOf(error) ?? 'unknown');
      return this.#attempt(operation, wait, attempt + 1);
    });
  }

  /** Resolves with the next connection. */
  #next({ signal, patience }: Wait = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#closing.signal.throwIfAborted();
      signal?.throwIfAborted();
      if (this.#connection !== null) {
        resolve();
        return;
      }
      const settled = (): void => {
        this.#waiting.delete(waiter);
        clearTimeout(timer);
        signal?.removeEventListener('abort', stop);
      };
      const waiter: Waiter = {
        resolve: () => {
          settled();
          resolve();
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      };
      const stop = (): void => {
        waiter.reject(signal?.reason as Error);
      };
      const timer =
        patience === undefined
          ? undefined
          : setTimeout(() => {
              waiter.reject(new AgentError('GW_STORE_AWAY', [`${patience / 1000} s`]));
            }, patience);
      signal?.addEventListener('abort', stop, { once: true });
      this.#waiting.add(waiter);
      this.#connect();
    });
  }

  #settle(settle: (waiter: Waiter) => void): void {
    for (const waiter of [...this.#waiting]) settle(waiter);
  }

  #connect(): void {
    if (this.#connecting || this.#connection !== null) return;
    this.#connecting = true;
    void this.#open()
      .catch((error: unknown) => {
        this.#settle(({ reject }) => {
          reject(error as Error);
        });
      })
      .finally(() => {
        this.#connecting = false;
        // What came while the last try failed, and a connection that was lost at once.
        if (this.#connection === null && this.#isWanted()) this.#connect();
      });
  }

  #isWanted(): boolean {
    return !this.#closing.signal.aborted && (this.#waiting.size > 0 || (this.#wasThere && this.#users.size > 0));
  }

  async #open(): Promise<void> {
    const { signal } = this.#closing;
    for (;;) {
      if (this.#delay > 0) await pause(this.#delay, signal);
      try {
        const opened = this.#options.open((reason) => {
          this.#lose(opened, reason);
        });
        this.#opening = opened;
        const unprepared = new Set<LineUser>();
        // Also those that join meanwhile.
        for (const user of this.#users) if (!(await this.#prepare(user, opened))) unprepared.add(user);
        signal.throwIfAborted();
        this.#away.over();
        this.#wasThere = true;
        this.#connection = opened;
        this.#opening = null;
        this.#since = performance.now();
        this.#settle(({ resolve }) => {
          resolve();
        });
        for (const user of this.#users) {
          if (unprepared.has(user)) void this.#introduce(user, opened, BACK_OFF_MS.first);
          else this.#ready(user);
        }
        return;
      } catch (error) {
        this.#opening?.[Symbol.dispose]();
        this.#opening = null;
        if (signal.aborted || (!this.#wasThere && isAbsence(error))) throw error;
        this.#away.tell(messageOf(error));
      }
      // Whoever comes next tries again, at once.
      this.#delay = this.#isWanted() ? nextDelay(this.#delay) : 0;
      if (this.#delay === 0) return;
    }
  }

  /** Prepares a connection that others use already, as often as it takes. */
  async #introduce(user: LineUser, connection: StoreConnection, wait = 0): Promise<void> {
    try {
      for (let delay = wait; ; delay = nextDelay(delay)) {
        if (delay > 0) await pause(delay, this.#closing.signal);
        if (this.#connection !== connection || !this.#users.has(user)) return;
        if (await this.#prepare(user, connection)) break;
      }
      if (this.#connection === connection && this.#users.has(user)) this.#ready(user);
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#lose(connection, messageOf(error));
    }
  }

  /** False where the store refuses what the user wants of it, which is no matter of the others'. Rejects when it is lost. */
  async #prepare(user: LineUser, connection: StoreConnection): Promise<boolean> {
    try {
      await user.prepare(connection);
      return true;
    } catch (error) {
      if (isConnectionLoss(error)) throw error;
      this.#unprepared.add(user);
      this.#refused.tell(messageOf(error));
      return false;
    }
  }

  #ready(user: LineUser): void {
    this.#unprepared.delete(user);
    if (this.#unprepared.size === 0) this.#refused.over();
    user.ready?.();
    this.#joining.get(user)?.resolve();
    this.#joining.delete(user);
  }

  #lose(connection: StoreConnection, reason: string): void {
    connection[Symbol.dispose]();
    // A connection that was lost before it was in use is retried by whoever was opening it.
    if (this.#connection !== connection || this.#closing.signal.aborted) return;
    this.#connection = null;
    // A store that takes everybody in and turns everybody out again is not to be asked without a pause.
    this.#delay = performance.now() - this.#since < LASTING_MS ? nextDelay(this.#delay) : 0;
    this.#away.tell(reason, {}, 'XenStore connection lost');
    if (this.#isWanted()) this.#connect();
  }
}

/** The line to the store that `options` name, or to the machine's own. A named one that is not there is waited for. */
export function createStoreLine(options: StoreOptions, log: Logger): SharedStoreLine {
  return new SharedStoreLine({ open: (onClose) => openExpectedStore(options, onClose), log });
}

/**
 * What commands read of the store. Rejects with AgentError GW_STORE_ABSENT at once where the machine has none, and with
 * GW_STORE_AWAY where it stays away for too long.
 */
export function storeThrough(line: StoreLine): Store {
  return storeBy((operation) =>
    line.run(operation, { patience: PATIENCE_MS }).catch((error: unknown) => {
      throw isAbsence(error) ? new AgentError('GW_STORE_ABSENT', [messageOf(error)], { cause: error }) : error;
    }),
  );
}

/** Many guests lose one store at the same moment; the jitter keeps them from coming back as one. */
function pause(delay: number, signal: AbortSignal): Promise<void> {
  return sleep(delay * (0.5 + Math.random()), undefined, { signal });
}

function nextDelay(delay: number): number {
  return Math.min(Math.max(delay * 2, BACK_OFF_MS.first), BACK_OFF_MS.last);
}

function isAbsence(error: unknown): boolean {
  return codeOf(error) === 'XS_NO_ENDPOINT';
}
