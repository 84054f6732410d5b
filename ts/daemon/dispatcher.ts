import type { Logger } from 'pino';
import { asBuffer } from '../api/bytes.js';
import type { AgentCommand, AgentContext } from '../agent/command.js';
import type { Body, Codec, RawRequest, Reply, Transport } from '../api/communication.js';
import { AgentError } from '../api/errors.js';
import { Repeated } from '../api/repeated.js';
import type { DeferredCommand } from '../commands/deferred.js';
import type { Journal } from './journal.js';
import type { Registry } from './registry.js';
import type { AfterHooks, Hooks } from './hooks.js';
import { describeError } from './log.js';
import { reasonOf } from './reason.js';
import { sleep } from '../host/shared/runtime/timers.js';

/** How often to look whether there is a place for answers again. */
const PLACE_RETRY_MS = 2000;
/** A request that waited longer may have been withdrawn: nova's plugin deletes it when its time is up. */
const RECHECK_AFTER_MS = 1000;
/** What most errors say. A command may have a {@link AgentCommand.failureCode} instead. */
const FAILURE = '500';

export interface DispatcherOptions {
  readonly commands: Pick<Registry, 'get' | 'failureCode'>;
  readonly journal: Journal;
  readonly log: Logger;
  /** Programs of the administrator's around commands; none when absent. */
  readonly hooks?: Hooks;
  /** Called when a command has run that may have changed the machine. */
  readonly changed?: () => void;
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
  /** Serial requests whose answers have no place yet, in order. */
  readonly held: Job[];
  readonly told: Told;
  /** By commands: what one fails with again and again must not hide another's failure. */
  readonly failures: Map<string, Repeated>;
}

/** What the log has of a wire, as often as it is worth it and not as often as the host asks. */
type Told = Readonly<Record<'refused' | 'withdrawn' | 'unbegun' | 'unanswered' | 'unretired', Repeated>>;

