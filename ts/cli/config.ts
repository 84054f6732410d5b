import { type Config, formatDuration, formatMode, formatSize, loadConfig } from '../daemon/config.js';
import { readConfigFiles } from '../host/system.js';
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
    for (const line of render(loaded.config, loaded.sources)) print(line);
    return 0;
  },
});

const DURATIONS = new Set([
  'stream.line-timeout',
  'answers.keep',
  'requests.poll-interval',
  'password.key-lifetime',
  'files.upload-lifetime',
  'hooks.timeout',
  'kms.timeout',
  'plugins.load-timeout',
  'plugins.command-timeout',
  'scripts.timeout',
  'network.verify-timeout',
  'network.device-timeout',
  'network.program-timeout',
  'update.timeout',
  'update.trial-timeout',
]);
const SIZES = new Set(['stream.max-line', 'files.max-size', 'update.max-size']);

/** A value as a configuration file has it. */
function asWritten(name: string, value: unknown): unknown {
  if (DURATIONS.has(name)) return formatDuration(value as number);
  if (name === 'files.mode') return formatMode(value as number);
  return SIZES.has(name) ? formatSize(value as number) : value;
}

function render(effective: Config, sources: ReadonlyMap<string, string>): string[] {
  const settings = Object.entries(effective).map(([section, keys]) => {
    const lines = Object.entries(keys as Record<string, unknown>).map(([key, value]) => {
      const name = `${section}.${key}`;
      const text = value === null ? null : JSON.stringify(asWritten(name, value));
      // TOML has no null: a key without a value is shown as a comment.
      return { text: text === null ? `# ${key} is not set` : `${key} = ${text}`, source: sources.get(name) ?? '' };
    });
    return { section, lines };
  });
  const column = Math.max(...settings.flatMap(({ lines }) => lines.map(({ text }) => text.length))) + 2;
  return settings.flatMap(({ section, lines }, index) => [
    ...(index === 0 ? [] : ['']),
    `[${section}]`,
    ...lines.map(({ text, source }) => `${text.padEnd(column)}# ${source}`),
  ]);
}
