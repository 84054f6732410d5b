import type { Logger } from 'pino';
import type { Command, CommandContext } from '../api/command.js';
import type { Body, Codec, RawRequest, Reply, Transport } from '../api/communication.js';
import { AgentError } from '../api/errors.js';
import type { Journal } from './journal.js';
import type { AfterHooks, Hooks } from './hooks.js';
import { describeError } from './log.js';

/** A request that waited longer may have been withdrawn: nova's plugin deletes it when its time is up. */
const RECHECK_AFTER_MS = 1000;

export interface DispatcherOptions {
  /** Throws AgentError for a name that no command has, or that the host may not use. */
  readonly commands: { get(name: string, dialect?: string): Command };
  readonly journal: Journal;
  readonly log: Logger;
  /** Programs of the administrator's around commands; none when absent. */
  readonly hooks?: Hooks;
  /** Called with what is to be done once serving has stopped; has to abort the signal that `serve` was given. */
  readonly handOver?: (next: () => Promise<void>) => void;
}

/** A wire that is being served. */
interface Wire {
  /** Comes before the ids of its requests in the journal, so that those of two wires never meet there. */
  readonly name: string;
  readonly transport: Transport;
  readonly codec: Codec;
  readonly signal: AbortSignal;
  readonly underWay: Set<Promise<void>>;
}

/** A request that has been understood, and a command to carry it out. */
interface Job {
  readonly raw: RawRequest;
  readonly command: Command;
  readonly value: unknown;
  readonly arrived: Instant;
}

/**
 * Gives every request exactly one answer, whatever it holds: `immediate` commands at once, `serial` ones in the order
 * of arrival. The answer is published first, then the request is retired.
 */
export class Dispatcher {
  readonly #options: DispatcherOptions;
  /** One for all wires: they work on one machine. */
  #serial: Promise<void> = Promise.resolve();

  constructor(options: DispatcherOptions) {
    this.#options = options;
  }

  /**
   * Serves `transport` until `signal` aborts and what was begun is answered. Serial requests that have not begun by
   * then stay where they are: the next run of the agent finds them. Several wires may be served at once, each under a
   * name of its own.
   */
  async serve(transport: Transport, codec: Codec, signal: AbortSignal, name = ''): Promise<void> {
    const wire: Wire = { name, transport, codec, signal, underWay: new Set() };
    try {
      const requests = transport.requests(signal);
      const take = (raw: RawRequest): void => {
        this.#take(raw, wire);
      };
      if (requests.each !== undefined) await requests.each(take);
      else for await (const raw of requests) take(raw);
    } finally {
      // Also when no more can be taken: what was taken is still to be answered, before the wire is closed.
      await Promise.all(wire.underWay);
    }
  }

