import { constants } from 'node:fs';
import { lstat, open, readFile, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { FileLock } from '#binding';
import { AgentError, type State, type StateFile } from '../../api/index.js';
import { codeOf } from '../../api/errors.js';
import { makeDirectories } from './make-directories.js';
import { syncDirectory, writePrivate } from './durable.js';
import { reason } from './reason.js';
import { absent } from './system-error.js';

/** How long another program of ours may take: a reset of the network with a rollback is the longest. Milliseconds. */
const LOCK_TIMEOUT = 120_000;

/** Texts, growing files and locks in `directory`, which is made, for root's eyes only, when the first is written. */
export function createState(directory: string): State {
  const make = (name: string): Promise<void> => makeDirectories(dirname(join(directory, name)), 0o700);
  return {
    read: (name) => readFile(join(directory, name), 'utf8').catch(absent),

    async write(name, text) {
      try {
        await make(name);
        await writePrivate(join(directory, name), text);
      } catch (cause) {
        throw failure(join(directory, name), cause);
      }
    },

    async remove(name) {
      await rm(join(directory, name), { force: true });
      await syncDirectory(dirname(join(directory, name))).catch(absent);
    },

    async list(folder) {
      const names = (await readdir(join(directory, folder)).catch(absent)) ?? [];
      const files: StateFile[] = [];
      for (const name of names.sort()) {
        const status = await lstat(join(directory, folder, name)).catch(absent);
        if (status?.isFile() === true) files.push({ name, size: status.size, modified: status.mtimeMs });
      }
      return files;
    },

    async readBytes(name, offset, length) {
      const handle = await open(join(directory, name), constants.O_RDONLY | constants.O_NOFOLLOW).catch(absent);
      if (handle === null) return null;
      try {
        const { size } = await handle.stat();
        const bytes = Buffer.alloc(Math.max(0, Math.min(length, size - offset)));
        const { bytesRead } = await handle.read(bytes, 0, bytes.length, offset);
        return bytes.subarray(0, bytesRead);
      } finally {
        await handle.close();
      }
    },

    async writeBytes(name, offset, bytes) {
      const path = join(directory, name);
      try {
        await make(name);
        const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW;
        const handle = await open(path, flags, 0o600);
        try {
          await handle.truncate(offset);
          await handle.writeFile(bytes);
        } finally {
          await handle.close();
        }
      } catch (cause) {
        throw failure(path, cause);
      }
    },

    async exclusively(name, work) {
      const path = join(directory, `${name}.lock`);
      const lock = await make(`${name}.lock`)
        .then(() => FileLock.acquire(path, LOCK_TIMEOUT))
        .catch((cause: unknown) => {
          const busy = codeOf(cause) === 'LOCK_TIMEOUT';
          throw failure(path, busy ? new Error('another guestwire has held it for two minutes', { cause }) : cause);
        });
      try {
        return await work();
      } finally {
        lock.release();
      }
    },
  };
}

function failure(path: string, cause: unknown): AgentError {
  return new AgentError('GW_FILE_FAILED', [path, reason(cause)], { cause });
}
