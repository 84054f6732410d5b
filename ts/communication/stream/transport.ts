import type { Logger } from 'pino';
import type { Body, RawRequest, Requests, Transport } from '../../api/communication.js';
import { asBuffer } from '../../api/bytes.js';
import type { ByteStream, Endpoints } from '../../api/endpoints.js';
import { AgentError } from '../../api/errors.js';
import { Repeated } from '../../api/repeated.js';
import { RequestQueue } from '../request-queue.js';
import { LineSplitter } from './lines.js';
import type { StreamOptions } from './options.js';
import { sleep } from '../../host/shared/runtime/timers.js';

/** What libvirt and other users of QEMU call the port of a guest agent. */
const USUAL_PORT = 'org.qemu.guest_agent.0';
/**
 * A port that went away, or that another program has, is tried again: after the first of these times, then after twice
 * the one before, up to the second. It may be none that will ever do. Milliseconds.
 */
const REOPEN_MS = { first: 1000, longest: 30_000 } as const;
/** Each may hold one request and one answer. */
const MAX_CONNECTIONS = 8;

export interface StreamTransportOptions extends StreamOptions {
  readonly endpoints: Endpoints;
  readonly log: Logger;
}

/** One host at one end of a line. */
interface Connection {
  readonly stream: ByteStream;
  gone: boolean;
}

interface Pending {
  readonly connection: Connection;
  readonly retired: () => void;
  written: Promise<void>;
}

/**
 * Lines from a port, a unix socket and vsock. On each connection one request is answered after the other, and the next
 * is taken only once the answer before it has left: a host that does not read holds up nobody but itself.
 */
export class StreamTransport implements Transport {
  readonly #options: StreamTransportOptions;
  /** Part of every id: a request of an earlier run of the agent never comes again, so it must have no other's. */
  readonly #run = Date.now().toString(36);
  readonly #closing = new AbortController();
  readonly #connections = new Set<Connection>();
  readonly #listeners: AsyncDisposable[] = [];
  readonly #ready = new RequestQueue();
  readonly #pending = new Map<string, Pending>();
  readonly #crowded: Repeated;
  #last = 0;

  private constructor(options: StreamTransportOptions) {
    this.#options = options;
    const { log } = options;
    this.#crowded = new Repeated({ log, level: 'warn', message: 'connection refused: there are too many' });
  }

