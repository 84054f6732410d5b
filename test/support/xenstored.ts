import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const SOURCES = 'test/support/xenstored';
const BUILT = resolve('build/xenstored');

/** One of Debian's own xenstored programs, serving a unix socket on a machine without Xen. */
export interface RealStore extends AsyncDisposable {
  /** Whoever connects here acts as dom0. */
  readonly socket: string;
  readonly pid: number;
  /** Introduces guest `domid` and gives the socket whose one client is that guest. C only. */
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
  const child = spawn(program, args, {
    env: {
      PATH: process.env['PATH'],
      LD_PRELOAD: shim,
      XSSHIM_DIR: directory,
      XSSHIM_SOCK: socket,
      XENSTORED_RUNDIR: directory,
      XENSTORED_PATH: socket,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  await appears(socket, child, () => `${program} did not start: ${errors}`);

  const guests: ChildProcess[] = [];
  const stop = async (signal: NodeJS.Signals): Promise<void> => {
    await Promise.all([...guests.splice(0), child].map((each) => end(each, signal)));
  };
  return {
    socket,
    pid: child.pid!,
    async addDomain(domid) {
      const relay = spawn(build('guest', 'guest.c', []), [directory, String(domid)], {
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      guests.push(relay);
      const client = join(directory, `dom${domid}.client`);
      await appears(client, relay, () => `guest ${domid} could not be introduced`);
      return client;
    },
    kill: () => stop('SIGKILL'),
    [Symbol.asyncDispose]: () => stop('SIGKILL'),
  };
}

/** Where Debian keeps Xen's programs, such as xenstored and test-xenstore. */
export function xenPrograms(): string {
  const versions = readdirSync('/usr/lib').filter((name) => /^xen-\d/.test(name));
  const directory = versions.map((name) => `/usr/lib/${name}/bin`).find((path) => existsSync(`${path}/xenstored`));
  if (directory === undefined) throw new Error('no xenstored: the tests need the Debian package xen-utils-4.17');
  return directory;
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill(signal);
  await ended;
}

async function appears(path: string, child: ChildProcess, failure: () => string): Promise<void> {
  while (!existsSync(path)) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(failure());
    await sleep(2);
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
