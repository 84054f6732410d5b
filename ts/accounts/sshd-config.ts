import type { Account } from './passwd.js';
import { posix } from '../host/shared/runtime/path.js';

/** One line of sshd_config(5). */
export interface Statement {
  /** In lower case. */
  readonly keyword: string;
  readonly words: readonly string[];
  /** It stands below a `Match`, and so counts for some connections only. */
  readonly conditional: boolean;
}

/** What sshd is set to: the values of each keyword, in lower case, in the order in which sshd has them. */
export type SshdSettings = ReadonlyMap<string, readonly string[]>;

/** Keywords whose lines add up; of every other sshd takes the first. */
const ADDING_UP = new Set(['allowusers', 'denyusers', 'allowgroups', 'denygroups']);
const DEFAULT_FILES = ['.ssh/authorized_keys', '.ssh/authorized_keys2'];

export function readSshdConfig(text: string): readonly Statement[] {
  const statements: Statement[] = [];
  let conditional = false;
  for (const line of text.split('\n')) {
    const [, keyword = '', rest = ''] = /^\s*"?([A-Za-z0-9]+)"?(?:\s*=\s*|\s+)(.*)$/.exec(line) ?? [];
    const words = wordsOf(rest);
    if (keyword === '') continue;
    // Even of `Match all`: what it sets comes before what stands above it.
    if (keyword.toLowerCase() === 'match') conditional = true;
    else if (words.length > 0) statements.push({ keyword: keyword.toLowerCase(), words, conditional });
  }
  return statements;
}

/** The settings that hold for every connection; what a `Match` may change is left out. */
export function settingsOf(statements: readonly Statement[]): SshdSettings {
  const settings = new Map<string, readonly string[]>();
  for (const { keyword, words } of statements.filter(({ conditional }) => !conditional)) {
    const before = settings.get(keyword);
    if (before === undefined) settings.set(keyword, words);
    else if (ADDING_UP.has(keyword)) settings.set(keyword, [...before, ...words]);
  }
  for (const { keyword, conditional } of statements) if (conditional) settings.delete(keyword);
  return settings;
}

/**
 * What `sshd -T` prints: a line for each value. It prints the words of one value without their quotes; `statements` are
 * those of the files, which tell where a word with a blank begins and ends.
 */
export function parseSshdOutput(output: string, statements: readonly Statement[]): SshdSettings {
  const settings = new Map<string, readonly string[]>();
  for (const line of output.split('\n')) {
    const [, keyword, value] = /^(\w+) (.*)$/.exec(line) ?? [];
    if (keyword === undefined || value === undefined) continue;
    const written = statements.find((s) => s.keyword === keyword && s.words.join(' ') === value);
    settings.set(keyword, [...(settings.get(keyword) ?? []), ...(written?.words ?? value.split(' '))]);
  }
  return settings;
}

/** The patterns of the files of keys, without `none`. */
export function keysFiles(settings: SshdSettings): readonly string[] {
  const patterns = settings.get('authorizedkeysfile') ?? DEFAULT_FILES;
  // sshd runs as root when it reads its configuration: this is root's home, for all users.
  return patterns
    .filter((pattern) => pattern.toLowerCase() !== 'none')
    .map((pattern) => pattern.replace(/^~\//, '/root/'));
}

/** Where sshd looks for the user's keys by a pattern. What is not absolute starts at the home. */
export function keysPath(pattern: string, { user, uid, home }: Account): string {
  const tokens: ReadonlyMap<string, string> = new Map([
    ['%', '%'],
    ['h', home],
    ['u', user],
    ['U', String(uid)],
  ]);
  const path = pattern.replaceAll(/%(.)/g, (whole, token: string) => tokens.get(token) ?? whole);
  return posix.normalize(path.startsWith('/') ? path : `${home}/${path}`);
}

/** Whether the file is one for all users: nothing in it is the user's own. */
export function isShared(pattern: string): boolean {
  const somebody: Account = { user: 'a', uid: 1, gid: 1, home: '/a' };
  return keysPath(pattern, somebody) === keysPath(pattern, { user: 'b', uid: 2, gid: 2, home: '/b' });
}

/** Whether a file of this name is one that a part of a glob(7) pattern means. */
export function matchesGlob(pattern: string, name: string): boolean {
  if (name.startsWith('.') && !pattern.startsWith('.')) return false;
  const source = pattern.replaceAll(/\[[!^]?\]?[^\]]*\]|\\.|[^]/g, (part) => {
    if (part === '*') return '.*';
    if (part === '?') return '.';
    if (part.length > 2 && part.startsWith('[')) return bracket(part);
    return escaped(part.length === 2 ? part.slice(1) : part);
  });
  try {
    return new RegExp(`^${source}$`, 's').test(name);
  } catch {
    // A range that runs backwards means no character.
    return false;
  }
}

/** Whether `pattern`, with `*` and `?`, means `text`, as sshd has it. */
export function matchesPattern(pattern: string, text: string): boolean {
  const source = escaped(pattern)
    .replaceAll(String.raw`\*`, '.*')
    .replaceAll(String.raw`\?`, '.');
  return new RegExp(`^${source}$`, 's').test(text);
}

/** Whether a list with commas means `text`: a pattern after `!` says no. */
export function matchesList(list: string, text: string): boolean {
  const patterns = list.split(',');
  if (patterns.some((pattern) => pattern.startsWith('!') && matchesPattern(pattern.slice(1), text))) return false;
  return patterns.some((pattern) => matchesPattern(pattern, text));
}

function bracket(part: string): string {
  const negated = /^\[[!^]/.test(part);
  const inside = part.slice(negated ? 2 : 1, -1).replaceAll(/[\\\]^[]/g, String.raw`\$&`);
  return `[${negated ? '^' : ''}${inside}]`;
}

function escaped(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);
}

/** Words, of which quotes may hold several together, up to a comment. */
function wordsOf(text: string): readonly string[] {
  const words: string[] = [];
  for (const [whole] of text.matchAll(/(?:"[^"]*"|'[^']*'|\\["'\\ ]|[^\s"'])+/g)) {
    if (whole.startsWith('#')) break;
    words.push(
      whole.replaceAll(/"([^"]*)"|'([^']*)'|\\(["'\\ ])/g, (_, double?: string, single?: string, char?: string) => {
        return double ?? single ?? char ?? '';
      }),
    );
  }
  return words;
}
