/**
 * What nova and its relatives publish under `vm-data/networking`: one JSON object an interface. Read as
 * docs/protocol.md says, `resetnetwork`.
 */
import { parseHostJson } from '../api/json.js';
import type { Nic } from '../api/host.js';
import { type Address, type Family, familyOf, parseAddress, parsePrefix } from './address.js';
import type { InterfaceConfig, Route } from './plan.js';

export interface Records {
  /** The good ones, in the order of the interfaces' names. */
  readonly interfaces: readonly InterfaceConfig[];
  /** What is wrong with the others, a sentence each. */
  readonly errors: readonly string[];
}

/** Why a record cannot be used; becomes part of the answer. */
class RecordError extends Error {}

type Fields = Readonly<Record<string, unknown>>;

/** Reads the records by name. One that cannot be used is reported and does not lose the others. */
export function readRecords(records: ReadonlyMap<string, string>, nics: readonly Nic[]): Records {
  const interfaces: InterfaceConfig[] = [];
  const errors: string[] = [];
  for (const [id, text] of [...records].sort(([a], [b]) => (a < b ? -1 : 1))) {
    try {
      const config = readRecord(text, nics);
      if (interfaces.some(({ nic }) => nic.name === config.nic.name)) {
        throw new RecordError(`a second record for ${config.nic.mac}`);
      }
      interfaces.push(config);
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
      errors.push(`${id}: ${error.message}`);
    }
  }
  interfaces.sort((a, b) => a.nic.name.localeCompare(b.nic.name, 'en', { numeric: true }));
  return { interfaces: withOneDefault(interfaces), errors };
}

function readRecord(text: string, nics: readonly Nic[]): InterfaceConfig {
  const record = fields(parse(text), 'the record');
  const nic = findNic(record['mac'], nics);
  const v4 = readAddresses(record['ips'], 4);
  const v6 = readAddresses(record['ip6s'], 6);
  if (v4 === null && v6 === null) throw new RecordError("No IPs found for interface: expected 'ips' or 'ip6s'");
  const [ipv4, ipv6] = [v4?.addresses ?? [], v6?.addresses ?? []];
  // A record that leaves nothing would take the interface off the network.
  if (ipv4.length + ipv6.length === 0) throw new RecordError('all its addresses are disabled');
  const routes = list(record['routes'], 'routes').map(readRoute);
  // A default route among the routes says the same as a gateway key.
  const defaultVia = (family: Family): string | null =>
    routes.find(({ address, prefix }) => prefix === 0 && familyOf(address) === family)?.gateway ?? null;
  const label = record['label'];
  return {
    nic,
    label: typeof label === 'string' && label !== '' ? label : null,
    ipv4,
    ipv6,
    gateway4: readGateway(record['gateway'], 4, 'gateway') ?? v4?.gateway ?? defaultVia(4),
    gateway6:
      readGateway(record['gateway_v6'], 6, 'gateway_v6') ??
      readGateway(record['gateway6'], 6, 'gateway6') ??
      v6?.gateway ??
      defaultVia(6),
    routes: routes.filter(({ prefix }) => prefix !== 0),
    dns: readDns(record['dns']),
  };
}

function parse(text: string): unknown {
  try {
    return parseHostJson(text);
  } catch {
    throw new RecordError('not JSON');
  }
}

function fields(value: unknown, what: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new RecordError(`${what}: expected an object, got ${show(value)}`);
  }
  return value as Fields;
}

function list(value: unknown, key: string): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new RecordError(`'${key}': expected a list, got ${show(value)}`);
  return value;
}

/** The real device: a VLAN, bridge or bond shows the MAC of the VIF below it. */
function findNic(value: unknown, nics: readonly Nic[]): Nic {
  if (value === undefined) throw new RecordError('No MAC found in config');
  const mac = typeof value === 'string' ? value.trim().toLowerCase().replaceAll('-', ':') : '';
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac)) {
    throw new RecordError(`'mac': expected six pairs of hex digits, got ${show(value)}`);
  }
  const same = nics.filter((nic) => nic.mac === mac);
  const nic = same.find(({ physical }) => physical);
  if (nic === undefined) throw new RecordError(`Unknown interface MAC ${mac}`);
  return nic;
}

