/** Throw-away things for the demo and for tests: a directory with a system in it, and an agent that works on it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { createInterface } from 'node:readline';

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

/** A child process that runs this very program with other arguments. */
export class AgentProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #exited: Promise<number>;
  readonly #lines: string[] = [];

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#exited = new Promise((resolve) => {
      child.once('exit', (code) => {
        resolve(code ?? -1);
      });
    });
  }

  /** Starts `program <args>` and waits until it has printed a line that holds `ready`. */
  static async start(args: readonly string[], ready: string, program = process.argv[1] ?? ''): Promise<AgentProcess> {
    const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    const agent = new AgentProcess(child);
    await new Promise<void>((resolve, reject) => {
      createInterface({ input: child.stdout }).on('line', (line) => {
        agent.#lines.push(line);
        if (line.includes(ready)) resolve();
      });
      child.once('error', reject);
      child.once('exit', (code) => {
        reject(new Error(`the agent ended with code ${code ?? -1} before it was ready:\n${agent.#lines.join('\n')}`));
      });
    });
    return agent;
  }

  /** What it printed so far. */
  get output(): readonly string[] {
    return this.#lines;
  }

  /** Asks it to stop and resolves with its exit code. */
  async stop(): Promise<number> {
    this.#child.kill('SIGTERM');
    return this.#exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.stop();
  }
}

/** A file of whoever called, outside of any root. */
export async function readLocalFile(path: string): Promise<Buffer> {
  return readFile(path);
}
