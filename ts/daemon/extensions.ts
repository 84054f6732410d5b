/** Plugins and scripts: found, loaded, put into the registry after the agent's own commands, and looked at again. */
import type { Logger } from 'pino';
import type { Codec, CommunicationModule } from '../api/communication.js';
import type { Host } from '../api/host.js';
import type { ReportedService } from '../api/report.js';
import { type FoundPlugin, type FoundScript, type Problem, findPlugins, findScripts } from '../host/index.js';
import type { PluginTable } from './config-file.js';
import type { PluginTables } from './config.js';
import { LoadingNotes } from './loading-notes.js';
import type { LoadedPlugin } from './plugin.js';
import type { PluginServices } from './plugin-services.js';
import { describeError } from './log.js';
import type { Origin, Registry } from './registry.js';
import { reasonOf } from './reason.js';
import { Schedule, type ScheduleOptions } from './schedule.js';
import { scriptCommand, scriptSettings } from './script.js';
import { AUTO } from './wires.js';

export interface ExtensionOptions {
  readonly registry: Registry;
  readonly host: Host;
  readonly log: Logger;
  /** Names that no plugin's wire may have. */
  readonly ownWires: readonly string[];
  /** Whether this is the agent, which notes what it loads, and not who only looks. */
  readonly isAgent: boolean;
  readonly plugins: {
    /** Null where none are to be loaded. */
    readonly directory: string | null;
    /** Milliseconds. */
    readonly loadTimeout: number;
    /** Milliseconds. */
    readonly commandTimeout: number;
    readonly tables: PluginTables;
  };
  readonly scripts: {
    readonly directory: string;
    /** Milliseconds. */
    readonly timeout: number;
  };
}

/** A script whose name a command of the agent or of a plugin has: it is not asked. */
export interface Shadowed {
  readonly name: string;
  readonly where: string;
  readonly by: Origin;
}

export interface ListedTask {
  readonly name: string;
  /** Milliseconds. */
  readonly every: number;
  readonly where: string;
}

interface Loaded {
  readonly found: FoundPlugin;
  readonly plugin: LoadedPlugin;
  /** What the configuration had for it, as text that can be compared. */
  readonly settings: string;
}

/** A table of the configuration that no plugin has asked for. */
export interface Unclaimed {
  /** Where it stands. */
  readonly where: string;
  /** The plugin that it is for. */
  readonly name: string;
}

/** One look at the folder of plugins. */
interface Look {
  readonly problems: Problem[];
  /** Names of all plugins that could tell theirs. */
  readonly asked: Set<string>;
  readonly notes: LoadingNotes;
}

/** A plugin that is to be put to use. */
interface Candidate {
  readonly now: Loaded;
  /** What runs of it: the same, where it has not changed or the change cannot be used; null for a newcomer. */
  readonly before: Loaded | null;
}

const RESTART = 'it brings a wire, which is opened when the agent starts: restart the agent';
/** What is told of one by which the agent ended. */
const LEFT_OUT =
  'the agent ended while it loaded it; it is left out until its file changes, or the agent is told to reload (SIGHUP)';
const KEPT = 'the version before it keeps running';

export class Extensions {
  readonly #options: ExtensionOptions;
  #loaded: readonly Loaded[] = [];
  #problems: readonly Problem[] = [];
  #shadowed: readonly Shadowed[] = [];
  #unclaimed: readonly Unclaimed[] = [];
  #tables: PluginTables;
  #last: Promise<void> = Promise.resolve();
  /** Null while nothing is scheduled. */
  #schedule: Schedule | null = null;
  /** Those whose wires were handed out to be opened; null before any was. */
  #served: ReadonlySet<LoadedPlugin> | null = null;
  #services: PluginServices | null = null;

  constructor(options: ExtensionOptions) {
    this.#options = options;
    this.#tables = options.plugins.tables;
  }

  /** What cannot be used, and why. */
  get problems(): readonly Problem[] {
    return this.#problems;
  }

  get shadowed(): readonly Shadowed[] {
    return this.#shadowed;
  }

  get unclaimed(): readonly Unclaimed[] {
    return this.#unclaimed;
  }

  /** Names of the wires that plugins bring, and the file of each. */
  get broughtWires(): readonly { readonly name: string; readonly where: string }[] {
    return this.#loaded.flatMap(({ found: { where }, plugin }) => plugin.wires.map(({ name }) => ({ name, where })));
  }

