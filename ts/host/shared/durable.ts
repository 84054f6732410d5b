import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { PrivateDirectory } from '#binding';

/** Makes the names in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Writes a file of the agent's own: whole or not at all, and durable. */
export async function writePrivate(path: string, content: string): Promise<void> {
  await new PrivateDirectory(dirname(path)).write(basename(path), Buffer.from(content));
}
