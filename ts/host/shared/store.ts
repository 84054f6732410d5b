import { XenStore } from '#binding';
import type { Body } from '../../api/communication.js';
import type { StoreConnection as Connection } from '../../api/endpoints.js';
import { codeOf, messageOf } from '../../api/errors.js';
import type { Store } from '../../api/host.js';

/** Longer than any healthy store takes by orders of magnitude; a store that owes replies for so long is gone. */
const SILENCE_MS = 30_000;

export interface StoreOptions {
  /** Path of a device or socket; null to look for the guest's own. */
  readonly endpoint: string | null;
  /** Takes every node under `/local/domain/<domain>/`; null leaves paths relative to the caller's own domain. */
  readonly domain: number | null;
  /** How watch events reach JavaScript: docs/decisions/0001. */
  readonly poll: 'loop' | 'thread';
  /** Takes every node below this one of the guest's own part; absent for that part itself. */
  readonly below?: string;
}

/**
 * One connection to XenStore, with every path taken under the guest's own part of the tree.
 * Errors carry the addon's `code`, such as `XS_CLOSED`.
 */
export class StoreConnection implements Disposable {
  readonly #store: XenStore;
  readonly #prefix: string;
  readonly #onClose: (reason: string) => void;
  /** Runs while requests are under way, and one period longer: setting it anew for each would cost as much as they do. */
  #silence: NodeJS.Timeout | null = null;
  #underWay = 0;
  /** Of the period that runs: replies that came, and requests that had been under way when it began. */
  #replies = 0;
  #waitedFor = 0;
  #closed = false;

  /** Throws XS_NO_ENDPOINT when there is no XenStore on this machine, XS_IO when it cannot be reached. */
  constructor(options: StoreOptions, onClose: (reason: string) => void) {
    const own = options.domain === null ? '' : `/local/domain/${options.domain}/`;
    this.#prefix = options.below === undefined ? own : `${own}${options.below}/`;
    this.#onClose = onClose;
    this.#store = XenStore.open({ endpoint: options.endpoint, poll: options.poll }, (reason) => {
      this.#lost(reason);
    });
  }

  get endpoint(): string {
    return this.#store.endpoint;
  }

  /** The node's value, or null when there is no such node. */
  read(path: string): Promise<Buffer | null> {
    return this.#timed(this.#store.read(this.#prefix + path), this.#nullIfMissing);
  }

  write(path: string, value: Body): Promise<void> {
    return this.#timed(this.#store.write(this.#prefix + path, value), this.#rethrow);
  }

  /** Names of the node's children, or null when there is no such node. */
  list(path: string): Promise<readonly string[] | null> {
    return this.#timed(this.#store.list(this.#prefix + path), this.#nullIfMissing);
  }

  makeDirectory(path: string): Promise<void> {
    return this.#timed(this.#store.makeDirectory(this.#prefix + path), this.#rethrow);
  }

  /** Removes the node and all below it; quiet when there is none. */
  async remove(path: string): Promise<void> {
    await this.#timed(this.#store.remove(this.#prefix + path), this.#nullIfMissing);
  }

  /** Calls `onEvent` with a path in the form of `path` for every change at or below it, until the connection ends. */
  async watch(path: string, onEvent: (path: string) => void): Promise<void> {
    const cut = this.#prefix.length;
    await this.#timed(
      this.#store.watch(this.#prefix + path, (changed) => {
        onEvent(changed.slice(cut));
      }),
      this.#rethrow,
    );
  }

  /**
   * Calls `onEvent` for every change below `path` but removals by this connection: with the node's path from there,
   * which is empty for a change of `path` itself, and of children the value, as text where it is UTF-8, null when it is
   * gone, undefined when it is not known.
   */
  async watchValues(path: string, onEvent: (below: string, value: Body | null | undefined) => void): Promise<void> {
    await this.#timed(this.#store.watchValues(this.#prefix + path, onEvent), this.#rethrow);
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#rest();
    this.#store.close();
  }

  /** Adds one promise to the addon's own, not one a layer: a request's way to its answer is counted in microseconds. */
  #timed<T, U>(operation: Promise<T>, onError: (error: unknown) => U): Promise<T | U> {
    this.#underWay += 1;
    this.#silence ??= setInterval(() => {
      this.#watchSilence();
    }, SILENCE_MS).unref();
    return operation.then(this.#onReply, onError);
  }

  // Made once: they need nothing of a single request.
  readonly #onReply = <T>(value: T): T => {
    this.#underWay -= 1;
    this.#replies += 1;
    return value;
  };

  readonly #rethrow = (error: unknown): never => {
    this.#onReply(null);
    throw error;
  };

  readonly #nullIfMissing = (error: unknown): null => {
    if (codeOf(error) !== 'XS_NOT_FOUND') this.#rethrow(error);
    return this.#onReply(null);
  };

  /** Closing the addon's connection fails whatever is under way. */
  #watchSilence(): void {
    if (this.#waitedFor > 0 && this.#replies === 0) {
      this.#store.close();
      this.#lost(`no reply for ${SILENCE_MS / 1000} s`);
      return;
    }
    if (this.#underWay === 0) this.#rest();
    this.#waitedFor = this.#underWay;
    this.#replies = 0;
  }

  #rest(): void {
    if (this.#silence !== null) clearInterval(this.#silence);
    this.#silence = null;
  }

  #lost(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#rest();
    this.#onClose(reason);
  }
}

/** Opens a connection; `onClose` is called once when it is lost, not when it is disposed of. */
export function openStore(options: StoreOptions, onClose: (reason: string) => void): StoreConnection {
  return new StoreConnection(options, onClose);
}

/**
 * As {@link openStore}, but an endpoint that was named and is not there is one that has not come up yet: XS_IO. For
 * whoever waits for it.
 */
export function openExpectedStore(options: StoreOptions, onClose: (reason: string) => void): StoreConnection {
  try {
    return openStore(options, onClose);
  } catch (error) {
    if (options.endpoint === null || codeOf(error) !== 'XS_NO_ENDPOINT') throw error;
    throw Object.assign(new Error(messageOf(error), { cause: error }), { code: 'XS_IO' });
  }
}

/** The store as commands read it. `run` says on which connection. */
export function storeBy(run: <T>(operation: (connection: Connection) => Promise<T>) => Promise<T>): Store {
  return {
    async read(path) {
      const value = await run((connection) => connection.read(path));
      return value === null ? null : Buffer.from(value).toString('utf8');
    },
    list: async (path) => (await run((connection) => connection.list(path))) ?? [],
  };
}
