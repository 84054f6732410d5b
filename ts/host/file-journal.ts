import { createHash, randomBytes } from 'node:crypto';
import { type Stats } from 'node:fs';
import { lstat, mkdir, readdir, rm, rmdir, symlink, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { PinnedDirectory } from './pinned.js';
import {
  moveOver,
  type NewFile,
  type Owner,
  readIfThere,
  readRegular,
  stage,
  syncDirectory,
  writePrivate,
} from './replace.js';
import { absent, errorCode } from './root-path.js';

/** What stood at a path before a change. */
export type Before =
  | { readonly type: 'nothing' }
  | { readonly type: 'link'; readonly target: string }
  | { readonly type: 'file'; readonly backup: string; readonly mode: number; readonly owner: Owner };

/** One path of a change set. Paths are inside the root, so that a copy of a system can be moved. */
export interface JournalEntry {
  readonly path: string;
  readonly before: Before;
  /** The name, beside the file, under which new content is staged. */
  readonly temp: string;
  /** SHA-256 of the content to be, or null for a removal: tells our half-made change from somebody's later one. */
  readonly after: string | null;
  /** The file is a mount of its own: it is written in place and may be half written after a crash. */
  inPlace: boolean;
  /** The home that holds the file, free of links, whose user may swap what is in it at any time. */
  readonly home?: string;
}

interface Manifest {
  readonly version: 1;
  state: 'open' | 'confirmed';
  readonly created: string;
  readonly entries: readonly JournalEntry[];
  /** Directories that were made for the change, outermost first. */
  readonly directories: readonly string[];
}

const MANIFEST = 'manifest.json';
/** How many confirmed change sets stay as backups, where nothing else is said. */
export const KEPT_SETS = 10;

/**
 * A change set on disk: what every file was, and whether the change was confirmed. It is complete before the first
 * file is touched; while it is open, the next start of the agent puts everything back.
 */
export class FileJournal {
  readonly #root: string;
  readonly #directory: string;
  readonly #manifest: Manifest;
  readonly #keptSets: number;

  private constructor(root: string, directory: string, manifest: Manifest, keptSets: number) {
    this.#root = root;
    this.#directory = directory;
    this.#manifest = manifest;
    this.#keptSets = keptSets;
  }

  /** A new, empty folder for a change set; names sort by age. */
  static async createDirectory(stateDirectory: string): Promise<string> {
    const backups = join(stateDirectory, 'backup');
    await mkdir(backups, { recursive: true, mode: 0o700 });
    const stamp = new Date().toISOString().replace(/[-:]/g, '');
    const directory = join(backups, `${stamp}-${randomBytes(3).toString('hex')}`);
    await mkdir(directory, { mode: 0o700 });
    return directory;
  }

  static async open(
    root: string,
    directory: string,
    entries: readonly JournalEntry[],
    directories: readonly string[],
    keptSets: number,
  ): Promise<FileJournal> {
    const created = new Date().toISOString();
    const manifest: Manifest = { version: 1, state: 'open', created, entries, directories };
    const journal = new FileJournal(root, directory, manifest, keptSets);
    await journal.#save();
    await syncDirectory(dirname(directory));
    return journal;
  }

  /** The change sets that a crash left open, newest first: the order in which they can be undone. */
  static async findOpen(root: string, stateDirectory: string): Promise<readonly FileJournal[]> {
    const backups = join(stateDirectory, 'backup');
    const journals: FileJournal[] = [];
    for (const name of (await setNames(backups)).reverse()) {
      const directory = join(backups, name);
      const text = await readIfThere(join(directory, MANIFEST));
      if (text === null) {
        // The crash came before the first change.
        await rm(directory, { recursive: true });
        continue;
      }
      const manifest = parseManifest(text.toString('utf8'));
      if (manifest?.state === 'open') journals.push(new FileJournal(root, directory, manifest, KEPT_SETS));
    }
    return journals;
  }

  /** To be called before `entry`'s file is written in place. */
  async markInPlace(entry: JournalEntry): Promise<void> {
    entry.inPlace = true;
    await this.#save();
  }

  async confirm(): Promise<void> {
    this.#manifest.state = 'confirmed';
    try {
      await this.#save();
    } catch {
      // A full disk must not undo a good change at the next start: without its backup it cannot be undone.
      await this.discard();
      return;
    }
    const backups = dirname(this.#directory);
    const names = await setNames(backups);
    for (const name of names.slice(0, Math.max(0, names.length - this.#keptSets))) {
      await rm(join(backups, name), { recursive: true, force: true });
    }
  }

  /**
   * Puts every file back and forgets the set. `recovering` leaves files alone that were changed again since the
   * crash: somebody repaired them by hand. Returns the paths that were put back.
   */
  async rollback(recovering = false): Promise<readonly string[]> {
    const restored: string[] = [];
    for (const entry of this.#manifest.entries.toReversed()) {
      await using place = await this.#parentOf(entry.path);
      // Not there any more, or something else is: the user's own doing.
      if (place === null) continue;
      const real = join(place.path, basename(entry.path));
      const temp = join(place.path, entry.temp);
      // Looked for first: on a read-only file system even removing what is not there is refused.
      if ((await lstat(temp).catch(absent)) !== null) await unlink(temp);
      if (recovering && !(await this.#isOurs(entry, real))) continue;
      if (await this.#restore(entry, real, temp)) restored.push(entry.path);
    }
    for (const path of this.#manifest.directories.toReversed()) {
      await using place = await this.#parentOf(path);
      if (place === null) continue;
      await rmdir(join(place.path, basename(path))).catch((error: unknown) => {
        if (errorCode(error) !== 'ENOTEMPTY') absent(error);
      });
    }
    await this.discard();
    return restored;
  }

  async discard(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
    await syncDirectory(dirname(this.#directory));
  }

  /** The directory above `path`, held open where it is in a user's home; null when that has gone. */
  async #parentOf(path: string): Promise<({ readonly path: string } & AsyncDisposable) | null> {
    const home = this.#manifest.entries.find((entry) => entry.home !== undefined && isBelow(path, entry.home))?.home;
    const parent = dirname(path);
    if (home === undefined) return { path: join(this.#root, parent), [Symbol.asyncDispose]: () => Promise.resolve() };
    const place = await PinnedDirectory.open(this.#root, home, parent, null).catch(absent);
    if (place === null || place.missing.length === 0) return place;
    await place[Symbol.asyncDispose]();
    return null;
  }

  async #isOurs(entry: JournalEntry, real: string): Promise<boolean> {
    if (entry.inPlace) return true;
    const status = await lstat(real).catch(absent);
    if (status === null) return entry.after === null;
    return status.isFile() && sha256(await readRegular(real)) === entry.after;
  }

  async #restore(entry: JournalEntry, real: string, temp: string): Promise<boolean> {
    const { before } = entry;
    const status = await lstat(real).catch(absent);
    if (before.type === 'nothing') {
      if (status === null) return false;
      await unlink(real);
    } else if (before.type === 'link') {
      if (status !== null) return false;
      await symlink(before.target, real);
    } else {
      const backup = join(this.#directory, before.backup);
      const content = await readRegular(backup);
      const attributesFrom = entry.home === undefined ? backup : null;
      const file: NewFile = { content, mode: before.mode, owner: before.owner, attributesFrom };
      // Not moved yet: a rollback for want of space must not need any.
      if (status?.isFile() === true && sameMarks(status, file) && content.equals(await readRegular(real))) return false;
      await stage(temp, file);
      await moveOver(temp, real, file, async () => {
        if (entry.home !== undefined) throw new Error('something is mounted on it');
        await this.markInPlace(entry);
      });
    }
    await syncDirectory(dirname(real));
    return true;
  }

  async #save(): Promise<void> {
    await writePrivate(join(this.#directory, MANIFEST), `${JSON.stringify(this.#manifest, null, 2)}\n`);
  }
}

function isBelow(path: string, directory: string): boolean {
  return path.startsWith(directory === '/' ? '/' : `${directory}/`);
}

function sameMarks(status: Stats, { mode, owner }: NewFile): boolean {
  return (status.mode & 0o7777) === mode && status.uid === owner?.uid && status.gid === owner.gid;
}

export function sha256(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

/** Null for what this version of the agent did not write: better left alone than half understood. */
function parseManifest(text: string): Manifest | null {
  try {
    const manifest = JSON.parse(text) as Partial<Manifest> | null;
    return manifest?.version === 1 ? (manifest as Manifest) : null;
  } catch {
    return null;
  }
}

async function setNames(backups: string): Promise<string[]> {
  try {
    return (await readdir(backups)).sort();
  } catch (error) {
    absent(error);
    return [];
  }
}
