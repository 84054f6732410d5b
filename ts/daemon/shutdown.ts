/** How long a running command may take to finish once the agent is asked to stop; the unit's TimeoutStopSec= is longer. */
const GRACE_MS = 30_000;
const DAYS_MS = 2 ** 30;

export interface Shutdown extends Disposable {
  /** Aborts at the first SIGTERM or SIGINT. */
  readonly signal: AbortSignal;
  /** Aborts as a signal would. */
  stop(): void;
  /** Whether SIGTERM or SIGINT came, at whatever time. */
  readonly asked: boolean;
  /** Resolves with `work`, or, once asked to stop, after at most 30 s without it. */
  within(work: Promise<void>): Promise<'finished' | 'overdue'>;
}

/** SIGHUP ends nothing: a lost terminal or a habit of reloading must not end the agent, whoever else listens to it. */
export function listenForShutdown(onStop: (signal: NodeJS.Signals) => void, graceMs = GRACE_MS): Shutdown {
  const controller = new AbortController();
  let asked = false;
  const stop = (signal: NodeJS.Signals): void => {
    asked = true;
    if (controller.signal.aborted) return;
    onStop(signal);
    controller.abort(stopping());
  };
  const ignore = (): void => undefined;
  process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', ignore);
  return {
    signal: controller.signal,
    stop() {
      controller.abort(stopping());
    },
    get asked() {
      return asked;
    },
    async within(work) {
      let timer: NodeJS.Timeout | undefined;
      // Node ends where only a signal is waited for, and the wire of a plugin may hold nothing else.
      const alive = setInterval(() => undefined, DAYS_MS);
      const overdue = new Promise<'overdue'>((resolve) => {
        const begin = (): void => {
          timer = setTimeout(() => {
            resolve('overdue');
          }, graceMs);
        };
        if (controller.signal.aborted) begin();
        else controller.signal.addEventListener('abort', begin, { once: true });
      });
      try {
        return await Promise.race([work.then(() => 'finished' as const), overdue]);
      } finally {
        clearTimeout(timer);
        clearInterval(alive);
      }
    },
    [Symbol.dispose]() {
      process.off('SIGTERM', stop).off('SIGINT', stop).off('SIGHUP', ignore);
    },
  };
}

/** What is told who waits for something. */
function stopping(): DOMException {
  return new DOMException('the agent stops', 'AbortError');
}

/** Calls `onReload` at each SIGHUP, until the function that it gives is called. */
export function listenForReload(onReload: () => Promise<void>): () => void {
  const reload = (): void => void onReload();
  process.on('SIGHUP', reload);
  return () => void process.off('SIGHUP', reload);
}
