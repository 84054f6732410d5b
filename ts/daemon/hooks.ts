/** Runs programs of the administrator's before and after a command. docs/hooks.md has the rules. */
import type { Logger } from 'pino';
import type { Command } from '../api/command.js';
import { AgentError } from '../api/errors.js';
import { firstLine } from '../api/first-line.js';
import type { Host } from '../api/host.js';
import { FOR_ALL, type Hook, type Stage, findHooks } from './hook-files.js';
import { Repeated } from '../api/repeated.js';
import { describeError } from './log.js';
import { reasonOf } from './reason.js';

export interface HookOptions {
  readonly host: Pick<Host, 'live' | 'files' | 'processes'>;
  readonly log: Logger;
  /** Absolute. */
  readonly directory: string;
  /** Whether there is something at a path; asked of the directory before every command. */
  readonly isThere: (path: string) => boolean;
  /** How long all programs of one stage may take together, milliseconds. */
  readonly timeoutMs: number;
}

/** Runs what stands after a command that has run. Never rejects: the host has its answer. */
export type AfterHooks = (returncode: string) => Promise<void>;

export interface Hooks {
  /**
   * Runs what stands before `command`, for the request of this id, and gives what is to be called after it; null at
   * once where there are no hooks at all. Rejects with AgentError GW_HOOK_REFUSED: then the command must not run.
   */
  before(command: Pick<Command, 'name' | 'lane'>, request: string): Promise<AfterHooks> | null;
}

/** One stage of one request. */
interface Occasion {
  readonly stage: Stage;
  readonly command: string;
  readonly folders: readonly string[];
  /** What the programs are told. The request's value is not among it: it may be a secret. */
  readonly environment: Readonly<Record<string, string>>;
  readonly log: Logger;
  /** At which programs that succeeded are logged: no poller decides how much that is. */
  readonly level: 'info' | 'debug';
}

const MAX_REASON = 200;

export function createHooks({ host, log, directory, isThere, timeoutMs }: HookOptions): Hooks {
  /** By the name of the hook. */
  const failures = new Map<string, Repeated>();
  const off = new Repeated({ log, level: 'info', message: 'hook is switched off: nobody may execute it' });
  const unfound = new Repeated({ log, level: 'warn', message: 'hooks cannot be found' });
  return {
    before(command, request) {
      if (!host.live) {
        log.debug({ request, command: command.name }, 'hooks are not run on a copy of a system');
        return null;
      }
      // On most machines there is no folder, and this is all that it costs.
      return isThere(directory) ? runAround(command, request) : null;
    },
  };

  function runAround({ name, lane }: Pick<Command, 'name' | 'lane'>, request: string): Promise<AfterHooks> {
    const occasion = (stage: Stage, more: Readonly<Record<string, string>>): Occasion => ({
      stage,
      command: name,
      folders: [...(lane === 'serial' ? [FOR_ALL] : []), ...(/^[\w-]+$/.test(name) ? [name] : [])],
      environment: { GUESTWIRE_COMMAND: name, GUESTWIRE_STAGE: stage, GUESTWIRE_REQUEST: request, ...more },
      log: log.child({ request, command: name }),
      level: lane === 'serial' ? 'info' : 'debug',
    });
    return runBefore(occasion('before', {})).then(
      () => (returncode) => runAfter(occasion('after', { GUESTWIRE_RETURNCODE: returncode })),
    );
  }

  async function runBefore(occasion: Occasion): Promise<void> {
    const end = performance.now() + timeoutMs;
    for (const hook of await find(occasion)) {
      const failure = await run(hook, occasion, end);
      if (failure !== null) throw new AgentError('GW_HOOK_REFUSED', [printable(hook.name), failure]);
    }
  }

  async function runAfter(occasion: Occasion): Promise<void> {
    const end = performance.now() + timeoutMs;
    try {
      for (const hook of await find(occasion)) await run(hook, occasion, end);
    } catch (error) {
      unfound.tell(reasonOf(error), { command: occasion.command, error: describeError(error) });
    }
  }

  async function find({ stage, folders, command }: Occasion): Promise<readonly Hook[]> {
    const found = await findHooks(host.files, directory, stage, folders);
    for (const { name, executable } of found) {
      if (!executable) off.tell(name, { hook: name, command });
    }
    return found.filter(({ executable }) => executable);
  }

  /** Why the program failed, in printable ASCII, or null. */
  async function run(hook: Hook, { environment, log: own, level }: Occasion, end: number): Promise<string | null> {
    const started = performance.now();
    const failure = hook.unfit ?? (await carryOut(hook.path, environment, end - started));
    const fields = { hook: hook.name, ranMs: Math.round(performance.now() - started) };
    if (failure === null) {
      own[level](fields, 'hook finished');
      failures.get(hook.name)?.over();
      return null;
    }
    failuresOf(hook.name).tell(printable(failure), { ...own.bindings(), ...fields });
    return printable(failure);
  }

  function failuresOf(hook: string): Repeated {
    const known = failures.get(hook);
    if (known !== undefined) return known;
    const ending = `hook ${hook} does not fail any more`;
    const added = new Repeated({ log, level: 'warn', message: 'hook failed', ending });
    failures.set(hook, added);
    return added;
  }

  async function carryOut(
    path: string,
    environment: Readonly<Record<string, string>>,
    leftMs: number,
  ): Promise<string | null> {
    if (leftMs < 1) return `the hooks before it used up ${timeoutMs / 1000} s`;
    try {
      const { code, stderr, timedOut } = await host.processes.run([path], { environment, timeout: Math.round(leftMs) });
      if (timedOut) return `it was stopped because the hooks took longer than ${timeoutMs / 1000} s`;
      return code === 0 ? null : (firstLine(stderr) ?? `it ended with ${code}`);
    } catch (error) {
      return `it cannot be run: ${describeError(error).code ?? 'the system refuses it'}`;
    }
  }
}

/** As answers have to be. */
function printable(text: string): string {
  const plain = text
    .replaceAll('"', "'")
    .replaceAll('\\', '/')
    .replace(/[^\x20-\x7e]/gu, '?');
  return plain.length > MAX_REASON ? `${plain.slice(0, MAX_REASON - 3)}...` : plain;
}
