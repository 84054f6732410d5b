import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StoreServer } from '#binding';
import { wholeOrUndone } from '../support/cleanup.js';
import { startXenstored } from '../support/xenstored.js';

export type StoreKind = 'embedded' | 'xenstored';

/** A store on a socket in a folder of its own, gone with the folder at the end of the block. */
export class ScratchStore implements AsyncDisposable {
  readonly socket: string;
  readonly #folder: string;
  readonly #stop: () => Promise<void>;

  private constructor(folder: string, socket: string, stop: () => Promise<void>) {
    this.#folder = folder;
    this.socket = socket;
    this.#stop = stop;
  }

  static async start(kind: StoreKind): Promise<ScratchStore> {
    return wholeOrUndone(async (cleanup) => {
      const folder = mkdtempSync(join(tmpdir(), 'guestwire-store-'));
      cleanup.add(() => {
        rmSync(folder, { recursive: true, force: true });
      });
      if (kind === 'xenstored') {
        const real = await startXenstored('c', folder);
        return new ScratchStore(folder, real.socket, () => real.kill());
      }
      const socket = join(folder, 'socket');
      const server = StoreServer.listen(socket);
      return new ScratchStore(folder, socket, () => {
        server.close();
        return Promise.resolve();
      });
    });
  }

  /** Hangs up on everybody. */
  async stop(): Promise<void> {
    await this.#stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
