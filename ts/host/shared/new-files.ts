import { mkdir, open, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';

export interface NewFileText {
  readonly text: string;
  readonly mode: number;
}

/**
 * Makes `directory`, in one that is there, with these files, by name. Rejects, and leaves nothing, when something stands
 * there already: code EEXIST.
 */
export async function makeFolder(directory: string, files: Readonly<Record<string, NewFileText>>): Promise<void> {
  await mkdir(directory, { mode: 0o755 });
  const made: string[] = [];
  try {
    for (const [name, { text, mode }] of Object.entries(files)) {
      const path = join(directory, name);
      const file = await open(path, 'wx', mode);
      made.push(path);
      await file.writeFile(text).finally(() => file.close());
    }
  } catch (error) {
    // No more than was made here: somebody else may use the folder by now.
    for (const path of made) await rm(path, { force: true });
    await rmdir(directory).catch(() => undefined);
    throw error;
  }
}
