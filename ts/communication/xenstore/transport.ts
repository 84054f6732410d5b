/**
 * Requests appear under `data/host/<id>`, answers go to `data/guest/<id>`; paths are relative to the guest's own part of
 * XenStore. What wakes us is a watch on `data/host`. XenStore events are hints, not a log: equal ones are merged, some
 * are spurious, and all watches fire after a resume. So an event only says where to look.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Body, RawRequest, Requests, Transport } from '../../api/communication.js';
import type { Endpoints, StoreConnection } from '../../api/endpoints.js';
import { RequestQueue } from '../request-queue.js';

const REQUESTS = 'data/host';
const ANSWERS = 'data/guest';

/** Below the 20 requests that xenstored takes from one guest before it stops listening for a while. */
const READS_AT_ONCE = 16;
const BACK_OFF_MS = { first: 50, last: 5000 } as const;
/** An operation that loses the connection so often is itself the reason. */
const ATTEMPTS = 10;
/** No host waits longer for an answer; older ones may go early when the guest's quota of nodes is used up. */
const HOST_PATIENCE_MS = 300_000;

export interface XenStoreTransportOptions {
  readonly openStore: Endpoints['openStore'];
  readonly log: Logger;
  /** How long an answer stays in the store, milliseconds: nobody on the host removes it. */
  readonly keepAnswers: number;
  /** How often to look for requests whose event was lost, milliseconds. */
  readonly pollInterval: number;
}

/**
 * `taken`: yielded, or about to be. `retiring`: the removal is under way. `stuck`: could not be read or removed, and is
 * never to be looked at again.
 */
type Standing = 'taken' | 'retiring' | 'stuck';

/** A place in the order of arrival, taken before the value is there: replies may overtake each other. */
interface Slot {
  readonly id: string;
  request: RawRequest | null;
  done: boolean;
  /** An event came while the node was being read. */
  changed: boolean;
}

interface Waiter {
  readonly resolve: (connection: StoreConnection) => void;
  readonly reject: (error: Error) => void;
}

export class XenStoreTransport implements Transport {
  readonly #options: XenStoreTransportOptions;
  readonly #log: Logger;
  readonly #standing = new Map<string, Standing>();
  /** When each of our answers was written, or first seen, in that order. */
  readonly #answers = new Map<string, number>();
  /** Requests that an earlier run of the agent answered and could not retire any more. */
  readonly #answeredBefore = new Set<string>();
  readonly #slots: Slot[] = [];
  readonly #unread: Slot[] = [];
  readonly #ready = new RequestQueue();
  readonly #closing = new AbortController();
  #reading = 0;
  #scanning = false;
  #scanWanted = false;
  #firstScan = true;
  #connection: StoreConnection | null = null;
  #waiting: Waiter[] = [];
  #pollTimer: NodeJS.Timeout | null = null;
  #collectTimer: NodeJS.Timeout | null = null;

  private constructor(options: XenStoreTransportOptions) {
    this.#options = options;
    this.#log = options.log;
  }

  /**
   * Resolves once requests are being watched for. A store that cannot be reached yet is waited for; a machine without
   * any (XS_NO_ENDPOINT) is an error.
   */
  static async open(options: XenStoreTransportOptions): Promise<XenStoreTransport> {
    const transport = new XenStoreTransport(options);
    try {
      await transport.#connect({ retry: (code) => code !== 'XS_NO_ENDPOINT' });
    } catch (error) {
      await transport[Symbol.asyncDispose]();
      throw error;
    }
    transport.#pollTimer = setInterval(() => void transport.#scan(), options.pollInterval);
    return transport;
  }

  requests(signal: AbortSignal): Requests {
    return this.#ready.take(signal);
  }

  async stillWanted(request: RawRequest): Promise<boolean> {
    const value = await this.#persist((connection) => connection.read(`${REQUESTS}/${request.id}`));
    if (value === null) this.#standing.delete(request.id);
    return value !== null;
  }

