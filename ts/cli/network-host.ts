/** The machine for `plan`, `apply` and `doctor`, with what a host wants of it from XenStore or from a file. */
import type { Host, Nic, Store } from '../api/host.js';
import { type Config, type LoadedConfig, loadConfig } from '../daemon/config.js';
import { openHost } from '../host/index.js';
import { storeOfNodes } from '../host/shared/memory-store.js';
import { readLocalFile } from '../host/shared/local-file.js';
import { openStore, storeBy } from '../host/shared/store.js';
import { readConfigFiles } from '../host/shared/system.js';
import { UsageError, domainId } from './command-line.js';
import { stateDirectory, systemRoot } from './system-root.js';

export const NETWORK_OPTIONS = {
  facts: { type: 'string', argument: 'FILE', help: 'read what the host wants from this file, not from XenStore' },
  root: { type: 'string', argument: 'DIR', help: 'work on this copy of a system, and run nothing' },
  store: { type: 'string', argument: 'PATH', help: "xenstored's socket, or a device" },
  domain: { type: 'string', argument: 'N', help: "take every node under /local/domain/N, for dom0's socket" },
} as const;

export const FACTS_FORM =
  'FILE is JSON: {"networking": {"ID": {record}}, "networks": {"ID": {key: text}}, "hostname": "name", ' +
  '"nics": [{"name": "eth0", "mac": "..."}]}, every key optional; nics are the devices of a system that is not running.';

export interface NetworkHostOptions {
  readonly facts: string | undefined;
  readonly root: string | undefined;
  readonly store: string | undefined;
  readonly domain: string | undefined;
  /** The only configuration file to read; the system's own when absent. */
  readonly config?: string | undefined;
}

export interface NetworkHost extends Disposable {
  readonly host: Host;
  readonly loaded: LoadedConfig;
}

/** Throws what opening the store throws, unless `withoutStore` is given, which then takes it and goes on with nothing. */
export async function openNetworkHost(
  values: NetworkHostOptions,
  withoutStore?: (error: unknown) => void,
): Promise<NetworkHost> {
  const root = systemRoot(values.root);
  const live = values.root === undefined;
  const facts = values.facts === undefined ? null : await readFacts(values.facts);
  const loaded = await loadConfig(await readConfigFiles(root, values.config ?? null));
  const { config } = loaded;
  const { store, close } =
    facts === null
      ? openXenStore(values, live ? config.xenstore : null, withoutStore)
      : { store: storeOf(facts), close: nothing };
  const host = openHost({
    root,
    stateDirectory: await stateDirectory(root, loaded, live),
    live,
    store,
    backups: config.files.backups,
  });
  const nics = facts?.nics?.map(completed);
  return {
    host: nics === undefined ? host : { ...host, network: { ...host.network, nics: () => Promise.resolve(nics) } },
    loaded,
    [Symbol.dispose]: close,
  };
}

/** `settings`: those of the system itself; null on a copy, whose store is another one. */
function openXenStore(
  { store, domain }: NetworkHostOptions,
  settings: Config['xenstore'] | null,
  withoutStore: ((error: unknown) => void) | undefined,
): { store: Store; close: () => void } {
  const options = {
    endpoint: store ?? settings?.endpoint ?? null,
    domain: domain === undefined ? (settings?.domain ?? null) : domainId(domain),
    poll: 'loop',
  } as const;
  try {
    const connection = openStore(options, () => undefined);
    return {
      store: storeBy((operation) => operation(connection)),
      close: () => {
        connection[Symbol.dispose]();
      },
    };
  } catch (error) {
    if (withoutStore === undefined) throw error;
    withoutStore(error);
    return { store: storeOf({}), close: nothing };
  }
}

function nothing(): void {
  // A file is closed already.
}

interface Facts {
  readonly networking?: Readonly<Record<string, unknown>>;
  readonly networks?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly hostname?: string;
  readonly nics?: readonly (Partial<Nic> & Pick<Nic, 'name' | 'mac'>)[];
}

async function readFacts(path: string): Promise<Facts> {
  const text = (await readLocalFile(path)).toString('utf8');
  let facts: unknown;
  try {
    facts = JSON.parse(text);
  } catch (cause) {
    throw new UsageError(`--facts: ${path} is not JSON: ${(cause as Error).message}`, { cause });
  }
  const isRecord = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);
  const { networking = {}, networks = {}, hostname = '', nics = [] } = (isRecord(facts) ? facts : {}) as Facts;
  const whole =
    isRecord(facts) &&
    isRecord(networking) &&
    isRecord(networks) &&
    Object.values(networks).every(isRecord) &&
    typeof hostname === 'string' &&
    Array.isArray(nics) &&
    nics.every(({ name, mac }) => typeof name === 'string' && typeof mac === 'string');
  if (!whole) throw new UsageError(`--facts: ${path} does not have the form that --help describes`);
  const read = facts as Facts;
  onlyKnown(path, read, FACTS_KEYS);
  for (const nic of read.nics ?? []) onlyKnown(path, nic, NIC_KEYS);
  return read;
}

const FACTS_KEYS = ['networking', 'networks', 'hostname', 'nics'] satisfies readonly (keyof Facts)[];
const NIC_KEYS = [
  'name',
  'mac',
  'index',
  'permanentMac',
  'driver',
  'kind',
  'master',
  'up',
  'mtu',
  'physical',
] satisfies readonly (keyof Nic)[];

/** A key that was mistyped would be a fact that is missing. */
function onlyKnown(path: string, found: object, known: readonly string[]): void {
  const unknown = Object.keys(found).find((key) => !known.includes(key));
  if (unknown === undefined) return;
  throw new UsageError(`--facts: ${path}: unknown key '${unknown}'; wanted some of ${known.join(', ')}`);
}

/** What a guest would find in XenStore. */
function storeOf({ networking = {}, networks = {}, hostname }: Facts): Store {
  const nodes = new Map<string, string>();
  if (hostname !== undefined) nodes.set('vm-data/hostname', hostname);
  for (const [id, record] of Object.entries(networking)) nodes.set(`vm-data/networking/${id}`, JSON.stringify(record));
  for (const [id, values] of Object.entries(networks)) {
    for (const [key, value] of Object.entries(values)) nodes.set(`vm-data/networks/${id}/${key}`, String(value));
  }
  return storeOfNodes(nodes);
}

function completed(given: Partial<Nic> & Pick<Nic, 'name' | 'mac'>): Nic {
  return {
    index: 0,
    permanentMac: null,
    driver: null,
    kind: null,
    master: null,
    up: false,
    mtu: 1500,
    physical: true,
    ...given,
    mac: given.mac.toLowerCase(),
  };
}
