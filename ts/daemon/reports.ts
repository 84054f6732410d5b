/** What the guest tells, gathered through the Host: when it is asked for, and again and again while somebody listens. */
import type { Logger } from 'pino';
import type { Host } from '../api/host.js';
import type { Report, ReportedService, Reports } from '../api/report.js';
import { Repeated } from '../api/repeated.js';
import { AGENT_VERSION } from '../commands/version.js';
import { differs } from '../report/difference.js';
import { MEMINFO, readMemory } from '../report/linux/memory.js';
import { MOUNTS, OWN_MOUNTS, readVolumes } from '../report/linux/volumes.js';
import { reportNics } from '../report/nics.js';
import { OS_RELEASES, readOsRelease } from '../report/os-release.js';
import { describeError } from './log.js';
import { reasonOf } from './reason.js';

/** How often to look where nothing says that something has changed. Milliseconds. */
const POLL_MS = 60_000;
/** Between two looks at least: what listens is told no more often. Milliseconds. */
const GAP_MS = 1000;

export interface ReportSources {
  readonly host: Pick<Host, 'live' | 'files' | 'network' | 'system'>;
  /** What plugins tell; nothing where there are none. */
  readonly services?: () => Promise<readonly ReportedService[]>;
}

export interface ReportOptions extends ReportSources {
  readonly log: Logger;
  /** Milliseconds; {@link POLL_MS} when absent. */
  readonly poll?: number;
}

/** Reports, and a door for whoever knows that something may have changed. */
export interface WatchedReports extends Reports {
  /** Looks again, where somebody listens: at once, or when a second has passed since the last look. */
  look: () => void;
}

/** Where each part of a report comes from. */
type Parts = { readonly [Part in keyof Report]: () => Promise<Report[Part]> };

function partsOf({ host, services }: ReportSources): Parts {
  const { files, network, system, live } = host;
  return {
    agent: () => Promise.resolve({ name: 'guestwire', version: AGENT_VERSION }),
    os: async () => {
      const [text, hostname, kernel] = await Promise.all([
        firstText(files, OS_RELEASES),
        network.hostname(),
        system.kernel(),
      ]);
      return { ...readOsRelease(text), hostname: hostname === '' ? null : hostname, kernel };
    },
    memory: async () => readMemory(await files.readText(MEMINFO)),
    nics: async () => {
      const [nics, { addresses }] = await Promise.all([network.nics(), network.live()]);
      return reportNics(nics, live ? addresses : null);
    },
    volumes: async () =>
      readVolumes((await files.readText(MOUNTS).catch(() => null)) ?? (await files.readText(OWN_MOUNTS))),
    services: services ?? (() => Promise.resolve([])),
  };
}

async function firstText(files: Host['files'], paths: readonly string[]): Promise<string | null> {
  for (const path of paths) {
    const text = await files.readText(path);
    if (text !== null) return text;
  }
  return null;
}

/** As {@link Reports.current} has it. */
export async function gather<Part extends keyof Report>(
  sources: ReportSources,
  wanted?: readonly Part[],
): Promise<Pick<Report, Part>> {
  const parts = partsOf(sources);
  const names = wanted ?? (Object.keys(parts) as unknown as readonly Part[]);
  const entries = await Promise.all(names.map(async (name) => [name, await parts[name]()] as const));
  return frozen(Object.fromEntries(entries) as Pick<Report, Part>);
}

export function createReports({ log, poll = POLL_MS, ...sources }: ReportOptions): WatchedReports {
  const unmade = new Repeated({
    log,
    level: 'error',
    message: 'report cannot be made',
    ending: 'reports are made again',
  });
  const listeners = new Set<Listener>();
  let timer: NodeJS.Timeout | undefined;
  let looking = false;
  /** Something changed while the machine was looked at. */
  let again = false;
  let lookedAt = Number.NEGATIVE_INFINITY;

  function lookAfter(milliseconds: number): void {
    clearTimeout(timer);
    timer = setTimeout(() => void lookNow(), milliseconds).unref();
  }

  async function lookNow(): Promise<void> {
    if (listeners.size === 0) return;
    looking = true;
    again = false;
    try {
      const report = await gather(sources);
      for (const listener of listeners) listener.take(report);
      unmade.over();
    } catch (error) {
      unmade.tell(reasonOf(error), { error: describeError(error) });
    }
    looking = false;
    lookedAt = performance.now();
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- `look` has set it meanwhile
    lookAfter(again ? GAP_MS : poll);
  }

  function look(): void {
    if (listeners.size === 0) return;
    if (looking) again = true;
    else lookAfter(Math.max(0, lookedAt + GAP_MS - performance.now()));
  }

  return {
    current: (wanted) => gather(sources, wanted),
    look,
    async *changes(signal) {
      const listener = new Listener();
      const end = (): void => {
        listener.end();
      };
      signal.addEventListener('abort', end, { once: true });
      if (signal.aborted) end();
      listeners.add(listener);
      look();
      try {
        for (let report = await listener.next(); report !== null; report = await listener.next()) yield report;
      } finally {
        listeners.delete(listener);
        signal.removeEventListener('abort', end);
        if (listeners.size === 0) clearTimeout(timer);
      }
    },
  };
}

/** One who listens: what was told last, and the newest that is still to be told. */
class Listener {
  #told: Report | null = null;
  #news: Report | null = null;
  #ended = false;
  #wake = (): void => undefined;

  take(report: Report): void {
    // What has gone back to what was told is no news any more.
    this.#news = this.#told === null || differs(this.#told, report) ? report : null;
    if (this.#news !== null) this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  /** Null at the end. */
  async next(): Promise<Report | null> {
    while (this.#news === null && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#ended) return null;
    const news = this.#news;
    this.#news = null;
    this.#told = news;
    return news;
  }
}

/** With all that is in it. */
function frozen<T extends object>(value: T): T {
  for (const inner of Object.values(value)) {
    if (typeof inner === 'object' && inner !== null) frozen(inner);
  }
  return Object.freeze(value);
}
