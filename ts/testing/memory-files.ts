/**
 * Files in memory, by the rules of ts/host/unix/files.ts as far as a command sees them; a test holds the two together. There
 * are no links, and a home is a directory like any other.
 */
import { AgentError } from '../api/errors.js';
import type { Commit, FileChange, FileStatus, Files, Home } from '../api/host.js';
import { posix } from '../host/shared/runtime/path.js';

export interface MemoryFile {
  readonly content: string | Uint8Array;
  /** 0o644 when absent. */
  readonly mode?: number;
  /** 0 when absent. */
  readonly uid?: number;
  /** 0 when absent. */
  readonly gid?: number;
}

export interface MemoryFiles extends Files {
  /** Puts a file there, as if it had always been. */
  put(path: string, file: string | MemoryFile): void;
}

type Entry =
  | {
      readonly type: 'file';
      readonly content: Buffer;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  | { readonly type: 'directory'; readonly mode: number; readonly uid: number; readonly gid: number };
type Write = Extract<FileChange, { type: 'write' }>;

const ROOT: Entry = { type: 'directory', mode: 0o755, uid: 0, gid: 0 };

export function memoryFiles(initial: Readonly<Record<string, string | MemoryFile>> = {}): MemoryFiles {
  const entries = new Map<string, Entry>([['/', ROOT]]);

  const read = (path: string): Promise<Buffer | null> => {
    const entry = entries.get(inside(path));
    if (entry === undefined) return Promise.resolve(null);
    if (entry.type === 'directory') return Promise.reject(new Error(`${path} is a directory`));
    return Promise.resolve(Buffer.from(entry.content));
  };

  const put = (path: string, file: string | MemoryFile): void => {
    const { content, mode = 0o644, uid = 0, gid = 0 } = typeof file === 'string' ? { content: file } : file;
    for (const directory of missing(entries, inside(path))) entries.set(directory, ROOT);
    entries.set(inside(path), { type: 'file', content: Buffer.from(content), mode, uid, gid });
  };
  for (const [path, file] of Object.entries(initial)) put(path, file);

  return {
    put,
    read,
    readText: async (path) => (await read(path))?.toString('utf8') ?? null,
    readInHome: (path, home) =>
      isIn(home, path) ? read(path) : Promise.reject(new Error(`${path} is not in the home`)),
    readPart: async (path, offset, length) => (await read(path))?.subarray(offset, offset + length) ?? null,
    list: (path) => Promise.resolve(children(entries, inside(path))),
    status: (path) => Promise.resolve(status(entries.get(inside(path)))),
    sealed: () => Promise.resolve(null),
    resolve: (path) => Promise.resolve(entries.has(inside(path)) ? inside(path) : null),
    commit: async (changes) => Promise.resolve(commit(entries, changes)),
    check: async (changes) => Promise.resolve(void commit(new Map(entries), changes)),
    recover: () => Promise.resolve({ restored: [], left: [] }),
  };
}

function commit(entries: Map<string, Entry>, changes: readonly FileChange[]): Commit {
  const after = new Map(entries);
  const changed: string[] = [];
  const touched = new Set<string>();
  for (const change of changes) {
    const path = inside(change.path);
    const failed = (reason: string): AgentError => new AgentError('GW_FILE_FAILED', [change.path, reason]);
    const current = entries.get(path);
    if (current?.type === 'directory') throw failed('it is a directory');
    if (change.type === 'remove') {
      if (current === undefined) continue;
      after.delete(path);
    } else {
      if (change.home !== undefined && !isIn(change.home, change.path)) throw failed('it is not in the home');
      const blocked = ancestors(path).some((directory) => entries.get(directory)?.type === 'file');
      if (blocked) throw failed('a part of the path is not a directory');
      const next = written(change, current);
      if (current !== undefined && isSame(current, next)) continue;
      const owner = { uid: change.home?.uid ?? 0, gid: change.home?.gid ?? 0 };
      const directory: Entry = { type: 'directory', mode: change.directoryMode ?? 0o755, ...owner };
      for (const made of missing(after, path)) after.set(made, directory);
      after.set(path, next);
    }
    if (touched.has(path)) throw failed('two changes lead to this file');
    touched.add(path);
    changed.push(change.path);
  }
  const before = new Map(entries);
  replace(entries, after);
  let settled = false;
  const settle = (work: () => void): Promise<void> => {
    if (!settled) work();
    settled = true;
    return Promise.resolve();
  };
  return {
    changed,
    confirm: () => settle(() => undefined),
    rollback: () =>
      settle(() => {
        replace(entries, before);
      }),
  };
}

function written({ content, mode, exactMode, owner, home }: Write, current: Entry | undefined): Entry {
  return {
    type: 'file',
    content: Buffer.from(content),
    mode: current === undefined || exactMode === true ? mode : current.mode,
    uid: owner?.uid ?? home?.uid ?? current?.uid ?? 0,
    gid: owner?.gid ?? home?.gid ?? current?.gid ?? 0,
  };
}

function isSame(a: Entry, b: Entry): boolean {
  if (a.type !== 'file' || b.type !== 'file') return false;
  return a.mode === b.mode && a.uid === b.uid && a.gid === b.gid && a.content.equals(b.content);
}

function replace(entries: Map<string, Entry>, by: ReadonlyMap<string, Entry>): void {
  entries.clear();
  for (const [path, entry] of by) entries.set(path, entry);
}

function children(entries: ReadonlyMap<string, Entry>, directory: string): readonly string[] {
  const prefix = directory === '/' ? '/' : `${directory}/`;
  const names = [...entries.keys()].filter((path) => path !== '/' && path.startsWith(prefix));
  return names
    .map((path) => path.slice(prefix.length))
    .filter((name) => !name.includes('/'))
    .sort();
}

function status(entry: Entry | undefined): FileStatus | null {
  if (entry === undefined) return null;
  const { type, mode, uid, gid } = entry;
  return { type, mode, uid, gid, size: entry.type === 'file' ? entry.content.length : 0, target: null };
}

/** As a chroot takes a path: `..` stops at the root. */
function inside(path: string): string {
  return posix.resolve('/', path);
}

function ancestors(path: string): readonly string[] {
  const above: string[] = [];
  for (let directory = posix.dirname(path); directory !== '/'; directory = posix.dirname(directory)) {
    above.unshift(directory);
  }
  return above;
}

function missing(entries: ReadonlyMap<string, Entry>, path: string): readonly string[] {
  return ancestors(path).filter((directory) => !entries.has(directory));
}

function isIn(home: Home, path: string): boolean {
  return inside(path).startsWith(`${inside(home.path)}/`);
}
