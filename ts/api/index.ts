/** All that a plugin may import. */
export * from './command.js';
export * from './communication.js';
export * from './endpoints.js';
export * from './errors.js';
export * from './host.js';
export * from './json.js';
export * from './log.js';
export * from './platform.js';
export * from './plugin.js';
export * from './report.js';
export * from './secret.js';
export * from './settings.js';
