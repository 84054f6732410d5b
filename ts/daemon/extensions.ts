/** Plugins and scripts: found, loaded, put into the registry after the agent's own commands, and looked at again. */
import type { Logger } from 'pino';
import type { Codec, CommunicationModule } from '../api/communication.js';
import type { Host } from '../api/host.js';
import { type FoundPlugin, type FoundScript, type Problem, findPlugins, findScripts } from '../host/extensions.js';
import type { LoadedPlugin } from './plugin.js';
import { describeError } from './log.js';
import type { Origin, Registry } from './registry.js';
import { scriptCommand } from './script.js';
import { AUTO } from './wires.js';

export interface ExtensionOptions {
  readonly registry: Registry;
  readonly host: Host;
  readonly log: Logger;
  /** Names that no plugin's wire may have. */
  readonly ownWires: readonly string[];
  readonly plugins: {
    /** Null where none are to be loaded. */
    readonly directory: string | null;
    /** Milliseconds. */
    readonly loadTimeout: number;
    /** Milliseconds. */
    readonly commandTimeout: number;
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

interface Loaded {
  readonly found: FoundPlugin;
  readonly plugin: LoadedPlugin;
}

const RESTART = 'it brings a wire, which is opened when the agent starts: restart the agent';

export class Extensions {
  readonly #options: ExtensionOptions;
  #loaded: readonly Loaded[] = [];
  #problems: readonly Problem[] = [];
  #shadowed: readonly Shadowed[] = [];
  #last: Promise<void> = Promise.resolve();
  /** Those whose wires were handed out to be opened; null before any was. */
  #served: ReadonlySet<LoadedPlugin> | null = null;

  constructor(options: ExtensionOptions) {
    this.#options = options;
  }

  /** What cannot be used, and why. */
  get problems(): readonly Problem[] {
    return this.#problems;
  }

  get shadowed(): readonly Shadowed[] {
    return this.#shadowed;
  }

  /** Names of the wires that plugins bring, and the file of each. */
  get broughtWires(): readonly { readonly name: string; readonly where: string }[] {
    return this.#loaded.flatMap(({ found: { where }, plugin }) => plugin.wires.map(({ name }) => ({ name, where })));
  }

  /** Looks at both folders, again if it did before. Commands that run meanwhile finish. Never rejects. */
  async load(): Promise<void> {
    this.#last = this.#last
      .then(() => this.#load())
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

  /** Tells every plugin to end what it has begun. */
  unload(): void {
    for (const { plugin } of this.#loaded) plugin.unload();
  }

  async #load(): Promise<void> {
    const { plugins, scripts, registry, log } = this.#options;
    const nothing = { found: [], problems: [] };
    const foundPlugins = plugins.directory === null ? nothing : await findPlugins(plugins.directory);
    const foundScripts = await findScripts(scripts.directory);
    const problems = [...foundPlugins.problems, ...foundScripts.problems];
    const loaded = await this.#loadPlugins(foundPlugins.found, problems);
    // From here to the end nothing waits, so that no request meets half a registry.
    registry.removeExtensions();
    const kept: Loaded[] = [];
    for (const one of loaded) if (this.#add(one, kept, problems)) kept.push(one);
    for (const { plugin } of this.#loaded) if (!kept.some((one) => one.plugin === plugin)) plugin.unload();
    this.#loaded = kept;
    this.#shadowed = this.#addScripts(foundScripts.found);
    this.#problems = problems.sort((a, b) => (a.where < b.where ? -1 : 1));
    for (const { where, reason } of problems) log.error({ where, reason }, 'plugin or script cannot be used');
    for (const { name, where, by } of this.#shadowed) {
      log.info({ name, where, by: by.kind }, 'script is not asked: another command has its name');
    }
  }

  async #loadPlugins(found: readonly FoundPlugin[], problems: Problem[]): Promise<readonly Loaded[]> {
    const loaded: Loaded[] = [];
    const isServed = ({ plugin }: Loaded): boolean => this.#served?.has(plugin) ?? false;
    // A wire is served until the agent stops, and so is the plugin that has it, even when its file is gone.
    for (const before of this.#loaded.filter(isServed)) {
      const { where, fingerprint } = before.found;
      const now = found.find((one) => one.where === where);
      if (now?.fingerprint !== fingerprint) {
        problems.push({ where, reason: `${now === undefined ? 'is gone' : 'has changed'}; ${RESTART}` });
      }
      loaded.push(before);
    }
    for (const one of found.filter(({ where }) => !loaded.some((before) => before.found.where === where))) {
      const before = this.#loaded.find((candidate) => candidate.found.where === one.where);
      try {
        const plugin = before?.found.fingerprint === one.fingerprint ? before.plugin : await this.#loadPlugin(one);
        loaded.push({ found: one, plugin });
        if (this.#served !== null && plugin.wires.length > 0) problems.push({ where: one.where, reason: RESTART });
      } catch (error) {
        problems.push({ where: one.where, reason: (error as Error).message });
      }
    }
    return loaded;
  }

  async #loadPlugin({ where, entry }: FoundPlugin): Promise<LoadedPlugin> {
    const { host, log, plugins } = this.#options;
    // Most guests have no plugin, and are spared the code for them.
    const [{ loadPlugin }, { guardProcess }, { importPlugin }] = await Promise.all([
      import('./plugin.js'),
      import('./plugin-guard.js'),
      import('../host/plugin-module.js'),
    ]);
    guardProcess(log);
    const { loadTimeout, commandTimeout } = plugins;
    const plugin = await loadPlugin(where, () => importPlugin(entry), { host, log, loadTimeout, commandTimeout });
    log.info({ where, plugin: plugin.name }, 'plugin loaded');
    return plugin;
  }

  /** All that a plugin brings, or nothing: half a pair of commands is worse than none. */
  #add({ found: { where }, plugin }: Loaded, before: readonly Loaded[], problems: Problem[]): boolean {
    const { registry, ownWires } = this.#options;
    for (const { name } of plugin.wires) {
      const other = before.find((one) => one.plugin.wires.some((wire) => wire.name === name));
      if (other === undefined && name !== AUTO && !ownWires.includes(name)) continue;
      const whose = other === undefined ? 'the agent has itself' : `${other.found.where} has too`;
      problems.push({ where, reason: `brings the wire '${name}', which ${whose}` });
      return false;
    }
    for (const { name } of plugin.modules.flatMap(({ commands }) => commands)) {
      const holder = registry.origin(name);
      if (holder === null) continue;
      const whose = holder.kind === 'native' ? 'the agent has itself' : `${holder.where} has too`;
      problems.push({ where, reason: `brings the command '${name}', which ${whose}` });
      return false;
    }
    for (const module of plugin.modules) registry.add(module, { kind: 'plugin', where });
    return true;
  }

  #addScripts(found: readonly FoundScript[]): readonly Shadowed[] {
    const { registry, host, scripts } = this.#options;
    return found.flatMap(({ name, path }) => {
      const by = registry.origin(name);
      if (by !== null) return [{ name, where: path, by }];
      registry.add(
        { name, commands: [scriptCommand({ name, path }, host, scripts.timeout)] },
        { kind: 'script', where: path },
      );
      return [];
    });
  }
}
