import type { Log } from '../api/log.js';

/** The answer, and the line in the log, of a password that is set; `obstacles` keep the user from logging in. */
export function passwordSet(log: Log, user: string, obstacles: readonly string[]): string {
  if (obstacles.length === 0) {
    log.info({ user }, 'password set');
    return '';
  }
  const but = `the password is set, but ${obstacles.join(', and ')}`;
  log.warn({ user }, but);
  return but;
}
