/** Everything that the host published about interfaces, read and made consistent. */
import type { Nic } from '../api/host.js';
import { familyOf } from './address.js';
import type { InterfaceConfig } from './plan.js';
import { readNetwork } from './networks.js';
import { readRecord } from './records.js';
import { RecordError, UnknownMac, readMac } from './values.js';

/** As the host wrote it. */
export interface Published {
  /** Children of `vm-data/networking`: a JSON object each. */
  readonly networking: ReadonlyMap<string, string>;
  /** Children of `vm-data/networks`, with the values of each. */
  readonly networks: ReadonlyMap<string, ReadonlyMap<string, string>>;
}

export interface Wanted {
  /** The good ones, in the order of the interfaces' names. */
  readonly interfaces: readonly InterfaceConfig[];
  /** What is wrong with the others, a sentence each. */
  readonly errors: readonly string[];
  /** MACs of records for which there is no device, or none yet. */
  readonly missing: readonly string[];
}

/**
 * Reads the records by name. One that cannot be used is reported and does not lose the others. `networking` is nova's
 * and says more: what `networks` says of the same interface does not count.
 */
export function readWanted({ networking, networks }: Published, nics: readonly Nic[]): Wanted {
  const interfaces: InterfaceConfig[] = [];
  const errors: string[] = [];
  const missing: string[] = [];
  const collect = (id: string, read: () => InterfaceConfig | null): void => {
    try {
      const config = read();
      if (config === null) return;
      if (interfaces.some(({ nic }) => nic.name === config.nic.name)) {
        throw new RecordError(`a second record for ${config.nic.mac}`);
      }
      interfaces.push(checked(config, interfaces));
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
      if (error instanceof UnknownMac) missing.push(error.mac);
      errors.push(`${id}: ${error.message}`);
    }
  };
  for (const [id, text] of byName(networking)) collect(id, () => readRecord(text, nics));
  for (const [id, values] of byName(networks)) {
    collect(`networks/${id}`, () => (isConfigured(values, interfaces) ? null : readNetwork(values, nics)));
  }
  interfaces.sort((a, b) => a.nic.name.localeCompare(b.nic.name, 'en', { numeric: true }));
  return { interfaces: withOneDefault(interfaces), errors, missing };
}

/** Whether a record of the other form has spoken of this interface. */
function isConfigured(values: ReadonlyMap<string, string>, interfaces: readonly InterfaceConfig[]): boolean {
  const mac = readMac(values.get('mac'));
  return interfaces.some(({ nic }) => nic.mac === mac);
}

function byName<T>(map: ReadonlyMap<string, T>): readonly (readonly [string, T])[] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

/**
 * Throws for what no network could work with. Gateways and routes of a family of which every address is disabled are
 * left out: they could not be reached.
 */
function checked(config: InterfaceConfig, others: readonly InterfaceConfig[]): InterfaceConfig {
  const own = [...config.ipv4, ...config.ipv6].map(({ address }) => address);
  for (const gateway of [config.gateway4, config.gateway6]) {
    if (gateway !== null && own.includes(gateway)) throw new RecordError(`${gateway} is its own gateway`);
  }
  for (const other of others) {
    const twice = [...other.ipv4, ...other.ipv6].find(({ address }) => own.includes(address));
    if (twice !== undefined) throw new RecordError(`${twice.address} belongs to ${other.nic.mac} already`);
  }
  const has4 = config.ipv4.length > 0 || config.dhcp4;
  const has6 = config.ipv6.length > 0 || config.auto6 !== null;
  return {
    ...config,
    gateway4: has4 ? config.gateway4 : null,
    gateway6: has6 ? config.gateway6 : null,
    routes: config.routes.filter(({ address }) => (familyOf(address) === 4 ? has4 : has6)),
  };
}

/** Two default routes of one family would fight: the public interface has it, or else the first one with a gateway. */
function withOneDefault(interfaces: readonly InterfaceConfig[]): readonly InterfaceConfig[] {
  const chosen = (has: (config: InterfaceConfig) => boolean): InterfaceConfig | undefined => {
    const able = interfaces.filter(has);
    return able.find(({ label }) => label?.toLowerCase() === 'public') ?? able[0];
  };
  const first4 = chosen(({ gateway4 }) => gateway4 !== null);
  const first6 = chosen(({ gateway6 }) => gateway6 !== null);
  return interfaces.map((config) => ({
    ...config,
    gateway4: config === first4 ? config.gateway4 : null,
    gateway6: config === first6 ? config.gateway6 : null,
  }));
}
