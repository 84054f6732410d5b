/** What the author of a plugin tests it with: `guestwire/testing`. Nothing of it touches the machine. */
export { type FakeHost, type FakeHostOptions, type Program, type Run, fakeHost } from './fake-host.js';
export { type FakeWire, type FakeWireOptions, type LoggedLine, fakeWire } from './fake-wire.js';
export { type MemoryFile, type MemoryFiles, memoryFiles } from './memory-files.js';
export { memoryStore } from './memory-store.js';
