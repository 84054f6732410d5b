/** One configuration file: TOML, checked key by key. Loaded only when there is a file. */
import { TomlError, parse } from 'smol-toml';
import * as v from 'valibot';
import type { TextFile } from '../host/system.js';
import { configError, parseDuration, parseSize } from './config.js';

const duration = v.pipe(
  v.string('a duration such as "90s" or "10m"'),
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    const milliseconds = parseDuration(dataset.value);
    if (milliseconds !== null) return milliseconds;
    addIssue({ message: 'a duration between "1ms" and "596h", such as "90s" or "10m"' });
    return NEVER;
  }),
);
const absolutePath = v.pipe(v.string('an absolute path'), v.regex(/^\/[^\0]*$/u, 'an absolute path'));
/** Every directory on the way is judged by its name, so there is no `..` in it. */
const plainDirectory = v.pipe(
  v.string('an absolute path without ..'),
  v.regex(/^\/(?!(?:.*\/)?\.\.?(?:\/|$))[^\0]*[^\0/]$/su, 'an absolute path without ..'),
);
/** It becomes an argument of a program. */
const organization = v.pipe(v.string('an organization'), v.regex(/^[^-\s\0][^\n\0]*$/u, 'an organization'));
const user = (wanted: string): v.GenericSchema => v.pipe(v.string(wanted), v.regex(/^[^:\s]+$/u, wanted));
const userName = user('a user name');
const listedUser = user('a list of user names');
const oneOf = <const T extends readonly string[]>(values: T): v.PicklistSchema<T, string> =>
  v.picklist(values, `one of ${values.map((value) => JSON.stringify(value)).join(', ')}`);
const size = v.pipe(
  v.string('a size such as "512KiB" or "16MiB"'),
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    const bytes = parseSize(dataset.value);
    if (bytes !== null) return bytes;
    addIssue({ message: 'a size between "0B" and "256MiB", such as "512KiB" or "16MiB"' });
    return NEVER;
  }),
);
/** A shorter line would not hold a request with its key. */
const lineLength = v.pipe(
  size,
  v.check((bytes) => bytes >= 1024, 'a size of at least "1KiB"'),
);
const fileMode = v.pipe(
  v.string('a file mode such as "0600"'),
  v.regex(/^0?[0-7]{3}$/u, 'a file mode such as "0600"'),
  v.transform((text) => Number.parseInt(text, 8)),
);
const wholeNumber = (min: number, max: number): v.GenericSchema => {
  const wanted = `a whole number from ${min} to ${max}`;
  return v.pipe(v.number(wanted), v.integer(wanted), v.minValue(min, wanted), v.maxValue(max, wanted));
};
/** ts/commands/file-rules.ts has what they mean. */
const pathPatterns = v.array(
  v.pipe(
    v.string('a list of absolute paths'),
    v.regex(/^\/(?!(?:.*\/)?\.\.(?:\/|$))[^\0]*$/su, 'a list of absolute paths without ..'),
  ),
  'a list of absolute paths',
);
const commandNames = v.array(
  v.pipe(v.string('a list of command names'), v.regex(/^[^\s,]+$/u, 'a list of command names, or "*" for all')),
  'a list of command names',
);
const signingKey = v.pipe(
  v.string('a list of minisign public keys'),
  v.regex(/^RW[A-Za-z0-9+/]{54}$/u, 'a list of minisign public keys: RW and 54 more characters each'),
);
/** ts/commands/update-rules.ts has what they mean. */
const olderVersion = v.pipe(
  v.string('a list of versions'),
  v.regex(
    /^(?:(?:\d+\.){0,2}\*|\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?)$/u,
    'a list of versions such as "0.9.4", "0.9.*" or "*"',
  ),
);
/** The hypervisor's own limit for domain ids. */
const domain = v.pipe(
  v.number('a domain id, 0 to 32751'),
  v.integer('a domain id, 0 to 32751'),
  v.minValue(0, 'a domain id, 0 to 32751'),
  v.maxValue(32_751, 'a domain id, 0 to 32751'),
);

