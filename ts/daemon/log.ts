import { type DestinationStream, type Logger, destination, pino } from 'pino';
import { AgentError, codeOf } from '../api/errors.js';
import { isTerminal } from '../host/shared/system.js';

export interface LogOptions {
  readonly level: string;
  /** `auto`: for people on a terminal, JSON elsewhere. */
  readonly format: 'auto' | 'json' | 'pretty';
}

export interface Log {
  readonly log: Logger;
  /**
   * Resolves once all that was logged is written, or its reader has gone or has taken nothing for a second. Never rejects.
   */
  readonly flush: () => Promise<void>;
}

/** No log call passes these on purpose; if one ever does, they are not printed. */
const SECRET_FIELDS = ['value', 'body', 'password', 'secret', 'key', 'content'];
const CENSORED = '[secret]';
/** Milliseconds. */
const PATIENCE_WITH_READER = 1000;

/** Lines go to stdout: journald, a container's log or a person reads them there. */
export async function createLog({ level, format }: LogOptions): Promise<Log> {
  const options = {
    level,
    base: null,
    // Not pino's `redact`, which copies all fields of every line: half of the processor's time for a request.
    serializers: Object.fromEntries(SECRET_FIELDS.map((field) => [field, () => CENSORED])),
    formatters: { log: censorBelow },
  };
  if (format === 'pretty' || (format === 'auto' && isTerminal())) {
    const { default: pretty } = await import('pino-pretty');
    const stream: DestinationStream = pretty({
      colorize: isTerminal(),
      sync: true,
      translateTime: 'SYS:HH:MM:ss.l',
    });
    return { log: pino(options, stream), flush: () => Promise.resolve() };
  }
  // Not synchronous: a line through a pipe would hold up the next answer by the time its reader takes to wake.
  const stream = destination({ dest: 1, sync: false });
  return {
    log: pino(options, stream),
    flush: () =>
      new Promise((resolve) => {
        const limit = setTimeout(resolve, PATIENCE_WITH_READER);
        // Not flushSync: that leaves alone what a thread is writing just then, which another program in the place of
        // this one would cut off.
        stream.flush(() => {
          clearTimeout(limit);
          resolve();
        });
      }),
  };
}

/** Hides what may be a secret one level below, of objects of any kind. */
function censorBelow(fields: Record<string, unknown>): Record<string, unknown> {
  let result = fields;
  for (const [name, value] of Object.entries(fields)) {
    if (typeof value !== 'object' || value === null) continue;
    const secrets = SECRET_FIELDS.filter((field) => Object.hasOwn(value, field));
    if (secrets.length === 0) continue;
    const hidden = Object.fromEntries(secrets.map((field) => [field, CENSORED]));
    // Of the same kind: it may have a form of its own in JSON.
    const copy: unknown = Object.assign(Object.create(Object.getPrototypeOf(value) as object) as object, value, hidden);
    result = { ...result, [name]: copy };
  }
  return result;
}

export interface ErrorDescription {
  readonly type: string;
  readonly code?: string;
  /** Where it came from, without the message. */
  readonly at?: readonly string[];
}

/** An error without its message, which may quote a request: `JSON.parse`, for one, prints the text it stumbled over. */
export function describeError(error: unknown): ErrorDescription {
  if (!(error instanceof Error)) return { type: typeof error };
  const code = codeOf(error);
  const frames = (error.stack ?? '').split('\n').flatMap((line) => /^ {4}at (.*)$/.exec(line)?.slice(1) ?? []);
  return {
    type: error.name,
    ...(code === null ? {} : { code }),
    // An error of the table says all in its code; its origin is known.
    ...(error instanceof AgentError ? {} : { at: frames.slice(0, 8) }),
  };
}
