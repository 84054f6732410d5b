import type { Store } from '../../api/host.js';

/** A store in memory, of the nodes in `nodes`, which may change. */
export function storeOfNodes(nodes: ReadonlyMap<string, string>): Store {
  return {
    read: (path) => Promise.resolve(nodes.get(path) ?? null),
    list: (path) => {
      const below = [...nodes.keys()].filter((node) => node.startsWith(`${path}/`));
      return Promise.resolve([...new Set(below.map((node) => node.slice(path.length + 1).split('/', 1)[0] ?? ''))]);
    },
  };
}
