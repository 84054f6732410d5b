import type { Body } from './body.js';
import type { Signal } from './platform.js';
import type { Reports } from './report.js';

export type { Body } from './body.js';

/** A request exactly as it came off the wire. */
export interface RawRequest {
  /**
   * Names the request on its wire, for the journal and the log. Printable ASCII. The same again when the request comes
   * again after a restart; otherwise no request has it before the one that had it is retired.
   */
  readonly id: string;
  /** Counts as a secret: it may hold a password. */
  readonly body: Body;
  /**
   * The answer to this request was already published by an earlier run of the agent, which was stopped before it
   * could retire the request. Such a request is only to be retired.
   */
  readonly answered: boolean;
}

/** Requests as they come. */
export interface Requests extends AsyncIterable<RawRequest> {
  /**
   * Calls `onRequest` with each, from where it comes in, and resolves at the end: without a promise between a request
   * and its answer. Rejects with what `onRequest` throws. The agent's own wires have it; of a plugin's it is not asked.
   */
  each?(onRequest: (request: RawRequest) => void): Promise<void>;
}

/** Carries bytes between host and guest; knows nothing of JSON or commands. */
export interface Transport extends AsyncDisposable {
  /** Yields each request once, until `signal` aborts, then ends. A lost connection is re-established inside. */
  requests(signal: Signal): Requests;

  /** Whether the host still waits for an answer: false once it has withdrawn the request. */
  stillWanted(request: RawRequest): Promise<boolean>;

  /**
   * Makes sure that the answer will have a place, before the request changes anything. False when there is none now:
   * the request is left where it is, and asked about again. Rejects when its name is too long for an answer to have one
   * ever. Only wires on which an answer takes up a place have it; of a plugin's it is not asked.
   */
  reserve?(request: RawRequest): Promise<boolean>;

  /**
   * Lets the host see that work on the request has begun: once nothing stands in its way any more, and before it changes
   * anything. Of `serial` requests and of those to plugins; what only tells something is answered soon enough. What it
   * rejects with is logged, and the request is carried out all the same.
   */
  begun?(request: RawRequest): Promise<void>;

  /**
   * Publishes the answer; an empty one means that there is to be none. Resolves once the host can see it, or once the
   * answer is on its way to a host that may be slow to read: what waits for the host here holds up every other wire.
   */
  respond(request: RawRequest, body: Body): Promise<void>;

  /** Takes the request away, after its answer was published. Never throws for a request that is already gone. */
  retire(request: RawRequest): Promise<void>;
}

export interface CommandRequest {
  readonly name: string;
  readonly value: unknown;
  /** The dialect that the request is in, where commands belong to one; absent for the agent's own. */
  readonly dialect?: string;
}

/** What a command answers. `returncode` is text because the host compares text. */
export interface Reply {
  readonly returncode: string;
  readonly message: string;
  /** What a wire that carries more than text answers besides: anything that JSON holds, and whole numbers as bigint. */
  readonly data?: unknown;
  /** The host expects no answer to this one. */
  readonly silent?: boolean;
  /** False where a `serial` command only told something: then it is no more in the log than an `immediate` one. */
  readonly changed?: false;
}

/** Body to request, reply to body. Pure. */
export interface Codec {
  /** Throws AgentError. */
  decode(body: Body): CommandRequest;
  /** `request` is the body that is answered, which `decode` may have refused; for answers that repeat a part of it. */
  encode(reply: Reply, request: Body): Body;
}

/** One way for the host to reach this guest. Every wire of the agent is one, and has no other door. */
export interface CommunicationModule {
  /** Lower-case letters, digits and dashes: what `wires.use` names it by. */
  readonly name: string;
  readonly codec: Codec;
  /**
   * Resolves once the host's requests are heard. Rejects with AgentError GW_WIRE_ABSENT, or an error whose `code` is
   * XS_NO_ENDPOINT, when this machine has no such wire; a wire that is there and not ready yet is waited for.
   */
  open(): Promise<Transport>;
  /**
   * Tells the host what the guest tells by itself, in the wire's own form. Called once the wire is open, and resolves when
   * `signal` aborts: as the agent is asked to stop, or the wire has ended. What it rejects with is logged, and nothing
   * more is told; requests are served all the same.
   */
  tell?(reports: Reports, signal: Signal): Promise<void>;
}
