/**
 * nova's requests and those of its dom0 plugin: they appear under `data/host/<id>`, answers go to `data/guest/<id>`; paths
 * are relative to the guest's own part of XenStore. What wakes us is a watch on `data/host`.
 */
import type { Logger } from 'pino';
import type { Body, RawRequest, Requests, Transport } from '../../../api/communication.js';
import type { StoreConnection, StoreLine } from '../../../api/endpoints.js';
import { Answers } from './answers.js';
import { Intake } from './intake.js';

export interface NovaTransportOptions {
  readonly line: StoreLine;
  readonly log: Logger;
  /** How long an answer stays in the store, milliseconds: nobody on the host removes it. */
  readonly answerLifetime: number;
  /** How often to look for requests whose event was lost, milliseconds. */
  readonly scanInterval: number;
}

export class NovaTransport implements Transport {
  readonly #intake: Intake;
  readonly #answers: Answers;
  readonly #closing = new AbortController();
  #knowsEarlier = false;
  #scanTimer: NodeJS.Timeout | null = null;

  private constructor({ line, log, answerLifetime }: NovaTransportOptions) {
    const { signal } = this.#closing;
    this.#intake = new Intake({ line, log, signal, isAnswered: (id) => this.#answers.stands(id) });
    this.#answers = new Answers({
      log,
      keep: answerLifetime,
      persist: (operation) => line.run(operation, { signal }),
      requests: this.#intake.standing,
      isWanted: (id) => this.#intake.stands(id),
    });
  }

  /**
   * Resolves once requests are being watched for. A store that cannot be reached yet is waited for; a machine without
   * any (XS_NO_ENDPOINT) is an error.
   */
  static async open(options: NovaTransportOptions): Promise<NovaTransport> {
    const transport = new NovaTransport(options);
    const intake = transport.#intake;
    let looked = Promise.resolve();
    const user = {
      prepare: (connection: StoreConnection) => transport.#prepare(connection),
      ready: () => {
        looked = intake.follow();
      },
    };
    try {
      await options.line.join(user, transport.#closing.signal);
    } catch (error) {
      await transport[Symbol.asyncDispose]();
      throw error;
    }
    await looked;
    transport.#scanTimer = setInterval(() => void intake.scan(), options.scanInterval);
    return transport;
  }

  requests(signal: AbortSignal): Requests {
    const stop = (): void => {
      this.#answers.stop();
    };
    signal.addEventListener('abort', stop, { once: true });
    return this.#intake.queue.take(signal);
  }

  stillWanted({ id }: RawRequest): Promise<boolean> {
    return this.#intake.stands(id);
  }

  reserve({ id }: RawRequest): Promise<boolean> {
    return this.#answers.reserve(id);
  }

  respond({ id }: RawRequest, body: Body): Promise<void> {
    return this.#answers.publish(id, body);
  }

  retire({ id }: RawRequest): Promise<void> {
    return this.#intake.remove(id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(new Error('the transport is closed'));
    if (this.#scanTimer !== null) clearInterval(this.#scanTimer);
    this.#intake[Symbol.dispose]();
    this.#answers[Symbol.dispose]();
    await Promise.resolve();
  }

  async #prepare(connection: StoreConnection): Promise<void> {
    await this.#intake.watch(connection);
    // Later ones are our own.
    if (this.#knowsEarlier) return;
    const ids = await this.#answers.standing(connection);
    this.#intake.noteAnswered(ids);
    this.#knowsEarlier = true;
  }
}
