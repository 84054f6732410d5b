/** A new version that has to show that it runs here, while the old one goes on serving. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../api/log.js';
import { AgentError } from '../api/index.js';
import { type StoreConnection, type StoreOptions, openStore } from './store.js';

/** Below the guest's own part of the store. */
const TRIALS = 'data/guestwire/trial';
/** How often to look for the answer, milliseconds. */
const POLL_MS = 100;
/** How long the new version may take to end when it is asked to. */
const END_MS = 5000;
const OUTPUT_LIMIT = 4096;
/** What tells a service manager about its service: the trial is none. */
const SERVICE_VARIABLES = ['NOTIFY_SOCKET', 'WATCHDOG_PID', 'WATCHDOG_USEC', 'LISTEN_PID', 'LISTEN_FDS'];

export interface TrialOptions {
  /** The new version's program. */
  readonly program: string;
  /** What it has to answer. */
  readonly version: string;
  readonly store: StoreOptions;
  /** Milliseconds. */
  readonly timeout: number;
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** Throws GW_UPDATE_TRIAL when the new version does not do what it should. Leaves nothing in the store. */
export async function tryVersion(options: TrialOptions): Promise<void> {
  const { program, version, store, timeout, signal, log } = options;
  const failed = (why: string): AgentError => new AgentError('GW_UPDATE_TRIAL', [version, why]);
  const node = `${TRIALS}/${randomUUID()}`;
  let lost = null as string | null;
  using connection = openStore(store, (reason) => {
    lost = reason;
  });
  const child = start(program, node);
  try {
    const id = randomUUID();
    await connection.write(`${node}/data/host/${id}`, Buffer.from('{"name": "version", "value": "agent"}'));
    const until = performance.now() + timeout;
    for (;;) {
      const answer = await connection.read(`${node}/data/guest/${id}`);
      if (answer !== null) {
        const told = readVersion(answer);
        if (told === version) break;
        throw failed(`asked for its version it answered ${told ?? 'something else'}`);
      }
      if (child.failure !== null) throw failed(child.failure);
      if (lost !== null) throw failed(`XenStore was lost: ${lost}`);
      if (signal.aborted) throw failed('the agent was asked to stop');
      if (performance.now() > until) throw failed(`no answer within ${timeout / 1000} s`);
      await sleep(POLL_MS);
    }
  } catch (error) {
    log.warn({ version, output: child.output }, 'the new version did not pass its trial');
    throw error;
  } finally {
    await child.end();
    await removeNodes(connection);
  }
}

/** Removes what trials left in the store, as far as it can be reached. */
export async function removeTrials(store: StoreOptions): Promise<void> {
  try {
    using connection = openStore(store, () => undefined);
    await removeNodes(connection);
  } catch {
    // A store that has not come up yet: what is left there is small, and the next update removes it.
  }
}

/** With the nodes above that were made for them. */
async function removeNodes(connection: StoreConnection): Promise<void> {
  await connection.remove(TRIALS).catch(() => undefined);
  const above = TRIALS.slice(0, TRIALS.lastIndexOf('/'));
  const others = await connection.list(above).catch(() => null);
  if (others?.length === 0) await connection.remove(above).catch(() => undefined);
}

interface Running {
  /** Why it will not answer; null while it may. */
  readonly failure: string | null;
  /** The end of what it printed. */
  readonly output: string;
  end(): Promise<void>;
}

/** As this agent was started, in the same directory, but for the node. Ends with its standard input, and so with us. */
function start(program: string, node: string): Running {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !SERVICE_VARIABLES.includes(name)));
  const args = [...process.execArgv, program, ...process.argv.slice(2), '--trial', node];
  const child = spawn(process.execPath, args, { env, detached: true, stdio: 'pipe' });
  let failure: string | null = null;
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-OUTPUT_LIMIT)));
  }
  child.stdin.on('error', () => undefined);
  const ended = new Promise<void>((resolve) => {
    child.once('error', (error) => {
      failure = `it cannot be started: ${error.message}`;
      resolve();
    });
    child.once('exit', (code, signal) => {
      failure ??= `it ended with ${signal ?? `status ${code ?? -1}`} before it answered`;
      resolve();
    });
  });
  return {
    get failure() {
      return failure;
    },
    get output() {
      return output;
    },
    async end() {
      child.kill('SIGTERM');
      await Promise.race([ended, sleep(END_MS, undefined, { ref: false })]);
      killGroup(child);
      await ended;
    },
  };
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    // All of it has ended.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function readVersion(answer: Buffer): string | null {
  try {
    const { returncode, message } = JSON.parse(answer.toString('utf8')) as Readonly<Record<string, unknown>>;
    return returncode === '0' && typeof message === 'string' ? message.slice(0, 64) : null;
  } catch {
    return null;
  }
}
