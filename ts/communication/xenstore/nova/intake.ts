/**
 * The requests below `data/host`, in the order of arrival. XenStore events are hints, not a log: equal ones are merged,
 * some are spurious, and all watches fire after a resume. So an event only says where to look.
 */
import type { Logger } from 'pino';
import type { Body, RawRequest } from '../../../api/communication.js';
import { type StoreConnection, type StoreLine, isConnectionLoss } from '../../../api/endpoints.js';
import { Repeated } from '../../../api/repeated.js';
import { RequestQueue } from '../../request-queue.js';
import { storeWord } from '../store-word.js';

const REQUESTS = 'data/host';
/** Below the 20 requests that xenstored takes from one guest before it stops listening for a while. */
const READS_AT_ONCE = 16;

/**
 * `taken`: yielded, or about to be. `retiring`: the removal is under way. `unreadable`: the store refused to show it, and
 * it is looked at again when an event comes. `stuck`: could not be removed, and is never to be looked at again.
 */
type Standing = 'taken' | 'retiring' | 'unreadable' | 'stuck';

/** A place in the order of arrival, taken before the value is there: replies may overtake each other. */
interface Slot {
  readonly id: string;
  request: RawRequest | null;
  done: boolean;
  /** An event came while the node was being read. */
  changed: boolean;
}

export interface IntakeOptions {
  readonly line: Pick<StoreLine, 'run'>;
  readonly log: Logger;
  /** Whether an answer to the request stands in the store, for all that is known. */
  readonly isAnswered: (id: string) => boolean;
  /** Ends all that waits for a connection to the store. */
  readonly signal: AbortSignal;
}

export class Intake implements Disposable {
  readonly queue = new RequestQueue();
  readonly #options: IntakeOptions;
  readonly #standing = new Map<string, Standing>();
  /** Requests that an earlier run of the agent answered and could not retire any more. */
  readonly #answeredBefore = new Set<string>();
  readonly #slots: Slot[] = [];
  readonly #toRead: Slot[] = [];
  readonly #unlisted: Repeated;
  readonly #unread: Repeated;
  #watched: StoreConnection | null = null;
  /** Whose events count. Before, everything is still to be looked at anyway. */
  #followed: StoreConnection | null = null;
  #reading = 0;
  #scanning: Promise<void> | null = null;
  #scanWanted = false;

