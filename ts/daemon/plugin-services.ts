/** What plugins tell of services, each kept apart: one that hangs, throws or tells nonsense is left out of the report. */
import type { Logger } from 'pino';
import type { PluginReports } from '../api/plugin.js';
import { Repeated } from '../api/repeated.js';
import type { ReportedService } from '../api/report.js';
import { describeError } from './log.js';
import { OVERDUE, within } from './overdue.js';
import type { LoadedPlugin } from './plugin.js';
import { ShapeError, checkServices } from './plugin-shape.js';
import { reasonOf } from './reason.js';

/** Nothing of a report may keep the host waiting for the rest of it. Milliseconds. */
const LIMIT_MS = 5000;

export class PluginServices {
  readonly #log: Logger;
  readonly #timeout: number;
  /** What was asked and has not answered yet, not even too late. */
  readonly #hanging = new WeakSet<PluginReports>();
  /** By the plugins' names. */
  readonly #failures = new Map<string, Repeated>();

  /** `timeout`: how long a command of a plugin may take, milliseconds. */
  constructor(log: Logger, timeout: number) {
    this.#log = log;
    this.#timeout = Math.min(timeout, LIMIT_MS);
  }

  /** All that they tell, in their order; of two services of one name the first. Never rejects. */
  async ask(plugins: readonly LoadedPlugin[]): Promise<readonly ReportedService[]> {
    const told = await Promise.all(
      plugins.map(async (plugin) => ({ plugin, services: await this.#askPlugin(plugin) })),
    );
    const all = new Map<string, ReportedService>();
    for (const { plugin, services } of told) {
      if (services === null) continue;
      const twice = services.filter(({ name }) => all.has(name)).map(({ name }) => name);
      for (const service of services) if (!all.has(service.name)) all.set(service.name, service);
      if (twice.length === 0) this.#failures.get(plugin.name)?.over();
      else this.#tell(plugin, `another plugin tells the service '${twice.join("', '")}' too`);
    }
    return [...all.values()];
  }

  /** Null when it failed. */
  async #askPlugin(plugin: LoadedPlugin): Promise<readonly ReportedService[] | null> {
    try {
      const given = await Promise.all(plugin.reports.map((reports) => this.#askReports(plugin, reports)));
      return given.flat();
    } catch (error) {
      this.#tell(plugin, reasonOf(error), { error: describeError(error) });
      return null;
    }
  }

  async #askReports(plugin: LoadedPlugin, reports: PluginReports): Promise<readonly ReportedService[]> {
    if (this.#hanging.has(reports)) throw new ShapeError('an earlier call of services has not ended yet');
    const ending = new AbortController();
    const work = plugin.run(async () => reports.services(ending.signal));
    this.#hanging.add(reports);
    const ended = (): void => void this.#hanging.delete(reports);
    work.then(ended, ended);
    const given = await within(work, this.#timeout);
    if (given !== OVERDUE) return checkServices(given);
    plugin.run(() => {
      ending.abort();
    });
    throw new ShapeError(`services took longer than ${this.#timeout / 1000} s`);
  }

  #tell({ name }: LoadedPlugin, reason: string, fields: object = {}): void {
    const known = this.#failures.get(name);
    const told =
      known ??
      new Repeated({
        log: this.#log.child({ plugin: name }),
        level: 'error',
        message: 'plugin cannot be asked for its services',
        ending: 'plugin can be asked for its services again',
      });
    this.#failures.set(name, told);
    told.tell(reason, fields);
  }
}