function readAddresses(
  value: unknown,
  family: Family,
): { addresses: readonly Address[]; gateway: string | null } | null {
  if (value === undefined || value === null) return null;
  const addresses: Address[] = [];
  let gateway: string | null = null;
  for (const entry of list(value, family === 4 ? 'ips' : 'ip6s')) {
    const record = fields(entry, `an IPv${family} address`);
    if (!isEnabled(record['enabled'])) continue;
    const text = record['ip'] ?? record['address'];
    if (text === undefined) throw new RecordError(`Missing 'ip' key for IPv${family} address`);
    const address = parseAddress(text);
    if (address === null || familyOf(address) !== family) {
      throw new RecordError(`'ip': expected an IPv${family} address, got ${show(text)}`);
    }
    const prefix = readPrefix(record, family, `IPv${family} address`);
    if (!addresses.some((other) => other.address === address)) addresses.push({ address, prefix });
    gateway ??= readGateway(record['gateway'], family, 'gateway');
  }
  return { addresses, gateway };
}

/** Absent counts as enabled: whoever lists an address wants it. */
function isEnabled(value: unknown): boolean {
  if (value === undefined || value === '1' || value === 1 || value === true) return true;
  if (value === '0' || value === 0 || value === false) return false;
  throw new RecordError(`Invalid value ${show(value)} for 'enabled' key: expected 1 or 0`);
}

function readPrefix(record: Fields, family: Family, what: string): number {
  const netmask = record['netmask'];
  if (netmask === undefined) throw new RecordError(`Missing 'netmask' key for ${what}`);
  const prefix = parsePrefix(netmask, family);
  if (prefix === null) {
    throw new RecordError(`'netmask': expected a mask of IPv${family} or a prefix length, got ${show(netmask)}`);
  }
  return prefix;
}

function readGateway(value: unknown, family: Family, key: string): string | null {
  if (value === undefined || value === null || value === '') return null;
  const gateway = parseAddress(value);
  if (gateway === null || familyOf(gateway) !== family) {
    throw new RecordError(`'${key}': expected an IPv${family} address, got ${show(value)}`);
  }
  return gateway;
}

function readRoute(entry: unknown): Route {
  const record = fields(entry, 'a route');
  for (const key of ['route', 'netmask', 'gateway']) {
    if (record[key] === undefined) throw new RecordError(`Missing '${key}' key for route`);
  }
  const address = parseAddress(record['route']);
  if (address === null) throw new RecordError(`'route': expected a network's address, got ${show(record['route'])}`);
  const family = familyOf(address);
  return {
    address,
    prefix: readPrefix(record, family, 'route'),
    gateway: readGateway(record['gateway'], family, 'gateway'),
    metric: readMetric(record['metric']),
  };
}

function readMetric(value: unknown): number | null {
  if (value === undefined || value === null) return null;
  const metric = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value;
  if (typeof metric === 'number' && Number.isInteger(metric) && metric >= 0 && metric <= 0xffffffff) return metric;
  throw new RecordError(`'metric': expected a number of 0 or more, got ${show(value)}`);
}

/** nova's list is an unordered set; sorting it by family and text makes a second run see no difference. */
function readDns(value: unknown): readonly string[] {
  const servers = list(value, 'dns').map((entry) => {
    const server = parseAddress(entry);
    if (server === null) throw new RecordError(`'dns': expected an address, got ${show(entry)}`);
    return server;
  });
  return [...new Set(servers)].sort((a, b) => familyOf(a) - familyOf(b) || (a < b ? -1 : 1));
}

/** Two default routes of one family would fight: the first interface that has one keeps it. */
function withOneDefault(interfaces: readonly InterfaceConfig[]): readonly InterfaceConfig[] {
  const first4 = interfaces.find(({ gateway4 }) => gateway4 !== null);
  const first6 = interfaces.find(({ gateway6 }) => gateway6 !== null);
  return interfaces.map((config) => ({
    ...config,
    gateway4: config === first4 ? config.gateway4 : null,
    gateway6: config === first6 ? config.gateway6 : null,
  }));
}

function show(value: unknown): string {
  const text = typeof value === 'string' ? `'${value}'` : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}
