import type { LiveAddress, LiveNetwork, LiveRoute, Nic } from '../../api/host.js';
import { type Address, type Family, familyOf, isLinkLocal } from '../address.js';
import type { Mismatch } from '../mismatch.js';
import type { InterfaceConfig } from '../plan.js';
import { destination, isSameRoute, routesOf } from '../routes.js';

/** What the kernel shows. */
export interface KernelState extends LiveNetwork {
  readonly nics: readonly Nic[];
}

/**
 * Compares the kernel's state with the configuration. Metrics count only where one was asked for, because every stack
 * has its own default. Link-local addresses and the routes that come with an address are the kernel's own business;
 * routes that others set to elsewhere are theirs.
 */
export function compare(interfaces: readonly InterfaceConfig[], state: KernelState): Mismatch | null {
  for (const config of interfaces) {
    const mismatch = compareDevice(config, state) ?? compareAddresses(config, state) ?? compareRoutes(config, state);
    if (mismatch !== null) return mismatch;
  }
  return null;
}

function compareDevice({ nic: { name }, mtu }: InterfaceConfig, { nics }: KernelState): Mismatch | null {
  const device = nics.find((nic) => nic.name === name);
  if (device === undefined) return { wanted: `a device ${name}`, got: 'none' };
  if (!device.up) return { wanted: `${name} up`, got: 'it down' };
  return mtu === null || device.mtu === mtu ? null : { wanted: `an MTU of ${mtu} on ${name}`, got: String(device.mtu) };
}

function compareAddresses(config: InterfaceConfig, { addresses }: KernelState): Mismatch | null {
  const { name } = config.nic;
  const wanted = [...config.ipv4, ...config.ipv6];
  const isWanted = (candidate: Address): boolean => wanted.some((address) => text(address) === text(candidate));
  const own = addresses.filter((one) => one.nic === name && (!isLinkLocal(one.address) || isWanted(one)));
  const of = (family: Family): readonly LiveAddress[] => own.filter(({ address }) => familyOf(address) === family);
  const shown = (family: Family): string => of(family).map(text).join(' ') || 'none';
  for (const address of wanted) {
    const found = own.find((candidate) => text(candidate) === text(address));
    const what = `${text(address)} on ${name}`;
    if (found === undefined) return { wanted: what, got: shown(familyOf(address.address)) };
    if (found.unusable) return { wanted: what, got: 'it marked tentative or as a duplicate' };
  }
  const asked = [
    { family: 4, dynamic: config.dhcp4 },
    { family: 6, dynamic: config.auto6 !== null },
  ] as const;
  for (const { family, dynamic } of asked) {
    const extra = of(family).filter((candidate) => !isWanted(candidate));
    const offered = extra.some(({ unusable }) => !unusable);
    if (dynamic && !offered)
      return { wanted: `an IPv${family} address from the network on ${name}`, got: shown(family) };
    const foreign = extra[0];
    if (!dynamic && foreign !== undefined) {
      return { wanted: `only its own addresses on ${name}`, got: `${text(foreign)} too` };
    }
  }
  const [primary] = config.ipv4;
  const [first] = of(4).filter(({ address }) => config.ipv4.some((one) => one.address === address));
  if (primary !== undefined && first !== undefined && first.address !== primary.address) {
    return { wanted: `${primary.address} as the first address of ${name}`, got: first.address };
  }
  return null;
}

function text({ address, prefix }: Address): string {
  return `${address}/${prefix}`;
}

function compareRoutes(config: InterfaceConfig, { routes }: KernelState): Mismatch | null {
  const { name } = config.nic;
  const own = routes.filter(({ nic }) => nic === name);
  const wanted = routesOf(config);
  for (const route of wanted) {
    if (own.some((candidate) => isSameRoute(route, candidate))) continue;
    const via = `via ${route.gateway ?? 'the link'} on ${name}`;
    if (route.prefix > 0) return { wanted: `${destination(route)} ${via}`, got: 'no such route' };
    return { wanted: `default ${via}`, got: shownDefaults(own, route.network) };
  }
  const asked = [
    { network: '0.0.0.0', dynamic: config.dhcp4, gateway: config.gateway4 },
    { network: '::', dynamic: config.auto6 !== null, gateway: config.gateway6 },
  ];
  for (const { network, dynamic, gateway } of asked) {
    const other = own.find((route) => route.prefix === 0 && route.network === network && route.gateway !== gateway);
    if (other === undefined || dynamic) continue;
    return { wanted: `default via ${gateway ?? 'nothing'} on ${name}`, got: shownDefaults(own, network) };
  }
  return null;
}

function shownDefaults(routes: readonly LiveRoute[], network: string): string {
  const defaults = routes.filter((route) => route.prefix === 0 && route.network === network);
  return defaults.map(({ gateway }) => gateway ?? 'on-link').join(' ') || 'none';
}
