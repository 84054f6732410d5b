import type { Account } from './passwd.js';

/** What of sshd_config(5) decides where keys are; sshd takes the first AuthorizedKeysFile that it meets. */
export type Statement =
  | { readonly type: 'include'; readonly patterns: readonly string[] }
  | { readonly type: 'keys-file'; readonly files: readonly string[] };

/**
 * The statements that count for every user: what follows the first `Match` counts for some connections only, and is
 * not looked at.
 */
export function readSshdConfig(text: string): readonly Statement[] {
  const statements: Statement[] = [];
  for (const line of text.split('\n')) {
    const [, keyword = '', rest = ''] = /^\s*([A-Za-z]+)(?:\s*=\s*|\s+)(.*)$/.exec(line) ?? [];
    const words = wordsOf(rest);
    const name = keyword.toLowerCase();
    if (name === 'match') break;
    if (name === 'include') statements.push({ type: 'include', patterns: words.map(inConfigDirectory) });
    if (name === 'authorizedkeysfile' && words.length > 0) statements.push({ type: 'keys-file', files: words });
  }
  return statements;
}

/**
 * Where sshd looks for the user's keys, by the first of its `files`; null for none. What is not absolute starts at the
 * home.
 */
export function keysPath(files: readonly string[], { user, uid, home }: Account): string | null {
  const [first = '.ssh/authorized_keys'] = files;
  if (first.toLowerCase() === 'none') return null;
  const tokens: Readonly<Record<string, string>> = { '%': '%', h: home, u: user, U: String(uid) };
  const path = first.replaceAll(/%(.)/g, (whole, token: string) => tokens[token] ?? whole);
  return path.startsWith('/') ? path : `${home}/${path}`;
}

/** Whether a file of this name is one that the last part of a glob(7) pattern means. */
export function matchesGlob(pattern: string, name: string): boolean {
  if (name.startsWith('.') && !pattern.startsWith('.')) return false;
  const source = pattern
    .replaceAll(/[\\^$.|+()[\]{}]/g, String.raw`\$&`)
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`, 's').test(name);
}

function inConfigDirectory(pattern: string): string {
  return pattern.startsWith('/') ? pattern : `/etc/ssh/${pattern}`;
}

/** Words, of which `"` may hold several together, up to a comment. */
function wordsOf(text: string): readonly string[] {
  const words: string[] = [];
  for (const [whole, quoted] of text.matchAll(/"([^"]*)"|[^\s"]+/g)) {
    if (whole.startsWith('#')) break;
    words.push(quoted ?? whole);
  }
  return words;
}
