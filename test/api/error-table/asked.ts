/** What most entries do. */
import type { Told } from './entry.js';
import type { Guest } from './guest.js';

export const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** Starts the agent and sends a request. */
export function asked(name: string, value: unknown = ''): (guest: Guest) => Promise<Told> {
  return async (guest) => {
    await guest.start();
    return guest.request(name, value);
  };
}
