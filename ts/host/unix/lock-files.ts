import { constants } from 'node:fs';
import { link, open, rm, unlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FileLock, FileTree } from '#binding';
import { codeOf } from '../../api/errors.js';
import { absent } from '../shared/system-error.js';

/** The file that lckpwdf(3) locks. */
export const PWD_LOCK = '/etc/.pwd.lock';
/** What shadow-utils makes besides, in this order: links to a file that holds a process id. */
const LOCK_FILES = ['/etc/passwd.lock', '/etc/shadow.lock'] as const;
const STAGED = '/etc/.guestwire.lock';
/** Behind the NUL that ends the process id for others: tells that it is ours, whoever has the number by now. */
const MARK = '\0guestwire';
/** More than a process id and our mark take. */
const HOLDER_BYTES = 64;
/** Of a lock file that names nobody. */
const UNKNOWN = '';
/** Time between two tries, milliseconds. */
const RETRY = 20;

/** A lock that others have not let go of in time. */
export class LockBusyError extends Error {
  override readonly name = 'LockBusyError';
  readonly path: string;

  constructor(path: string, holder: string) {
    super(holder);
    this.path = path;
  }
}

/**
 * Takes the lock files of shadow-utils below `root`, for whoever holds the lock of {@link PWD_LOCK}; gives what lets
 * them go. One that is left of a dead process is taken over. `deadline` is milliseconds since 1970.
 *
 * Throws LockBusyError.
 */
export async function takeLockFiles(root: string, deadline: number): Promise<() => Promise<void>> {
  const staged = await realPath(root, STAGED);
  // Left of a crash: others of ours would hold the other lock.
  await rm(staged, { force: true });
  const taken: string[] = [];
  const release = async (): Promise<void> => {
    for (const path of taken.reverse()) await rm(path, { force: true });
  };
  try {
    await writeFile(staged, `${process.pid}${MARK}`, { mode: 0o600, flag: 'wx' });
    for (const path of LOCK_FILES) {
      const real = await realPath(root, path);
      await takeLockFile(path, real, staged, deadline);
      taken.push(real);
    }
  } catch (error) {
    await release();
    throw error;
  } finally {
    await rm(staged, { force: true });
  }
  return release;
}

async function takeLockFile(path: string, real: string, staged: string, deadline: number): Promise<void> {
  for (;;) {
    try {
      await link(staged, real);
      return;
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
    }
    const holder = await readHolder(real);
    if (holder === null) continue;
    if (isOver(holder)) {
      await unlink(real).catch(absent);
    } else {
      if (Date.now() >= deadline) throw new LockBusyError(path, `${describeHolder(holder)} holds it`);
      await sleep(RETRY);
    }
  }
}

/**
 * Removes lock files that a crash of the agent left: another process may get the number in them, and would then keep
 * passwd(1) out for good.
 */
export async function removeStaleLockFiles(root: string): Promise<void> {
  const left: string[] = [];
  for (const path of [STAGED, ...LOCK_FILES]) {
    const real = await realPath(root, path);
    const text = await readHolder(real);
    // The name of the staged one is ours alone; a crash may have left it empty.
    if (text !== null && (path === STAGED || text.includes(MARK))) left.push(real);
  }
  if (left.length === 0) return;
  const lock = await FileLock.acquire(await realPath(root, PWD_LOCK), 0);
  try {
    for (const real of left) await rm(real, { force: true });
  } finally {
    lock.release();
  }
}

/** Where a file stands that only root's directories lead to; the file itself need not be there. */
export async function realPath(root: string, path: string): Promise<string> {
  const directory = (await new FileTree(root).resolve(dirname(path))) ?? dirname(path);
  return join(root, directory, basename(path));
}

/**
 * What is in a lock file; null when it is not there any more, and nothing for a link, which may lead out of the root.
 * A pipe is not waited for.
 */
async function readHolder(real: string): Promise<string | null> {
  const file = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    (error: unknown) => (codeOf(error) === 'ELOOP' ? UNKNOWN : absent(error)),
  );
  if (file === null || file === UNKNOWN) return file;
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HOLDER_BYTES), 0, HOLDER_BYTES);
    return buffer.toString('latin1', 0, bytesRead);
  } finally {
    await file.close();
  }
}

/** The id as shadow-utils reads it: up to the NUL. */
function processId(holder: string): number | null {
  const [id = ''] = holder.split('\0');
  return /^[1-9]\d{0,9}$/.test(id.trim()) ? Number(id) : null;
}

function describeHolder(holder: string): string {
  const id = processId(holder);
  return id === null ? 'a process that it does not name' : `process ${id}`;
}

/** Whether nobody holds the lock any more. A file without a process id is somebody's that we do not know. */
function isOver(holder: string): boolean {
  const id = processId(holder);
  // Ours, but not of this moment: we hold the other lock. So is one with our own number, after a restart.
  if (holder.includes(MARK) || id === process.pid) return true;
  if (id === null) return false;
  try {
    process.kill(id, 0);
    return false;
  } catch (error) {
    return codeOf(error) === 'ESRCH';
  }
}
