/** All that ts/host/index.ts gives on Linux. */
export { EmbeddedStore } from '../unix/embedded-store.js';
export { findPlugins, findScripts } from '../unix/extensions.js';
export { HEAD_BYTES, whyNotRunnable } from '../unix/interpreter.js';
export { distrustDirectory } from '../unix/unshared.js';
export { createEndpoints } from './endpoints.js';
export { createHost, openHost, openUpdates } from './host.js';
export { notifyServiceManager } from './service-manager.js';

/** See ts/host/unix/launcher-server.ts; loaded at its first use, because the agent itself has none. */
export async function serveLauncher(): Promise<void> {
  const server = await import('../unix/launcher-server.js');
  return server.serveLauncher();
}
