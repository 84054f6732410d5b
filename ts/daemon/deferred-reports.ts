/** Reports whose code is loaded when somebody first asks for one: where nobody does, it costs nothing. */
import type { Reports } from '../api/report.js';
import type { ReportOptions, ReportSources, WatchedReports } from './reports.js';

/** For whoever asks and does not listen. */
export function reportsOf(sources: ReportSources): Pick<Reports, 'current'> {
  return { current: async (parts) => (await import('./reports.js')).gather(sources, parts) };
}

export function deferredReports(options: ReportOptions): WatchedReports {
  let loading: Promise<WatchedReports> | null = null;
  let loaded: WatchedReports | null = null;
  return {
    ...reportsOf(options),
    async *changes(signal) {
      loading ??= import('./reports.js').then(({ createReports }) => (loaded = createReports(options)));
      yield* (await loading).changes(signal);
    },
    // Who has not been loaded has nobody to tell.
    look() {
      loaded?.look();
    },
  };
}
