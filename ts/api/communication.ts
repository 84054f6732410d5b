/** A request exactly as it came off the wire. */
export interface RawRequest {
  /** Names the request on its wire, for the journal and the log. Printable. */
  readonly id: string;
  /** Counts as a secret: it may hold a password. */
  readonly body: Uint8Array;
  /**
   * The answer to this request was already published by an earlier run of the agent, which was stopped before it
   * could retire the request. Such a request is only to be retired.
   */
  readonly answered: boolean;
}

/** Carries bytes between host and guest; knows nothing of JSON or commands. */
export interface Transport extends AsyncDisposable {
  /** Yields each request once, until `signal` aborts, then ends. A lost connection is re-established inside. */
  requests(signal: AbortSignal): AsyncIterable<RawRequest>;

  /** Whether the host still waits for an answer: false once it has withdrawn the request. */
  stillWanted(request: RawRequest): Promise<boolean>;

  /** Publishes the answer. Resolves once the host can see it. */
  respond(request: RawRequest, body: Uint8Array): Promise<void>;

  /** Takes the request away, after its answer was published. Never throws for a request that is already gone. */
  retire(request: RawRequest): Promise<void>;
}

export interface CommandRequest {
  readonly name: string;
  readonly value: unknown;
}

/** What a command answers. `returncode` is text because the host compares text. */
export interface Reply {
  readonly returncode: string;
  readonly message: string;
}

/** Bytes to request, reply to bytes. Pure; `decode` throws AgentError. */
export interface Codec {
  decode(body: Uint8Array): CommandRequest;
  encode(reply: Reply): Uint8Array;
}

/** One way for the host to reach this guest. */
export interface CommunicationModule {
  readonly name: string;
  readonly codec: Codec;
  open(): Promise<Transport>;
}
