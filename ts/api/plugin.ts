import type { CommandModule } from './command.js';
import type { Codec, Transport } from './communication.js';
import type { Host } from './host.js';
import type { Log } from './log.js';
import type { Signal } from './platform.js';
import type { ReportedService, Reports } from './report.js';
import type { PluginSettings, SettingsOf } from './settings.js';

/** Raised when a plugin written for the shape before would stop working. */
export const API_VERSION = 1;

/** A wire that a plugin brings. Without a codec the requests and answers are the JSON objects of docs/protocol.md. */
export interface PluginWire {
  /** Lower-case letters, digits and dashes, and no other wire's: what `wires.use`, the log and the journal go by. */
  readonly name: string;
  readonly codec?: Codec;
  /** Once, when the agent starts. Rejects with AgentError GW_WIRE_ABSENT when this machine has no such wire. */
  open(): Promise<Transport>;
  /**
   * Tells the host what the guest tells by itself. Called once the wire is open, and has to end when `signal` aborts. What it
   * throws is logged, and nothing more is told; requests are served all the same.
   */
  tell?(reports: Reports, signal: Signal): Promise<void>;
}

/** What a plugin adds to the report of the guest. */
export interface PluginReports {
  /**
   * The services that the plugin knows of, as they are now. Called whenever a report is made: about once a minute, and
   * after each command that changes the machine. What takes longer than 5 s, throws or has another shape is left out of
   * the report and logged; `signal` aborts then.
   */
  services(signal: Signal): readonly ReportedService[] | Promise<readonly ReportedService[]>;
}

/** What scheduled work is handed. */
export interface TaskContext {
  readonly log: Log;
  /** Aborts when the plugin is unloaded, the agent stops, or the time is up. */
  readonly signal: Signal;
}

/**
 * Work that a plugin does again and again while the agent serves. It takes its turn among the serial commands, for it may
 * change the machine as they do, and is never begun again before it has ended.
 */
export interface ScheduledTask {
  /** As names of commands. */
  readonly name: string;
  /** From one beginning to the next: such as `'15m'`, or milliseconds; at least a second. */
  readonly every: string | number;
  /** How long after the agent has begun to serve, or loaded the plugin, it is done first; as `every` when absent. */
  readonly delay?: string | number;
  /** Milliseconds that it may take; `plugins.command-timeout` when absent. */
  readonly timeout?: number;
  run(context: TaskContext): Promise<void> | void;
}

/** What a plugin adds to the agent. */
export type Contribution =
  | { readonly kind: 'commands'; readonly module: CommandModule }
  | { readonly kind: 'communication'; readonly module: PluginWire }
  | { readonly kind: 'reports'; readonly module: PluginReports }
  | { readonly kind: 'schedule'; readonly tasks: readonly ScheduledTask[] };

/** What a plugin is handed beside the machine. */
export interface PluginContext<S extends PluginSettings = PluginSettings> {
  readonly log: Log;
  /** By the plugin's own {@link Plugin.settings}. Other values are handed to another `setup`. */
  readonly settings: SettingsOf<S>;
  /** Aborts when the plugin is unloaded or the agent stops: timers, servers and the like have to end then. */
  readonly signal: Signal;
}

/** The default export of a plugin's file. */
export interface Plugin<S extends PluginSettings = PluginSettings> {
  readonly apiVersion: number;
  readonly name: string;
  /** What may stand in the table `[plugin.NAME]` of the configuration, where NAME is the plugin's; nothing when absent. */
  readonly settings?: S;
  /** Makes what the plugin adds. `guestwire commands` calls it too: what serves or changes something begins later. */
  setup(host: Host, context: PluginContext<S>): readonly Contribution[] | Promise<readonly Contribution[]>;
}

/** Adds the version of the API; gives authors checking and completion. */
export function definePlugin<const S extends PluginSettings>(plugin: Omit<Plugin<S>, 'apiVersion'>): Plugin<S> {
  return { apiVersion: API_VERSION, ...plugin };
}
