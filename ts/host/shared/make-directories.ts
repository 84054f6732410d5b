import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { codeOf } from '../../api/errors.js';

/**
 * Makes a directory with all above it that are missing, as `mkdir` of Node does with `recursive`. That one says ENOENT
 * whatever the system said: a disk that is read-only would seem to have lost a directory.
 */
export async function makeDirectories(path: string, mode: number): Promise<void> {
  try {
    await mkdir(path, { mode });
  } catch (error) {
    const code = codeOf(error);
    // What stands there and is no directory is told by whoever goes on below it.
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT' || dirname(path) === path) throw error;
    await makeDirectories(dirname(path), mode);
    // Again ENOENT means that a link above leads nowhere, and EEXIST that somebody else was faster.
    await mkdir(path, { mode }).catch((second: unknown) => {
      if (codeOf(second) !== 'EEXIST') throw second;
    });
  }
}