/** What each key must be. A check's message is what was wanted. The keys are those of `DEFAULTS` in config.ts. */
export const SCHEMA: Readonly<Record<string, Readonly<Record<string, v.GenericSchema>>>> = {
  wires: {
    use: v.pipe(
      v.array(
        v.pipe(v.string('a list of names'), v.regex(/^[a-z0-9-]+$/u, 'a list of names such as "auto" or "stream"')),
        'a list of names such as "auto" or "stream"',
      ),
      v.minLength(1, 'a list of at least one name'),
    ),
  },
  // Port 0xffffffff stands for any.
  stream: {
    path: absolutePath,
    listen: absolutePath,
    'vsock-port': wholeNumber(1, 0xffff_fffe),
    'vsock-peer-ports': oneOf(['privileged', 'any']),
    'max-line': lineLength,
    'line-timeout': duration,
  },
  store: { endpoint: absolutePath, domain, poll: oneOf(['loop', 'thread']) },
  log: {
    level: oneOf(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
    format: oneOf(['auto', 'json', 'pretty']),
  },
  answers: { keep: duration },
  requests: { 'poll-interval': duration },
  commands: { allow: commandNames, deny: commandNames },
  password: {
    user: userName,
    users: v.array(listedUser, 'a list of user names'),
    unlock: oneOf(['always', 'never']),
    'weak-exchange': v.boolean('true or false'),
    'key-lifetime': duration,
  },
  files: {
    allow: pathPatterns,
    deny: pathPatterns,
    mode: fileMode,
    'max-size': size,
    uploads: wholeNumber(0, 100),
    'upload-lifetime': duration,
    backups: wholeNumber(0, 1000),
    'authorized-keys': oneOf(['replace', 'merge']),
  },
  hooks: { directory: plainDirectory, timeout: duration },
  kms: { org: organization, timeout: duration },
  plugins: { directory: absolutePath, 'load-timeout': duration, 'command-timeout': duration },
  scripts: { directory: absolutePath, timeout: duration },
  network: { 'verify-timeout': duration, 'device-timeout': duration, 'program-timeout': duration },
  update: {
    directory: absolutePath,
    keys: v.array(signingKey, 'a list of minisign public keys'),
    'require-signature': v.boolean('true or false'),
    'allow-downgrade': v.array(olderVersion, 'a list of versions'),
    http: v.boolean('true or false'),
    'max-size': size,
    timeout: duration,
    'trial-timeout': duration,
  },
  state: { directory: absolutePath },
};

export interface Setting {
  readonly section: string;
  readonly key: string;
  readonly value: unknown;
  /** Where it stands, counted from 1. */
  readonly line: number;
}

/** Throws AgentError GW_CONFIG_INVALID that names file, line, key, what was found and what was wanted. */
export function parseConfigFile({ path, text }: TextFile): readonly Setting[] {
  const settings: Setting[] = [];
  for (const [section, keys] of Object.entries(parseToml({ path, text }))) {
    const schema = Object.hasOwn(SCHEMA, section) ? SCHEMA[section] : undefined;
    const at = `${path}:${lineOf(text, section, null)}`;
    if (schema === undefined) {
      throw configError(
        `${at}: unknown ${isTable(keys) ? 'section' : 'key'} ${section}${nearest(section, sectionsAndKeys())}`,
      );
    }
    if (!isTable(keys)) throw configError(`${at}: ${section}: found ${show(keys)}, wanted a section [${section}]`);
    for (const [key, found] of Object.entries(keys)) {
      const line = lineOf(text, section, key);
      const name = `${section}.${key}`;
      const check = Object.hasOwn(schema, key) ? schema[key] : undefined;
      if (check === undefined) {
        throw configError(`${path}:${line}: unknown key ${name}${nearest(name, sectionsAndKeys())}`);
      }
      const result = v.safeParse(check, found);
      if (!result.success) {
        throw configError(`${path}:${line}: ${name}: found ${show(found)}, wanted ${result.issues[0].message}`);
      }
      settings.push({ section, key, value: result.output, line });
    }
  }
  return settings;
}

function parseToml({ path, text }: TextFile): Record<string, unknown> {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [reason = ''] = error.message.split('\n');
    throw configError(`${path}:${error.line}:${error.column}: ${reason}`);
  }
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

function show(value: unknown): string {
  const json = JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? String(inner) : inner));
  return json.length > 60 ? `${json.slice(0, 57)}...` : json;
}

/**
 * The line of a key, or of a section's head when `key` is null. The parser keeps no positions, so this looks for them
 * in the text as people write it: `[section]` and `key = …`, or `section.key = …`.
 */
function lineOf(text: string, section: string, key: string | null): number {
  let current = '';
  const lines = text.split('\n');
  for (const [index, line] of lines.entries()) {
    const head = /^\s*\[\s*"?([^\]"]+?)"?\s*\]/.exec(line)?.[1];
    if (head !== undefined) current = head;
    const assigned = /^\s*([^=#[]+?)\s*=/.exec(line)?.[1]?.replaceAll(/["'\s]/g, '');
    const name = assigned === undefined ? null : current === '' ? assigned : `${current}.${assigned}`;
    if (key === null ? current === section || name?.split('.')[0] === section : name === `${section}.${key}`) {
      return index + 1;
    }
  }
  return 1;
}

function sectionsAndKeys(): readonly string[] {
  return Object.entries(SCHEMA).flatMap(([section, keys]) => [
    section,
    ...Object.keys(keys).map((key) => `${section}.${key}`),
  ]);
}

/** Points at the known name with the fewest letters different, where those are few enough for a slip. */
function nearest(name: string, known: readonly string[]): string {
  const [best] = known
    .map((candidate) => ({ candidate, distance: editDistance(name, candidate) }))
    .sort((a, b) => a.distance - b.distance);
  return best === undefined || best.distance > Math.max(2, name.length / 4)
    ? ''
    : ` (the nearest known one is ${best.candidate})`;
}

/** Levenshtein's, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
