/** Whether the system can start a program: what its first bytes say, and whether what they name is there. */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { SEARCH_PATH } from './processes.js';

/** As much as the kernel reads of a first line, execve(2). */
export const HEAD_BYTES = 256;
const ENV = /(?:^|\/)env$/;

/**
 * Why a file that begins with `bytes`, its first {@link HEAD_BYTES}, cannot be run, or null. The C library gives what begins neither as a script nor as a program to a shell,
 * which nobody has asked for. `isLive`: the interpreter has to be on this machine.
 */
export async function whyNotRunnable(bytes: Uint8Array, isLive: boolean): Promise<string | null> {
  const head = Buffer.from(bytes).toString('latin1');
  if (head.startsWith('\x7fELF')) return null;
  if (!head.startsWith('#!')) return 'neither begins with #! nor is a program (ELF)';
  const [line = ''] = head.slice(2).split('\n');
  if (line.endsWith('\r')) return 'its first line ends with a carriage return: wanted line feeds alone (dos2unix)';
  const [interpreter = '', ...rest] = line.trim().split(/[ \t]+/);
  if (interpreter === '') return 'its first line names no interpreter: wanted one such as #!/bin/sh';
  if (!isLive) return null;
  if (!(await isExecutable(join('/', interpreter))))
    return `its interpreter ${interpreter} is not there or not executable`;
  const program = ENV.test(interpreter) ? rest.find((word) => !word.startsWith('-') && !word.includes('=')) : undefined;
  if (program === undefined || (await isFound(program))) return null;
  return `its interpreter ${program} is in none of the directories ${SEARCH_PATH}`;
}

async function isFound(program: string): Promise<boolean> {
  if (program.includes('/')) return isExecutable(join('/', program));
  for (const directory of SEARCH_PATH.split(':')) if (await isExecutable(join(directory, program))) return true;
  return false;
}

function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