  #take(raw: RawRequest, wire: Wire): void {
    const job = this.#prepare(raw, wire);
    if (job === null) return;
    if (job.command.lane === 'immediate') {
      track(this.#carryOut(job, wire, job.arrived), wire);
      return;
    }
    this.#serial = this.#serial.then(() => this.#takeTurn(job, wire));
    track(this.#serial, wire);
  }

  /** Settles what needs no command; returns the job for what does. */
  #prepare(raw: RawRequest, wire: Wire): Job | null {
    const earlier = this.#options.journal.earlier(journalId(raw, wire));
    if (raw.answered || earlier?.state === 'answered') {
      track(this.#finish(raw, wire, earlier !== null), wire);
      return null;
    }
    let refusal: AgentError;
    try {
      if (earlier !== null) {
        throw new AgentError('GW_REQUEST_INTERRUPTED', [
          earlier.command,
          'it was not run again, and files it had half changed were put back',
        ]);
      }
      const { name, value, dialect } = wire.codec.decode(raw.body);
      const command = this.#options.commands.get(name, dialect);
      return { raw, command, value, arrived: now() };
    } catch (error) {
      refusal = asAgentError(error);
    }
    const settled = this.#settle(raw, asReply(refusal), wire, earlier !== null).then(() => {
      this.#options.log.warn({ ...named(raw, wire), code: refusal.code }, 'request refused');
    });
    track(settled, wire);
    return null;
  }

  async #takeTurn(job: Job, wire: Wire): Promise<void> {
    if (wire.signal.aborted) return;
    const { raw, command, arrived } = job;
    const { journal, log } = this.#options;
    if (milliseconds(arrived, now()) > RECHECK_AFTER_MS && !(await this.#stillWanted(raw, wire.transport))) {
      log.warn({ ...named(raw, wire), command: command.name }, 'request was withdrawn before its turn');
      return;
    }
    try {
      await journal.started(journalId(raw, wire), command.name);
    } catch (error) {
      // A full or read-only disk must not lock the owner out: a password can still be set. What is lost is the
      // memory across a crash in the middle of this one command.
      log.error({ ...named(raw, wire), error: describeError(error) }, 'journal cannot be written');
    }
    await this.#carryOut(job, wire, now());
  }

  async #stillWanted(raw: RawRequest, transport: Transport): Promise<boolean> {
    try {
      return await transport.stillWanted(raw);
    } catch {
      return true;
    }
  }

  async #carryOut(job: Job, wire: Wire, started: Instant): Promise<void> {
    const { raw, command, value, arrived } = job;
    const { log, hooks } = this.#options;
    const context = new Context(job, wire, log);
    let reply: Reply;
    let failure: unknown = null;
    let after: AfterHooks | null = null;
    try {
      const before = hooks?.before(command, raw.id) ?? null;
      if (before !== null) after = await before;
      const handled = command.handle(value, context);
      // What is there at once is not waited for: the host is.
      reply = isPromise(handled) ? await handled : handled;
    } catch (error) {
      failure = error;
      reply = asReply(asAgentError(error));
    }
    const settled = this.#settle(raw, reply, wire, command.lane === 'serial');
    const ran = now();
    await settled;
    const fields = {
      ...about(job, wire),
      returncode: reply.returncode,
      waitedMs: milliseconds(arrived, started),
      ranMs: milliseconds(started, ran),
      totalMs: milliseconds(arrived, now()),
    };
    if (failure === null) log.info(fields, 'command finished');
    else {
      const { code } = asAgentError(failure);
      log.error({ ...fields, code, error: describeError(failure) }, 'command failed');
    }
    // The host has its answer and need not wait; the next serial command has to, for it comes after this turn.
    await after?.(reply.returncode);
    // Before this turn ends: the next request in line is then left to whoever comes.
    if (context.next !== null) this.#options.handOver?.(context.next);
  }

  /** Answers, then retires. An answer that cannot be published is given up: the request must not come again. */
  async #settle(raw: RawRequest, reply: Reply, wire: Wire, journaled: boolean): Promise<void> {
    const { log } = this.#options;
    try {
      await wire.transport.respond(raw, this.#encode(reply, raw, wire));
    } catch (error) {
      log.error({ ...named(raw, wire), error: describeError(error) }, 'answer cannot be published');
    }
    if (journaled) await this.#record(() => this.#options.journal.answered(journalId(raw, wire)), raw, wire);
    await this.#finish(raw, wire, journaled);
  }

  /** What a plugin answers may be nothing that the wire can carry; the host is told that much. */
  #encode(reply: Reply, raw: RawRequest, wire: Wire): Body {
    const { codec } = wire;
    try {
      return codec.encode(reply, raw.body);
    } catch (error) {
      this.#options.log.error({ ...named(raw, wire), error: describeError(error) }, 'answer cannot be encoded');
      return codec.encode(asReply(asAgentError(error)), raw.body);
    }
  }

  async #finish(raw: RawRequest, wire: Wire, journaled: boolean): Promise<void> {
    try {
      await wire.transport.retire(raw);
    } catch (error) {
      this.#options.log.error({ ...named(raw, wire), error: describeError(error) }, 'request cannot be retired');
      return;
    }
    if (journaled) await this.#record(() => this.#options.journal.done(journalId(raw, wire)), raw, wire);
  }

  async #record(write: () => Promise<void>, raw: RawRequest, wire: Wire): Promise<void> {
    try {
      await write();
    } catch (error) {
      this.#options.log.error({ ...named(raw, wire), error: describeError(error) }, 'journal cannot be written');
    }
  }
}

/**
 * A class, because an object with a getter of its own costs as much to make as the rest of an answer. Most commands use
 * little of it, so it is made of what is there, and the rest when it is asked for. Its fields are TypeScript's private
 * ones: V8 defines names with a # one by one, each time.
 */
class Context implements CommandContext {
  next: (() => Promise<void>) | null = null;
  readonly signal: AbortSignal;
  private readonly job: Job;
  private readonly wire: Wire;
  private readonly base: Logger;
  private own: Logger | null = null;

  constructor(job: Job, wire: Wire, log: Logger) {
    this.signal = wire.signal;
    this.job = job;
    this.wire = wire;
    this.base = log;
  }

  get log(): Logger {
    return (this.own ??= this.base.child(about(this.job, this.wire)));
  }

  get handOver(): CommandContext['handOver'] {
    return (next) => {
      this.next = next;
    };
  }
}

/** A wire is not done before `work` is. */
function track(work: Promise<void>, { underWay }: Wire): void {
  underWay.add(work);
  void work.then(() => underWay.delete(work));
}

function journalId({ id }: RawRequest, { name }: Wire): string {
  return name === '' ? id : `${name}:${id}`;
}

/** How the log names a request: two wires may have the same ids. */
function named({ id }: RawRequest, { name }: Wire): { readonly request: string; readonly wire: string } {
  return { request: id, wire: name };
}

/** How the log names a command under way. */
function about({ raw, command }: Job, wire: Wire): Readonly<Record<'request' | 'command' | 'wire', string>> {
  return { request: raw.id, command: command.name, wire: wire.name };
}

function asReply(error: AgentError): Reply {
  return { returncode: error.returncode, message: error.message };
}

/** An exception that nobody foresaw may quote a secret in its message: the host learns only its kind. */
function asAgentError(error: unknown): AgentError {
  if (error instanceof AgentError) return error;
  const { type, code } = describeError(error);
  return new AgentError('GW_INTERNAL', [code ?? type], { cause: error });
}

/** Nanoseconds since some time in the past. */
type Instant = bigint;

/** By a clock that needs none of Node's modules, as `performance` does: 0.7 ms, once. */
function now(): Instant {
  return process.hrtime.bigint();
}

function milliseconds(from: Instant, to: Instant): number {
  return Math.round(Number(to - from) / 1e3) / 1e3;
}

/** A look at the one thing that tells them apart: `in` and `instanceof` take longer. */
function isPromise(handled: Promise<Reply> | Reply): handled is Promise<Reply> {
  return (handled as Partial<Promise<Reply>>).then !== undefined;
}
