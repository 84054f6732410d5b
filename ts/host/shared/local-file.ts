import { readFile } from 'node:fs/promises';

/** A file of whoever called, outside of any root. */
export async function readLocalFile(path: string): Promise<Buffer> {
  return readFile(path);
}
