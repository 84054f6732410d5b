import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { type Argv, type Processes, type RunOptions, type RunResult, Secret } from '../../api/index.js';
import { Launcher } from './launcher.js';
import { ScratchDirectory } from '../shared/scratch-directory.js';
import { codeOf } from '../../api/errors.js';

/** Where programs are looked for. */
export const SEARCH_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const ENVIRONMENT = { PATH: SEARCH_PATH, LC_ALL: 'C' };
const DEFAULT_TIMEOUT = 60_000;
const OUTPUT_LIMIT = 64 * 1024;
/** How long output may still come after the program ended: a daemon that it left behind can hold the pipe for ever. */
const DRAIN_TIME = 500;
const NO_SUCH_PROGRAM = 127;
const SIGNAL_BASE = 128;
/** Of a program whose signal aborted. */
const KILLED = { code: SIGNAL_BASE + constants.signals.SIGKILL, stdout: '', stderr: '', timedOut: false } as const;

/**
 * Programs of the machine itself. Where the agent runs in a sandbox, `launcher` is the socket of what starts programs
 * outside of it; null where there is none.
 */
export function createProcesses(launcher: string | null = null): Processes {
  const outside = launcher === null ? null : new Launcher(launcher);
  const run = async (argv: Argv, options: RunOptions = {}): Promise<RunResult> => {
    if (outside === null || options.confined === true) return runProgram(argv, options);
    const { environment = {}, timeout = DEFAULT_TIMEOUT, signal } = options;
    if (signal?.aborted === true) return KILLED;
    return (await outside.run({ argv, environment, timeout }, inputOf(options), signal)) ?? KILLED;
  };
  return {
    run: (argv, options) => (options?.folder === undefined ? run(argv, options) : besideFolder(run, argv, options)),
  };
}

/** Runs a program while a temporary folder holds the texts of `options.folder`, whose path is left out of its output. */
async function besideFolder(run: Processes['run'], argv: Argv, options: RunOptions): Promise<RunResult> {
  await using scratch = await ScratchDirectory.create();
  const inFolder = (text: string): string => text.replaceAll('{folder}', scratch.path);
  const files = [...(options.folder ?? [])].map(
    ([path, text]) => [path, { text: inFolder(text), mode: 0o600 }] as const,
  );
  await scratch.write(Object.fromEntries(files));
  const [program, ...args] = argv;
  const { stdout, stderr, ...result } = await run([inFolder(program), ...args.map(inFolder)], options);
  const asNamed = (text: string): string => text.replaceAll(scratch.path, '');
  return { ...result, stdout: asNamed(stdout), stderr: asNamed(stderr) };
}

/**
 * Starts a program as a child of this process. Rejects only when a program that exists cannot be started, for want of
 * rights or memory.
 */
export function runProgram([program, ...args]: Argv, options: RunOptions = {}): Promise<RunResult> {
  const { signal } = options;
  if (signal?.aborted === true) return Promise.resolve(KILLED);
  return new Promise((resolve, reject) => {
    // A process group of its own, so that a timeout ends the program's children too.
    const child = spawn(program, args, {
      cwd: '/',
      env: { ...ENVIRONMENT, ...options.environment },
      detached: true,
      stdio: 'pipe',
    });
    const stdout = new Collector();
    const stderr = new Collector();
    child.stdout.on('data', (chunk: Buffer) => {
      stdout.add(chunk);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      stderr.add(chunk);
    });
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      killGroup(child.pid);
    }, options.timeout ?? DEFAULT_TIMEOUT);
    const abort = (): void => {
      killGroup(child.pid);
    };
    signal?.addEventListener('abort', abort);

    child.once('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      if (error.code !== 'ENOENT') {
        reject(error);
        return;
      }
      resolve({ code: NO_SUCH_PROGRAM, stdout: '', stderr: `${program}: not found`, timedOut: false });
    });
    child.once('exit', (exitCode, killedBy) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      const drained = setTimeout(() => {
        child.stdout.destroy();
        child.stderr.destroy();
      }, DRAIN_TIME);
      child.once('close', () => {
        clearTimeout(drained);
        const code = exitCode ?? SIGNAL_BASE + (killedBy === null ? 0 : constants.signals[killedBy]);
        resolve({ code, stdout: stdout.text(), stderr: stderr.text(), timedOut });
      });
    });

    // A program that ends without reading its input is no error of ours.
    child.stdin.on('error', () => undefined);
    child.stdin.end(inputOf(options));
  });
}

function inputOf({ stdin = '' }: RunOptions): Uint8Array {
  return stdin instanceof Secret ? stdin.reveal() : Buffer.from(stdin);
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    // The group ended in the meantime.
    if (codeOf(error) !== 'ESRCH') throw error;
  }
}

/** Keeps the beginning of an output and drops the rest, while the program goes on writing. */
class Collector {
  readonly #chunks: Buffer[] = [];
  #size = 0;

  add(chunk: Buffer): void {
    const kept = chunk.subarray(0, OUTPUT_LIMIT - this.#size);
    this.#size += kept.length;
    if (kept.length > 0) this.#chunks.push(kept);
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString('utf8');
  }
}
