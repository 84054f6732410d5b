/**
 * The machine, by the system that runs here. What is the same on every system is in `shared`, what Unix systems have in
 * common in `unix`, and a folder of its name is for what one system alone has; others see of these only what is here.
 */
import { AgentError } from '../api/errors.js';
import type * as linux from './linux/index.js';

export type { Found, FoundPlugin, FoundScript, Problem } from './unix/extensions.js';

/** What each system gives. */
export type System = typeof linux;

/** By Node's names of the systems (`process.platform`). */
const SYSTEMS: Readonly<Record<string, () => Promise<System>>> = {
  linux: () => import('./linux/index.js'),
};

/** Throws AgentError GW_SYSTEM_UNSUPPORTED. */
export async function systemOf(platform: string): Promise<System> {
  const load = Object.hasOwn(SYSTEMS, platform) ? SYSTEMS[platform] : undefined;
  if (load === undefined) throw new AgentError('GW_SYSTEM_UNSUPPORTED', [Object.keys(SYSTEMS).join(', '), platform]);
  return load();
}

export const {
  EmbeddedStore,
  HEAD_BYTES,
  createEndpoints,
  createHost,
  distrustDirectory,
  findPlugins,
  findScripts,
  notifyServiceManager,
  openHost,
  openUpdates,
  serveLauncher,
  whyNotRunnable,
} = await systemOf(process.platform);
