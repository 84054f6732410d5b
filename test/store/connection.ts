/** XenStore's wire without a client: what no client of ours would send can be sent, and the answer is seen as it came. */
import { once } from 'node:events';
import { connect as connectSocket, type Socket } from 'node:net';

const OPERATIONS = {
  CONTROL: 0,
  DIRECTORY: 1,
  READ: 2,
  GET_PERMS: 3,
  WATCH: 4,
  UNWATCH: 5,
  TRANSACTION_START: 6,
  TRANSACTION_END: 7,
  GET_DOMAIN_PATH: 10,
  WRITE: 11,
  MKDIR: 12,
  RM: 13,
  SET_PERMS: 14,
  WATCH_EVENT: 15,
  ERROR: 16,
  IS_DOMAIN_INTRODUCED: 17,
  RESTRICT: 20,
  RESET_WATCHES: 21,
  DIRECTORY_PART: 22,
  UNKNOWN: 0xffff,
} as const;
const HEADER = 16;

export type Operation = keyof typeof OPERATIONS;

/** A connection to a store's socket. Payloads are latin-1, so that each byte is a character. */
export class Connection implements Disposable {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, (answer: string) => void>();
  #received = Buffer.alloc(0);
  #last = 0;
  /** What watches told, `path\0token\0` each, since it was last taken. */
  #events: string[] = [];

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (bytes) => {
      this.#received = Buffer.concat([this.#received, bytes]);
      while (this.#take());
    });
    // A store that cannot make anything of what it was sent resets the connection, or ends it.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      for (const settle of this.#waiting.values()) settle('hung up');
      this.#waiting.clear();
    });
  }

  /** The payload of the answer, or the name of the error; `hung up` when the store did. */
  ask(operation: Operation, body: string, transaction = 0): Promise<string> {
    const request = ++this.#last;
    const payload = Buffer.from(body, 'latin1');
    const header = new Uint32Array([OPERATIONS[operation], request, transaction, payload.length]);
    // One that hung up answers nothing any more.
    if (this.#socket.closed) return Promise.resolve('hung up');
    this.#socket.write(Buffer.concat([Buffer.from(header.buffer), payload]));
    return new Promise((resolve) => this.#waiting.set(request, resolve));
  }

  takeEvents(): readonly string[] {
    return this.#events.splice(0);
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  /** Takes one message of what was received, if it is whole. */
  #take(): boolean {
    if (this.#received.length < HEADER) return false;
    const [type, request, , length] = new Uint32Array(new Uint8Array(this.#received.subarray(0, HEADER)).buffer);
    const end = HEADER + length!;
    if (this.#received.length < end) return false;
    const body = this.#received.toString('latin1', HEADER, end);
    this.#received = this.#received.subarray(end);
    if (type === OPERATIONS.WATCH_EVENT) {
      this.#events.push(body);
      return true;
    }
    const settle = this.#waiting.get(request!);
    this.#waiting.delete(request!);
    settle?.(type === OPERATIONS.ERROR ? body.replace('\0', '') : body);
    return true;
  }
}

export async function connect(path: string): Promise<Connection> {
  const socket = connectSocket(path);
  await once(socket, 'connect');
  return new Connection(socket);
}
