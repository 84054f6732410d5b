/** What the pages have of the table of settings: one part each, between two marks, with nothing in it by hand. */
import { type Kinds, SETTINGS, type Setting } from '../../ts/daemon/settings.js';
import { asWritten, formatSize } from '../../ts/daemon/units.js';

interface Page {
  readonly path: string;
  readonly begin: string;
  readonly end: string;
  readonly render: () => readonly string[];
}

const HINT = 'from ts/daemon/settings.ts by `npm run pages`';

export const PAGES: readonly Page[] = [
  {
    path: 'docs/configuration.md',
    begin: `<!-- settings, ${HINT} -->`,
    end: '<!-- settings end -->',
    render: () => sections().flatMap(({ section, entries }) => ['', `## ${section}`, '', ...table(entries)]),
  },
  {
    path: 'packaging/guestwire.8.scd',
    begin: `; settings, ${HINT}`,
    end: '; settings end',
    render: () => sections().flatMap(({ entries }) => entries.flatMap(manualEntry)),
  },
];

/** `text` with its part written anew. Throws when it does not have both marks, once. */
export function renewed({ path, begin, end, render }: Page, text: string): string {
  const [before, part, ...others] = text.split(`${begin}\n`);
  const [, after, ...more] = (part ?? '').split(`${end}\n`);
  if (before === undefined || after === undefined || others.length + more.length > 0) {
    throw new Error(`${path}: wanted one part between '${begin}' and '${end}'`);
  }
  return `${before}${begin}\n${render().join('\n')}\n\n${end}\n${after}`;
}

interface Entry {
  readonly section: string;
  readonly key: string;
  readonly setting: Setting;
}

function sections(): readonly { readonly section: string; readonly entries: readonly Entry[] }[] {
  return Object.entries(SETTINGS).map(([section, keys]) => ({
    section,
    entries: Object.entries<Setting>(keys).map(([key, setting]) => ({ section, key, setting })),
  }));
}

/** The default as a file has it; null when there is none. */
function defaultOf({ setting }: Entry): string | null {
  const written = asWritten(setting, setting.default);
  return written === null ? null : JSON.stringify(written);
}

function table(entries: readonly Entry[]): readonly string[] {
  const rows = entries.map((entry) => {
    const value = defaultOf(entry);
    const { key, setting } = entry;
    return `| \`${key}\` | ${wanted(setting)} | ${value === null ? 'not set' : `\`${value}\``} | ${setting.about} |`;
  });
  return ['| key | value | default | |', '| --- | --- | --- | --- |', ...rows];
}

/** What a value of each kind is called; the others tell more. */
const KINDS: { readonly [K in keyof Kinds]?: string } = {
  boolean: '`true`, `false`',
  mode: 'mode',
  path: 'absolute path',
  plainPath: 'absolute path without `..`',
  user: 'user name',
  organization: 'text',
  wires: 'list of names',
  commands: 'list of commands',
  users: 'list of user names',
  pathPatterns: 'list of absolute paths',
  signingKeys: 'list of public keys',
  versionPatterns: 'list of versions',
};

function wanted(setting: Setting): string {
  if (setting.kind === 'choice') return setting.choices.map((choice) => `\`${JSON.stringify(choice)}\``).join(', ');
  if (setting.kind === 'integer') return `${setting.min} to ${setting.max}`;
  if (setting.kind === 'size' && 'min' in setting) return `size, at least \`"${formatSize(setting.min)}"\``;
  return KINDS[setting.kind] ?? setting.kind;
}

function manualEntry(entry: Entry): readonly string[] {
  const value = defaultOf(entry);
  const { section, key, setting } = entry;
  return [
    '',
    `*${section}.${key}* ${value === null ? 'is not set' : `= ${escaped(value)}`}`,
    `\t${setting.about.split('`').map(asManual).join('')}`,
  ];
}

/** A piece of text between backticks, by turns outside and inside; values are shown in their quotes alone. */
function asManual(text: string, index: number): string {
  const plain = escaped(text);
  return index % 2 === 0 || text.startsWith('"') ? plain : `_${plain}_`;
}

/** For scdoc, to which these are markup. */
function escaped(text: string): string {
  return text.replaceAll(/[\\*_]/g, String.raw`\$&`);
}
