/**
 * What netplan(5) brings: its merged definition as the file that its generator makes of it for systemd-networkd or the
 * profile for NetworkManager, among all other files of that daemon, read by that daemon's rules.
 */
import type { Nic } from '../../api/host.js';
import { familyOf, parseAddress } from '../address.js';
import { type Definition, type Mapping, escaped, mapping, readNetplan, takes, text } from '../owners/netplan.js';
import { takersOf } from '../owners/networkd.js';
import { profilesIn } from '../owners/networkmanager.js';
import { unmanagedBesides } from '../owners/unmanaged.js';
import type { Boot, NetworkFacts } from '../plan.js';
import { readNetworkd } from './networkd.js';
import { readNetworkManager } from './networkmanager.js';

type Machine = Pick<NetworkFacts, 'files' | 'access'>;

const NETWORKD = '/run/systemd/network/10-netplan-';
const PROFILES = '/run/NetworkManager/system-connections/netplan-';

/** Null when no definition takes the device. */
export function readNetplanBoot({ files, access }: Machine, nic: Nic): Boot | null {
  const plan = readNetplan(files);
  const taking = plan.definitions.filter((one) => takes(one, nic));
  const isManaged = ({ renderer }: Definition): boolean => (renderer ?? plan.renderer) === 'NetworkManager';
  const ports = new Set(plan.references.flatMap(({ id, master }) => (master === null ? [] : [id])));
  // What it has made before, it makes anew.
  const others = [...files].filter(([path]) => !path.startsWith(NETWORKD) && !path.startsWith(PROFILES));
  const made = new Map<string, Definition>();
  const all = new Map(others);
  for (const one of taking) {
    const path = isManaged(one)
      ? `${PROFILES}${escaped(one.id)}.nmconnection`
      : `${NETWORKD}${escaped(one.id)}.network`;
    made.set(path, one);
    all.set(path, isManaged(one) ? profile(one, nic) : networkFile(one, nic, ports.has(one.id)));
  }
  // With the mode that it has to have.
  const withAccess = { files: all, access: new Map([...(access ?? [])].filter(([path]) => !made.has(path))) };
  const named = <T extends { readonly path: string }>(one: T): T => {
    return { ...one, path: made.get(one.path)?.files.join(', ') ?? one.path };
  };
  if (taking.some((one) => !isManaged(one))) return readNetworkd(takersOf(all, nic, withAccess.access).map(named));
  if (taking.length === 0 || unmanagedBesides(files, nic) !== null) return null;
  return readNetworkManager(profilesIn(withAccess).map(named), nic, files);
}

/** That the definition takes the device is known: by its name here. */
function networkFile({ body }: Definition, nic: Nic, isPort: boolean): string {
  const of = (key: string): string => text(body[key]) ?? '';
  const [four, six] = [isOn(body['dhcp4']), isOn(body['dhcp6'])];
  const local = isPort ? [] : body['link-local'] === undefined ? ['ipv6'] : [body['link-local']].flat().map(String);
  const addresses = addressesOf(body);
  const routes = routesOf(body).flatMap((route) => [
    '[Route]',
    `Destination=${destinationOf(route)}`,
    ...line('Gateway', text(route['via'])),
    ...line('Metric', text(route['metric'])),
    ...line('Table', text(route['table'])),
    ...line('Type', text(route['type'])),
  ]);
  return [
    '[Match]',
    `Name=${nic.name}`,
    '[Link]',
    ...line('MTUBytes', text(body['mtu'])),
    ...line('ActivationPolicy', of('activation-mode').replace(/^off$/, 'always-down')),
    '[Network]',
    `DHCP=${four && six ? 'yes' : four ? 'ipv4' : six ? 'ipv6' : 'no'}`,
    `LinkLocalAddressing=${local.includes('ipv6') ? 'ipv6' : 'no'}`,
    ...(body['accept-ra'] === undefined ? [] : [`IPv6AcceptRA=${isOn(body['accept-ra']) ? 'yes' : 'no'}`]),
    ...addresses.filter(({ hasOptions }) => !hasOptions).map(({ address }) => `Address=${address}`),
    ...line('Gateway', of('gateway4')),
    ...line('Gateway', of('gateway6')),
    ...addresses.filter(({ hasOptions }) => hasOptions).flatMap(({ address }) => ['[Address]', `Address=${address}`]),
    ...routes,
  ].join('\n');
}

/** Without addresses, IPv6 is left to the kernel; what is passed through has the last word. */
function profile({ id, body }: Definition, nic: Nic): string {
  const lines = ['[connection]', `id=netplan-${id}`, 'type=ethernet', `interface-name=${nic.name}`];
  lines.push('[ethernet]', ...line('mtu', text(body['mtu'])));
  for (const family of [4, 6] as const) {
    const addresses = addressesOf(body).filter(({ address }) => (address.includes(':') ? 6 : 4) === family);
    const method = isOn(body[`dhcp${family}`])
      ? 'auto'
      : addresses.length > 0
        ? 'manual'
        : family === 4
          ? 'link-local'
          : 'ignore';
    lines.push(`[ipv${family}]`, `method=${method}`);
    lines.push(...addresses.map(({ address }, index) => `address${index + 1}=${address}`));
    lines.push(...line('gateway', text(body[`gateway${family}`])));
    const routes = routesOf(body).filter((route) => (destinationOf(route).includes(':') ? 6 : 4) === family);
    for (const [index, route] of routes.entries()) {
      const [via, metric] = [text(route['via']), text(route['metric'])];
      const hop = via ?? (metric === null ? null : family === 4 ? '0.0.0.0' : '::');
      lines.push(`route${index + 1}=${[destinationOf(route), hop, metric].filter((part) => part !== null).join(',')}`);
      const options = ['table', 'type'].flatMap((key) => line(key, text(route[key])));
      if (options.length > 0) lines.push(`route${index + 1}_options=${options.join(',')}`);
    }
  }
  for (const [key, value] of Object.entries(mapping(mapping(body['networkmanager'])['passthrough']))) {
    const dot = key.indexOf('.');
    lines.push(`[${key.slice(0, dot)}]`, `${key.slice(dot + 1)}=${text(value) ?? String(value)}`);
  }
  return lines.join('\n');
}

function line(key: string, value: string | null): readonly string[] {
  return value === null || value === '' ? [] : [`${key}=${value}`];
}

/** An address is a text, or a mapping of one text to its options. */
function addressesOf(body: Mapping): readonly { readonly address: string; readonly hasOptions: boolean }[] {
  return listOf(body['addresses']).flatMap((one) => {
    const plain = text(one);
    const found = plain === null ? Object.keys(mapping(one)) : [plain];
    return found.map((address) => ({ address, hasOptions: plain === null }));
  });
}

function routesOf(body: Mapping): readonly Mapping[] {
  return listOf(body['routes']).map(mapping);
}

/** Of `default` the gateway tells the family. */
function destinationOf(route: Mapping): string {
  const to = text(route['to']) ?? '';
  const via = parseAddress(text(route['via']));
  return to !== 'default' ? to : via !== null && familyOf(via) === 6 ? '::/0' : '0.0.0.0/0';
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** By YAML 1.1, as netplan reads it. */
function isOn(value: unknown): boolean {
  return value === true || /^(true|yes|on|y)$/i.test(text(value) ?? '');
}
