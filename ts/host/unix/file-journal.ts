import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  type FileAnchor,
  type FileMarks,
  type FileOwner,
  type FilePlace,
  type FileTree,
  PrivateDirectory,
} from '#binding';
import type { Recovered } from '../../api/index.js';
import { codeOf } from '../../api/errors.js';
import { makeDirectories } from '../shared/make-directories.js';
import { reason } from '../shared/reason.js';
import { syncDirectory } from '../shared/durable.js';
import { absent } from '../shared/system-error.js';

/** What stood at a path before a change. */
export type Before =
  | { readonly type: 'nothing' }
  | { readonly type: 'link'; readonly target: string; readonly owner?: FileOwner }
  | { readonly type: 'file'; readonly backup: string; readonly mode: number; readonly owner: FileOwner };

/** One path of a change set. Paths are inside the root and free of links, so that a copy of a system can be moved. */
export interface JournalEntry {
  readonly path: string;
  readonly before: Before;
  /** The name, beside the file, under which new content is staged. */
  readonly temp: string;
  /** SHA-256 of the content to be, or null for a removal: tells our half-made change from somebody's later one. */
  readonly after: string | null;
  /** The file is a mount of its own: it is written in place and may be half written after a crash. */
  inPlace: boolean;
  /** Who could change the directory; absent in manifests of version 1. */
  readonly trust?: FilePlace['trust'];
  /** Where others could, the innermost directory that was there: they may have put another one in its place. */
  readonly anchor?: FileAnchor;
}

interface Manifest {
  readonly version: 1 | 2;
  /** `left`: a part of it could not be put back, because the way there is another now. */
  state: 'open' | 'confirmed' | 'left';
  readonly created: string;
  readonly entries: readonly JournalEntry[];
  /** Directories that were made for the change, outermost first. */
  readonly directories: readonly string[];
}

const MANIFEST = 'manifest.json';
/** How many confirmed change sets stay as backups, where nothing else is said. */
export const KEPT_SETS = 10;
/** Errors that say that a path must not be followed; any other may have gone by the next start. */
const NOT_TO_BE_FOLLOWED = ['FILE_REFUSED', 'FILE_MOVED', 'ELOOP', 'EISDIR', 'EINVAL'];

/**
 * A change set on disk: what every file was, and whether the change was confirmed. It is complete before the first
 * file is touched; while it is open, the next start of the agent puts everything back.
 */
export class FileJournal {
  readonly #tree: FileTree;
  readonly #directory: string;
  readonly #manifest: Manifest;
  readonly #keptSets: number;
  /** Where the files are, as long as the program that changed them runs. */
  readonly #places: ReadonlyMap<JournalEntry, FilePlace>;
  /** Those where something of ours stands, or is missing, by now. What is elsewhere is not ours to put back. */
  readonly #applied = new Set<FilePlace>();

  private constructor(
    tree: FileTree,
    directory: string,
    manifest: Manifest,
    keptSets: number,
    places: ReadonlyMap<JournalEntry, FilePlace>,
  ) {
    this.#tree = tree;
    this.#directory = directory;
    this.#manifest = manifest;
    this.#keptSets = keptSets;
    this.#places = places;
  }

  /** Where a change set is to be kept; backups go there before `open`. */
  static async createDirectory(stateDirectory: string): Promise<string> {
    const backups = join(stateDirectory, 'backup');
    await makeDirectories(backups, 0o700);
    const stamp = new Date().toISOString().replace(/[-:]/g, '');
    const directory = join(backups, `${stamp}-${randomBytes(3).toString('hex')}`);
    await mkdir(directory, { mode: 0o700 });
    return directory;
  }

  /** For a change set that was never opened. */
  static async removeDirectory(directory: string): Promise<void> {
    await rm(directory, { recursive: true, force: true });
  }

  static async open(
    tree: FileTree,
    directory: string,
    entries: ReadonlyMap<JournalEntry, FilePlace>,
    directories: readonly string[],
    keptSets: number,
  ): Promise<FileJournal> {
    const created = new Date().toISOString();
    const manifest: Manifest = { version: 2, state: 'open', created, entries: [...entries.keys()], directories };
    const journal = new FileJournal(tree, directory, manifest, keptSets, entries);
    await journal.#save();
    await syncDirectory(dirname(directory));
    return journal;
  }