/** A request that has been understood, and a command to carry it out. */
interface Job<C = AgentCommand> {
  readonly raw: RawRequest;
  readonly command: C;
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
  readonly #unrecorded: Repeated;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#unrecorded = new Repeated({
      log: options.log,
      level: 'error',
      message: 'journal cannot be written',
      ending: 'journal can be written again',
    });
  }

  /**
   * Serves `transport` until `signal` aborts and what was begun is answered. Serial requests that have not begun by
   * then stay where they are: the next run of the agent finds them. Several wires may be served at once, each under a
   * name of its own.
   */
  async serve(transport: Transport, codec: Codec, signal: AbortSignal, name = ''): Promise<void> {
    const told = createTold(this.#options.log);
    const wire: Wire = { name, transport, codec, signal, underWay: new Set(), held: [], told, failures: new Map() };
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
      for (const repeated of [...Object.values(told), ...wire.failures.values()]) repeated[Symbol.dispose]();
    }
  }

  /**
   * Does what is no request's in line with the serial commands, so that one thing at a time changes the machine. Resolves
   * or rejects as `work` does.
   */
  inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#serial.then(work);
    this.#serial = turn.catch(() => undefined);
    return turn;
  }

  #take(raw: RawRequest, wire: Wire): void {
    const job = this.#prepare(raw, wire);
    if (job === null) return;
    if (!isLoaded(job)) {
      this.#load(job, wire);
      return;
    }
    if (job.command.lane === 'immediate') {
      track(isJournaled(job.command) ? this.#carryOutOnce(job, wire) : this.#carryOut(job, wire, job.arrived), wire);
      return;
    }
    this.#enqueue(job, wire);
  }

  #enqueue(job: Job, wire: Wire): void {
    this.#serial = this.#serial.then(() => this.#takeTurn(job, wire));
    track(this.#serial, wire);
  }

  /**
   * Of the first request of a module only the module knows the lane. So the request has its place in line from now on,
   * and leaves it empty if it turns out to need none.
   */
  #load(job: Job<DeferredCommand>, wire: Wire): void {
    const loading = job.command.load().then(
      (command): Job => ({ ...job, command }),
      // It is carried out all the same: that fails alike, and is answered and logged as any failure is.
      (): Job => ({ ...job, command: { ...job.command, lane: 'serial' } }),
    );
    const turn = this.#serial;
    this.#serial = loading.then(async (loaded) => {
      await turn;
      if (loaded.command.lane === 'serial') await this.#takeTurn(loaded, wire);
    });
    track(this.#serial, wire);
    const atOnce = loading.then(async (loaded) => {
      if (loaded.command.lane === 'immediate') await this.#carryOut(loaded, wire, loaded.arrived);
    });
    track(atOnce, wire);
  }

  /** Settles what needs no command; returns the job for what does. */
  #prepare(raw: RawRequest, wire: Wire): Job | Job<DeferredCommand> | null {
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
          'it was not run again, files it had half changed were put back, and a program it had started may have kept running',
        ]);
      }
      const { name, value, dialect } = wire.codec.decode(raw.body);
      const command = this.#options.commands.get(name, dialect);
      return { raw, command, value, arrived: now() } as Job | Job<DeferredCommand>;
    } catch (error) {
      refusal = asAgentError(error);
    }
    // What cannot be read may have been any command that it names.
    const failureCode = this.#options.commands.failureCode(earlier?.command ?? textOf(raw.body));
    const settled = this.#settle(raw, failed(refusal, failureCode), wire, earlier !== null).then(() => {
      wire.told.refused.tell(reasonOf(refusal), { ...named(raw, wire), code: refusal.code });
    });
    track(settled, wire);
    return null;
  }

  async #takeTurn(job: Job, wire: Wire): Promise<void> {
    if (wire.signal.aborted) return;
    const { raw, command, arrived } = job;
    if (milliseconds(arrived, now()) > RECHECK_AFTER_MS && !(await this.#stillWanted(raw, wire.transport))) {
      wire.told.withdrawn.tell(`no answer to ${command.name} is wanted any more`, named(raw, wire));
      return;
    }
    if (await this.#hasPlace(job, wire)) await this.#carryOutOnce(job, wire);
  }

  /** With a note in the journal before it, by which no later run of the agent does it again. */
  async #carryOutOnce(job: Job, wire: Wire): Promise<void> {
    const { raw, command } = job;
    // A full or read-only disk must not lock the owner out: a password can still be set. What is lost is the memory
    // across a crash in the middle of this one command.
    await this.#record(() => this.#options.journal.started(journalId(raw, wire), command.name), raw, wire);
    await this.#carryOut(job, wire, now());
  }

  /** Whether the answer will have a place. What has none waits, and what comes after it on its wire; others pass. */
  async #hasPlace(job: Job, wire: Wire): Promise<boolean> {
    const { transport, held, told, signal } = wire;
    if (transport.reserve === undefined) return true;
    try {
      if (held.length === 0 && (await transport.reserve(job.raw))) return true;
    } catch (error) {
      told.unanswered.tell(reasonOn(job.raw, error), named(job.raw, wire));
      await this.#finish(job.raw, wire, false);
      return false;
    }
    held.push(job);
    if (held.length > 1) return false;
    const again = sleep(PLACE_RETRY_MS, { signal }).then(
      () => {
        // What came after them on their wire and has its turn before this one joins them.
        this.#serial = this.#serial.then(() => this.#takeHeld(wire));
        track(this.#serial, wire);
      },
      // Who stops leaves them to the next run.
      () => undefined,
    );
    track(again, wire);
    return false;
  }

  /** Tries those that waited for a place, in the order in which they came. */
  async #takeHeld(wire: Wire): Promise<void> {
    for (const job of wire.held.splice(0)) await this.#takeTurn(job, wire);
  }

  async #stillWanted(raw: RawRequest, transport: Transport): Promise<boolean> {
    try {
      return await transport.stillWanted(raw);
    } catch {
      return true;
    }
  }

  async #carryOut(job: Job, wire: Wire, started: Instant): Promise<void> {
    const { raw, command, value } = job;
    const { log, hooks } = this.#options;
    // Only what is not the agent's own may be given up half done.
    using wanted = command.journaled === true ? new Wanted(raw, wire) : null;
    const context = new Context(job, wire, log, wanted?.signal ?? wire.signal);
    let reply: Reply;
    let failure: unknown = null;
    let after: AfterHooks | null = null;
    try {
      const before = hooks?.before(command, raw.id) ?? null;
      if (before !== null) after = await before;
      if (isJournaled(command) && wire.transport.begun !== undefined) await this.#begin(raw, wire);
      const handled = command.handle(value, context);
      // What is there at once is not waited for: the host is.
      reply = isPromise(handled) ? await handled : handled;
    } catch (error) {
      failure = error;
      reply = failed(asAgentError(error), command.failureCode ?? null);
    }
    const settled = this.#settle(raw, reply, wire, isJournaled(command));
    const ran = now();
    await settled;
    this.#tell({ job, wire, failure, reply, started, ran });
    // The host has its answer and need not wait; the next serial command has to, for it comes after this turn.
    await after?.(reply.returncode);
    if (command.lane === 'serial' && reply.changed !== false) this.#options.changed?.();
    // Before this turn ends: the next request in line is then left to whoever comes.
    if (context.next !== null) this.#options.handOver?.(context.next);
  }

  /** The host may see it or not: its request is carried out. */
  async #begin(raw: RawRequest, { transport, told, name }: Wire): Promise<void> {
    try {
      await transport.begun?.(raw);
      told.unbegun.over();
    } catch (error) {
      told.unbegun.tell(reasonOn(raw, error), { request: raw.id, wire: name, error: describeError(error) });
    }
  }

  /**
   * What only tells something comes as often as the host likes; the rest is what was done to the machine. A failure may
   * come as often as the host likes either way.
   */
  #tell({ job, wire, failure, reply, started, ran }: Outcome): void {
    const { log } = this.#options;
    const { raw, command, arrived } = job;
    const level = command.lane === 'serial' && reply.changed !== false ? 'info' : 'debug';
    if (failure === null && !log.isLevelEnabled(level)) return;
    const fields = {
      returncode: reply.returncode,
      waitedMs: milliseconds(arrived, started),
      ranMs: milliseconds(started, ran),
      totalMs: milliseconds(arrived, now()),
    };
    if (failure === null) {
      log[level]({ ...about(job, wire), ...fields }, 'command finished');
      // The next failure is news.
      if (level === 'info') wire.failures.get(command.name)?.over();
      return;
    }
    const { code } = asAgentError(failure);
    const failed = { ...named(raw, wire), ...fields, code, error: describeError(failure) };
    this.#failuresOf(command, wire).tell(reasonOf(failure), failed);
  }

  #failuresOf({ name }: AgentCommand, { failures }: Wire): Repeated {
    const known = failures.get(name);
    if (known !== undefined) return known;
    const log = this.#options.log.child({ command: name });
    const repeated = new Repeated({ log, level: 'error', message: 'command failed' });
    failures.set(name, repeated);
    return repeated;
  }

  /** Answers, then retires. An answer that cannot be published is given up: the request must not come again. */
  async #settle(raw: RawRequest, reply: Reply, wire: Wire, journaled: boolean): Promise<void> {
    try {
      await wire.transport.respond(raw, this.#encode(reply, raw, wire));
      wire.told.unanswered.over();
    } catch (error) {
      wire.told.unanswered.tell(reasonOn(raw, error), { ...named(raw, wire), error: describeError(error) });
    }
    if (journaled) await this.#record(() => this.#options.journal.answered(journalId(raw, wire)), raw, wire);
    await this.#finish(raw, wire, journaled);
  }

  /**
   * What a plugin answers may be nothing that the wire can carry; the host is told that much, and without what the wire
   * repeats of a request where that is what it cannot carry.
   */
  #encode(reply: Reply, raw: RawRequest, wire: Wire): Body {
    const { codec } = wire;
    try {
      return codec.encode(reply, raw.body);
    } catch (error) {
      const { log } = this.#options;
      log.error(
        { ...named(raw, wire), reason: reasonOf(error), error: describeError(error) },
        'answer cannot be encoded',
      );
      const instead = failed(asAgentError(error), this.#options.commands.failureCode(textOf(raw.body)));
      try {
        return codec.encode(instead, raw.body);
      } catch {
        return codec.encode(instead, '');
      }
    }
  }

  async #finish(raw: RawRequest, wire: Wire, journaled: boolean): Promise<void> {
    try {
      await wire.transport.retire(raw);
      wire.told.unretired.over();
    } catch (error) {
      wire.told.unretired.tell(reasonOn(raw, error), { ...named(raw, wire), error: describeError(error) });
      return;
    }
    if (journaled) await this.#record(() => this.#options.journal.done(journalId(raw, wire)), raw, wire);
  }

  async #record(write: () => Promise<void>, raw: RawRequest, wire: Wire): Promise<void> {
    try {
      await write();
      this.#unrecorded.over();
    } catch (error) {
      this.#unrecorded.tell(reasonOf(error), { ...named(raw, wire), error: describeError(error) });
    }
  }
}

