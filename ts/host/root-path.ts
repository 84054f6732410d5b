import { lstat, readlink } from 'node:fs/promises';
import { join } from 'node:path';

/** Where a path of the guest leads, as a chroot into the root would go. */
export interface ResolvedPath {
  /** On this machine: a path that starts with the root and holds no link, except in its last part if not followed. */
  readonly real: string;
  /** Inside the root: starts with `/`. */
  readonly inside: string;
  readonly exists: boolean;
}

/** As many links as the kernel follows in one path. */
const MAX_LINKS = 40;

/**
 * Follows `path` inside `root`: absolute links start again at the root, and `..` stops there, so no path leads out.
 * `last` says whether a link at the very end is followed. A missing part is no error, unless a link leads there.
 * Throws errors with a `code`, like node:fs.
 */
export async function resolveInRoot(root: string, path: string, last: 'follow' | 'keep'): Promise<ResolvedPath> {
  const ahead = parts(path);
  let done: string[] = [];
  let links = 0;
  /** How many parts ahead came with the path itself, not with a link. */
  let own = ahead.length;
  let missing = false;

  for (let part = ahead.shift(); part !== undefined; part = ahead.shift()) {
    const fromLink = ahead.length >= own;
    own = Math.min(own, ahead.length);
    if (part === '..') {
      if (missing) throw fsError('ENOENT', `a part of ${path} does not exist`);
      done = done.slice(0, -1);
      continue;
    }
    done.push(part);
    if (missing) continue;
    const here = join(root, ...done);
    const status = await lstat(here).catch(absent);
    if (status === null) {
      if (fromLink) throw fsError('ENOENT', `a link in ${path} leads to /${done.join('/')}, which does not exist`);
      missing = true;
    } else if (status.isSymbolicLink() && (ahead.length > 0 || last === 'follow')) {
      if (++links > MAX_LINKS) throw fsError('ELOOP', `too many links in ${path}`);
      const target = await readlink(here);
      done = target.startsWith('/') ? [] : done.slice(0, -1);
      ahead.unshift(...parts(target));
    } else if (!status.isDirectory() && ahead.length > 0) {
      throw fsError('ENOTDIR', `/${done.join('/')} is not a directory`);
    }
  }
  return { real: join(root, ...done), inside: `/${done.join('/')}`, exists: !missing };
}

/** Null for an error that means that there is nothing; rethrows any other. For `catch`. */
export function absent(error: unknown): null {
  const code = errorCode(error);
  if (code === 'ENOENT' || code === 'ENOTDIR') return null;
  throw error;
}

export function errorCode(error: unknown): string | undefined {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
}

function fsError(code: string, message: string): Error {
  return Object.assign(new Error(`${code}: ${message}`), { code });
}

function parts(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}
