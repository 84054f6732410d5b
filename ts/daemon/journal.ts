/**
 * Which requests were started, so that a crash never runs one twice (docs/decisions/0003). One JSON object a line:
 * `{"id":"…","state":"started","command":"password","time":1764000000000}`, then `answered`, then `done`. A request's
 * value never gets here.
 */
import type { AppendOnlyFile } from '../host/shared/system.js';

type State = 'started' | 'answered' | 'done';

interface Entry {
  readonly id: string;
  readonly state: State;
  readonly command: string;
  /** Milliseconds since 1970. */
  readonly time: number;
}

/** What the journal needs of a file. ts/host/shared/system.ts has the real one. */
export type JournalFile = AppendOnlyFile;

/** Hosts give up after minutes; an unfinished entry older than this names a request that will never come again. */
const FORGET_AFTER_MS = 24 * 60 * 60 * 1000;
const COMPACT_AFTER_LINES = 1000;

export interface Journal {
  /** What an earlier run of the agent left behind for this request; null for one that it never started. */
  earlier(id: string): { readonly state: 'started' | 'answered'; readonly command: string } | null;
  /** Resolves once the entry is on the disk: only then may the command run. */
  started(id: string, command: string): Promise<void>;
  answered(id: string): Promise<void>;
  done(id: string): Promise<void>;
}

export class FileJournal implements Journal {
  readonly #file: JournalFile;
  readonly #earlier: Map<string, Entry>;
  readonly #open: Map<string, Entry>;
  #lines = 0;
  /** Ends a line that a crash cut, where it could not be rewritten away. */
  #separator = '';

  private constructor(file: JournalFile, unfinished: Map<string, Entry>) {
    this.#file = file;
    this.#earlier = unfinished;
    this.#open = new Map(unfinished);
  }

  /** Reads what is there and rewrites it without what is finished. */
  static async open(file: JournalFile): Promise<FileJournal> {
    const unfinished = new Map<string, Entry>();
    const text = await file.read();
    for (const line of text.split('\n')) {
      const entry = parseEntry(line);
      if (entry === null) continue;
      if (entry.state === 'done' || entry.time < Date.now() - FORGET_AFTER_MS) unfinished.delete(entry.id);
      else unfinished.set(entry.id, entry);
    }
    const journal = new FileJournal(file, unfinished);
    try {
      if (text !== '') await journal.#compact();
    } catch {
      // A full or read-only disk: what was read still counts, and the next compaction tries again.
      journal.#separator = '\n';
    }
    return journal;
  }

  earlier(id: string): { readonly state: 'started' | 'answered'; readonly command: string } | null {
    // Empty but after a crash, and to look for a name in it takes longer than to see that.
    if (this.#earlier.size === 0) return null;
    const entry = this.#earlier.get(id);
    if (entry === undefined || entry.state === 'done') return null;
    return { state: entry.state, command: entry.command };
  }

  async started(id: string, command: string): Promise<void> {
    await this.#append({ id, state: 'started', command, time: Date.now() }, true);
  }

  async answered(id: string): Promise<void> {
    const command = this.#open.get(id)?.command ?? '';
    // Not synced: the answer itself is in the store, and that is looked at first.
    await this.#append({ id, state: 'answered', command, time: Date.now() }, false);
  }

  async done(id: string): Promise<void> {
    this.#earlier.delete(id);
    await this.#append({ id, state: 'done', command: '', time: Date.now() }, false);
    if (this.#lines >= COMPACT_AFTER_LINES) await this.#compact();
  }

  async #append(entry: Entry, sync: boolean): Promise<void> {
    if (entry.state === 'done') this.#open.delete(entry.id);
    else this.#open.set(entry.id, entry);
    this.#lines += 1;
    await this.#file.append(`${this.#separator}${JSON.stringify(entry)}\n`, sync);
    this.#separator = '';
  }

  async #compact(): Promise<void> {
    await this.#file.replace([...this.#open.values()].map((entry) => `${JSON.stringify(entry)}\n`).join(''));
    this.#lines = 0;
  }
}

/** Null for a line that was cut by a crash: what it would have announced had not begun. */
function parseEntry(line: string): Entry | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  const { id, state, command, time } = value as Record<string, unknown>;
  if (typeof id !== 'string' || typeof command !== 'string' || typeof time !== 'number') return null;
  if (state !== 'started' && state !== 'answered' && state !== 'done') return null;
  return { id, state, command, time };
}