/** What came of a command. */
interface Outcome {
  readonly job: Job;
  readonly wire: Wire;
  /** Null when it succeeded. */
  readonly failure: unknown;
  readonly reply: Reply;
  readonly started: Instant;
  readonly ran: Instant;
}

function createTold(log: Logger): Told {
  return {
    refused: new Repeated({ log, level: 'warn', message: 'request refused' }),
    withdrawn: new Repeated({ log, level: 'warn', message: 'request was withdrawn before its turn' }),
    unbegun: new Repeated({
      log,
      level: 'warn',
      message: 'host cannot be shown that a request has begun',
      ending: 'host can be shown again that requests have begun',
    }),
    unanswered: new Repeated({
      log,
      level: 'error',
      message: 'answer cannot be published',
      ending: 'answers can be published again',
    }),
    unretired: new Repeated({
      log,
      level: 'error',
      message: 'request cannot be retired',
      ending: 'requests can be retired again',
    }),
  };
}

/** The same for every request, where the error names the one that it was about. */
function reasonOn({ id }: RawRequest, error: unknown): string {
  return [':', ' ', '"'].reduce((text, end) => text.replaceAll(`/${id}${end}`, `/(id)${end}`), reasonOf(error));
}

/**
 * A class, because an object with a getter of its own costs as much to make as the rest of an answer. Most commands use
 * little of it, so it is made of what is there, and the rest when it is asked for. Its fields are TypeScript's private
 * ones: V8 defines names with a # one by one, each time.
 */
