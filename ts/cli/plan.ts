import { resolve } from 'node:path';
import { createTwoFilesPatch } from 'diff';
import type { FileChange, Store } from '../api/host.js';
import { DEFAULTS } from '../daemon/config.js';
import { openHost } from '../host/host.js';
import { readLocalFile } from '../host/scratch.js';
import { createStoreAccess } from '../host/store.js';
import { decide } from '../network/decide.js';
import { gather } from '../network/gather.js';
import type { Action } from '../network/plan.js';
import { RENDERERS } from '../network/renderers/index.js';
import { UsageError, domainId, print, subcommand } from './command-line.js';

export const plan = subcommand({
  synopsis: ['plan network [--store PATH] [--domain N] [--root DIR]', 'plan network --facts FILE [--root DIR]'],
  description:
    'Prints what resetnetwork would do with what the host published: the files as a unified diff, then the programs ' +
    'in order. Changes nothing. FILE is JSON instead of a XenStore: {"networking": {"<id>": {record}}, "hostname": "name"}.',
  options: {
    facts: { type: 'string', argument: 'FILE', help: 'take what the host wants from this file' },
    root: { type: 'string', argument: 'DIR', help: 'plan for this copy of a system' },
    store: { type: 'string', argument: 'PATH', help: "xenstored's socket, or a device" },
    domain: { type: 'string', argument: 'N', help: "take every node under /local/domain/N, for dom0's socket" },
  },
  async main(values, [subject, ...more]) {
    if (subject !== 'network' || more.length > 0) {
      throw new UsageError(`plan: expected 'network', got '${[subject ?? '', ...more].join(' ')}'`);
    }
    const { store, close } =
      values.facts === undefined
        ? openXenStore(values.store ?? null, values.domain === undefined ? null : domainId(values.domain))
        : { store: await readFacts(values.facts), close: (): void => undefined };
    try {
      const root = resolve(values.root ?? '/');
      const host = openHost({
        root,
        stateDirectory: resolve(root, `.${DEFAULTS.state.directory}`),
        live: values.root === undefined,
        store,
      });
      const { facts, recordErrors } = await gather(host, RENDERERS);
      const { renderer, before, files, after } = decide(facts, RENDERERS);
      print(`# ${renderer}`);
      for (const error of recordErrors) print(`# left alone: ${error}`);
      for (const action of before) print(`run: ${describe(action)}`);
      for (const change of files) print(difference(change, facts.files));
      for (const action of after) print(`run: ${describe(action)}`);
      return recordErrors.length === 0 ? 0 : 1;
    } finally {
      close();
    }
  },
});

function openXenStore(endpoint: string | null, domain: number | null): { store: Store; close: () => void } {
  const access = createStoreAccess({ endpoint, domain, poll: 'loop' });
  const connection = access.open(() => undefined);
  return {
    store: access.store,
    close: () => {
      connection[Symbol.dispose]();
    },
  };
}

async function readFacts(path: string): Promise<Store> {
  const facts = JSON.parse((await readLocalFile(path)).toString('utf8')) as {
    networking?: Record<string, unknown>;
    hostname?: string;
  };
  const records = facts.networking ?? {};
  return {
    read: (node) => {
      if (node === 'vm-data/hostname') return Promise.resolve(facts.hostname ?? null);
      const record = records[node.slice(node.lastIndexOf('/') + 1)];
      return Promise.resolve(record === undefined ? null : JSON.stringify(record));
    },
    list: () => Promise.resolve(Object.keys(records)),
  };
}

function difference(change: FileChange, files: ReadonlyMap<string, string>): string {
  const { path } = change;
  const text = change.type === 'write' ? Buffer.from(change.content).toString('utf8') : '';
  const old = files.get(path);
  return createTwoFilesPatch(old === undefined ? '/dev/null' : path, path, old ?? '', text)
    .split('\n')
    .slice(1, -1)
    .join('\n');
}

function describe(action: Action): string {
  return action.type === 'set-hostname' ? `sethostname ${action.hostname}` : action.argv.join(' ');
}
