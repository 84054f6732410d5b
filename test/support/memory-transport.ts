export { MemoryTransport } from '../../ts/testing/memory-transport.js';
