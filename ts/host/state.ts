import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { FileLock } from '#binding';
import { AgentError, type State } from '../api/index.js';
import { syncDirectory, writePrivate } from './replace.js';
import { reason } from './reason.js';
import { absent, errorCode } from './root-path.js';

/** How long another program of ours may take: a reset of the network with a rollback is the longest. Milliseconds. */
const LOCK_TIMEOUT = 120_000;

/** Texts and locks in `directory`, which is made, for root's eyes only, when the first is written. */
export function createState(directory: string): State {
  const make = (): Promise<unknown> => mkdir(directory, { recursive: true, mode: 0o700 });
  return {
    read: (name) => readFile(join(directory, name), 'utf8').catch(absent),

    async write(name, text) {
      try {
        await make();
        await writePrivate(join(directory, name), text);
      } catch (cause) {
        throw failure(join(directory, name), cause);
      }
    },

    async remove(name) {
      await rm(join(directory, name), { force: true });
      await syncDirectory(directory).catch(absent);
    },

    async exclusively(name, work) {
      const path = join(directory, `${name}.lock`);
      const lock = await make()
        .then(() => FileLock.acquire(path, LOCK_TIMEOUT))
        .catch((cause: unknown) => {
          const busy = errorCode(cause) === 'LOCK_TIMEOUT';
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