  respond(request: RawRequest, body: Body): Promise<void> {
    const { id } = request;
    const path = `${ANSWERS}/${id}`;
    // One write creates the node with its value: a host that finds it empty would take that for the answer.
    const write = (connection: StoreConnection): Promise<void> => connection.write(path, body);
    const written = (): void => {
      this.#answers.delete(id);
      this.#answers.set(id, Date.now());
      this.#scheduleCollection();
    };
    return this.#persist(write).then(written, async (error: unknown) => {
      // Perhaps the guest's quota of nodes is used up by answers that nobody waits for any more.
      if ((await this.#collect(HOST_PATIENCE_MS)) === 0) throw error;
      await this.#persist(write);
      written();
    });
  }

  async retire(request: RawRequest): Promise<void> {
    const { id } = request;
    this.#standing.set(id, 'retiring');
    try {
      await this.#persist((connection) => connection.remove(`${REQUESTS}/${id}`));
      this.#standing.delete(id);
    } catch (error) {
      this.#standing.set(id, 'stuck');
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#ready.close();
    if (this.#pollTimer !== null) clearInterval(this.#pollTimer);
    if (this.#collectTimer !== null) clearTimeout(this.#collectTimer);
    this.#connection?.[Symbol.dispose]();
    this.#connection = null;
    for (const { reject } of this.#waiting.splice(0)) reject(new Error('the transport is closed'));
    await Promise.resolve();
  }

  // Connection ------------------------------------------------------------------------------------------------------

  /** Runs `operation` on the connection, again on the next one whenever it is lost. */
  #persist<T>(operation: (connection: StoreConnection) => Promise<T>, attempt = 1): Promise<T> {
    const connection = this.#connection;
    if (connection === null) return this.#nextConnection().then(() => this.#persist(operation, attempt));
    // Not an async function: an answer is behind this one.
    return operation(connection).catch((error: unknown) => {
      if (!isLoss(error) || attempt === ATTEMPTS || this.#closing.signal.aborted) throw error;
      if (this.#connection === connection) this.#lose(connection, codeOf(error));
      return this.#persist(operation, attempt + 1);
    });
  }

  async #nextConnection(): Promise<StoreConnection> {
    this.#closing.signal.throwIfAborted();
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  async #connect({ retry }: { retry: (code: string) => boolean }): Promise<void> {
    for (let delay: number = BACK_OFF_MS.first; ; delay = Math.min(delay * 2, BACK_OFF_MS.last)) {
      let connection: StoreConnection | null = null;
      try {
        const opened = this.#options.openStore((reason) => {
          this.#lose(opened, reason);
        });
        connection = opened;
        await opened.watchValues(REQUESTS, (below, value) => {
          if (this.#connection === opened) this.#onEvent(below, value);
        });
        if (this.#firstScan) await this.#noteEarlierAnswers(opened);
        this.#firstScan = false;
        this.#connection = opened;
        for (const { resolve } of this.#waiting.splice(0)) resolve(opened);
        await this.#scan();
        return;
      } catch (error) {
        connection?.[Symbol.dispose]();
        if (this.#closing.signal.aborted || !retry(codeOf(error))) throw error;
        const reason = error instanceof Error ? error.message : codeOf(error);
        this.#log.warn({ reason, retryMs: delay }, 'XenStore cannot be reached');
      }
      // Many guests lose one store at the same moment; the jitter keeps them from coming back as one.
      await sleep(delay * (0.5 + Math.random()), undefined, { signal: this.#closing.signal });
    }
  }

  #lose(connection: StoreConnection, reason: string): void {
    connection[Symbol.dispose]();
    // A connection that was lost before it was in use is retried by whoever was opening it.
    if (this.#connection !== connection || this.#closing.signal.aborted) return;
    this.#connection = null;
    this.#log.warn({ reason }, 'XenStore connection lost');
    this.#connect({ retry: () => true }).then(
      () => {
        this.#log.info('XenStore connection re-established');
      },
      () => undefined,
    );
  }

  async #noteEarlierAnswers(connection: StoreConnection): Promise<void> {
    for (const id of (await connection.list(ANSWERS)) ?? []) {
      this.#answeredBefore.add(id);
      this.#answers.set(id, Date.now());
    }
    this.#scheduleCollection();
  }

  // Requests --------------------------------------------------------------------------------------------------------

  #onEvent(below: string, value: Body | null | undefined): void {
    if (value !== undefined) this.#take(below, value);
    else if (below === '') void this.#scan();
    else {
      // Perhaps of a node further down: the request is what stands above.
      this.#take(below.split('/', 1)[0] ?? below, undefined);
      this.#readNext();
    }
  }

  /** Looks at everything: after a connect, at an event that names no request, and now and then for lost events. */
  async #scan(): Promise<void> {
    this.#scanWanted = true;
    if (this.#scanning) return;
    this.#scanning = true;
    try {
      while (this.#isScanWanted()) await this.#scanOnce();
    } finally {
      this.#scanning = false;
    }
  }

  #isScanWanted(): boolean {
    return this.#scanWanted;
  }

  async #scanOnce(): Promise<void> {
    this.#scanWanted = false;
    const connection = this.#connection;
    if (connection === null) return;
    try {
      const ids = await connection.list(REQUESTS);
      // Hosts of other makes may expect the guest to have made it, as the Unix agent did.
      if (ids === null) await connection.makeDirectory(REQUESTS).catch(() => undefined);
      const there = new Set(ids);
      for (const [id, standing] of this.#standing) {
        if (standing === 'stuck' && !there.has(id)) this.#standing.delete(id);
      }
      for (const id of there) this.#take(id, undefined);
      this.#readNext();
    } catch (error) {
      if (isLoss(error)) this.#lose(connection, codeOf(error));
      else this.#log.error({ code: codeOf(error) }, 'requests cannot be listed');
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
      this.#ready.push(this.#request(id, body));
      return;
    }
    const slot: Slot = { id, request: null, done: false, changed: false };
    this.#slots.push(slot);
    if (body === undefined) this.#unread.push(slot);
    else this.#fill(slot, body);
  }

  #request(id: string, body: Body): RawRequest {
    return { id, body, answered: this.#answeredBefore.delete(id) };
  }

  #fill(slot: Slot, body: Body | null): void {
    if (body === null) this.#standing.delete(slot.id);
    else slot.request = this.#request(slot.id, body);
    slot.done = true;
    this.#hand();
  }

  #readNext(): void {
    while (this.#reading < READS_AT_ONCE) {
      const slot = this.#unread.shift();
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
        return this.#persist((connection) => connection.read(`${REQUESTS}/${id}`));
      };
      let body = await read();
      while (body === null && slot.changed) body = await read();
      this.#fill(slot, body);
    } catch (error) {
      this.#fill(slot, null);
      this.#standing.set(id, 'stuck');
      if (!this.#closing.signal.aborted)
        this.#log.error({ request: id, code: codeOf(error) }, 'request cannot be read');
    }
    this.#reading -= 1;
    this.#readNext();
  }

  /** Hands on what has been read, as far as nothing that came earlier is still being read. */
  #hand(): void {
    while (this.#slots[0]?.done === true) {
      const request = this.#slots.shift()?.request ?? null;
      if (request !== null) this.#ready.push(request);
    }
  }

  // Answers ---------------------------------------------------------------------------------------------------------

  #scheduleCollection(): void {
    if (this.#collectTimer !== null || this.#closing.signal.aborted) return;
    const oldest = this.#answers.values().next().value;
    if (oldest === undefined) return;
    const delay = Math.max(oldest + this.#options.keepAnswers - Date.now(), 100);
    this.#collectTimer = setTimeout(() => {
      this.#collectTimer = null;
      void this.#collect(this.#options.keepAnswers).finally(() => {
        this.#scheduleCollection();
      });
    }, delay).unref();
  }

  /** Removes our answers older than `age` milliseconds and returns how many went. */
  async #collect(age: number): Promise<number> {
    let removed = 0;
    for (const [id, time] of [...this.#answers]) {
      if (time + age > Date.now()) break;
      this.#answers.delete(id);
      if (this.#standing.has(id)) {
        // Its request still stands: without the answer, the next run of the agent would carry it out again.
        this.#answers.set(id, Date.now());
        continue;
      }
      try {
        await this.#persist((connection) => connection.remove(`${ANSWERS}/${id}`));
        removed += 1;
      } catch (error) {
        this.#log.warn({ request: id, code: codeOf(error) }, 'old answer cannot be removed');
      }
    }
    return removed;
  }
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : 'unknown';
}

/** Whether the connection, and not the operation, is to blame. */
function isLoss(error: unknown): boolean {
  return ['XS_CLOSED', 'XS_IO', 'XS_PROTOCOL'].includes(codeOf(error));
}