  constructor(options: IntakeOptions) {
    this.#options = options;
    const { log } = options;
    this.#unlisted = new Repeated({
      log,
      level: 'error',
      message: 'requests cannot be listed',
      ending: 'requests can be listed again',
    });
    this.#unread = new Repeated({ log, level: 'error', message: 'request cannot be read' });
  }

  /** The requests that still stand in the store, for all that is known. */
  get standing(): Pick<ReadonlyMap<string, unknown>, 'has' | 'size'> {
    return this.#standing;
  }

  noteAnswered(ids: readonly string[]): void {
    for (const id of ids) this.#answeredBefore.add(id);
  }

  /** Once on each connection, however often it is asked for. */
  async watch(connection: StoreConnection): Promise<void> {
    if (this.#watched === connection) return;
    await connection.watchValues(REQUESTS, (below, value) => {
      if (this.#followed === connection) this.#onEvent(below, value);
    });
    this.#watched = connection;
  }

  /** Looks at everything, and from now on at what the watch that was set last brings. */
  follow(): Promise<void> {
    this.#followed = this.#watched;
    return this.scan();
  }

  /** Looks at everything: after a connect, at an event that names no request, and now and then for lost events. */
  scan(): Promise<void> {
    this.#scanWanted = true;
    this.#scanning ??= this.#scanAll();
    return this.#scanning;
  }

  /** Whether the host still waits. */
  async stands(id: string): Promise<boolean> {
    const value = await this.#value(id);
    if (value === null) this.#standing.delete(id);
    return value !== null;
  }

  /** Removes an answered request. */
  async remove(id: string): Promise<void> {
    const { line, signal } = this.#options;
    this.#standing.set(id, 'retiring');
    try {
      await line.run((connection) => connection.remove(`${REQUESTS}/${id}`), { signal });
      this.#standing.delete(id);
    } catch (error) {
      this.#standing.set(id, 'stuck');
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.queue.close();
    for (const repeated of [this.#unlisted, this.#unread]) repeated[Symbol.dispose]();
  }

  #value(id: string): Promise<Uint8Array | null> {
    const { line, signal } = this.#options;
    return line.run((connection) => connection.read(`${REQUESTS}/${id}`), { signal });
  }

  #onEvent(below: string, value: Body | null | undefined): void {
    if (value !== undefined) {
      if (this.#standing.get(below) === 'unreadable') this.#standing.delete(below);
      this.#take(below, value);
    } else if (below === '') void this.scan();
    else {
      // Perhaps of a node further down: the request is what stands above.
      const id = below.split('/', 1)[0] ?? below;
      if (this.#standing.get(id) === 'unreadable') this.#standing.delete(id);
      this.#take(id, undefined);
      this.#readNext();
    }
  }

  async #scanAll(): Promise<void> {
    do {
      this.#scanWanted = false;
      await this.#scanOnce();
    } while (this.#isScanWanted());
    this.#scanning = null;
  }

  #isScanWanted(): boolean {
    return this.#scanWanted;
  }

  async #scanOnce(): Promise<void> {
    const { line, signal } = this.#options;
    try {
      const ids = await line.run((connection) => connection.list(REQUESTS), { signal });
      // Hosts of other makes may expect the guest to have made it, as the Unix agent did.
      if (ids === null) {
        await line.run((connection) => connection.makeDirectory(REQUESTS), { signal }).catch(() => undefined);
      }
      const there = new Set(ids);
      for (const [id, standing] of this.#standing) {
        if ((standing === 'stuck' || standing === 'unreadable') && !there.has(id)) this.#standing.delete(id);
      }
      this.#unlisted.over();
      for (const id of there) this.#take(id, undefined);
      this.#readNext();
    } catch (error) {
      if (!signal.aborted) this.#unlisted.tell(storeWord(error));
    }
  }

  /** `body` is the node's value where it is known: null for a node that is gone. */
  #take(id: string, body: Body | null | undefined): void {
    if (this.#standing.has(id)) {
      const slot = this.#slots.find((candidate) => candidate.id === id);
      if (slot !== undefined) slot.changed = true;
      return;
    }
    if (body === null) return;
    this.#standing.set(id, 'taken');
    if (body !== undefined && this.#slots.length === 0) {
      // Nothing came earlier that it could overtake.
      this.queue.push(this.#request(id, body));
      return;
    }
    const slot: Slot = { id, request: null, done: false, changed: false };
    this.#slots.push(slot);
    if (body === undefined) this.#toRead.push(slot);
    else this.#fill(slot, body);
  }

  #request(id: string, body: Body): RawRequest {
    // Once its answer is gone, a request of the same name is another one.
    return { id, body, answered: this.#answeredBefore.delete(id) && this.#options.isAnswered(id) };
  }

  #fill(slot: Slot, body: Body | null): void {
    if (body === null) this.#standing.delete(slot.id);
    else slot.request = this.#request(slot.id, body);
    slot.done = true;
    this.#hand();
  }

  #readNext(): void {
    while (this.#reading < READS_AT_ONCE) {
      const slot = this.#toRead.shift();
      if (slot === undefined) return;
      this.#reading += 1;
      void this.#read(slot);
    }
  }

  async #read(slot: Slot): Promise<void> {
    const { id } = slot;
    try {
      const read = (): Promise<Uint8Array | null> => {
        slot.changed = false;
        return this.#value(id);
      };
      let body = await read();
      while (body === null && slot.changed) body = await read();
      this.#fill(slot, body);
    } catch (error) {
      this.#fill(slot, null);
      // Of a connection that is lost again and again the request is not to blame: the next scan finds it.
      if (!isConnectionLoss(error)) this.#standing.set(id, 'unreadable');
      if (!this.#options.signal.aborted) this.#unread.tell(storeWord(error), { request: id });
    }
    this.#reading -= 1;
    this.#readNext();
  }

  /** Hands on what has been read, as far as nothing that came earlier is still being read. */
  #hand(): void {
    while (this.#slots[0]?.done === true) {
      const request = this.#slots.shift()?.request ?? null;
      if (request !== null) this.queue.push(request);
    }
  }
}
