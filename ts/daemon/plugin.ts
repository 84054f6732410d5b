/**
 * One plugin, loaded and kept apart: whatever its code throws, promises or answers, the agent goes on. Only what never
 * gives the processor back cannot be stopped here (docs/decisions/0009).
 */
import type { Logger } from 'pino';
import type { Command, CommandContext, CommandModule } from '../api/command.js';
import type { Reply } from '../api/communication.js';
import { AgentError, PluginError } from '../api/errors.js';
import type { Host } from '../api/host.js';
import type { Plugin, PluginContext, PluginReports, PluginWire } from '../api/plugin.js';
import type { PluginTable } from './config-file.js';
import { describeError } from './log.js';
import { OVERDUE, within } from './overdue.js';
import { ShapeError, type Task, checkContributions, checkPlugin } from './plugin-shape.js';
import { AsyncLocalStorage } from '../host/shared/runtime/async-context.js';

export interface PluginOptions {
  readonly host: Host;
  readonly log: Logger;
  /** How long loading and setup may take together, milliseconds. */
  readonly loadTimeout: number;
  /** How long a command, or a step of a wire, may take, milliseconds. */
  readonly commandTimeout: number;
  /** What the configuration has for the plugin of this name. */
  readonly table: (name: string) => PluginTable | null;
}

export interface LoadedPlugin {
  readonly name: string;
  readonly modules: readonly CommandModule[];
  readonly wires: readonly PluginWire[];
  readonly reports: readonly PluginReports[];
  readonly tasks: readonly LoadedTask[];
  /** Runs `work` as the plugin's: errors that come out of it, however late, are the plugin's. */
  run<T>(work: () => T): T;
  /** Tells the plugin to end what it has begun. */
  unload(): void;
}

export interface LoadedTask {
  readonly name: string;
  /** From one beginning to the next, milliseconds. */
  readonly every: number;
  /** Before the first, milliseconds. */
  readonly delay: number;
  /**
   * Does it once. `signal` aborts when the agent stops. Rejects with an Error whose message says what went wrong, when
   * the time is up too; and while an earlier run that was too late has not ended.
   */
  run(signal: AbortSignal): Promise<void>;
}

/** What the code that runs now belongs to. */
export interface Running {
  /** The plugin, by the name that people know its file by. */
  readonly where: string;
  /** As the plugin calls itself; as people do while that is not known yet. */
  readonly name: string;
  /** Ends the call of a command for whoever waits for it; null outside of calls. */
  readonly fail: Fail | null;
}

type Fail = (error: AgentError) => void;

/** Through timers, sockets and promises. */
const current = new AsyncLocalStorage<Running>();

/** Whose code is running or has thrown; undefined for the agent's own. */
export function currentPlugin(): Running | undefined {
  return current.getStore();
}

/**
 * Loads and sets up a plugin; `where` is the name that people know its file by. Throws an Error whose message says what
 * is wrong with it.
 */
export async function loadPlugin(
  where: string,
  load: () => Promise<unknown>,
  { host, log, loadTimeout, commandTimeout, table }: PluginOptions,
): Promise<LoadedPlugin> {
  const stop = new AbortController();
  const begun = performance.now();
  const left = (): number => Math.max(1, loadTimeout - (performance.now() - begun));
  let name = where;
  const run: Run = (work, fail = null) => current.run({ where, name, fail }, work);
  const inTime = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    const result = await within(run(work), left());
    if (result !== OVERDUE) return result;
    throw new ShapeError(`${what} took longer than ${loadTimeout / 1000} s`);
  };
  try {
    const plugin = checkPlugin(await inTime('loading it', load));
    name = plugin.name;
    const settings = await settingsOf(plugin, table(plugin.name));
    const context = { log: log.child({ plugin: plugin.name }), settings, signal: stop.signal };
    const given = await inTime('setup', async () => plugin.setup(host, context));
    const { modules, wires, reports, tasks } = checkContributions(given);
    return {
      name: plugin.name,
      modules: modules.map((module) => isolatedModule(plugin, module, run, commandTimeout)),
      wires,
      reports,
      tasks: tasks.map((task) => isolatedTask(task, run, { ...context, timeout: task.timeout ?? commandTimeout })),
      run,
      unload: () => {
        run(() => {
          stop.abort();
        });
      },
    };
  } catch (error) {
    run(() => {
      stop.abort();
    });
    throw error instanceof ShapeError ? error : new Error(explain(error), { cause: error });
  }
}

/** Throws ShapeError. The checks are loaded where there is something to check. */
async function settingsOf(
  { name, settings = {} }: Plugin,
  table: PluginTable | null,
): Promise<PluginContext['settings']> {
  if (Object.keys(settings).length === 0 && table === null) return {};
  const { settingsFor } = await import('./plugin-settings.js');
  return settingsFor(name, settings, table);
}

/** No request is under way here, so that the message may be shown. */
function explain(error: unknown): string {
  if (isExit(error)) return `wanted to end the agent (${error.args[1] ?? ''})`;
  if (!(error instanceof Error)) return `threw ${typeof error === 'string' ? error : `a ${typeof error}`}`;
  const [message = ''] = error.message.split('\n');
  const where = error instanceof SyntaxError ? ' (node --check FILE tells the line)' : '';
  return `${error.name}: ${message}${where}`;
}

/** Whether it is the agent's answer to a plugin that wanted to end it. */
export function isExit(error: unknown): error is AgentError {
  return error instanceof AgentError && error.code === 'GW_PLUGIN_EXIT';
}

/** `fail` is for whoever waits for what `work` does. */
type Run = <T>(work: () => T, fail?: Fail | null) => T;

