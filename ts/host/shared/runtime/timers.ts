/** Waiting as promises. */
import { setImmediate, setTimeout } from 'node:timers/promises';

export interface SleepOptions {
  /** Rejects with an AbortError as soon as it aborts. */
  readonly signal?: AbortSignal;
  /** False: the process may end meanwhile, where nothing else keeps it. */
  readonly ref?: boolean;
}

/** Resolves after `ms` milliseconds. */
export async function sleep(ms: number, options?: SleepOptions): Promise<void> {
  await setTimeout(ms, undefined, options);
}

/** Resolves once everything that waits by now has had its turn. */
export async function otherWork(): Promise<void> {
  await setImmediate();
}
