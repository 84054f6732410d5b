/**
 * Which plugin is being loaded, noted in the state directory: one that ends the agent by that, so that nothing in the
 * process can keep it from it, must not end it again at each start.
 */
import type { State } from '../api/host.js';

const NOTES = 'plugins-being-loaded';

/** By the name that people know the file by: what it was like when it was loaded. */
type Notes = Readonly<Record<string, string>>;

export class LoadingNotes {
  readonly #state: State;
  readonly #isWritten: boolean;
  #notes: ReadonlyMap<string, string>;

  private constructor(state: State, isWritten: boolean, notes: ReadonlyMap<string, string>) {
    this.#state = state;
    this.#isWritten = isWritten;
    this.#notes = notes;
  }

  /** `isWritten`: by the agent that serves. Whoever only looks leaves them as they are. */
  static async open(state: State, isWritten: boolean): Promise<LoadingNotes> {
    // What cannot be read says nothing: a full or broken disk must not keep plugins out.
    const text = await state.read(NOTES).catch(() => null);
    return new LoadingNotes(state, isWritten, new Map(Object.entries(parsed(text))));
  }

  /** Whether the agent has ended while it loaded this very file. */
  has(where: string, fingerprint: string): boolean {
    return this.#notes.get(where) === fingerprint;
  }

  /** Those that stay. */
  async keep(wheres: readonly string[]): Promise<void> {
    await this.#write(new Map([...this.#notes].filter(([where]) => wheres.includes(where))));
  }

  /** Does the loading under a note, which is gone after it. */
  async under<T>(where: string, fingerprint: string, work: () => Promise<T>): Promise<T> {
    await this.#write(new Map([...this.#notes, [where, fingerprint]]));
    try {
      return await work();
    } finally {
      await this.#write(new Map([...this.#notes].filter(([other]) => other !== where)));
    }
  }

  async #write(notes: ReadonlyMap<string, string>): Promise<void> {
    const isSame = notes.size === this.#notes.size && [...notes].every(([where, print]) => this.has(where, print));
    this.#notes = notes;
    if (isSame || !this.#isWritten) return;
    const done =
      notes.size === 0
        ? this.#state.remove(NOTES)
        : this.#state.write(NOTES, JSON.stringify(Object.fromEntries(notes)));
    // Without a disk to write to there is no memory of it, as with requests.
    await done.catch(() => undefined);
  }
}

function parsed(text: string | null): Notes {
  try {
    const notes: unknown = JSON.parse(text ?? '');
    return typeof notes === 'object' && notes !== null ? (notes as Notes) : {};
  } catch {
    return {};
  }
}
