/**
 * What the agent has set and found good, remembered in its state directory: an interface whose record cannot be read any
 * more is left as it is, and stays in the files that all interfaces share.
 */
import type { Host } from '../api/host.js';
import type { InterfaceConfig } from './plan.js';

const CONFIGURED = 'configured.json';

/** Empty when nothing is known, as after an update from a version that remembered nothing. */
export async function readConfigured({ state }: Host): Promise<readonly InterfaceConfig[]> {
  const text = await state.read(CONFIGURED);
  if (text === null) return [];
  try {
    return JSON.parse(text) as readonly InterfaceConfig[];
  } catch {
    return [];
  }
}

/**
 * Does `work`, which makes the machine what `interfaces` say, and remembers them when it is done; what was known before
 * counts on when it fails. A crash in between forgets both: to know nothing is safe, to know the wrong thing is not.
 */
export async function remembering<T>(
  { state }: Host,
  interfaces: readonly InterfaceConfig[],
  work: () => Promise<T>,
): Promise<T> {
  const text = JSON.stringify(interfaces);
  const old = await state.read(CONFIGURED);
  if (text === old) return work();
  await state.remove(CONFIGURED);
  try {
    const result = await work();
    await state.write(CONFIGURED, text);
    return result;
  } catch (error) {
    if (old !== null) await state.write(CONFIGURED, old);
    throw error;
  }
}
