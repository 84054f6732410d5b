import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

/** How to undo what a setup has made, so that one that throws half-way leaves no process, socket or file behind. */
export class Cleanup implements AsyncDisposable {
  readonly #undo: (() => unknown)[] = [];

  add(undo: () => unknown): void {
    this.#undo.push(undo);
  }

  /** Undoes everything, the last first, and goes on when one of them fails; throws the first failure at the end. */
  async [Symbol.asyncDispose](): Promise<void> {
    const failures: unknown[] = [];
    for (const undo of this.#undo.splice(0).reverse()) {
      try {
        await undo();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}

/** Gives what `make` makes. When that throws, what it had made by then is undone. */
export async function wholeOrUndone<T>(make: (cleanup: Cleanup) => Promise<T>): Promise<T> {
  const cleanup = new Cleanup();
  try {
    return await make(cleanup);
  } catch (error) {
    // Why the setup failed says more than why something of it cannot be undone.
    await cleanup[Symbol.asyncDispose]().catch(() => undefined);
    throw error;
  }
}

/** Kills a program that runs; resolves once it has ended, at once for one that has, or that never started. */
export async function endProcess(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** Milliseconds. */
const OUTLIVED = 2000;

/**
 * Resolves once a program has ended and all that it printed has been read, which comes later than its end. Programs of
 * its own that outlive it hold its output open; they are not waited for.
 */
export async function endOf(child: ChildProcess): Promise<void> {
  const closed = new Promise((resolve) => child.once('close', resolve));
  await once(child, 'exit');
  await Promise.race([closed, sleep(OUTLIVED, undefined, { ref: false })]);
}
