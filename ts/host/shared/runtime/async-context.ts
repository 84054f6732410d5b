/** What is known to everything that a call starts, however long after. */
export { AsyncLocalStorage } from 'node:async_hooks';