  /**
   * Looks at both folders, again if it did before, and at what the configuration has for plugins: by `reread`, or as
   * before without it, or where it rejects. Commands that run meanwhile finish. Never rejects.
   */
  async load(reread?: () => Promise<PluginTables>): Promise<void> {
    this.#last = this.#last
      .then(async () => {
        if (reread !== undefined) await this.#reread(reread);
        await this.#load(reread !== undefined);
      })
      .catch((error: unknown) => {
        this.#options.log.error({ error: describeError(error) }, 'plugins and scripts cannot be looked at');
      });
    await this.#last;
  }

  /** The wires of the plugins that are loaded by now; `codec` is for those that have none of their own. */
  async wires(codec: Codec): Promise<readonly CommunicationModule[]> {
    const brought = this.#loaded.flatMap(({ plugin }) => plugin.wires.map((wire) => ({ plugin, wire })));
    this.#served = new Set(brought.map(({ plugin }) => plugin));
    if (brought.length === 0) return [];
    const { guardedWire } = await import('./plugin-wire.js');
    const timeout = this.#options.plugins.commandTimeout;
    return brought.map((one) => guardedWire({ ...one, codec, timeout }));
  }

  /** What the plugins that are loaded by now tell of services. Never rejects. */
  async services(): Promise<readonly ReportedService[]> {
    const telling = this.#loaded.map(({ plugin }) => plugin).filter(({ reports }) => reports.length > 0);
    if (telling.length === 0) return [];
    const { PluginServices } = await import('./plugin-services.js');
    const { log, plugins } = this.#options;
    this.#services ??= new PluginServices(log, plugins.commandTimeout);
    return this.#services.ask(telling);
  }

