/**
 * The answers that stand in `data/guest`, and how room is made for the next one. Nobody on the host removes them, and
 * nobody there says that he has read one; what is known is how a host waits. The dom0 plugin looks twice a second, and
 * gives a request up after 30 s, or 60 s for resetnetwork.
 */
import type { Logger } from 'pino';
import type { Body } from '../../../api/communication.js';
import type { StoreConnection } from '../../../api/endpoints.js';
import { Repeated } from '../../../api/repeated.js';
import { storeWord } from '../store-word.js';
import { sleep } from '../../../host/shared/runtime/timers.js';

const FOLDER = 'data/guest';
/**
 * Where old answers begin to make room, in bytes of names, each with the NUL after it, and in nodes. A guest's node may
 * have 2,048 bytes in C xenstored, which counts the names of its children (54 UUIDs), and a guest 1,000 nodes.
 */
const ROOM = { bytes: 1344, nodes: 250 } as const;
/** What the names of children can have together in C xenstored, beside the node's own 32 bytes. */
const MOST_BYTES = 2016;
/** A host that looks twice a second has read an answer that stood for so long, milliseconds. */
const READ_MS = 10_000;
/** The same, where the store has no room left and the next answer waits for it. */
const READ_IN_NEED_MS = 2000;
/**
 * So many of the newest answers stay whatever their age: their places are the next ones' when others have used up the
 * quota. An answer needs more than one then, because a request takes up a node of the guest's as well, and dom0 may
 * write it where there is no room.
 */
const KEPT = 4;
/** No host waits longer, milliseconds. */
const HOST_PATIENCE_MS = 60_000;
/** How often to try again while others use up the quota, milliseconds. */
const RETRY_MS = 1000;
/**
 * A node that keeps a place for an answer. Not among the answers, where hosts may look for what is new: there they have
 * their names' bytes from one another.
 */
const PLACE = 'data/guestwire-keeps-a-place';

export interface AnswersOptions {
  readonly log: Logger;
  /** How long an answer stays in the store, milliseconds; the newest few stay longer. */
  readonly keep: number;
  /** Runs an operation on the connection, again on the next one whenever it is lost. */
  readonly persist: <T>(operation: (connection: StoreConnection) => Promise<T>) => Promise<T>;
  /** The requests that still stand in the store, for all that is known. */
  readonly requests: Pick<ReadonlyMap<string, unknown>, 'has' | 'size'>;
  /** Asks the store whether the host still waits. */
  readonly isWanted: (id: string) => Promise<boolean>;
}

export class Answers implements Disposable {
  readonly #options: AnswersOptions;
  /** When each answer was written, or first seen, in that order: by a clock that nobody sets. */
  readonly #standing = new Map<string, number>();
  /** Of their names. */
  #bytes = 0;
  /** Answers that the store does not let go. */
  readonly #stuck = new Set<string>();
  /** The node that keeps a place is there; an earlier run may have left it. */
  #placeKept = true;
  /** The request that the place is kept for: of those that change the machine one runs at a time. */
  #reservedFor: string | null = null;
  /** What waits for room: one after the other, in the order in which it came. */
  #line = Promise.resolve();
  #inLine = 0;
  readonly #full: Repeated;
  readonly #unlisted: Repeated;
  readonly #early: Repeated;
  readonly #unremovable: Repeated;
  readonly #stopping = new AbortController();
  #collecting = false;
  #timer: NodeJS.Timeout | null = null;
  #timerEnds = Infinity;

