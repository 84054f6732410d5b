/** Everything that the host published about interfaces, read and made consistent. */
import type { Nic } from '../../api/host.js';
import { parseHostJson } from '../../api/json.js';
import { broadcastOf, familyOf, networkOf } from '../address.js';
import type { InterfaceConfig } from '../plan.js';
import { readNetwork } from './networks.js';
import { readRecord } from './records.js';
import { AllDisabled, RecordError, UnknownMac, readMac } from './values.js';

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
  /** As the agent has set them; their records cannot be used now. In the order of the interfaces' names. */
  readonly leftAlone: readonly InterfaceConfig[];
  /** Names of devices whose records cannot be used, where it is not known what the agent has set, if anything. */
  readonly unknown: readonly string[];
  /** What is wrong with the records that cannot be used, a sentence each. */
  readonly errors: readonly string[];
  /** Records that switch their interface off, a sentence each. */
  readonly disabled: readonly string[];
  /** MACs of records for which there is no device, or none yet. */
  readonly missing: readonly string[];
}

/**
 * Reads the records by name. One that cannot be used is reported, does not lose the others, and does not lose its
 * interface: of what the agent has set (`configured`) only that is gone of which no record speaks, good or bad.
 * `networking` is nova's and says more: what `networks` says of the same interface does not count.
 */
export function readWanted(
  { networking, networks }: Published,
  nics: readonly Nic[],
  configured: readonly InterfaceConfig[] = [],
): Wanted {
  const good: Good = new Map();
  const unusable = new UnusableRecords(nics, configured);
  const errors: string[] = [];
  const disabled: string[] = [];
  const off = new Set<string>();
  const missing: string[] = [];
  const collect = (id: string, source: Source, read: () => InterfaceConfig | null): void => {
    try {
      const config = read();
      if (config === null) return;
      const { mac } = config.nic;
      const first = good.get(mac);
      if (first !== undefined) {
        // Which of the two the host means cannot be told, and what is there is known to work.
        if (text(first.asked) !== text(config)) unusable.contradicted(mac);
        throw new RecordError(`a second record for ${mac}`);
      }
      good.set(mac, { id, asked: config, config: checked(config, [...good.values()]) });
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
      if (error instanceof AllDisabled) {
        disabled.push(`${id}: ${error.message}`);
        off.add(error.mac);
        return;
      }
      if (error instanceof UnknownMac) missing.push(error.mac);
      errors.push(`${id}: ${error.message}`);
      unusable.add(source);
    }
  };
  for (const [id, record] of byName(networking)) {
    collect(id, { id, mac: macKey(record), text: record }, () => readRecord(record, nics));
  }
  for (const [id, values] of byName(networks)) {
    const source = { id, mac: values.get('mac'), text: [...values.values()].join('\n') };
    const spoken = (mac: string): boolean => good.has(mac) || off.has(mac) || unusable.has(mac);
    collect(`networks/${id}`, source, () => (spoken(readMac(values.get('mac'))) ? null : readNetwork(values, nics)));
  }
  for (const mac of unusable.contradictions()) good.delete(mac);
  const leftAlone = unusable.leftAlone(good, errors);
  if (leftAlone.some((config) => unusable.isUnnamed(config))) {
    errors.push('a record does not show its interface, so no interface was taken down');
  }
  const interfaces = [...good.values()].map(({ config }) => config).sort(byDevice);
  return {
    interfaces: withOneDefault(interfaces, leftAlone),
    leftAlone,
    unknown: unusable.unknown(good),
    errors,
    disabled,
    missing,
  };
}

export function byDevice(a: InterfaceConfig, b: InterfaceConfig): number {
  return compareNumbered(a.nic.name, b.nic.name);
}

/** Text by its letters, small or capital, and numbers by their value: eth2 before eth10, enp0s3 before enX0. */
function compareNumbered(a: string, b: string): number {
  const [ours, theirs] = [a, b].map((name) => name.toLowerCase().split(/(\d+)/)) as [string[], string[]];
  for (const [at, part] of ours.entries()) {
    const other = theirs[at] ?? '';
    // Every second part is digits.
    const byValue = at % 2 === 1 ? Number(part) - Number(other) : compare(part, other);
    if (byValue !== 0) return byValue;
  }
  return ours.length - theirs.length || compare(a, b);
}

