import { asBuffer } from '../api/bytes.js';
import type { Body, RawRequest, Requests, Transport } from '../api/communication.js';
import { RequestQueue } from '../communication/request-queue.js';

/** A wire in memory: what was answered and retired, in order. */
export class MemoryTransport implements Transport {
  readonly events: string[] = [];
  readonly answers = new Map<string, string[]>();
  readonly withdrawn = new Set<string>();
  /** Called instead of storing an answer, to make it fail. */
  onRespond: ((id: string) => void) | null = null;
  onRetire: ((id: string) => void) | null = null;
  readonly #queue = new RequestQueue();
  readonly #waiting = new Map<string, () => void>();

  push(id: string, body: Body, answered = false): void {
    this.#queue.push({ id, body, answered });
  }

  requests(signal: AbortSignal): Requests {
    return this.#queue.take(signal);
  }

  stillWanted(request: RawRequest): Promise<boolean> {
    this.events.push(`asked ${request.id}`);
    return Promise.resolve(!this.withdrawn.has(request.id));
  }

  async respond(request: RawRequest, body: Body): Promise<void> {
    await Promise.resolve();
    this.onRespond?.(request.id);
    this.events.push(`answered ${request.id}`);
    this.answers.set(request.id, [...(this.answers.get(request.id) ?? []), asBuffer(body).toString('latin1')]);
  }

  async retire(request: RawRequest): Promise<void> {
    await Promise.resolve();
    this.onRetire?.(request.id);
    this.events.push(`retired ${request.id}`);
    this.#waiting.get(request.id)?.();
  }

  /** Resolves once the request is retired, and so has its last answer. */
  retired(id: string): Promise<void> {
    if (this.events.includes(`retired ${id}`)) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.set(id, resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.resolve();
  }

  /** The one answer to a request, as the host parses it. */
  answer(id: string): { returncode: string; message: string } {
    const answers = this.answers.get(id) ?? [];
    if (answers.length !== 1) throw new Error(`${id} has ${answers.length} answers`);
    return JSON.parse(answers[0] ?? '') as { returncode: string; message: string };
  }
}
