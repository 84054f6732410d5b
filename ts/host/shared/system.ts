/** What the daemon itself needs of the machine: its configuration files, its journal, its streams. */
import { type FileHandle, constants, open, readFile, readdir, rename, rm } from 'node:fs/promises';
import { fstatSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { AgentError, codeOf } from '../../api/errors.js';
import { makeDirectories } from './make-directories.js';
import { reason } from './reason.js';

export interface TextFile {
  readonly path: string;
  readonly text: string;
}

/** Inside the root. */
export const CONFIG_DIRECTORY = '/etc/guestwire';

/**
 * The main file and its drop-ins in lexical order; those that do not exist are left out.
 * `explicit` replaces both, and must exist. Throws AgentError GW_CONFIG_INVALID for one that cannot be read.
 */
export async function readConfigFiles(root: string, explicit: string | null): Promise<readonly TextFile[]> {
  if (explicit !== null) {
    const text = await readConfigFile(explicit);
    if (text === null) throw unreadable(explicit, 'there is no such file');
    return [{ path: explicit, text }];
  }
  const directory = join(root, CONFIG_DIRECTORY);
  const dropIns = await orAbsent(readdir(join(directory, 'guestwire.d')));
  const paths = [
    join(directory, 'guestwire.toml'),
    ...(dropIns ?? [])
      .filter((name) => name.endsWith('.toml'))
      .sort()
      .map((name) => join(directory, 'guestwire.d', name)),
  ];
  const files: TextFile[] = [];
  for (const path of paths) {
    const text = await readConfigFile(path);
    if (text !== null) files.push({ path, text });
  }
  return files;
}

/** Null when there is none. */
async function readConfigFile(path: string): Promise<string | null> {
  try {
    return await orAbsent(readFile(path, 'utf8'));
  } catch (error) {
    throw unreadable(path, reason(error));
  }
}

function unreadable(path: string, why: string): AgentError {
  return new AgentError('GW_CONFIG_INVALID', [`Could not read the configuration file ${path}: ${why}`]);
}

/** At once: a question of microseconds, where a turn of the event loop would be a good part of an answer's time. */
export function isThere(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    if (codeOf(error) === 'ENOTDIR') return false;
    throw error;
  }
}

/** Null when nothing is there; false when something else is. Links are followed. */
export function isDirectory(path: string): boolean | null {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? null;
  } catch (error) {
    if (codeOf(error) === 'ENOTDIR') return null;
    throw error;
  }
}

async function orAbsent<T>(operation: Promise<T>): Promise<T | null> {
  try {
    return await operation;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw error;
  }
}

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_TRUNC, O_WRONLY } = constants;

export interface AppendOnlyFile extends AsyncDisposable {
  /** The whole text; empty when there is no file yet. */
  read(): Promise<string>;
  /** With `sync`, resolves once the text is on the disk. */
  append(text: string, sync: boolean): Promise<void>;
  /** Replaces the whole text at once, or not at all. */
  replace(text: string): Promise<void>;
}

/**
 * A file of root's alone, made together with its directory at the first write; a link in its place is not followed. Calls
 * are carried out in order.
 */
export function appendOnlyFile(path: string): AppendOnlyFile {
  let handle: FileHandle | null = null;
  let last: Promise<unknown> = Promise.resolve();

  function inOrder<T>(operation: () => Promise<T>): Promise<T> {
    const result = last.then(operation);
    last = result.catch(() => undefined);
    return result;
  }

  async function appendable(): Promise<FileHandle> {
    await makeDirectories(dirname(path), 0o700);
    return open(path, O_CREAT | O_WRONLY | O_APPEND | O_NOFOLLOW, 0o600);
  }

  return {
    read: () => inOrder(async () => (await orAbsent(readFile(path, 'utf8'))) ?? ''),
    append: (text, sync) =>
      inOrder(async () => {
        handle ??= await appendable();
        await handle.appendFile(text);
        if (sync) await handle.datasync();
      }),
    replace: (text) =>
      inOrder(async () => {
        await handle?.close();
        handle = null;
        const staged = `${path}.new`;
        try {
          await using file = await open(staged, O_CREAT | O_WRONLY | O_TRUNC | O_NOFOLLOW, 0o600);
          await file.writeFile(text);
          await file.datasync();
        } catch (error) {
          await rm(staged, { force: true });
          throw error;
        }
        await rename(staged, path);
      }),
    [Symbol.asyncDispose]: () =>
      inOrder(async () => {
        await handle?.close();
        handle = null;
      }),
  };
}

/** Whether a person may be reading stdout. Most agents write to a pipe or socket, and are spared the terminal's code. */
export function isTerminal(): boolean {
  return fstatSync(1).isCharacterDevice() && process.stdout.isTTY;
}
