import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errorCode } from './system-error.js';

/**
 * Makes a directory with all above it that are missing, as `mkdir` of Node does with `recursive`. That one says ENOENT
 * whatever the system said: a disk that is read-only would seem to have lost a directory.
 */
export async function makeDirectories(path: string, mode: number): Promise<void> {
  try {
    await mkdir(path, { mode });
  } catch (error) {
    const code = errorCode(error);
    // What stands there and is no directory is told by whoever goes on below it.
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT' || dirname(path) === path) throw error;
    await makeDirectories(dirname(path), mode);
    // Again ENOENT means that a link above leads nowhere, and EEXIST that somebody else was faster.
    await mkdir(path, { mode }).catch((second: unknown) => {
      if (errorCode(second) !== 'EEXIST') throw second;
    });
  }
}
