import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** How long a script may take on a machine that is emulated, milliseconds. */
export const PATIENCE = 360_000;

/** How a script ended. */
export interface Ended {
  readonly status: number;
  readonly output: string;
}

/** The host's side of test/support/xen/shell.sh: scripts through a serial line, one after the other. */
export class SerialShell {
  readonly #socket: Socket;
  readonly #isOver: () => boolean;
  #received = '';
  #last = 0;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(socket: Socket, isOver: () => boolean) {
    this.#socket = socket;
    this.#isOver = isOver;
    socket.setEncoding('latin1').on('data', (text: string) => (this.#received += text));
    // It ends with the machine, and whoever waits for a script is told by its time limit or by the machine's end.
    socket.on('error', () => undefined);
  }

  /** Resolves once the line is listened to. `isOver` tells whether the machine has ended. */
  static async open(socket: Socket, isOver: () => boolean, signal: AbortSignal): Promise<SerialShell> {
    const shell = new SerialShell(socket, isOver);
    while (!shell.#received.includes('@ready\n')) {
      signal.throwIfAborted();
      if (isOver()) throw new Error('the machine ended');
      await sleep(50);
    }
    return shell;
  }

  async ask(script: string, patience = PATIENCE): Promise<Ended> {
    const turn = this.#turn.then(() => this.#ask(script, patience));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  close(): void {
    this.#socket.destroy();
  }

  async #ask(script: string, patience: number): Promise<Ended> {
    this.#last += 1;
    this.#socket.write(`${this.#last} ${Buffer.from(script).toString('base64')}\n`);
    const answer = new RegExp(`@${this.#last} (\\d+) (\\S*)\\n`);
    const until = performance.now() + patience;
    for (;;) {
      const found = answer.exec(this.#received);
      if (found !== null) {
        this.#received = '';
        return { status: Number(found[1]), output: Buffer.from(found[2]!, 'base64').toString('utf8') };
      }
      if (this.#isOver()) throw new Error(`the machine ended: ${script}`);
      if (performance.now() > until) throw new Error(`no answer within ${patience / 1000} s: ${script}`);
      await sleep(5);
    }
  }
}