  /** Rejects with AgentError GW_WIRE_ABSENT when there is nothing to listen to. */
  static async open(options: StreamTransportOptions): Promise<StreamTransport> {
    const { endpoints, log, findPort, listen, vsockPort, anyVsockPeerPort } = options;
    const transport = new StreamTransport(options);
    const path = options.path ?? (findPort ? await endpoints.findPort(USUAL_PORT) : null);
    if (path === null && listen === null && vsockPort === null) {
      throw new AgentError('GW_WIRE_ABSENT', [`a port ${USUAL_PORT}`, 'none, and no other stream is configured']);
    }
    const onConnection = (stream: ByteStream): void => {
      transport.#accept(stream);
    };
    try {
      if (listen !== null) transport.#listeners.push(await endpoints.listen(listen, onConnection));
      if (vsockPort !== null) {
        const vsock = { port: vsockPort, anyPeerPort: anyVsockPeerPort };
        const onRefusal = (reason: string): void => {
          log.warn({ port: vsockPort, reason }, 'vsock connection refused; others for the same reason are not logged');
        };
        transport.#listeners.push(await endpoints.listenVsock(vsock, onConnection, onRefusal));
      }
    } catch (error) {
      await transport[Symbol.asyncDispose]();
      throw error;
    }
    if (path !== null) await new Promise<void>((tried) => void transport.#keepPort(path, tried));
    return transport;
  }

  requests(signal: AbortSignal): Requests {
    return this.#ready.take(signal);
  }

  stillWanted({ id }: RawRequest): Promise<boolean> {
    return Promise.resolve(this.#pending.get(id)?.connection.gone === false);
  }

  async respond({ id }: RawRequest, body: Body): Promise<void> {
    const pending = this.#pending.get(id);
    if (pending === undefined || pending.connection.gone || body.length === 0) return;
    const { connection } = pending;
    // Not waited for: `retire` lets the connection go on when it is done.
    pending.written = connection.stream.write(asBuffer(body)).catch(() => {
      connection.gone = true;
    });
    await Promise.resolve();
  }

  async retire({ id }: RawRequest): Promise<void> {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (pending !== undefined) void pending.written.then(pending.retired);
    await Promise.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    this.#ready.close();
    this.#crowded[Symbol.dispose]();
    for (const listener of this.#listeners.splice(0)) await listener[Symbol.asyncDispose]();
    for (const { stream } of this.#connections) stream[Symbol.dispose]();
  }

  /** Serves the port for as long as the agent runs. `tried` is called once it is open, or was found not to be. */
  async #keepPort(path: string, tried: () => void): Promise<void> {
    const { endpoints, log } = this.#options;
    const opened = 'port opened';
    const own = log.child({ path });
    using unusable = new Repeated({ log: own, level: 'warn', message: 'port cannot be used', ending: opened });
    let first = true;
    let retryMs: number = REOPEN_MS.first;
    while (!this.#isClosing()) {
      let reason = 'it went away';
      try {
        const stream = await endpoints.openPort(path);
        if (first) own.info(opened);
        unusable.over();
        first = false;
        retryMs = REOPEN_MS.first;
        tried();
        await this.#serve(stream);
      } catch (error) {
        reason = error instanceof Error ? error.message : String(error);
      }
      tried();
      if (this.#isClosing()) return;
      first = false;
      // Once for each reason: a port that is plugged out may stay so for long.
      unusable.tell(reason, { retryMs });
      await sleep(retryMs, { signal: this.#closing.signal }).catch(() => undefined);
      retryMs = Math.min(2 * retryMs, REOPEN_MS.longest);
    }
  }

  #isClosing(): boolean {
    return this.#closing.signal.aborted;
  }

  #accept(stream: ByteStream): void {
    if (this.#closing.signal.aborted || this.#connections.size >= MAX_CONNECTIONS) {
      this.#crowded.tell(`there are ${MAX_CONNECTIONS} already`);
      stream[Symbol.dispose]();
      return;
    }
    void this.#serve(stream);
  }

  /** Resolves once the other side has no more and what it asked is answered. Never rejects. */
  async #serve(stream: ByteStream): Promise<void> {
    const connection: Connection = { stream, gone: false };
    this.#connections.add(connection);
    const { maxLine, lineTimeout } = this.#options;
    let before = Promise.resolve();
    let waiting: NodeJS.Timeout | undefined;
    try {
      const lines = new LineSplitter(maxLine);
      for await (const chunk of stream.incoming) {
        clearTimeout(waiting);
        for (const line of lines.push(chunk)) {
          await before;
          if (isGone(connection)) return;
          before = this.#hand(line, connection);
        }
        if (lines.isWaiting) {
          waiting = setTimeout(() => {
            lines.giveUp();
          }, lineTimeout);
        }
      }
      await before;
    } catch {
      // Whoever was there is gone, and with it what was asked.
    } finally {
      clearTimeout(waiting);
      connection.gone = true;
      this.#connections.delete(connection);
      stream[Symbol.dispose]();
    }
  }

  /** Resolves once the request is answered and the answer has left. */
  #hand(body: Buffer, connection: Connection): Promise<void> {
    this.#last += 1;
    const id = `${this.#run}-${this.#last}`;
    return new Promise((retired) => {
      this.#pending.set(id, { connection, retired, written: Promise.resolve() });
      this.#ready.push({ id, body, answered: false });
    });
  }
}

/** Asked anew: it changes while an answer is being written. */
function isGone({ gone }: Connection): boolean {
  return gone;
}