  constructor(options: AnswersOptions) {
    this.#options = options;
    const { log } = options;
    this.#full = new Repeated({
      log,
      level: 'error',
      message: 'the store has no room for answers; requests wait',
      ending: 'the store has room for answers again',
    });
    this.#unlisted = new Repeated({
      log,
      level: 'warn',
      message: 'answers cannot be listed; requests that change something wait',
      ending: 'answers can be listed again',
    });
    this.#early = new Repeated({
      log,
      level: 'warn',
      message: 'an answer made room for the next before a host that is slow may have read it',
      ending: 'answers have room again',
    });
    this.#unremovable = new Repeated({ log, level: 'warn', message: 'old answer cannot be removed' });
  }

  /** Takes what an earlier run of the agent, or another agent, left for answers, and gives their names. */
  async standing(connection: StoreConnection): Promise<readonly string[]> {
    try {
      const names = (await connection.list(FOLDER)) ?? [];
      this.#note(names);
      return names;
    } catch (error) {
      // What the guest may not list it may still write; which requests it has answered the journal knows as well.
      if (storeWord(error) !== 'EACCES') throw error;
      return [];
    }
  }

  /** Whether the answer stands there, for all that is known. */
  stands(id: string): boolean {
    return this.#standing.has(id);
  }

  #note(names: readonly string[]): void {
    for (const name of names) if (!this.#standing.has(name)) this.#add(name);
    this.#schedule();
  }

  /** Resolves once the answer can be seen, or nobody wants it any more. Rejects with what the store says. */
  publish(id: string, body: Body): Promise<void> {
    // One write creates the node with its value: a host that finds it empty would take that for the answer.
    const write = (connection: StoreConnection): Promise<void> => connection.write(`${FOLDER}/${id}`, body);
    const end = performance.now() + HOST_PATIENCE_MS;
    // What has a place need not wait for others to find one.
    const squeezeIn = (): Promise<void> =>
      this.#reservedFor === id
        ? this.#squeezeIn(id, write, end).finally(() => {
            this.#release(id);
          })
        : this.#inTurn(() => this.#squeezeIn(id, write, end));
    // Behind those that wait for room, or it would take theirs.
    if (this.#inLine > 0) return squeezeIn();
    return this.#options.persist(write).then(
      () => {
        this.#published(id);
      },
      (error: unknown) => {
        if (isFull(error)) return squeezeIn();
        this.#release(id);
        throw error;
      },
    );
  }

  /**
   * Makes sure that an answer to the request will have a place. False when there is none now, which is logged. Rejects
   * when no answer can have such a name, and when the wire is closed meanwhile.
   */
  async reserve(id: string): Promise<boolean> {
    if (id.length >= MOST_BYTES) {
      const message = `a name of ${id.length} bytes is too long for an answer`;
      throw Object.assign(new Error(message), { code: 'XS_TOO_LARGE' });
    }
    try {
      await this.#look();
      this.#unlisted.over();
    } catch (error) {
      if (this.#stopping.signal.aborted) throw error;
      // What the guest may not list it may still write.
      if (storeWord(error) !== 'EACCES') {
        this.#unlisted.tell(storeWord(error));
        return false;
      }
    }
    // Answers that were read give their places to the next.
    const sure = this.#canMakeRoom() || (await this.#keepPlace());
    if (sure) this.#reservedFor = id;
    return sure;
  }

  /** Nothing waits any longer; what does is tried once more. */
  stop(): void {
    this.#stopping.abort();
  }

  [Symbol.dispose](): void {
    this.stop();
    if (this.#timer !== null) clearTimeout(this.#timer);
    for (const repeated of [this.#full, this.#unlisted, this.#early, this.#unremovable]) repeated[Symbol.dispose]();
  }

  // Room ------------------------------------------------------------------------------------------------------------

  #add(id: string): void {
    // To the end: in the order of time.
    if (this.#standing.delete(id)) this.#bytes -= id.length + 1;
    this.#standing.set(id, performance.now());
    this.#bytes += id.length + 1;
  }

  #forget(id: string): void {
    if (this.#standing.delete(id)) this.#bytes -= id.length + 1;
    this.#stuck.delete(id);
  }

  #isCrowded(): boolean {
    return this.#bytes > ROOM.bytes || this.#standing.size > ROOM.nodes;
  }

  /** Whether the answers that may go are enough, even if dom0 wrote all requests into a full quota. */
  #canMakeRoom(): boolean {
    const { requests } = this.#options;
    const ids = [...this.#standing.keys()];
    return ids.filter((id) => this.#mayGo(id)).length > requests.size;
  }

  #published(id: string): void {
    this.#add(id);
    this.#full.over();
    this.#release(id);
    if (this.#placeKept && this.#canMakeRoom()) void this.#removePlace();
    this.#schedule();
  }

  #release(id: string): void {
    if (this.#reservedFor === id) this.#reservedFor = null;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    this.#inLine += 1;
    const done = this.#line.then(work).finally(() => {
      this.#inLine -= 1;
    });
    this.#line = done.then(
      () => undefined,
      () => undefined,
    );
    return done;
  }

  /** Writes an answer for which there was no room, until `end`. */
  async #squeezeIn(id: string, write: (connection: StoreConnection) => Promise<void>, end: number): Promise<void> {
    const { persist, isWanted } = this.#options;
    for (;;) {
      const waited = await this.#findRoom(id);
      if (waited && !(await isWanted(id))) return;
      try {
        // Both at once: whoever else wants the node has to come between them.
        const making = this.#makeRoom(id);
        await persist(write);
        await making;
        this.#published(id);
        return;
      } catch (error) {
        if (!isFull(error) || this.#stopping.signal.aborted || performance.now() > end) throw error;
        if (this.#oldest() === null) this.#full.tell(storeWord(error));
      }
    }
  }

  /** Makes a node that an answer may take the place of. False where the quota is used up. */
  async #keepPlace(): Promise<boolean> {
    try {
      await this.#options.persist((connection) => connection.write(PLACE, ''));
      this.#placeKept = true;
    } catch (error) {
      if (isFull(error)) {
        this.#full.tell(storeWord(error));
        return false;
      }
      // The guest may not write there: that says nothing of answers.
    }
    this.#full.over();
    return true;
  }

  /** Waits until there is something whose place the answer may have, a while at most. True when it took time. */
  async #findRoom(id: string): Promise<boolean> {
    await this.#look();
    if (this.#hasPlace(id)) return false;
    const oldest = this.#oldest();
    const wait = oldest === null ? RETRY_MS : oldest.time + READ_IN_NEED_MS - performance.now();
    if (wait <= 0) return false;
    await sleep(wait, { signal: this.#stopping.signal }).catch(() => undefined);
    return true;
  }

  /** Removes the node that keeps the place, or the oldest answer. */
  async #makeRoom(id: string): Promise<void> {
    if (this.#hasPlace(id)) {
      await this.#removePlace();
      return;
    }
    const oldest = this.#oldest();
    if (oldest === null) return;
    const ageMs = Math.round(performance.now() - oldest.time);
    if (ageMs < READ_MS) this.#early.tell('the store is full', { request: oldest.id, ageMs });
    await this.#remove(oldest.id);
  }

  #hasPlace(id: string): boolean {
    return this.#placeKept && (this.#reservedFor === null || this.#reservedFor === id);
  }

  /** The first of those that may go. */
  #oldest(): { readonly id: string; readonly time: number } | null {
    for (const [id, time] of this.#standing) {
      if (this.#mayGo(id)) return { id, time };
    }
    return null;
  }

  /** Without its answer, the next run of the agent would carry a request out again. */
  #mayGo(id: string): boolean {
    return !this.#stuck.has(id) && !this.#options.requests.has(id);
  }

  /** What stands there, whoever wrote or removed it. */
  async #look(): Promise<void> {
    const names = new Set(await this.#options.persist((connection) => connection.list(FOLDER)));
    for (const id of [...this.#standing.keys()]) if (!names.has(id)) this.#forget(id);
    this.#note([...names]);
  }

  async #removePlace(): Promise<void> {
    this.#placeKept = false;
    await this.#delete(PLACE);
  }

  async #remove(id: string): Promise<void> {
    if (await this.#delete(`${FOLDER}/${id}`)) this.#forget(id);
    else this.#stuck.add(id);
  }

  async #delete(path: string): Promise<boolean> {
    try {
      await this.#options.persist((connection) => connection.remove(path));
      return true;
    } catch (error) {
      if (!this.#stopping.signal.aborted) this.#unremovable.tell(storeWord(error), { path });
      return false;
    }
  }

  // Age -------------------------------------------------------------------------------------------------------------

  /** Milliseconds that an answer may stay. */
  #age(): number {
    const { keep } = this.#options;
    return this.#isCrowded() ? Math.min(READ_MS, keep) : keep;
  }

  #schedule(): void {
    if (this.#collecting || this.#standing.size <= KEPT || this.#stopping.signal.aborted) return;
    const oldest = this.#standing.values().next().value ?? 0;
    const end = oldest + this.#age();
    if (end >= this.#timerEnds) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timerEnds = end;
    this.#timer = setTimeout(
      () => {
        void this.#collect();
      },
      Math.max(end - performance.now(), 100),
    ).unref();
  }

  /** Removes what is old enough, as long as there are others. One at a time: a request may come meanwhile. */
  async #collect(): Promise<void> {
    this.#timer = null;
    this.#timerEnds = Infinity;
    this.#collecting = true;
    for (const [id, time] of [...this.#standing]) {
      if (time + this.#age() > performance.now() || this.#standing.size <= KEPT || this.#stopping.signal.aborted) break;
      // Looked at again when it is as old once more.
      if (this.#mayGo(id)) await this.#remove(id);
      else this.#add(id);
    }
    this.#collecting = false;
    if (!this.#isCrowded()) this.#early.over();
    this.#schedule();
  }
}

/** Whether the guest's quota is used up: of nodes, of a node's size, or of memory. */
function isFull(error: unknown): boolean {
  return ['ENOSPC', 'EQUOTA', 'ENOMEM'].includes(storeWord(error));
}