function isolatedModule(plugin: Plugin, module: CommandModule, run: Run, timeout: number): CommandModule {
  return {
    name: module.name,
    commands: module.commands.map((command) => isolated(plugin.name, command, run, command.timeout ?? timeout)),
  };
}

function isolated(plugin: string, command: Command, run: Run, timeout: number): Command {
  const failed = (reason: string, cause?: unknown): AgentError =>
    new AgentError('GW_PLUGIN_FAILED', [plugin, reason], { cause });
  let overdue = 0;
  const late = (work: Promise<unknown>): void => {
    overdue += 1;
    const ended = (): void => void (overdue -= 1);
    work.then(ended, ended);
  };
  return {
    ...command,
    name: command.name,
    lane: command.lane,
    journaled: true,
    async handle(value, outer) {
      if (overdue > 0) throw failed('an earlier call of the command has not ended yet');
      const work = (signal: AbortSignal): Promise<Reply> => {
        const context: CommandContext = {
          get log() {
            return outer.log;
          },
          signal,
        };
        return Promise.resolve(command.handle(value, context));
      };
      let reply: unknown;
      try {
        reply = await call(run, work, { signals: [outer.signal], timeout, late });
      } catch (error) {
        if (error instanceof AgentError) throw error;
        if (error instanceof PluginError) throw refusal(error, failed);
        // Its message may quote the request: the host learns the kind.
        const { type, code, at } = describeError(error);
        outer.log.error({ plugin, type, at }, 'plugin threw');
        throw failed(`it threw ${code ?? type}`, error);
      }
      if (reply === OVERDUE) throw failed(`no answer within ${timeout / 1000} s`);
      return checkReply(reply, failed);
    },
  };
}

interface Call {
  /** Each of them ends it. */
  readonly signals: readonly AbortSignal[];
  /** Milliseconds. */
  readonly timeout: number;
  /** Is handed what goes on when the time is up. */
  readonly late: (work: Promise<unknown>) => void;
}

/** Lets the plugin do what somebody waits for, or gives OVERDUE. `work` is told by its signal when to end. */
async function call<T>(
  run: Run,
  work: (signal: AbortSignal) => Promise<T>,
  { signals, timeout, late }: Call,
): Promise<T | typeof OVERDUE> {
  // Not AbortSignal.any: on Node 20 a signal that lasts as long as the agent would remember every call.
  const ending = new AbortController();
  const end = (reason?: unknown): void => {
    run(() => {
      ending.abort(reason);
    });
  };
  const undo = signals.map((signal) => {
    const forward = (): void => {
      end(signal.reason);
    };
    if (signal.aborted) forward();
    signal.addEventListener('abort', forward, { once: true });
    return () => {
      signal.removeEventListener('abort', forward);
    };
  });
  // What wanted to end the process may never come to its end, or may have caught what it was told instead.
  let fail: Fail = () => undefined;
  const ended = new Promise<never>((_, reject) => (fail = reject));
  const promised = run(async () => work(ending.signal), fail);
  promised.catch(() => undefined);
  try {
    const result = await within(Promise.race([ended, promised]), timeout);
    if (result !== OVERDUE) return result;
    late(promised);
    end();
    return OVERDUE;
  } finally {
    for (const one of undo) one();
  }
}

interface TaskOptions {
  /** The plugin's. */
  readonly log: Logger;
  /** Aborts when the plugin is unloaded. */
  readonly signal: AbortSignal;
  /** Milliseconds. */
  readonly timeout: number;
}

function isolatedTask(task: Task, run: Run, { log, signal, timeout }: TaskOptions): LoadedTask {
  let isLate = false;
  const late = (work: Promise<unknown>): void => {
    isLate = true;
    const ended = (): void => void (isLate = false);
    work.then(ended, ended);
  };
  const own = log.child({ task: task.name });
  return {
    name: task.name,
    every: task.every,
    delay: task.delay,
    async run(agent) {
      if (isLate) throw new Error('an earlier run has not ended yet');
      const work = async (ending: AbortSignal): Promise<void> => task.run({ log: own, signal: ending });
      const result = await call(run, work, { signals: [signal, agent], timeout, late }).catch((error: unknown) => {
        throw new Error(explain(error), { cause: error });
      });
      if (result === OVERDUE) throw new Error(`took longer than ${timeout / 1000} s`);
    },
  };
}

/** As the host is told of it, and as far as it can be told. */
function refusal({ code, message, returncode }: PluginError, failed: (reason: string) => AgentError): AgentError {
  if (!/^[A-Z][A-Z0-9_]{0,63}$/.test(code))
    return failed('wanted capitals, digits and _ for the code of a PluginError');
  const wrong = wrongReturncode(returncode);
  return wrong === null ? new AgentError('GW_PLUGIN_REFUSED', [message, code], { returncode }) : failed(wrong);
}

/** What hosts compare is a word; a long one would leave no room for the message in the answer. */
function wrongReturncode(returncode: string): string | null {
  if (/^[\x21-\x7e]{1,16}$/.test(returncode)) return null;
  return `wanted a returncode of 1 to 16 printable characters, got ${returncode.length}`;
}

function checkReply(reply: unknown, failed: (reason: string) => AgentError): Reply {
  const { returncode, message } = (typeof reply === 'object' && reply !== null ? reply : {}) as Partial<Reply>;
  if (typeof returncode !== 'string' || typeof message !== 'string') {
    throw failed('wanted a returncode and a message, both text, got something else');
  }
  const wrong = wrongReturncode(returncode);
  if (wrong !== null) throw failed(wrong);
  return reply as Reply;
}
