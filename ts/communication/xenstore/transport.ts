/**
 * Requests appear under `data/host/<id>`, answers go to `data/guest/<id>`; paths are relative to the guest's own part of
 * XenStore. What wakes us is a watch on `data/host`. XenStore events are hints, not a log: equal ones are merged, some
 * are spurious, and all watches fire after a resume. So an event only says where to look.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Body, RawRequest, Requests, Transport } from '../../api/communication.js';
import type { Endpoints, StoreConnection } from '../../api/endpoints.js';
import { messageOf } from '../../api/errors.js';
import { Repeated } from '../repeated.js';
import { RequestQueue } from '../request-queue.js';
import { Answers } from './answers.js';
import { storeWord } from './store-word.js';

const REQUESTS = 'data/host';
const ANSWERS = 'data/guest';

/** Below the 20 requests that xenstored takes from one guest before it stops listening for a while. */
const READS_AT_ONCE = 16;
const BACK_OFF_MS = { first: 50, last: 5000 } as const;
/** An operation that loses the connection so often is itself the reason. */
const ATTEMPTS = 10;

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
  readonly #standing = new Map<string, Standing>();
  readonly #answers: Answers;
  readonly #away: Repeated;
  readonly #unlisted: Repeated;
  readonly #unread: Repeated;
  /** Requests that an earlier run of the agent answered and could not retire any more. */
  readonly #answeredBefore = new Set<string>();
  readonly #slots: Slot[] = [];
  readonly #toRead: Slot[] = [];
  readonly #ready = new RequestQueue();
  readonly #closing = new AbortController();
  #reading = 0;
  #scanning = false;
  #scanWanted = false;
  #firstScan = true;
  #connection: StoreConnection | null = null;
  #waiting: Waiter[] = [];
  #pollTimer: NodeJS.Timeout | null = null;

  private constructor(options: XenStoreTransportOptions) {
    this.#options = options;
    const { log } = options;
    this.#answers = new Answers({
      log,
      keep: options.keepAnswers,
      persist: (operation) => this.#persist(operation),
      requests: this.#standing,
      isWanted: async (id) => (await this.#value(id)) !== null,
    });
    this.#away = new Repeated({
      log,
      level: 'warn',
      message: 'XenStore cannot be reached',
      ending: 'XenStore connection re-established',
    });
    this.#unlisted = new Repeated({
      log,
      level: 'error',
      message: 'requests cannot be listed',
      ending: 'requests can be listed again',
    });
    this.#unread = new Repeated({ log, level: 'error', message: 'request cannot be read' });
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
    const stop = (): void => {
      this.#answers.stop();
    };
    signal.addEventListener('abort', stop, { once: true });
    return this.#ready.take(signal);
  }

  async stillWanted(request: RawRequest): Promise<boolean> {
    const value = await this.#value(request.id);
    if (value === null) this.#standing.delete(request.id);
    return value !== null;
  }

  reserve({ id }: RawRequest): Promise<boolean> {
    return this.#answers.reserve(id);
  }

  respond({ id }: RawRequest, body: Body): Promise<void> {
    return this.#answers.publish(id, body);
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
    this.#answers[Symbol.dispose]();
    for (const repeated of [this.#away, this.#unlisted, this.#unread]) repeated[Symbol.dispose]();
    this.#connection?.[Symbol.dispose]();
    this.#connection = null;
    for (const { reject } of this.#waiting.splice(0)) reject(new Error('the transport is closed'));
    await Promise.resolve();
  }

  // Connection ------------------------------------------------------------------------------------------------------

  #value(id: string): Promise<Uint8Array | null> {
    return this.#persist((connection) => connection.read(`${REQUESTS}/${id}`));
  }

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
        this.#away.over();
        this.#connection = opened;
        for (const { resolve } of this.#waiting.splice(0)) resolve(opened);
        await this.#scan();
        return;
      } catch (error) {
        connection?.[Symbol.dispose]();
        if (this.#closing.signal.aborted || !retry(codeOf(error))) throw error;
        this.#away.tell(messageOf(error));
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
    this.#away.tell(reason, {}, 'XenStore connection lost');
    this.#connect({ retry: () => true }).catch(() => undefined);
  }

  async #noteEarlierAnswers(connection: StoreConnection): Promise<void> {
    const ids = (await connection.list(ANSWERS)) ?? [];
    for (const id of ids) this.#answeredBefore.add(id);
    this.#answers.note(ids);
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
      this.#unlisted.over();
      for (const id of there) this.#take(id, undefined);
      this.#readNext();
    } catch (error) {
      if (isLoss(error)) this.#lose(connection, codeOf(error));
      else this.#unlisted.tell(storeWord(error));
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
    if (body === undefined) this.#toRead.push(slot);
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
      this.#standing.set(id, 'stuck');
      if (!this.#closing.signal.aborted) this.#unread.tell(storeWord(error), { request: id });
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
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : 'unknown';
}

/** Whether the connection, and not the operation, is to blame. */
function isLoss(error: unknown): boolean {
  return ['XS_CLOSED', 'XS_IO', 'XS_PROTOCOL'].includes(codeOf(error));
}