  /** What plugins do again and again, and the file of each. */
  get tasks(): readonly ListedTask[] {
    return this.#loaded.flatMap(({ found: { where }, plugin }) =>
      plugin.tasks.map(({ name, every }) => ({ name, every, where })),
    );
  }

  /** From now on plugins do their scheduled work, when `inTurn` lets them. */
  beginTasks(inTurn: ScheduleOptions['inTurn']): void {
    this.#schedule = new Schedule({ log: this.#options.log, inTurn });
    this.#schedule.use(this.#loaded.map(({ plugin }) => plugin));
  }

  /** No scheduled work is begun any more, and what runs is told to end. */
  endTasks(): void {
    this.#schedule?.end('the agent stops');
  }

  /** Tells every plugin to end what it has begun. */
  unload(): void {
    this.endTasks();
    for (const { plugin } of this.#loaded) plugin.unload();
  }

  async #reread(read: () => Promise<PluginTables>): Promise<void> {
    try {
      this.#tables = await read();
    } catch (error) {
      this.#options.log.error({ reason: reasonOf(error) }, 'configuration cannot be read: plugins keep their settings');
    }
  }

  /** `isAsked`: by the operator, who may want to try again what was left out. */
  async #load(isAsked: boolean): Promise<void> {
    const { plugins, scripts, registry, host, log } = this.#options;
    const foundPlugins = await findPlugins(plugins.directory);
    const foundScripts = await findScripts(scripts.directory, host.live);
    const problems = [...foundPlugins.problems, ...foundScripts.problems];
    const asked = new Set<string>();
    const notes = await LoadingNotes.open(host.state, this.#options.isAgent);
    await notes.keep(foundPlugins.found.map(({ where }) => where));
    const leftOut = isAsked ? [] : foundPlugins.found.filter((one) => notes.has(one.where, one.fingerprint));
    for (const { where } of leftOut) problems.push({ where, reason: LEFT_OUT });
    const toLoad = foundPlugins.found.filter((one) => !leftOut.includes(one));
    const candidates = await this.#loadPlugins(toLoad, { problems, asked, notes });
    // From here to the end nothing waits, so that no request meets half a registry.
    registry.removeExtensions();
    const before = this.#loaded;
    const chosen = this.#choose(candidates, problems);
    // By name, whatever was new: the order is that of `features`.
    this.#loaded = candidates.flatMap(({ now }) => chosen.filter(({ found }) => found.where === now.found.where));
    for (const { found, plugin } of this.#loaded) {
      for (const module of plugin.modules) registry.add(module, { kind: 'plugin', where: found.where });
    }
    this.#schedule?.use(this.#loaded.map(({ plugin }) => plugin));
    this.#tell(before, candidates);
    this.#shadowed = this.#addScripts(foundScripts.found, problems);
    this.#problems = problems.sort((a, b) => (a.where < b.where ? -1 : 1));
    // Where no plugins are to be loaded, nothing is missing; and one that is left out may be the one that they are for.
    const unclaimed =
      plugins.directory === null || leftOut.length > 0 ? [] : [...this.#tables].filter(([name]) => !asked.has(name));
    this.#unclaimed = unclaimed.map(([name, { source }]) => ({ where: source, name }));
    for (const { where, name } of this.#unclaimed)
      log.warn({ where, plugin: name }, 'settings are for no plugin that is there');
    for (const { where, reason } of problems) log.error({ where, reason }, 'plugin or script cannot be used');
    for (const { name, where, by } of this.#shadowed) {
      log.info({ name, where, by: by.kind }, 'script is not asked: another command has its name');
    }
  }

  /** Says what has come and gone, and unloads what is not put to use, be it new or of before. */
  #tell(before: readonly Loaded[], candidates: readonly Candidate[]): void {
    const { log } = this.#options;
    const isIn = (list: readonly Loaded[], { plugin }: Loaded): boolean => list.some((one) => one.plugin === plugin);
    for (const one of this.#loaded.filter((loaded) => !isIn(before, loaded))) {
      log.info({ where: one.found.where, plugin: one.plugin.name }, 'plugin loaded');
    }
    for (const one of new Set([...before, ...candidates.map(({ now }) => now)])) {
      if (isIn(this.#loaded, one)) continue;
      one.plugin.unload();
      const { where } = one.found;
      if (this.#loaded.some(({ found }) => found.where === where) || !isIn(before, one)) continue;
      log.info({ where, plugin: one.plugin.name }, 'plugin unloaded');
    }
  }

  async #loadPlugins(found: readonly FoundPlugin[], look: Look): Promise<readonly Candidate[]> {
    const { problems, asked } = look;
    const loaded: Candidate[] = this.#unreadable(problems);
    const isServed = ({ plugin }: Loaded): boolean => this.#served?.has(plugin) ?? false;
    // A wire is served until the agent stops, and so is the plugin that has it, even when its file is gone.
    for (const before of this.#loaded.filter(isServed)) {
      if (loaded.some(({ now }) => now === before)) continue;
      const { where } = before.found;
      const now = found.find((one) => one.where === where);
      const change = now === undefined ? 'is gone' : this.#change(before, now);
      if (change !== null) problems.push({ where, reason: `${change}; ${RESTART}` });
      loaded.push({ now: before, before });
    }
    for (const one of found.filter(({ where }) => !loaded.some(({ now }) => now.found.where === where))) {
      const { where } = one;
      const before = this.#loaded.find((candidate) => candidate.found.where === where) ?? null;
      try {
        const isSame = before !== null && this.#change(before, one) === null;
        const now = isSame ? before : await this.#loadPlugin(one, before !== null, look);
        loaded.push({ now, before });
        if (this.#served !== null && now.plugin.wires.length > 0) problems.push({ where, reason: RESTART });
      } catch (error) {
        const { message } = error as Error;
        problems.push({ where, reason: before === null ? message : `${message}; ${KEPT}` });
        if (before !== null) loaded.push({ now: before, before });
      }
    }
    for (const { now, before } of loaded) for (const one of [now, before]) if (one !== null) asked.add(one.plugin.name);
    return loaded;
  }

  /** What is no longer as it was when the plugin was loaded, or null. */
  #change({ found, plugin, settings }: Loaded, now: FoundPlugin): string | null {
    if (found.fingerprint !== now.fingerprint) return 'has changed';
    return settings === asText(this.#tables.get(plugin.name)) ? null : 'has other settings';
  }

  /** What runs and cannot be looked at now, for another reason than that others could have changed it: it stays. */
  #unreadable(problems: Problem[]): Candidate[] {
    const { directory } = this.#options.plugins;
    return this.#loaded.flatMap((before) => {
      const { where } = before.found;
      const at = problems.findIndex((problem) => problem.where === where || problem.where === directory);
      const problem = problems[at];
      if (problem === undefined || problem.distrusted === true) return [];
      if (problem.where === where) problems[at] = { where, reason: `${problem.reason}; ${KEPT}` };
      return [{ now: before, before }];
    });
  }

  async #loadPlugin(found: FoundPlugin, isAgain: boolean, { asked, notes }: Look): Promise<Loaded> {
    const { where, fingerprint } = found;
    const { host, log, plugins } = this.#options;
    // Most guests have no plugin, and are spared the code for them.
    const [{ loadPlugin }, { guardProcess }, { importPlugin }] = await Promise.all([
      import('./plugin.js'),
      import('./plugin-guard.js'),
      import('../host/shared/plugin-module.js'),
    ]);
    guardProcess(log);
    const { loadTimeout, commandTimeout } = plugins;
    const table = (name: string): PluginTable | null => {
      asked.add(name);
      return this.#tables.get(name) ?? null;
    };
    const options = { host, log, loadTimeout, commandTimeout, table };
    const load = (): Promise<LoadedPlugin> => loadPlugin(where, () => importPlugin(found, isAgain), options);
    const plugin = await notes.under(where, fingerprint, load);
    return { found, plugin, settings: asText(this.#tables.get(plugin.name)) };
  }

  /**
   * Which of them are put to use, with the agent's own commands alone in the registry. First comes what stays as it is,
   * then what has changed, and last what is new, so that none takes a name from one that runs. A changed one that has no
   * place stays what it was, with the names that it had: so the others are tried again.
   */
  #choose(candidates: readonly Candidate[], problems: Problem[]): readonly Loaded[] {
    const staying = candidates.filter(({ now, before }) => now === before).map(({ now }) => now);
    let changed = candidates.filter(({ now, before }) => before !== null && now !== before);
    for (;;) {
      const chosen: Loaded[] = [];
      for (const one of staying) this.#add(one, chosen);
      const refused = changed.flatMap((candidate) => {
        const reason = this.#add(candidate.now, chosen);
        return reason === null ? [] : [{ candidate, reason }];
      })[0];
      if (refused === undefined) {
        for (const { now, before } of candidates) {
          if (before !== null) continue;
          const reason = this.#add(now, chosen);
          if (reason !== null) problems.push({ where: now.found.where, reason });
        }
        return chosen;
      }
      const { candidate, reason } = refused;
      problems.push({ where: candidate.now.found.where, reason: `${reason}; ${KEPT}` });
      changed = changed.filter((one) => one !== candidate);
      if (candidate.before !== null) staying.push(candidate.before);
    }
  }

  /** Adds all that a plugin brings to `chosen`, or nothing and gives the reason: half a pair is worse than none. */
  #add(loaded: Loaded, chosen: Loaded[]): string | null {
    const reason = this.#refusal(loaded, chosen);
    if (reason !== null) return reason;
    chosen.push(loaded);
    return null;
  }

  #refusal({ plugin }: Loaded, before: readonly Loaded[]): string | null {
    const { registry, ownWires } = this.#options;
    for (const { name } of plugin.wires) {
      const other = before.find((one) => one.plugin.wires.some((wire) => wire.name === name));
      if (other === undefined && name !== AUTO && !ownWires.includes(name)) continue;
      const whose = other === undefined ? 'the agent has itself' : `${other.found.where} has too`;
      return `brings the wire '${name}', which ${whose}`;
    }
    for (const name of commandNames(plugin)) {
      const other = before.find((one) => commandNames(one.plugin).includes(name));
      if (other === undefined && registry.origin(name) === null) continue;
      const whose = other === undefined ? 'the agent has itself' : `${other.found.where} has too`;
      return `brings the command '${name}', which ${whose}`;
    }
    return null;
  }

  #addScripts(found: readonly FoundScript[], problems: Problem[]): readonly Shadowed[] {
    const { registry, host, scripts } = this.#options;
    return found.flatMap(({ name, path, head }) => {
      const by = registry.origin(name);
      if (by !== null) return [{ name, where: path, by }];
      const settings = scriptSettings(head);
      if (typeof settings === 'string') {
        problems.push({ where: path, reason: settings });
        return [];
      }
      const { timeout = scripts.timeout, logsErrors } = settings;
      registry.add(
        { name, commands: [scriptCommand({ name, path, timeout, logsErrors }, host)] },
        { kind: 'script', where: path },
      );
      return [];
    });
  }
}

/** Without where it stands. */
function asText(table: PluginTable | undefined): string {
  return table === undefined ? '' : JSON.stringify([...table.values].map(([key, { value }]) => [key, value]));
}

function commandNames({ modules }: LoadedPlugin): readonly string[] {
  return modules.flatMap(({ commands }) => commands.map(({ name }) => name));
}
