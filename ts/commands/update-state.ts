/** What outlives the agent of an update that is under way; small, because every start asks. */
import type { State } from '../api/host.js';

/** In the state directory. */
const NAME = 'update.json';

/** Until the new version's start has proved good. */
export interface Switched {
  readonly previous: string;
  readonly next: string;
  /** How often the new version was started. */
  readonly attempts: number;
}

/** `preparing`: nothing that runs was changed yet. */
export type Pending = 'preparing' | Switched;

export async function hasPending(state: State): Promise<boolean> {
  return (await state.read(NAME)) !== null;
}

/** What is under way, or null. */
export async function readPending(state: State): Promise<Pending | null> {
  const text = await state.read(NAME);
  return text === null ? null : parse(text);
}

export async function writePending(state: State, pending: Pending): Promise<void> {
  await state.write(NAME, `${JSON.stringify(pending)}\n`);
}

export async function removePending(state: State): Promise<void> {
  await state.remove(NAME);
}

function parse(text: string): Pending {
  try {
    const { previous, next, attempts } = JSON.parse(text) as Readonly<Record<string, unknown>>;
    if (typeof previous === 'string' && typeof next === 'string' && typeof attempts === 'number') {
      return { previous, next, attempts };
    }
  } catch {
    // What cannot be read says no more than that something was under way.
  }
  return 'preparing';
}
