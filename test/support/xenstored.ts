import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { endProcess } from './cleanup.js';

const SOURCES = resolve('test/support/xenstored');
const BUILT = resolve('build/xenstored');
/** Milliseconds that a program may take until it listens. */
const PATIENCE = 10_000;

/** One of Debian's own xenstored programs, serving a unix socket on a machine without Xen. */
export interface RealStore extends AsyncDisposable {
  /** Whoever connects here acts as dom0. */
  readonly socket: string;
  readonly pid: number;
  /** Introduces guest `domid` and gives the socket whose clients are all that guest. */
  addDomain(domid: number): Promise<string>;
  /** Ends it with SIGKILL, as a crash would. */
  kill(): Promise<void>;
}

/**
 * Starts the stock program in `directory`, which must be short enough for a socket's path (107 bytes with its name).
 * The preload in test/support/xenstored/ takes the hypervisor's place.
 */
export async function startXenstored(kind: 'c' | 'ocaml', directory: string): Promise<RealStore> {
  const program = join(xenPrograms(), kind === 'c' ? 'xenstored' : 'oxenstored');
  const shim = build('shim.so', 'shim.c', ['-shared', '-fPIC', '-ldl']);
  const socket = join(directory, 'socket');
  const args = kind === 'c' ? ['-N', '-I'] : ['--no-fork', '--pid-file', join(directory, 'pid')];
  const child = await serve(socket, program, args, {
    LD_PRELOAD: shim,
    XSSHIM_DIR: directory,
    XSSHIM_SOCK: socket,
    XENSTORED_RUNDIR: directory,
    XENSTORED_PATH: socket,
  });
  const guests: ChildProcess[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all([...guests.splice(0), child].map(endProcess));
  };
  return {
    socket,
    pid: child.pid!,
    async addDomain(domid) {
      const client = join(directory, `dom${domid}.client`);
      guests.push(await serve(client, build('guest', 'guest.c', []), [directory, String(domid)]));
      return client;
    },
    kill: stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Where Debian keeps Xen's programs, such as xenstored and test-xenstore. */
export function xenPrograms(): string {
  const versions = readdirSync('/usr/lib').filter((name) => /^xen-\d/.test(name));
  const directory = versions.map((name) => `/usr/lib/${name}/bin`).find((path) => existsSync(`${path}/xenstored`));
  if (directory === undefined) throw new Error('no xenstored: the tests need the Debian package xen-utils-4.17');
  return directory;
}

/** Starts a program and resolves once it takes connections at `socket`. */
async function serve(
  socket: string,
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<ChildProcess> {
  const child = spawn(program, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env['PATH'], ...env },
  });
  const failures: string[] = [];
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  child.on('error', (error) => failures.push(error.message));
  child.on('close', (code, signal) => failures.push(`it ended with ${code ?? String(signal)}`));
  const until = performance.now() + PATIENCE;
  while (!(await isListening(socket))) {
    if (performance.now() > until) failures.push(`nobody listened at ${socket} within ${PATIENCE / 1000} s`);
    if (failures.length > 0) {
      await endProcess(child);
      throw new Error(`${program} did not start: ${failures.join('; ')}\n${errors}`);
    }
    await sleep(2);
  }
  return child;
}

/** The socket's file alone says nothing: it is there before anybody listens. */
async function isListening(socket: string): Promise<boolean> {
  const connection = connect(socket);
  try {
    await once(connection, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    connection.destroy();
  }
}

/** Compiles a source beside this file, unless that was done since it last changed. */
function build(target: string, source: string, flags: readonly string[]): string {
  const output = join(BUILT, target);
  const input = join(SOURCES, source);
  if (existsSync(output) && statSync(output).mtimeMs > statSync(input).mtimeMs) return output;
  mkdirSync(BUILT, { recursive: true });
  // Under a name of its own first: test files run at the same time.
  const own = `${output}.${process.pid}`;
  const done = spawnSync('gcc', ['-O2', '-Wall', '-o', own, input, ...flags], { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`${input} does not compile (needs gcc and libxen-dev): ${done.stderr}`);
  const moved = spawnSync('mv', [own, output]);
  if (moved.status !== 0) throw new Error(`cannot write ${output}`);
  return output;
}
