import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

export interface NewFileText {
  readonly text: string;
  readonly mode: number;
}

/**
 * Makes `directory` with these files, by path below it. Rejects, and leaves nothing, when something stands there
 * already: code EEXIST.
 */
export async function makeFolder(directory: string, files: Readonly<Record<string, NewFileText>>): Promise<void> {
  await mkdir(dirname(directory), { recursive: true });
  await mkdir(directory, { mode: 0o755 });
  try {
    for (const [name, { text, mode }] of Object.entries(files)) await writeFile(join(directory, name), text, { mode });
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}
