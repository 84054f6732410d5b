/** Programs that are started outside of the agent's sandbox, by whoever listens at a socket. docs/systemd.md says why. */
import { once } from 'node:events';
import { type Socket, connect } from 'node:net';
import type { Argv, RunResult } from '../../api/host.js';
import { Channel } from '../shared/channel.js';

/** What is asked for; what the program reads is the payload. Unknown keys are passed over, as versions may differ. */
export interface Launch {
  readonly argv: Argv;
  readonly environment: Readonly<Record<string, string>>;
  /** Milliseconds. */
  readonly timeout: number;
}

/** The answer: how the program ended, or why it was not started. */
export type Launched = RunResult | { readonly failure: string; readonly code: string };

interface Connection {
  readonly socket: Socket;
  readonly channel: Channel;
}

/** How long a connection waits for the next program, milliseconds: most commands run several, or none. */
const IDLE_MS = 2000;
/** How much longer than the program an answer may take, milliseconds: the other end may have to be started first. */
const PATIENCE_MS = 30_000;

export class Launcher {
  readonly #path: string;
  readonly #idle: Connection[] = [];

  /** `path` is the socket's. Nobody needs to listen there yet. */
  constructor(path: string) {
    this.#path = path;
  }

  /**
   * Rejects with the system's code when the program cannot be started, and with NO_LAUNCHER when nobody starts programs.
   * The other end kills a program whose asker is gone: so an abort of `signal` closes the connection, and null is what
   * comes of the program then.
   */
  async run(launch: Launch, stdin: Uint8Array, signal?: AbortSignal): Promise<RunResult | null> {
    const [program] = launch.argv;
    const connection = await this.#connection(program);
    const { socket, channel } = connection;
    const hangUp = (): void => void socket.destroy();
    const overdue = setTimeout(hangUp, launch.timeout + PATIENCE_MS);
    signal?.addEventListener('abort', hangUp);
    if (signal?.aborted === true) hangUp();
    channel.send(launch, stdin);
    const answer = await channel.next();
    clearTimeout(overdue);
    signal?.removeEventListener('abort', hangUp);
    if (answer === null && signal?.aborted === true) return null;
    if (answer === null) throw noLauncher(`${program} is lost: what started it at ${this.#path} ended before it`);
    this.#keep(connection);
    const launched = answer.header as Launched;
    if ('failure' in launched) throw Object.assign(new Error(launched.failure), { code: launched.code });
    return launched;
  }

  async #connection(program: string): Promise<Connection> {
    const kept = this.#idle.pop();
    if (kept !== undefined) {
      kept.socket.setTimeout(0).ref();
      // It may have been closed a moment ago.
      return kept.socket.destroyed ? this.#connection(program) : kept;
    }
    const socket = connect(this.#path);
    try {
      await once(socket, 'connect');
    } catch (cause) {
      const { code = '' } = cause as NodeJS.ErrnoException;
      throw noLauncher(`${program} cannot be started: nobody listens at ${this.#path} (${code})`, cause);
    }
    const connection = { socket, channel: new Channel(socket) };
    socket.on('timeout', () => socket.destroy());
    socket.once('close', () => {
      const index = this.#idle.indexOf(connection);
      if (index >= 0) this.#idle.splice(index, 1);
    });
    return connection;
  }

  /** For the next program, unless none comes for a while or the other end closes. */
  #keep(connection: Connection): void {
    this.#idle.push(connection);
    connection.socket.unref().setTimeout(IDLE_MS);
  }
}

function noLauncher(message: string, cause?: unknown): Error {
  return Object.assign(new Error(message, { cause }), { code: 'NO_LAUNCHER' });
}