function compare(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

/** Where a record stands, and what it says of its device. */
interface Source {
  readonly id: string;
  readonly mac: unknown;
  readonly text: string;
}

/** By MAC. `asked`: as the record says it; `config`: what can be had of that. */
type Good = Map<string, { readonly id: string; readonly asked: InterfaceConfig; readonly config: InterfaceConfig }>;

/** Whose the records are that cannot be used. */
class UnusableRecords {
  readonly #nics: readonly Nic[];
  readonly #configured: readonly InterfaceConfig[];
  readonly #macs = new Set<string>();
  readonly #contradicted = new Set<string>();
  /** There is a record that does not tell whose it is. */
  #anybodys = false;

  constructor(nics: readonly Nic[], configured: readonly InterfaceConfig[]) {
    this.#nics = nics.filter(({ physical }) => physical);
    this.#configured = configured;
  }

  /** Broken JSON may still hold the MAC; nova and XenAPI name the node by it. */
  add({ id, mac, text }: Source): void {
    const own = macOf(mac);
    const known = [...this.#nics, ...this.#configured.map(({ nic }) => nic)].map((nic) => nic.mac);
    const inText = [...text.matchAll(MAC)]
      .flatMap(([found]) => macOf(found) ?? [])
      .filter((one) => known.includes(one));
    const named = own === null ? [...[macOf(id)].filter((one) => one !== null), ...inText] : [own];
    for (const one of named) this.#macs.add(one);
    this.#anybodys ||= named.length === 0;
  }

  has(mac: string): boolean {
    return this.#macs.has(mac);
  }

  /** Two records say different things of an interface that the agent has set. */
  contradicted(mac: string): void {
    if (this.#configured.some(({ nic }) => nic.mac === mac)) this.#contradicted.add(mac);
  }

  contradictions(): ReadonlySet<string> {
    return this.#contradicted;
  }

  isUnnamed({ nic: { mac } }: InterfaceConfig): boolean {
    return !this.#macs.has(mac) && !this.#contradicted.has(mac);
  }

  /** Takes those out of `good` that want what an interface has that is left alone, and tells `errors`. */
  leftAlone(good: Good, errors: string[]): readonly InterfaceConfig[] {
    for (;;) {
      const left = this.#configured
        .filter(({ nic: { mac } }) => !good.has(mac) && (this.#anybodys || this.#macs.has(mac)))
        // The name is another device's now, and its files with it.
        .filter(({ nic: { name } }) => ![...good.values()].some(({ config }) => config.nic.name === name))
        .map((config) => ({ ...config, nic: this.#now(config.nic) }))
        .sort(byDevice);
      const clash = [...good].flatMap(([mac, { id, config }]) => {
        const shared = sharedAddress(config, left);
        return shared === null
          ? []
          : [{ mac, error: `${id}: ${shared.address} belongs to ${shared.mac}, which is left alone` }];
      })[0];
      if (clash === undefined) return left;
      good.delete(clash.mac);
      this.#macs.add(clash.mac);
      errors.push(clash.error);
    }
  }

  unknown(good: Good): readonly string[] {
    return this.#nics
      .filter(({ mac }) => !good.has(mac) && !this.#configured.some(({ nic }) => nic.mac === mac))
      .filter(({ mac }) => this.#anybodys || this.#macs.has(mac))
      .map(({ name }) => name);
  }

  /** A device that is gone has no number. */
  #now(nic: Nic): Nic {
    return this.#nics.find(({ mac }) => mac === nic.mac) ?? { ...nic, index: 0, up: false, master: null };
  }
}

/** In a text; as nova writes it or without its colons. */
const MAC = /(?<![0-9a-f:-])[0-9a-f]{2}(?:[:-]?[0-9a-f]{2}){5}(?![0-9a-f:-])/gi;

function macOf(value: unknown): string | null {
  try {
    return readMac(value);
  } catch {
    return null;
  }
}

function macKey(record: string): unknown {
  try {
    return (parseHostJson(record) as { readonly mac?: unknown } | null)?.mac;
  } catch {
    return undefined;
  }
}

/** What a record asks for; a label is a remark. */
function text(config: InterfaceConfig): string {
  return JSON.stringify({ ...config, label: null });
}

function sharedAddress(
  config: InterfaceConfig,
  others: readonly InterfaceConfig[],
): { readonly address: string; readonly mac: string } | null {
  const own = [...config.ipv4, ...config.ipv6].map(({ address }) => address);
  for (const other of others) {
    const twice = [...other.ipv4, ...other.ipv6].find(({ address }) => own.includes(address));
    if (twice !== undefined) return { address: twice.address, mac: other.nic.mac };
  }
  return null;
}

function byName<T>(map: ReadonlyMap<string, T>): readonly (readonly [string, T])[] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

/**
 * Throws for what no network could work with. Gateways and routes of a family of which every address is disabled are
 * left out: they could not be reached.
 */
function checked(config: InterfaceConfig, good: readonly { readonly config: InterfaceConfig }[]): InterfaceConfig {
  const own = [...config.ipv4, ...config.ipv6].map(({ address }) => address);
  for (const gateway of [config.gateway4, config.gateway6]) {
    if (gateway === null) continue;
    if (own.includes(gateway)) throw new RecordError(`${gateway} is its own gateway`);
    const subnet = config.ipv4.find((one) => one.prefix < 31 && [networkOf(one), broadcastOf(one)].includes(gateway));
    if (subnet !== undefined) {
      throw new RecordError(
        `${gateway} cannot be a gateway: it is the first or last address of ${networkOf(subnet)}/${subnet.prefix}`,
      );
    }
  }
  for (const [index, route] of config.routes.entries()) {
    const { prefix, gateway, metric } = route;
    const network = networkOf(route);
    const same = config.routes.slice(0, index).find((one) => {
      const isSame = networkOf(one) === network && one.prefix === prefix && one.metric === metric;
      return isSame && one.gateway !== gateway;
    });
    // IPv6 uses both.
    if (same === undefined || familyOf(network) === 6) continue;
    const ways = [same.gateway, gateway].map((one) => one ?? 'the link').join(' and ');
    throw new RecordError(
      `the route to ${network}/${prefix} has two gateways, ${ways}, and no metrics that tell which`,
    );
  }
  const shared = sharedAddress(
    config,
    good.map((other) => other.config),
  );
  if (shared !== null) throw new RecordError(`${shared.address} belongs to ${shared.mac} already`);
  const has4 = config.ipv4.length > 0 || config.dhcp4;
  const has6 = config.ipv6.length > 0 || config.auto6 !== null;
  return {
    ...config,
    gateway4: has4 ? config.gateway4 : null,
    gateway6: has6 ? config.gateway6 : null,
    routes: config.routes.filter(({ address }) => (familyOf(address) === 4 ? has4 : has6)),
  };
}

/**
 * Two default routes of one family would fight: an interface that is left alone keeps the one that it has, or else the
 * public interface has it, or else the first one with a gateway.
 */
function withOneDefault(
  interfaces: readonly InterfaceConfig[],
  leftAlone: readonly InterfaceConfig[],
): readonly InterfaceConfig[] {
  const chosen = (has: (config: InterfaceConfig) => boolean): InterfaceConfig | undefined => {
    const able = interfaces.filter(has);
    return leftAlone.some(has) ? undefined : (able.find(({ label }) => label?.toLowerCase() === 'public') ?? able[0]);
  };
  const first4 = chosen(({ gateway4 }) => gateway4 !== null);
  const first6 = chosen(({ gateway6 }) => gateway6 !== null);
  return interfaces.map((config) => ({
    ...config,
    gateway4: config === first4 ? config.gateway4 : null,
    gateway6: config === first6 ? config.gateway6 : null,
  }));
}
