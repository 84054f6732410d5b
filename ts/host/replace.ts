import { constants } from 'node:fs';
import { type FileHandle, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { copyAttributes } from '#binding';
import { errorCode } from './root-path.js';

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** The content and the marks that a file is to have. */
export interface NewFile {
  readonly content: Uint8Array;
  readonly mode: number;
  /** Null to leave it with whoever makes the file. */
  readonly owner: Owner | null;
  /** A file whose extended attributes (SELinux label, ACLs) are wanted; null for those that the directory gives. */
  readonly attributesFrom: string | null;
}

/**
 * Makes `temp`, which nobody else can open before it has its final owner and mode, and is on the disk when this
 * returns.
 */
export async function stage(temp: string, file: NewFile): Promise<void> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const handle = await open(temp, flags, 0o600);
  try {
    await handle.writeFile(file.content);
    await own(handle, file.owner);
    if (file.attributesFrom !== null) copyAttributes(file.attributesFrom, temp);
    // Last: chown clears the set-uid bits, and the mode's group bits are the mask of a copied ACL.
    await handle.chmod(file.mode);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Moves `temp` over `target`. Where the kernel refuses because `target` is a mount of its own, as container engines
 * do with /etc/hosts, `beforeInPlace` is called and the content is then written into it.
 */
export async function moveOver(
  temp: string,
  target: string,
  file: NewFile,
  beforeInPlace: () => Promise<void>,
): Promise<void> {
  try {
    await rename(temp, target);
  } catch (error) {
    if (errorCode(error) !== 'EBUSY') throw error;
    await beforeInPlace();
    await writeInPlace(target, file);
    await rm(temp);
  }
}

async function writeInPlace(target: string, file: NewFile): Promise<void> {
  const handle = await open(target, constants.O_WRONLY | constants.O_TRUNC | constants.O_NOFOLLOW);
  try {
    await handle.writeFile(file.content);
    await own(handle, file.owner);
    await handle.chmod(file.mode);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Leaves an owner that is right already alone: without privileges even that call is refused. */
async function own(handle: FileHandle, owner: Owner | null): Promise<void> {
  if (owner === null) return;
  const now = await handle.stat();
  if (now.uid !== owner.uid || now.gid !== owner.gid) await handle.chown(owner.uid, owner.gid);
}

/** Makes the names in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Reads a regular file; opening a pipe or a device could block for ever or set something off. */
export async function readRegular(path: string): Promise<Buffer> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  try {
    const status = await handle.stat();
    if (!status.isFile()) throw Object.assign(new Error(`${path} is not a regular file`), { code: 'EINVAL' });
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

/** As {@link readRegular}: at most `length` bytes from `offset` on, fewer only at the end of the file. */
export async function readRegularPart(path: string, offset: number, length: number): Promise<Buffer> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  try {
    const status = await handle.stat();
    if (!status.isFile()) throw Object.assign(new Error(`${path} is not a regular file`), { code: 'EINVAL' });
    const bytes = Buffer.alloc(Math.max(0, Math.min(length, status.size - offset)));
    let filled = 0;
    while (filled < bytes.length) {
      const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, offset + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return bytes.subarray(0, filled);
  } finally {
    await handle.close();
  }
}

/** Writes a file of the agent's own: whole or not at all, and durable. */
export async function writePrivate(path: string, content: string): Promise<void> {
  const temp = `${path}.new`;
  await rm(temp, { force: true });
  await stage(temp, { content: Buffer.from(content), mode: 0o600, owner: null, attributesFrom: null });
  await rename(temp, path);
  await syncDirectory(dirname(path));
}

export async function readIfThere(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw error;
  }
}
