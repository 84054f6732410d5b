import { type LoadedConfig, loadConfig } from '../daemon/config.js';
import { SETTINGS, type Setting } from '../daemon/settings.js';
import { asWritten } from '../daemon/units.js';
import { readConfigFiles } from '../host/shared/system.js';
import { noMore, print, subcommand } from './command-line.js';
import { systemRoot } from './system-root.js';

export const config = subcommand({
  synopsis: ['config [--root DIR] [--config FILE]'],
  description:
    'Prints the effective configuration as TOML, with where each key came from: /etc/guestwire/guestwire.toml, then ' +
    '/etc/guestwire/guestwire.d/*.toml in lexical order; later ones win.',
  options: {
    root: { type: 'string', argument: 'DIR', help: 'the system whose files to read' },
    config: { type: 'string', argument: 'FILE', help: 'read this file and no other' },
  },
  async main(values, positionals) {
    noMore(positionals);
    const loaded = await loadConfig(await readConfigFiles(systemRoot(values.root), values.config ?? null));
    for (const line of render(loaded)) print(line);
    return 0;
  },
});

function render({ config: effective, sources, plugins }: LoadedConfig): string[] {
  const settings = Object.entries(SETTINGS).map(([section, keys]) => {
    const values = effective[section as keyof typeof SETTINGS] as Readonly<Record<string, unknown>>;
    const lines = Object.entries<Setting>(keys).map(([key, setting]) => {
      const written = asWritten(setting, values[key]);
      // TOML has no null: a key without a value is shown as a comment.
      const text = written === null ? `# ${key} is not set` : `${key} = ${JSON.stringify(written)}`;
      return { text, source: sources.get(`${section}.${key}`) ?? '' };
    });
    return { section, lines };
  });
  // Defaults of these only their plugins know.
  const tables = [...plugins].map(([name, { values }]) => ({
    section: `plugin.${keyOf(name)}`,
    lines: [...values].map(([key, { value, source }]) => ({
      text: `${keyOf(key)} = ${JSON.stringify(value)}`,
      source,
    })),
  }));
  const all = [...settings, ...tables];
  const column = Math.max(...all.flatMap(({ lines }) => lines.map(({ text }) => text.length))) + 2;
  return all.flatMap(({ section, lines }, index) => [
    ...(index === 0 ? [] : ['']),
    `[${section}]`,
    ...lines.map(({ text, source }) => `${text.padEnd(column)}# ${source}`),
  ]);
}

/** As TOML has it. */
function keyOf(name: string): string {
  return /^[A-Za-z0-9_-]+$/.test(name) ? name : JSON.stringify(name);
}
