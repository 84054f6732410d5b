/** One configuration file: TOML, checked key by key by what settings.ts says. Loaded only when there is a file. */
import { TomlError, parse } from 'smol-toml';
import { AgentError } from '../api/errors.js';
import type { TextFile } from '../host/shared/system.js';
import { checkValue, dotted, nearest, show } from './setting-checks.js';
import { SETTINGS, type Setting } from './settings.js';

/** A value that a file sets. */
export interface Assignment {
  readonly section: string;
  readonly key: string;
  readonly value: unknown;
  /** Where it stands, counted from 1. */
  readonly line: number;
}

/** Above the tables of plugins. */
const PLUGIN = 'plugin';

/** The table, for names that come from a file. */
const TABLE: ReadonlyMap<string, ReadonlyMap<string, Setting>> = new Map(
  Object.entries(SETTINGS).map(([section, keys]) => [section, new Map(Object.entries<Setting>(keys))]),
);
const NAMES = [...TABLE].flatMap(([section, keys]) => [section, ...[...keys.keys()].map((key) => `${section}.${key}`)]);

/** Names of old, of keys and of sections, and those of today. */
const RENAMED: ReadonlyMap<string, string> = new Map(
  [...TABLE].flatMap(([section, keys]) =>
    [...keys].flatMap(([key, { formerly }]): readonly (readonly [string, string])[] => {
      if (formerly === undefined) return [];
      const [former = ''] = formerly.split('.');
      return [
        [formerly, `${section}.${key}`],
        [former, section],
      ];
    }),
  ),
);

/** A table `[plugin.NAME]`, as it stands in the files. */
export interface PluginTable {
  /** Where it begins, such as `/etc/guestwire/guestwire.toml:4`. */
  readonly source: string;
  readonly values: ReadonlyMap<string, { readonly value: unknown; readonly source: string }>;
}

export interface ParsedFile {
  readonly assignments: readonly Assignment[];
  /** Tables `[plugin.NAME]` by name, as they stand there: what may be in them only the plugin knows. */
  readonly plugins: ReadonlyMap<string, PluginTable>;
}

/** Throws AgentError GW_CONFIG_INVALID that names file, line, key, what was found and what was wanted. */
export function parseConfigFile({ path, text }: TextFile): ParsedFile {
  const assignments: Assignment[] = [];
  const { [PLUGIN]: plugins = {}, ...sections } = parseToml({ path, text });
  for (const [section, keys] of Object.entries(sections)) {
    const known = TABLE.get(section);
    if (known === undefined) {
      const moved = isTable(keys) ? Object.keys(keys).find((key) => RENAMED.has(`${section}.${key}`)) : undefined;
      throw invalid(
        `${path}:${lineOf(text, section, moved ?? null)}`,
        moved === undefined ? unknown(isTable(keys) ? 'section' : 'key', section) : unknown('key', section, moved),
      );
    }
    if (!isTable(keys)) {
      const at = `${path}:${lineOf(text, section, null)}`;
      throw invalid(at, `${section}: found ${show(keys)}, wanted a section [${section}]`);
    }
    for (const [key, found] of Object.entries(keys)) {
      const line = lineOf(text, section, key);
      const setting = known.get(key);
      if (setting === undefined) throw invalid(`${path}:${line}`, unknown('key', section, key));
      const checked = checkValue(setting, found);
      if ('wanted' in checked) {
        throw invalid(`${path}:${line}`, `${section}.${key}: found ${show(found)}, wanted ${checked.wanted}`);
      }
      assignments.push({ section, key, value: checked.value, line });
    }
  }
  return { assignments, plugins: pluginTables({ path, text }, plugins) };
}

function pluginTables({ path, text }: TextFile, tables: unknown): ReadonlyMap<string, PluginTable> {
  const at = (section: string, key: string | null): string => `${path}:${lineOf(text, section, key)}`;
  const refuse = (section: string, found: unknown, shown = section): never => {
    throw invalid(at(section, null), `${shown}: found ${show(found)}, wanted a section [${PLUGIN}.NAME]`);
  };
  if (!isTable(tables)) return refuse(PLUGIN, tables);
  return new Map(
    Object.entries(tables).map(([name, values]): readonly [string, PluginTable] => {
      const section = `${PLUGIN}.${name}`;
      if (!isTable(values)) return refuse(section, values, dotted(PLUGIN, name));
      const settings = Object.entries(values).map(
        ([key, value]) => [key, { value, source: at(section, key) }] as const,
      );
      return [name, { source: at(section, null), values: new Map(settings) }];
    }),
  );
}

function invalid(at: string, why: string): AgentError {
  return new AgentError('GW_CONFIG_INVALID', [`${at}: ${why}`]);
}

/** What is wrong with a name that nothing has. */
function unknown(what: 'section' | 'key', ...names: readonly string[]): string {
  const name = dotted(...names);
  const now = RENAMED.get(name);
  return now === undefined ? `unknown ${what} ${name}${nearest(name, NAMES)}` : `${name} is now ${now}`;
}

function parseToml({ path, text }: TextFile): Record<string, unknown> {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [reason = ''] = error.message.split('\n');
    throw invalid(`${path}:${error.line}:${error.column}`, reason);
  }
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

/**
 * The line of a key, or of a section's head when `key` is null. The parser keeps no positions, so this looks for them
 * in the text as people write it: `[section]` and `key = …`, or `section.key = …`.
 */
function lineOf(text: string, section: string, key: string | null): number {
  const wanted = plain(section);
  let current = '';
  const lines = text.split('\n');
  for (const [index, line] of lines.entries()) {
    const head = /^\s*\[+([^\]]+)\]/.exec(line)?.[1];
    if (head !== undefined) current = plain(head);
    const assigned = /^\s*([^=#[]+?)\s*=/.exec(line)?.[1];
    const own = assigned === undefined ? null : plain(assigned);
    const name = own === null || current === '' ? own : `${current}.${own}`;
    const isOf = current === wanted || name === wanted || name?.startsWith(`${wanted}.`) === true;
    if (key === null ? isOf : name === plain(`${section}.${key}`)) return index + 1;
  }
  return 1;
}

/** A name without what it may be quoted by. */
function plain(name: string): string {
  return name.replaceAll(/["'\s]/g, '');
}
