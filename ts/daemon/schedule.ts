/** When the scheduled work of plugins is done: in line with the commands that change the machine, so one change at a time. */
import type { Logger } from 'pino';
import { messageOf } from '../api/errors.js';
import { Repeated } from '../api/repeated.js';
import type { LoadedPlugin, LoadedTask } from './plugin.js';

export interface ScheduleOptions {
  readonly log: Logger;
  /** Does work when its turn has come; resolves after it. */
  readonly inTurn: (work: () => Promise<void>) => Promise<void>;
}

export class Schedule {
  readonly #options: ScheduleOptions;
  readonly #stop = new AbortController();
  readonly #begun = new Map<LoadedPlugin, readonly Disposable[]>();

  constructor(options: ScheduleOptions) {
    this.#options = options;
  }

  /** From now on the tasks of these plugins are done, and no others. What runs is not waited for. */
  use(plugins: readonly LoadedPlugin[]): void {
    if (this.#stop.signal.aborted) return;
    for (const [plugin, tasks] of this.#begun) {
      if (plugins.includes(plugin)) continue;
      for (const task of tasks) task[Symbol.dispose]();
      this.#begun.delete(plugin);
    }
    for (const plugin of plugins) {
      if (this.#begun.has(plugin)) continue;
      this.#begun.set(
        plugin,
        plugin.tasks.map((task) => this.#begin(plugin, task)),
      );
    }
  }

  /** Nothing is begun any more, and what runs is told to end. */
  end(reason: string): void {
    this.use([]);
    this.#stop.abort(new DOMException(reason, 'AbortError'));
  }

  #begin({ name }: LoadedPlugin, task: LoadedTask): Disposable {
    const log = this.#options.log.child({ plugin: name, task: task.name });
    const failures = new Repeated({
      log,
      level: 'error',
      message: 'task of a plugin failed',
      ending: 'task of a plugin does not fail any more',
    });
    let isOver = false;
    let due = performance.now() + task.delay;
    let timer: NodeJS.Timeout | undefined;
    const work = async (): Promise<void> => {
      if (isOver) return;
      const begun = performance.now();
      try {
        await task.run(this.#stop.signal);
        log.debug({ ranMs: Math.round(performance.now() - begun) }, 'task of a plugin finished');
        failures.over();
      } catch (error) {
        // There was no request that the message could quote.
        failures.tell(messageOf(error));
      }
    };
    const arm = (): void => {
      timer = setTimeout(
        () => void this.#options.inTurn(work).then(next),
        Math.max(0, due - performance.now()),
      ).unref();
    };
    // Beginnings are an interval apart; those that were missed meanwhile are not made up for.
    const next = (): void => {
      if (isOver) return;
      due = Math.max(due, performance.now() - task.every) + task.every;
      arm();
    };
    arm();
    return {
      [Symbol.dispose]() {
        isOver = true;
        clearTimeout(timer);
        failures[Symbol.dispose]();
      },
    };
  }
}
