import type { RawRequest, Requests } from '../api/communication.js';

const END: IteratorResult<RawRequest> = { value: undefined, done: true };

/** Requests between the wire that takes them in and whoever carries them out, in the order of arrival. */
export class RequestQueue {
  readonly #requests: RawRequest[] = [];
  #closed = false;
  /** Takes the next request at once; null for the end. Absent while nobody waits. */
  #reader: ((request: RawRequest | null) => void) | null = null;

  push(request: RawRequest): void {
    if (this.#reader === null) this.#requests.push(request);
    else this.#reader(request);
  }

  /** Ends whoever takes; what is still there is left to the next run of the agent. */
  close(): void {
    this.#closed = true;
    this.#reader?.(null);
  }

  /** What comes in, until `signal` aborts or the queue is closed. For one reader. */
  take(signal: AbortSignal): Required<Requests> {
    signal.addEventListener('abort', () => this.#reader?.(null), { once: true });
    return {
      each: (onRequest) => this.#each(onRequest, signal),
      [Symbol.asyncIterator]: () => ({ next: () => this.#next(signal) }),
    };
  }

  async #each(onRequest: (request: RawRequest) => void, signal: AbortSignal): Promise<void> {
    for (let first = this.#first(signal); first !== undefined; first = this.#first(signal)) {
      if (first === null) return;
      onRequest(first);
    }
    let thrown: { readonly error: unknown } | undefined;
    await new Promise<void>((resolve) => {
      this.#reader = (request) => {
        try {
          if (request !== null) {
            onRequest(request);
            return;
          }
        } catch (error) {
          thrown = { error };
        }
        this.#reader = null;
        resolve();
      };
    });
    if (thrown !== undefined) throw thrown.error;
  }

  #next(signal: AbortSignal): Promise<IteratorResult<RawRequest>> {
    const result = (request: RawRequest | null): IteratorResult<RawRequest> =>
      request === null ? END : { value: request, done: false };
    const first = this.#first(signal);
    if (first !== undefined) return Promise.resolve(result(first));
    return new Promise((resolve) => {
      this.#reader = (request) => {
        this.#reader = null;
        resolve(result(request));
      };
    });
  }

  /** What is there already: null for the end, undefined when nothing is. */
  #first(signal: AbortSignal): RawRequest | null | undefined {
    return this.#closed || signal.aborted ? null : this.#requests.shift();
  }
}
