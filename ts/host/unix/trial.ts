/** A new version that has to show that it runs here, while the old one goes on serving. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { AgentError, codeOf } from '../../api/errors.js';
import type { Log } from '../../api/log.js';
import { makeDirectories } from '../shared/make-directories.js';
import { type StoreConnection, type StoreOptions, openStore } from '../shared/store.js';

/** Below the guest's own part of the store. */
const TRIALS = 'data/guestwire/trial';
/** Below the directory of a trial; a path of a socket has no more than 107 bytes. */
const SOCKET = 'host';
const UNANSWERED = ['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE'];
const REQUEST = '{"name": "version", "value": "agent"}';
/** How often to look for the answer, milliseconds. */
const POLL_MS = 100;
/** How long a connection may bring nothing, milliseconds. */
const PATIENCE_MS = 2000;
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
  /** Where the new version is to listen on a machine without a store: a directory of the agent's alone. */
  readonly directory: string;
  /** Milliseconds. */
  readonly timeout: number;
  readonly signal: AbortSignal;
  readonly log: Log;
}

/**
 * Asks the new version as a host would, over the store or, on a machine without one, at a socket. Throws GW_UPDATE_TRIAL
 * when it does not do what it should. Leaves nothing in the store.
 */
export async function tryVersion(options: TrialOptions): Promise<void> {
  const { program, version, timeout, signal, log } = options;
  const failed = (why: string): AgentError => new AgentError('GW_UPDATE_TRIAL', [version, why]);
  await using place = await openPlace(options);
  const child = start(program, place.argument);
  try {
    const until = performance.now() + timeout;
    for (;;) {
      const answer = await place.answer();
      if (answer !== null) {
        const told = readVersion(answer);
        if (told === version) break;
        throw failed(`asked for its version it answered ${told ?? 'something else'}`);
      }
      if (child.failure !== null) throw failed(child.failure);
      if (place.lost !== null) throw failed(place.lost);
      if (signal.aborted) throw failed('the agent was asked to stop');
      if (performance.now() > until) throw failed(`no answer within ${timeout / 1000} s`);
      await sleep(POLL_MS);
    }
  } catch (error) {
    log.warn({ version, output: child.output }, 'the new version did not pass its trial');
    throw error;
  } finally {
    await child.end();
  }
}

/** Where the new version is asked. */
interface Place extends AsyncDisposable {
  /** What the new version is told of it. */
  readonly argument: string;
  /** Why no answer can come any more; null while one may. */
  readonly lost: string | null;
  /** Asks, and gives the answer, or null as long as there is none. */
  answer(): Promise<Buffer | null>;
}

async function openPlace({ store, directory }: TrialOptions): Promise<Place> {
  try {
    return inStore(store);
  } catch (error) {
    if (codeOf(error) !== 'XS_NO_ENDPOINT') throw error;
    await makeDirectories(directory, 0o700);
    return atSocket(join(directory, SOCKET));
  }
}

function inStore(store: StoreOptions): Place {
  const node = `${TRIALS}/${randomUUID()}`;
  const id = randomUUID();
  let lost: string | null = null;
  const connection = openStore(store, (reason) => {
    lost = `XenStore was lost: ${reason}`;
  });
  const asked = connection.write(`${node}/data/host/${id}`, REQUEST);
  // Told to whoever waits for the answer.
  asked.catch(() => undefined);
  return {
    argument: node,
    get lost() {
      return lost;
    },
    async answer() {
      try {
        await asked;
        return await connection.read(`${node}/data/guest/${id}`);
      } catch (error) {
        if (lost !== null) return null;
        throw error;
      }
    },
    async [Symbol.asyncDispose]() {
      await removeNodes(connection);
      connection[Symbol.dispose]();
    },
  };
}

function atSocket(path: string): Place {
  return {
    argument: path,
    lost: null,
    async answer() {
      const { connect } = await import('node:net');
      const socket = connect(path);
      // It is asked again.
      socket.setTimeout(PATIENCE_MS, () => socket.destroy());
      try {
        socket.write(`${REQUEST}\n`);
        const chunks: Buffer[] = [];
        for await (const chunk of socket as AsyncIterable<Buffer>) {
          chunks.push(chunk);
          if (chunk.includes('\n')) break;
        }
        return chunks.length === 0 ? null : Buffer.concat(chunks);
      } catch (error) {
        // It does not listen yet, takes its time, or has ended.
        if (UNANSWERED.includes(codeOf(error) ?? '')) return null;
        throw error;
      } finally {
        socket.destroy();
      }
    },
    // The new version removes it, and whoever cleans up after an update the directory.
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
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

/** As this agent was started, in the same directory, but for where it is asked. Ends with its standard input, and so with us. */
function start(program: string, where: string): Running {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !SERVICE_VARIABLES.includes(name)));
  const args = [...process.execArgv, program, ...process.argv.slice(2), '--trial', where];
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
    if (codeOf(error) !== 'ESRCH') throw error;
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
