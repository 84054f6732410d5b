import type { RawRequest } from '../api/communication.js';

/** Requests between the wire that takes them in and whoever carries them out, in the order of arrival. */
export class RequestQueue {
  readonly #requests: RawRequest[] = [];
  #closed = false;
  #wake: (() => void) | null = null;

  push(request: RawRequest): void {
    this.#requests.push(request);
    this.#wake?.();
  }

  /** Ends whoever takes; what is still there is left to the next run of the agent. */
  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  /**
   * What comes in, until `signal` aborts or the queue is closed. For one reader. It is written out, and no generator:
   * one resumption of JavaScript lies between a request and its reader, where a generator has three.
   */
  take(signal: AbortSignal): AsyncIterableIterator<RawRequest> {
    signal.addEventListener('abort', () => this.#wake?.(), { once: true });
    const iterator: AsyncIterableIterator<RawRequest> = {
      next: async () => {
        while (!signal.aborted && !this.#closed) {
          const value = this.#requests.shift();
          if (value !== undefined) return { value, done: false };
          await new Promise<void>((resolve) => (this.#wake = resolve));
        }
        return { value: undefined, done: true };
      },
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }
}