  /** The change sets that a crash left open, newest first: the order in which they can be undone. */
  static async findOpen(tree: FileTree, stateDirectory: string): Promise<readonly FileJournal[]> {
    const backups = join(stateDirectory, 'backup');
    const journals: FileJournal[] = [];
    for (const name of (await setNames(backups)).reverse()) {
      const directory = join(backups, name);
      const manifest = await readManifest(directory);
      if (manifest === null) {
        // The crash came before the first change.
        await rm(directory, { recursive: true });
        continue;
      }
      if (manifest.state === 'open') journals.push(new FileJournal(tree, directory, manifest, KEPT_SETS, new Map()));
    }
    return journals;
  }

  /** To be called before the file at `place` is written in place. */
  async markInPlace(place: FilePlace): Promise<void> {
    for (const [entry, at] of this.#places) if (at === place) entry.inPlace = true;
    await this.#save();
  }

  /** To be called once the file at `place` is as it is to be. */
  noteApplied(place: FilePlace): void {
    this.#applied.add(place);
  }

  async confirm(): Promise<void> {
    this.#manifest.state = 'confirmed';
    try {
      await this.#save();
    } catch {
      // A full disk must not undo a good change at the next start: without its backup it cannot be undone.
      await this.#discard();
      return;
    }
    const backups = dirname(this.#directory);
    const names = await setNames(backups);
    for (const name of names.slice(0, Math.max(0, names.length - this.#keptSets))) {
      const old = await readManifest(join(backups, name)).catch(() => null);
      // What could not be put back stays for whoever looks into it.
      if (old?.state === 'confirmed') await rm(join(backups, name), { recursive: true, force: true });
    }
  }

  /** Puts every file back where it was and forgets the set. Throws for what cannot be put back; the rest is. */
  async rollback(): Promise<void> {
    const failed: Error[] = [];
    for (const entry of this.#manifest.entries.toReversed()) {
      const place = this.#places.get(entry);
      if (place === undefined) continue;
      try {
        await place.unstage(entry.temp);
        if (!this.#applied.has(place)) continue;
        await place.look();
        await this.#restore(entry, place);
      } catch (error) {
        failed.push(new Error(`${entry.path}: ${reason(error)}`, { cause: error }));
      }
    }
    const [first] = failed;
    if (first !== undefined)
      throw failed.length === 1 ? first : new AggregateError(failed, failed.map(({ message }) => message).join('; '));
    await this.#removeDirectories();
    await this.#discard();
  }

  /**
   * As `rollback`, for a set of an earlier run: leaves files alone that were changed again since the crash, as somebody
   * repaired them by hand, and those that cannot be put back. None of them keeps the agent from starting.
   */
  async recover(): Promise<Recovered> {
    let recovered: Recovered = { restored: [], left: [] };
    let mayPass = false;
    for (const entry of this.#manifest.entries.toReversed()) {
      const one = await this.#recoverEntry(entry);
      mayPass ||= one.mayPass;
      recovered = sum(recovered, one);
    }
    await this.#removeDirectories().catch(() => undefined);
    if (recovered.left.length === 0) await this.#discard();
    else if (!mayPass) {
      // The backups stay for whoever looks into it; a second try would come to the same.
      this.#manifest.state = 'left';
      await this.#save();
    }
    return recovered;
  }

  /** `mayPass`: the next start may have more luck with it. */
  async #recoverEntry(entry: JournalEntry): Promise<Recovered & { readonly mayPass: boolean }> {
    const { path } = entry;
    let place: FilePlace | null = null;
    try {
      place = await this.#find(entry);
      await place.unstage(entry.temp);
      const restored = (await isOurs(entry, place)) && (await this.#restore(entry, place));
      return { restored: restored ? [path] : [], left: [], mayPass: false };
    } catch (error) {
      const mayPass = !NOT_TO_BE_FOLLOWED.includes(codeOf(error) ?? '');
      const backup = entry.before.type === 'file' ? join(this.#directory, entry.before.backup) : null;
      return { restored: [], left: [{ path, reason: reason(error), backup }], mayPass };
    } finally {
      place?.close();
    }
  }

  /** Where a file of an earlier run's was. Throws where the way leads elsewhere now. */
  async #find({ path, trust, anchor }: JournalEntry): Promise<FilePlace> {
    const place = await this.#tree.place(path, { last: 'exact', home: null, expected: anchor ?? null });
    const now = place.trust;
    if (trust === undefined || place.missing > 0 || now === trust) return place;
    place.close();
    const who = { root: 'root alone', shared: 'others than root', owner: 'a user' };
    const message = `${dirname(path)} could be changed by ${who[trust]} then, and by ${who[now]} now`;
    throw Object.assign(new Error(message), { code: 'FILE_MOVED' });
  }

  /** Whether something was put back. */
  async #restore({ before, temp }: JournalEntry, place: FilePlace): Promise<boolean> {
    const { target } = place;
    if (before.type === 'nothing') {
      if (target === null) return false;
      await place.remove();
      return true;
    }
    // With its directory the file has gone: somebody's own doing.
    if (place.missing > 0) return false;
    if (before.type === 'link') {
      if (target !== null) return false;
      await place.link(before.target, before.owner);
      return true;
    }
    const { backup, mode, owner } = before;
    const marks: FileMarks = { mode, owner };
    // Not moved yet: a rollback for want of space must not need any.
    const isMarked = target?.link === null && target.mode === mode && sameOwner(target, owner);
    if (isMarked && (await place.holdsBackup(this.#directory, backup))) return false;
    await place.stageBackup(temp, this.#directory, backup, marks);
    if (!(await place.put(temp, false))) {
      await this.markInPlace(place);
      await place.writeBackupInPlace(this.#directory, backup, marks);
      await place.unstage(temp);
    }
    return true;
  }

  /** Those that were made for the change and are empty now. One to which the way is another now is left alone. */
  async #removeDirectories(): Promise<void> {
    for (const path of this.#manifest.directories.toReversed()) {
      await this.#tree.removeDirectory(path).catch((error: unknown) => {
        if (!NOT_TO_BE_FOLLOWED.includes(codeOf(error) ?? '')) absent(error);
      });
    }
  }

  async #discard(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
    await syncDirectory(dirname(this.#directory));
  }

  async #save(): Promise<void> {
    const text = `${JSON.stringify(this.#manifest, null, 2)}\n`;
    await new PrivateDirectory(this.#directory).write(MANIFEST, Buffer.from(text));
  }
}

export function sum(a: Recovered, b: Recovered): Recovered {
  return { restored: [...a.restored, ...b.restored], left: [...a.left, ...b.left] };
}

/** Whether what stands there is what the change made, or was about to make. */
async function isOurs(entry: JournalEntry, place: FilePlace): Promise<boolean> {
  if (entry.inPlace) return true;
  if (place.target === null) return entry.after === null;
  const content = await place.read();
  return content !== null && sha256(content) === entry.after;
}

function sameOwner(a: FileOwner, b: FileOwner): boolean {
  return a.uid === b.uid && a.gid === b.gid;
}

export function sha256(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

/** Null where there is none; undefined, in `state`, is what this version cannot read: better left alone. */
async function readManifest(directory: string): Promise<Manifest | { readonly state: undefined } | null> {
  const text = await readFile(join(directory, MANIFEST), 'utf8').catch(absent);
  if (text === null) return null;
  try {
    const manifest = JSON.parse(text) as Partial<Manifest> | null;
    if (manifest?.version === 1 || manifest?.version === 2) return manifest as Manifest;
  } catch {
    // Not whole, which its writing rules out.
  }
  return { state: undefined };
}

async function setNames(backups: string): Promise<string[]> {
  try {
    return (await readdir(backups)).sort();
  } catch (error) {
    absent(error);
    return [];
  }
}
