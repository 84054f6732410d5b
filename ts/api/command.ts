import type { Reply } from './communication.js';
import type { Log } from './log.js';
import type { Signal } from './platform.js';

export interface CommandContext {
  readonly log: Log;
  /** Aborts when the agent is asked to stop. A plugin's too when its time is up or the host has withdrawn the request. */
  readonly signal: Signal;
}

/**
 * `serial` commands touch the machine: they run one at a time, in the order of arrival, and are journaled so that a
 * crash never runs them twice. `immediate` ones only tell something: they are answered at once, past whatever runs.
 */
export type Lane = 'serial' | 'immediate';

/** Names of commands that plugins and scripts bring: they survive the commas of `features`, file systems and shells. */
export const COMMAND_NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

/** A command as the dispatcher sees it: a name on the wire and a handler. */
export interface Command<Context = CommandContext> {
  readonly name: string;
  readonly lane: Lane;
  /**
   * Further forms of the command that `features` tells beside its name: an agent that does not know `file_inject` in
   * parts would write each part as a whole file, so a host has to be able to ask.
   */
  readonly forms?: readonly string[];
  /** The only dialect in which the command can be asked for; without one it is the agent's own, and `features` tells it. */
  readonly dialect?: string;
  /**
   * What its host is sent where an error says 500, and the host takes that for success of this command. Other codes,
   * such as 403, stay.
   */
  readonly failureCode?: string;
  /**
   * An `immediate` command is journaled too, as a `serial` one is: a request that ends the agent must not end it again at
   * each start. True of all that plugins bring, whatever they say here.
   */
  readonly journaled?: boolean;
  /** Milliseconds that a command of a plugin may take; `plugins.command-timeout` when absent. */
  readonly timeout?: number;
  /** What is known at once need not be a promise, and is answered the sooner. */
  handle(value: unknown, context: Context): Promise<Reply> | Reply;
}

/** A group of commands that share state, such as the two halves of a key exchange. */
export interface CommandModule<Context = CommandContext> {
  readonly name: string;
  readonly commands: readonly Command<Context>[];
}

export interface CommandDefinition<Args, Context = CommandContext> {
  readonly name: string;
  readonly lane: Lane;
  /** As {@link Command.timeout}. */
  readonly timeout?: number;
  /** Turns the wire value into arguments, or throws AgentError. */
  parse(value: unknown): Args;
  /** Does the work; the string returned is the reply's message. */
  run(args: Args, context: Context): Promise<string | Reply> | string | Reply;
}

/** Ties `parse` to `run` and forgets the argument type, so modules can hold unlike commands in one list. */
export function command<Args, Context = CommandContext>(
  definition: CommandDefinition<Args, Context>,
): Command<Context> {
  return {
    name: definition.name,
    lane: definition.lane,
    ...(definition.timeout === undefined ? {} : { timeout: definition.timeout }),
    handle(value, context) {
      const result = definition.run(definition.parse(value), context);
      return typeof result === 'string' ? asReply(result) : Promise.resolve(result).then(asReply);
    },
  };
}

function asReply(result: string | Reply): Reply {
  return typeof result === 'string' ? { returncode: '0', message: result } : result;
}
