import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FileLock } from '#binding';
import { AgentError } from '../../api/index.js';
import { codeOf } from '../../api/errors.js';
import { makeDirectories } from './make-directories.js';

const NAME = 'agent.lock';
/** An agent that is stopped may take a moment to be gone when the next one starts. Milliseconds. */
const PATIENCE = 5000;

/** Until this process ends or becomes another program: a lock that is collected as garbage is released. */
const held: FileLock[] = [];

/**
 * Makes this process the one agent that serves with `directory`. Throws AgentError GW_STATE_IN_USE when another does.
 * Rejects with the system's error when nobody can tell, as on a full disk.
 */
export async function becomeSoleAgent(directory: string): Promise<void> {
  const path = join(directory, NAME);
  await makeDirectories(directory, 0o700);
  try {
    held.push(await FileLock.acquire(path, PATIENCE));
  } catch (cause) {
    if (codeOf(cause) !== 'LOCK_TIMEOUT') throw cause;
    const pid = (await readFile(path, 'utf8').catch(() => '')).trim();
    const holder = /^\d+$/.test(pid) ? `another guestwire, process ${pid},` : 'another guestwire';
    throw new AgentError('GW_STATE_IN_USE', [directory, holder], { cause });
  }
  // Only for the message above: what holds is the lock.
  await writeFile(path, `${process.pid}\n`).catch(() => undefined);
}
