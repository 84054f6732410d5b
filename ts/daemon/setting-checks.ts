/** Whether a value of a file is what a setting wants, be it the agent's own or a plugin's; and how messages put it. */
import * as v from 'valibot';
import type { Kind } from './settings.js';
import { formatSize, parseDuration, parseSize } from './units.js';

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
const plainPath = v.pipe(
  v.string('an absolute path without ..'),
  v.regex(/^\/(?!(?:.*\/)?\.\.?(?:\/|$))[^\0]*[^\0/]$/su, 'an absolute path without ..'),
);
/** It becomes an argument of a program. */
const organization = v.pipe(v.string('an organization'), v.regex(/^[^-\s\0][^\n\0]*$/u, 'an organization'));
const userName = /^[^:\s]+$/u;
const size = v.pipe(
  v.string('a size such as "512KiB" or "16MiB"'),
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    const bytes = parseSize(dataset.value);
    if (bytes !== null) return bytes;
    addIssue({ message: 'a size between "0B" and "256MiB", such as "512KiB" or "16MiB"' });
    return NEVER;
  }),
);
const fileMode = v.pipe(
  v.string('a file mode such as "0600"'),
  v.regex(/^0?[0-7]{3}$/u, 'a file mode such as "0600"'),
  v.transform((text) => Number.parseInt(text, 8)),
);
const wireNames = v.pipe(
  v.array(
    v.pipe(v.string('a list of names'), v.regex(/^[a-z0-9-]+$/u, 'a list of names such as "auto" or "stream"')),
    'a list of names such as "auto" or "stream"',
  ),
  v.minLength(1, 'a list of at least one name'),
);
const pathPattern = /^\/(?!(?:.*\/)?\.\.(?:\/|$))[^\0]*$/su;
const signingKey = /^RW[A-Za-z0-9+/]{54}$/u;
const olderVersion = /^(?:(?:\d+\.){0,2}\*|\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?)$/u;

/** What a setting must be. A check's message is what was wanted. */
function checkOf(setting: Kind): v.GenericSchema {
  switch (setting.kind) {
    case 'boolean':
      return v.boolean('true or false');
    case 'choice': {
      const { choices } = setting;
      return v.picklist(choices, `one of ${choices.map((choice) => JSON.stringify(choice)).join(', ')}`);
    }
    case 'integer':
      return integer(setting);
    case 'duration':
      return duration;
    case 'size': {
      const { min = 0 } = setting;
      return v.pipe(
        size,
        v.check((bytes) => bytes >= min, `a size of at least ${JSON.stringify(formatSize(min))}`),
      );
    }
    case 'mode':
      return fileMode;
    case 'path':
      return absolutePath;
    case 'text':
      return v.string('text');
    case 'texts':
      return v.array(v.string('a list of texts'), 'a list of texts');
    case 'plainPath':
      return plainPath;
    case 'user':
      return v.pipe(v.string('a user name'), v.regex(userName, 'a user name'));
    case 'organization':
      return organization;
    case 'wires':
      return wireNames;
    case 'commands':
      return listOf('a list of command names', /^[^\s,]+$/u, 'a list of command names, or "*" for all');
    case 'users':
      return listOf('a list of user names', userName);
    case 'pathPatterns':
      return listOf('a list of absolute paths', pathPattern, 'a list of absolute paths without ..');
    case 'signingKeys': {
      const wanted = 'a list of minisign public keys';
      return listOf(wanted, signingKey, `${wanted}: RW and 54 more characters each`);
    }
    case 'versionPatterns':
      return listOf('a list of versions', olderVersion, 'a list of versions such as "0.9.4", "0.9.*" or "*"');
  }
}

function integer({ min, max, called }: Extract<Kind, { kind: 'integer' }>): v.GenericSchema {
  const wanted = called === undefined ? `a whole number from ${min} to ${max}` : `${called}, ${min} to ${max}`;
  return v.pipe(v.number(wanted), v.integer(wanted), v.minValue(min, wanted), v.maxValue(max, wanted));
}

/** `ofItem`: what is wanted when one of them does not match. */
function listOf(wanted: string, pattern: RegExp, ofItem = wanted): v.GenericSchema {
  return v.array(v.pipe(v.string(wanted), v.regex(pattern, ofItem)), wanted);
}

/** The value of what a file has, or what was wanted in its place. */
export function checkValue(setting: Kind, found: unknown): { readonly value: unknown } | { readonly wanted: string } {
  const result = v.safeParse(checkOf(setting), found);
  return result.success ? { value: result.output } : { wanted: result.issues[0].message };
}

export function show(value: unknown): string {
  // TOML has numbers that JSON has not: nan and inf.
  if (typeof value === 'number') return String(value);
  const json = JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'bigint' || (typeof inner === 'number' && !Number.isFinite(inner)) ? String(inner) : inner,
  );
  return json.length > 60 ? `${json.slice(0, 57)}...` : json;
}

/** A key as a file would have it: what is no bare key of TOML is quoted, so that it stays on its line. */
export function dotted(...names: readonly string[]): string {
  return names.map((name) => (/^[\w-]+$/.test(name) ? name : show(name))).join('.');
}

/** Points at the known name with the fewest letters different, where those are few enough for a slip. */
export function nearest(name: string, names: readonly string[]): string {
  const [best] = names
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
