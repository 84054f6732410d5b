import type { Store } from '../api/host.js';
import { storeOfNodes } from '../host/shared/memory-store.js';

/** What the host published, such as `{ 'vm-data/hostname': 'web1' }`. A fake host has one of its own: `fakeHost`. */
export function memoryStore(nodes: Readonly<Record<string, string>>): Store {
  return storeOfNodes(new Map(Object.entries(nodes)));
}
