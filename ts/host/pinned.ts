import { constants, type Stats } from 'node:fs';
import { type FileHandle, mkdir, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Home } from '../api/index.js';
import { reason } from './reason.js';
import { absent, resolveInRoot } from './root-path.js';

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const GROUP_AND_OTHERS = 0o077;
/** Of a file in a home: whoever made a larger one there does not mean it to be read. */
const MAX_SIZE = 1024 * 1024;

/** Where a path leads inside a user's home, links followed. Throws when that is outside. */
export async function resolveInHome(
  root: string,
  path: string,
  home: string,
): Promise<{ readonly home: string; readonly parent: string; readonly name: string }> {
  const top = await resolveInRoot(root, home, 'follow');
  if (!top.exists) throw new Error(`the home ${home} does not exist`);
  const { inside } = await resolveInRoot(root, path, 'follow');
  if (!inside.startsWith(top.inside === '/' ? '/' : `${top.inside}/`)) {
    throw new Error(`a link leads out of the home ${home}, to ${inside}`);
  }
  const cut = inside.lastIndexOf('/');
  return { home: top.inside, parent: inside.slice(0, cut) || '/', name: inside.slice(cut + 1) };
}

/**
 * A directory in a home that is held open, with all that is above it up to the home. Its owner may rename and replace
 * what is in his home at any time, also between two steps of ours; a path that starts with `path` ends here
 * nevertheless, because the kernel goes by the open descriptor.
 */
export class PinnedDirectory implements AsyncDisposable {
  readonly #handles: FileHandle[];
  readonly #missing: string[];
  readonly #owner: Home | null;

  private constructor(handles: FileHandle[], missing: string[], owner: Home | null) {
    this.#handles = handles;
    this.#missing = missing;
    this.#owner = owner;
  }

  /**
   * Opens `directory`, as far as it exists, from `home` on, both inside the root and free of links. `owner` is whose
   * home it must be; null to take it as it is.
   */
  static async open(root: string, home: string, directory: string, owner: Home | null): Promise<PinnedDirectory> {
    const names = directory
      .slice(home.length)
      .split('/')
      .filter((part) => part !== '');
    const pinned = new PinnedDirectory([await open(join(root, home), DIRECTORY)], [], owner);
    try {
      await pinned.#check(home);
      for (const [index, name] of names.entries()) {
        const handle = await open(join(pinned.path, name), DIRECTORY).catch(absentOrReplaced);
        if (handle === null) {
          pinned.#missing.push(...names.slice(index));
          break;
        }
        pinned.#handles.push(handle);
        await pinned.#check(`${home}/${names.slice(0, index + 1).join('/')}`);
      }
    } catch (error) {
      await pinned[Symbol.asyncDispose]();
      throw error;
    }
    return pinned;
  }

  /** For other calls of the file system; ends at the innermost directory that exists. */
  get path(): string {
    return `/proc/self/fd/${this.#innermost.fd}`;
  }

  /** The directories that do not exist yet, outermost first. */
  get missing(): readonly string[] {
    return this.#missing;
  }

  /** Makes what is missing, for the home's owner. */
  async make(mode: number): Promise<void> {
    for (let name = this.#missing[0]; name !== undefined; name = this.#missing[0]) {
      await mkdir(join(this.path, name), { mode: 0o700 });
      const handle = await open(join(this.path, name), DIRECTORY);
      const parent = this.#innermost;
      this.#handles.push(handle);
      this.#missing.shift();
      const { uid } = await handle.stat();
      // Not ours or not empty: it was put in the place of the one that was made.
      if (uid !== process.geteuid?.() || (await readdir(this.path)).length > 0) throw new Error('it was replaced');
      if (this.#owner !== null && uid !== this.#owner.uid) await handle.chown(this.#owner.uid, this.#owner.gid);
      else if (this.#owner !== null) await handle.chown(-1, this.#owner.gid);
      await handle.chmod(mode);
      await handle.sync();
      await parent.sync();
    }
  }

  /** Takes from group and others what they may do in the directory, unless it is the home itself or not its owner's. */
  async tighten(): Promise<void> {
    if (this.#handles.length < 2 || this.#missing.length > 0) return;
    const { uid, mode } = await this.#innermost.stat();
    if (uid === this.#owner?.uid && (mode & GROUP_AND_OTHERS) !== 0) {
      await this.#innermost.chmod(mode & 0o7777 & ~GROUP_AND_OTHERS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const handle of this.#handles.splice(0)) await handle.close();
  }

  get #innermost(): FileHandle {
    const handle = this.#handles.at(-1);
    if (handle === undefined) throw new Error('the directory is closed');
    return handle;
  }

  /** sshd asks for the same: a directory of the user's, or one of root's that the user can look into. */
  async #check(inside: string): Promise<void> {
    const owner = this.#owner;
    if (owner === null) return;
    const { uid, gid, mode } = await this.#innermost.stat();
    if (uid === owner.uid) return;
    if (uid !== 0) throw new Error(`${inside} belongs to uid ${uid}, wanted ${owner.uid}`);
    const wanted = gid === owner.gid ? 0o050 : 0o005;
    if ((mode & wanted) !== wanted) throw new Error(`${inside} belongs to root and is closed to uid ${owner.uid}`);
  }
}

/** Reads a file in a home; null when there is none. Throws for what is not the owner's to show. */
export async function readInHome(root: string, path: string, owner: Home): Promise<Buffer | null> {
  try {
    return await read(root, path, owner);
  } catch (cause) {
    throw new Error(reason(cause), { cause });
  }
}

async function read(root: string, path: string, owner: Home): Promise<Buffer | null> {
  const { home, parent, name } = await resolveInHome(root, path, owner.path);
  await using pinned = await PinnedDirectory.open(root, home, parent, owner);
  if (pinned.missing.length > 0) return null;
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
  const handle = await open(join(pinned.path, name), flags).catch(absent);
  if (handle === null) return null;
  try {
    checkFile(await handle.stat(), owner);
    return await readBounded(handle);
  } finally {
    await handle.close();
  }
}

/** The size was looked at before; the user can make the file grow meanwhile. */
async function readBounded(handle: FileHandle): Promise<Buffer> {
  const bytes = Buffer.alloc(MAX_SIZE + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await handle.read(bytes, length, bytes.length - length, length);
    length += bytesRead;
    if (length > MAX_SIZE) throw new Error(`it has more than ${MAX_SIZE} bytes`);
    if (bytesRead === 0) return bytes.subarray(0, length);
  }
}

/**
 * Throws unless the file is one that its user could have read and written himself. Whoever may rename could put
 * somebody else's secret file here, and be given its content.
 */
export function checkFile(status: Stats, { uid }: Home): void {
  if (!status.isFile()) throw new Error('it is not a regular file');
  if (status.nlink > 1) throw new Error('it has other names too (hard links)');
  if (status.uid !== uid && (status.uid !== 0 || (status.mode & 0o004) === 0)) {
    throw new Error(`it belongs to uid ${status.uid}, wanted ${uid}`);
  }
  if (status.size > MAX_SIZE) throw new Error(`it has ${status.size} bytes, wanted at most ${MAX_SIZE}`);
}

function absentOrReplaced(error: unknown): null {
  // A link in the place of a directory is ENOTDIR: nothing to be taken for missing.
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return null;
  throw error;
}
