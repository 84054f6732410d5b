/**
 * What nova and its relatives publish under `vm-data/networking`: one JSON object an interface. Read as
 * docs/commands/resetnetwork.md says.
 */
import type { Nic } from '../../api/host.js';
import { parseHostJson } from '../../api/json.js';
import { type Address, type Family, familyOf, parseAddress } from '../address.js';
import type { InterfaceConfig, Route } from '../plan.js';
import {
  AllDisabled,
  RecordError,
  findNic,
  readGateway,
  readMac,
  readMtu,
  readOwnAddress,
  readPrefix,
  show,
  withOwnPrefix,
} from './values.js';

type Fields = Readonly<Record<string, unknown>>;

export function readRecord(text: string, nics: readonly Nic[]): InterfaceConfig {
  const record = fields(parse(text), 'the record');
  const mac = readMac(record['mac']);
  const v4 = readAddresses(record['ips'], 4);
  const v6 = readAddresses(record['ip6s'], 6);
  if (v4 === null && v6 === null) throw new RecordError("No IPs found for interface: expected 'ips' or 'ip6s'");
  const [ipv4, ipv6] = [v4?.addresses ?? [], v6?.addresses ?? []];
  // Alone it would take the machine off the network.
  if (ipv4.length + ipv6.length === 0 || !isEnabled(record['enabled'])) throw new AllDisabled(mac);
  const routes = list(record['routes'], 'routes').map(readRoute);
  // A default route among the routes says the same as a gateway key.
  const defaultVia = (family: Family): string | null =>
    routes.find(({ address, prefix }) => prefix === 0 && familyOf(address) === family)?.gateway ?? null;
  const label = record['label'];
  return {
    nic: findNic(mac, nics),
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
    dhcp4: false,
    auto6: null,
    mtu: readMtu(record['mtu'], ipv6.length > 0),
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
    if (text === undefined) {
      throw new RecordError(`Missing ${family === 4 ? "'ip'" : "'ip' or 'address'"} key for IPv${family} address`);
    }
    const address = readOwnAddress(text, family, 'ip');
    if (record['netmask'] === undefined) throw new RecordError(`Missing 'netmask' key for IPv${family} address`);
    const own = withOwnPrefix(address, record['netmask'], 'netmask');
    if (!addresses.some((other) => other.address === address)) addresses.push(own);
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
    prefix: readPrefix(record['netmask'], family, 'netmask'),
    gateway: readGateway(record['gateway'], family, 'gateway'),
    metric: readMetric(record['metric']),
  };
}

/** 0 is what a route of IPv4 has without one; for IPv6 and NetworkManager it asks for the usual one, too. */
function readMetric(value: unknown): number | null {
  if (value === undefined || value === null) return null;
  const metric = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value;
  if (metric === 0) return null;
  if (typeof metric === 'number' && Number.isInteger(metric) && metric > 0 && metric <= 0xffffffff) return metric;
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
