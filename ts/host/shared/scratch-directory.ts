import { chmod, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';

/** A file of a scratch system: its text, and its mode where that is not 0o644. */
export type ScratchFile = string | { readonly text: string; readonly mode: number };

/** A temporary directory of our own; it is gone, with everything in it, when it is disposed of. */
export class ScratchDirectory implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async create(): Promise<ScratchDirectory> {
    return new ScratchDirectory(await mkdtemp(join(tmpdir(), 'guestwire-')));
  }

  /** Writes `files`, by path below this directory, and the directories they need. */
  async write(files: Readonly<Record<string, ScratchFile>>): Promise<void> {
    for (const [name, file] of Object.entries(files)) {
      const { text, mode } = typeof file === 'string' ? { text: file, mode: 0o644 } : file;
      const path = join(this.path, name);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, text);
      await chmod(path, mode);
    }
  }

  /** Every regular file below `directory` with its text, by path below it. */
  async snapshot(directory: string): Promise<ReadonlyMap<string, string>> {
    const root = join(this.path, directory);
    const entries = await readdir(root, { recursive: true, withFileTypes: true });
    const texts = entries
      .filter((entry) => entry.isFile())
      .map(async (entry) => {
        const path = join(entry.parentPath, entry.name);
        return [relative(root, path), await readFile(path, 'utf8')] as const;
      });
    return new Map((await Promise.all(texts)).sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}
