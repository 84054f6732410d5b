/** The configuration in force. What can be set is in settings.ts. */
import type { TextFile } from '../host/shared/system.js';
import type { PluginTable } from './config-file.js';
import { type Kinds, SETTINGS, type Setting } from './settings.js';

type Table = typeof SETTINGS;

/** One of its choices, or what its kind says; null where it need not be set. */
type Value<S extends Setting> =
  | (S extends { readonly choices: readonly (infer Choice)[] } ? Choice : Kinds[S['kind']])
  | (S['default'] extends null ? null : never);

/** What the agent can be told, with every duration in milliseconds and every size in bytes. */
export type Config = {
  readonly [Section in keyof Table]: {
    readonly [Key in keyof Table[Section]]: Table[Section][Key] extends Setting ? Value<Table[Section][Key]> : never;
  };
};

export const DEFAULTS: Config = mapValues(SETTINGS, (keys) =>
  mapValues(keys, (setting: Setting) => setting.default),
) as unknown as Config;

export interface LoadedConfig {
  readonly config: Config;
  /** Where each key came from, such as `log.level` → `/etc/guestwire/guestwire.toml:4`, `default` or `--log-level`. */
  readonly sources: ReadonlyMap<string, string>;
  readonly plugins: PluginTables;
}

/** What the files have in tables `[plugin.NAME]`, by the name of the plugin. */
export type PluginTables = ReadonlyMap<string, PluginTable>;

/** A key given on the command line, such as `['log', 'level', 'debug', '--log-level']`. */
export type Override = {
  [Section in keyof Config]: {
    [Key in keyof Config[Section]]: readonly [section: Section, key: Key, value: Config[Section][Key], source: string];
  }[keyof Config[Section]];
}[keyof Config];

/** Defaults, then each file in turn, then `overrides`; later ones win. Throws AgentError GW_CONFIG_INVALID. */
export async function loadConfig(
  files: readonly TextFile[],
  overrides: readonly Override[] = [],
): Promise<LoadedConfig> {
  const config: Record<string, Readonly<Record<string, unknown>>> = { ...DEFAULTS };
  const sources = new Map<string, string>();
  for (const [section, keys] of Object.entries(config)) {
    for (const key of Object.keys(keys)) sources.set(`${section}.${key}`, 'default');
  }
  const set = (section: string, key: string, value: unknown, source: string): void => {
    config[section] = { ...config[section], [key]: value };
    sources.set(`${section}.${key}`, source);
  };
  const plugins = new Map<string, PluginTable>();
  if (files.length > 0) {
    // The parser and the checks are half of what there is to load, and most guests have no file.
    const { parseConfigFile } = await import('./config-file.js');
    for (const file of files) {
      const parsed = parseConfigFile(file);
      for (const { section, key, value, line } of parsed.assignments) {
        set(section, key, value, `${file.path}:${line}`);
      }
      for (const [name, table] of parsed.plugins) plugins.set(name, merged(plugins.get(name), table));
    }
  }
  for (const [section, key, value, source] of overrides) set(section, key, value, source);
  return { config: config as unknown as Config, sources, plugins };
}

/** Key by key, as those of the agent. */
function merged(before: PluginTable | undefined, table: PluginTable): PluginTable {
  return before === undefined ? table : { ...table, values: new Map([...before.values, ...table.values]) };
}

function mapValues<From, To>(record: Readonly<Record<string, From>>, change: (value: From) => To): Record<string, To> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
}
