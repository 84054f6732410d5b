import type { Socket } from 'node:net';

export interface Message {
  readonly header: unknown;
  readonly payload: Buffer;
}

const NEWLINE = 10;

/**
 * Messages over a socket: JSON in a line, an object whose `bytes` says how many bytes follow it. What may be a secret
 * comes there, and so never stands in a string. What is no message closes the socket.
 */
export class Channel {
  readonly #socket: Socket;
  readonly #closed = new AbortController();
  readonly #arrived: Message[] = [];
  #waiting: ((message: Message | null) => void) | null = null;
  /** Of a message that has not come whole: its line so far, or after the line its payload. */
  #parts: Buffer[] = [];
  #header: object | null = null;
  #missing = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      try {
        this.#take(chunk);
      } catch {
        socket.destroy();
      }
    });
    // Whatever the reason, it is closed then.
    socket.on('error', () => undefined);
    socket.once('close', () => {
      this.#closed.abort();
      this.#waiting?.(null);
    });
  }

  /** Aborts when the socket is closed, from whichever end. */
  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  send(header: object, payload: Uint8Array = Buffer.alloc(0)): void {
    this.#socket.write(`${JSON.stringify({ ...header, bytes: payload.length })}\n`);
    if (payload.length > 0) this.#socket.write(payload);
  }

  /** The next message; null when the socket was closed before it came. */
  next(): Promise<Message | null> {
    const message = this.#arrived.shift() ?? (this.#closed.signal.aborted ? null : undefined);
    if (message !== undefined) return Promise.resolve(message);
    return new Promise((resolve) => {
      this.#waiting = (arrived) => {
        this.#waiting = null;
        resolve(arrived);
      };
    });
  }

  #take(chunk: Buffer): void {
    for (let rest = chunk; rest.length > 0;) {
      const end =
        this.#header === null ? rest.indexOf(NEWLINE) + 1 || rest.length : Math.min(this.#missing, rest.length);
      this.#parts.push(rest.subarray(0, end));
      if (this.#header !== null) this.#missing -= end;
      else if (rest[end - 1] === NEWLINE) this.#begin();
      if (this.#header !== null && this.#missing === 0) this.#deliver(this.#header);
      rest = rest.subarray(end);
    }
  }

  #begin(): void {
    const { bytes, ...header } = JSON.parse(this.#whole().toString('utf8')) as { readonly bytes: number };
    this.#header = header;
    this.#missing = bytes;
  }

  #deliver(header: object): void {
    this.#header = null;
    const message = { header, payload: this.#whole() };
    if (this.#waiting === null) this.#arrived.push(message);
    else this.#waiting(message);
  }

  /** What came in parts, which are overwritten. */
  #whole(): Buffer {
    const whole = Buffer.concat(this.#parts);
    for (const part of this.#parts) part.fill(0);
    this.#parts = [];
    return whole;
  }
}
