import { asBuffer } from '../../ts/api/bytes.js';
import type { Body } from '../../ts/api/communication.js';
import type { StoreConnection } from '../../ts/api/endpoints.js';

/**
 * A XenStore in memory that fails on demand: for faults that no real store can be made to show at the right moment.
 * What a real one does is tested against real ones.
 */
export class MemoryXenStore {
  readonly nodes = new Map<string, Uint8Array>();
  /** Every operation that reached the store, in order. */
  readonly operations: string[] = [];
  /** Called before each operation; may throw, or hold it up. */
  before: (operation: string) => void | Promise<void> = () => undefined;
  readonly #connections = new Set<MemoryConnection>();
  refusing: string | null = null;

  /** How many connections are open. */
  get connections(): number {
    return this.#connections.size;
  }

  readonly open = (onClose: (reason: string) => void): StoreConnection => {
    if (this.refusing !== null) throw storeError(this.refusing);
    const connection = new MemoryConnection(this, onClose);
    this.#connections.add(connection);
    return connection;
  };

  /** What a host does: a write that wakes the guest's watch. */
  write(path: string, value: string): void {
    this.nodes.set(path, Buffer.from(value));
    this.fire(path);
  }

  /** What an event brings; nothing, unless a test asks for it. */
  eventValue: (path: string) => Body | null | undefined = () => undefined;

  fire(...paths: readonly string[]): void {
    for (const connection of this.#connections) for (const path of paths) connection.fire(path);
  }

  /** Ends every connection. */
  drop(): void {
    for (const connection of [...this.#connections]) connection.drop();
  }

  closed(connection: MemoryConnection): void {
    this.#connections.delete(connection);
  }
}

export function storeError(code: string, message = code): Error {
  return Object.assign(new Error(message), { code });
}

class MemoryConnection implements StoreConnection {
  readonly #store: MemoryXenStore;
  readonly #onClose: (reason: string) => void;
  readonly #watches = new Map<string, (below: string, value: Body | null | undefined) => void>();
  #open = true;

  constructor(store: MemoryXenStore, onClose: (reason: string) => void) {
    this.#store = store;
    this.#onClose = onClose;
  }

  fire(path: string): void {
    for (const [watched, onEvent] of this.#watches) {
      if (path === watched) onEvent('', undefined);
      const below = `${watched}/`;
      if (path.startsWith(below)) onEvent(path.slice(below.length), this.#store.eventValue(path));
    }
  }

  drop(): void {
    this[Symbol.dispose]();
    this.#onClose('dropped');
  }

  read(path: string): Promise<Uint8Array | null> {
    return this.#do(`read ${path}`, () => this.#store.nodes.get(path) ?? null);
  }

  write(path: string, value: Body): Promise<void> {
    return this.#do(`write ${path}`, () => void this.#store.nodes.set(path, asBuffer(value)));
  }

  list(path: string): Promise<readonly string[] | null> {
    return this.#do(`list ${path}`, () => {
      const names = [...this.#store.nodes.keys()].filter((name) => name.startsWith(`${path}/`));
      if (names.length === 0 && !this.#store.nodes.has(path)) return null;
      return [...new Set(names.map((name) => name.slice(path.length + 1).split('/')[0] ?? ''))];
    });
  }

  makeDirectory(path: string): Promise<void> {
    return this.#do(`mkdir ${path}`, () => void this.#store.nodes.set(path, Buffer.alloc(0)));
  }

  remove(path: string): Promise<void> {
    return this.#do(`rm ${path}`, () => {
      for (const name of [...this.#store.nodes.keys()]) {
        if (name === path || name.startsWith(`${path}/`)) this.#store.nodes.delete(name);
      }
    });
  }

  watchValues(path: string, onEvent: (below: string, value: Body | null | undefined) => void): Promise<void> {
    return this.#do(`watch ${path}`, () => {
      this.#watches.set(path, onEvent);
      setImmediate(() => {
        this.fire(path);
      });
    });
  }

  [Symbol.dispose](): void {
    this.#open = false;
    this.#watches.clear();
    this.#store.closed(this);
  }

  async #do<T>(operation: string, work: () => T): Promise<T> {
    await this.#store.before(operation);
    if (!this.#open) throw storeError('XS_CLOSED');
    this.#store.operations.push(operation);
    return work();
  }
}