class Context implements AgentContext {
  next: (() => Promise<void>) | null = null;
  readonly signal: AbortSignal;
  private readonly job: Job;
  private readonly wire: Wire;
  private readonly base: Logger;
  private own: Logger | null = null;

  constructor(job: Job, wire: Wire, log: Logger, signal: AbortSignal) {
    this.signal = signal;
    this.job = job;
    this.wire = wire;
    this.base = log;
  }

  get log(): Logger {
    return (this.own ??= this.base.child(about(this.job, this.wire)));
  }

  get handOver(): AgentContext['handOver'] {
    return (next) => {
      this.next = next;
    };
  }
}

function isLoaded(job: Job | Job<DeferredCommand>): job is Job {
  return job.command.lane !== null;
}

/** Asks while a command runs whether the host still waits for it. */
class Wanted implements Disposable {
  readonly #stop = new AbortController();
  readonly #wire: Wire;
  readonly #timer: NodeJS.Timeout;
  #isAsked = false;

  constructor(raw: RawRequest, wire: Wire) {
    this.#wire = wire;
    this.#timer = setInterval(() => void this.#ask(raw), RECHECK_AFTER_MS).unref();
    if (wire.signal.aborted) this.#end();
    wire.signal.addEventListener('abort', this.#end, { once: true });
  }

  /** Aborts when the agent stops, or the request is withdrawn. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#wire.signal.removeEventListener('abort', this.#end);
  }

  readonly #end = (): void => {
    this.#stop.abort(this.#wire.signal.reason);
  };

  async #ask(raw: RawRequest): Promise<void> {
    if (this.#isAsked) return;
    this.#isAsked = true;
    const wanted = await this.#wire.transport.stillWanted(raw).catch(() => true);
    this.#isAsked = false;
    if (wanted) return;
    clearInterval(this.#timer);
    this.#stop.abort(new DOMException('the host has withdrawn the request', 'AbortError'));
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

function isJournaled({ lane, journaled = false }: AgentCommand): boolean {
  return lane === 'serial' || journaled;
}

/** How the log names a request: two wires may have the same ids. */
function named({ id }: RawRequest, { name }: Wire): { readonly request: string; readonly wire: string } {
  return { request: id, wire: name };
}

/** How the log names a command under way. */
function about({ raw, command }: Job, wire: Wire): Readonly<Record<'request' | 'command' | 'wire', string>> {
  return { request: raw.id, command: command.name, wire: wire.name };
}

/** The one place where an error becomes an answer. `failureCode`: {@link AgentCommand.failureCode}; null where there is none. */
function failed({ returncode, message }: AgentError, failureCode: string | null): Reply {
  return { returncode: returncode === FAILURE ? (failureCode ?? FAILURE) : returncode, message };
}

/** Each byte as a character: names of commands are ASCII, and the rest may be anything. */
function textOf(body: Body): string {
  return typeof body === 'string' ? body : asBuffer(body).toString('latin1');
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
