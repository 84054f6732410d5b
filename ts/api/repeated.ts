import type { Log } from './log.js';

/** Milliseconds. */
const PERIOD = 3_600_000;
/** How often in a period the log has that the same begins, where it ends each time: a thing may come and go. */
const MAX_BEGINNINGS = 5;
/** Whoever makes up reasons, such as names of commands that there are not, must not fill memory and log by that. */
const MAX_REASONS = 50;
const OTHERS = 'further reasons';

interface Told {
  readonly message: string;
  readonly reason: string;
  /** It is in the log as something that lasts. */
  lasts: boolean;
  /** Of this period. */
  beginnings: number;
  /** How often it came since the log had it. */
  again: number;
  readonly timer: NodeJS.Timeout;
}

export interface RepeatedOptions {
  readonly log: Log;
  readonly level: 'info' | 'warn' | 'error';
  /** What comes again and again. */
  readonly message: string;
  /** That it is over; absent where nobody can tell. */
  readonly ending?: string;
}

/**
 * What may come again at a pace that somebody else sets: a host that polls, or a condition that lasts. The log has it
 * once for each reason, then once an hour how often it came since, and once that it is over. Each time it is there at
 * the level `debug`.
 */
export class Repeated {
  readonly #options: RepeatedOptions;
  readonly #told = new Map<string, Told>();

  constructor(options: RepeatedOptions) {
    this.#options = options;
  }

  /** `reason` is logged always, `fields` but where only the number of times is; `message` instead of the usual one. */
  tell(reason: string, fields: object = {}, message = this.#options.message): void {
    const { log, level } = this.#options;
    const told = this.#find(reason, message);
    if (told.lasts || told.beginnings === MAX_BEGINNINGS) {
      told.again += 1;
      log.debug({ ...fields, reason }, message);
      return;
    }
    told.lasts = true;
    told.beginnings += 1;
    log[level]({ ...fields, reason }, message);
  }

  /** It is over, for all reasons. Cheap where there was nothing. */
  over(): void {
    if (this.#told.size === 0) return;
    const { log, ending } = this.#options;
    const lasting = [...this.#told.values()].filter(({ lasts }) => lasts);
    for (const told of lasting) told.lasts = false;
    if (lasting.length > 0 && ending !== undefined) log.info(ending);
  }

  /** Forgets all without a word. */
  [Symbol.dispose](): void {
    for (const { timer } of this.#told.values()) clearInterval(timer);
    this.#told.clear();
  }

  #find(reason: string, message: string): Told {
    const exact = `${message}\0${reason}`;
    const key = this.#told.has(exact) || this.#told.size < MAX_REASONS ? exact : OTHERS;
    const known = this.#told.get(key);
    if (known !== undefined) return known;
    const timer = setInterval(() => {
      this.#sumUp(key);
    }, PERIOD).unref();
    const told = key === OTHERS ? { message: this.#options.message, reason: OTHERS } : { message, reason };
    const entry: Told = { ...told, lasts: false, beginnings: 0, again: 0, timer };
    this.#told.set(key, entry);
    return entry;
  }

  #sumUp(key: string): void {
    const { log, level } = this.#options;
    const told = this.#told.get(key);
    if (told === undefined) return;
    const { message, reason, again } = told;
    if (again > 0) log[level]({ reason, times: again }, message);
    told.again = 0;
    told.beginnings = 0;
    if (again > 0) return;
    clearInterval(told.timer);
    this.#told.delete(key);
  }
}
