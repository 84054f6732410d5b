import { once } from 'node:events';
import { type Socket, connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds: an emulated machine on a busy one takes long for a password's hash. */
const PATIENCE = 120_000;

/** A host at the other end of a unix socket: the agent's own, or QEMU's for a port of a machine. */
export class StreamClient implements Disposable {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  #ended = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => (this.#received = Buffer.concat([this.#received, chunk])));
    socket.on('error', () => undefined).on('close', () => (this.#ended = true));
  }

  static async connect(path: string): Promise<StreamClient> {
    const socket = connect({ path, allowHalfOpen: true });
    await once(socket, 'connect');
    return new StreamClient(socket);
  }

  send(bytes: string | Uint8Array): void {
    this.#socket.write(bytes);
  }

  /** Says that there is no more to come, and goes on listening. */
  end(): void {
    this.#socket.end();
  }

  /** Takes nothing any more of what is sent to it. */
  pause(): void {
    this.#socket.pause();
  }

  /** Whether the other side has hung up. */
  get ended(): boolean {
    return this.#ended || this.#socket.readableEnded;
  }

  /** The next line, without its end; rejects when none comes. */
  async line(patience = PATIENCE): Promise<Buffer> {
    const until = performance.now() + patience;
    for (;;) {
      const end = this.#received.indexOf(0x0a);
      if (end >= 0) {
        const line = this.#received.subarray(0, end);
        this.#received = this.#received.subarray(end + 1);
        return line;
      }
      if (this.ended || performance.now() > until) {
        throw new Error(`no line; ended: ${this.ended}, received: ${this.#received.toString('latin1')}`);
      }
      await sleep(2);
    }
  }

  /** One line of JSON there and one back. */
  async ask(request: object, patience?: number): Promise<Record<string, unknown>> {
    this.send(`${JSON.stringify(request)}\n`);
    return JSON.parse((await this.line(patience)).toString('utf8')) as Record<string, unknown>;
  }

  /** A request of QEMU's guest agent; rejects with the description of an error. */
  async execute(name: string, args?: object, patience?: number): Promise<unknown> {
    const answer = await this.ask(
      args === undefined ? { execute: name } : { execute: name, arguments: args },
      patience,
    );
    if ('return' in answer) return answer['return'];
    throw new Error(JSON.stringify(answer['error']));
  }

  /** As libvirt begins and as its documentation says: what is stale on the line is thrown away. */
  async synchronize(id = Math.floor(Math.random() * 2 ** 40)): Promise<void> {
    this.send(Buffer.concat([Buffer.from([0xff]), Buffer.from(syncRequest(id))]));
    for (;;) {
      const line = await this.line();
      const sentinel = line.lastIndexOf(0xff);
      if (sentinel >= 0 && line.subarray(sentinel + 1).toString('utf8') === `{"return":${id}}`) return;
    }
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

function syncRequest(id: number): string {
  return `{"execute":"guest-sync-delimited","arguments":{"id":${id}}}\n`;
}
