import { mkdtemp, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** A temporary directory with a root to work on and a state directory beside it; gone at the end of `await using`. */
export interface Scratch extends AsyncDisposable {
  readonly directory: string;
  readonly root: string;
  readonly state: string;
  /** Writes a file inside the root, with its directories. */
  write(path: string, content: string | Uint8Array, mode?: number): Promise<string>;
}

export async function createScratch(): Promise<Scratch> {
  const directory = await mkdtemp(join(tmpdir(), 'guestwire-test-'));
  const root = join(directory, 'root');
  await mkdir(root);
  return {
    directory,
    root,
    state: join(directory, 'state'),
    async write(path, content, mode = 0o644) {
      const real = join(root, path);
      await mkdir(dirname(real), { recursive: true });
      await writeFile(real, content, { mode });
      return real;
    },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

/** Every path below `directory`, sorted. Links are not followed; readdir's own recursion would follow them. */
export async function tree(directory: string): Promise<readonly string[]> {
  const paths: string[] = [];
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    paths.push(entry.name);
    if (entry.isDirectory()) {
      paths.push(...(await tree(join(directory, entry.name))).map((path) => `${entry.name}/${path}`));
    }
  }
  return paths.sort();
}
