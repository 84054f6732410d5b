/** How this process ends. With code of others in it that is the agent's decision alone. */
import * as nodeModule from 'node:module';

let giveBack = (): void => undefined;

/** Ends the process with this status, whatever {@link refuseToEnd} keeps others from. */
export function endProcess(status: number): never {
  giveBack();
  process.exit(status);
}

/** Signals to this process itself that end nothing: the question whether it is there, and the wish to reload. */
const HARMLESS: readonly unknown[] = [0, 'SIGHUP'];

/**
 * From now on nothing but {@link endProcess} ends the process from inside: `attempted` is called in its place, with the
 * call that was made, and throws, because nobody who ends the process expects what comes after. What another process or
 * native code does cannot be kept off.
 */
export function refuseToEnd(attempted: (call: string) => never): void {
  const refusing =
    (name: string) =>
    (status?: unknown): never =>
      attempted(`process.${name}(${shown(status)})`);
  const kill = process.kill.bind(process);
  const undo = [
    replace('exit', refusing('exit')),
    replace('reallyExit', refusing('reallyExit')),
    replace('abort', () => attempted('process.abort()')),
    replace('execve', () => attempted('process.execve()')),
    replace('kill', (pid: number, signal: NodeJS.Signals | number = 'SIGTERM'): true => {
      if (!isSelf(pid) || HARMLESS.includes(signal)) return kill(pid, signal);
      return attempted(`process.kill(${shown(signal)})`);
    }),
  ];
  giveBack = () => {
    for (const one of undo) one();
  };
  // For `import { exit } from 'node:process'`.
  nodeModule.syncBuiltinESMExports();
}

/** Puts a function in the place of another of `process`, where this version of Node has it; gives what undoes that. */
function replace(name: string, by: (...args: never[]) => unknown): () => void {
  const before: unknown = Reflect.get(process, name);
  if (typeof before !== 'function') return () => undefined;
  Reflect.set(process, name, by);
  return () => void Reflect.set(process, name, before);
}

/** Of kill(2): 0 is the own process group, and -1 all that there is. */
function isSelf(pid: unknown): boolean {
  return [process.pid, -process.pid, 0, -1].includes(Number(pid));
}

/** A status or signal; anything else may be text that nobody should read. */
function shown(value: unknown): string {
  if (value === undefined || value === null) return '';
  if (typeof value !== 'string' && typeof value !== 'number') return '...';
  return /^(?:\d{1,3}|SIG[A-Z0-9]{1,8})$/.test(`${value}`) ? `${value}` : '...';
}
