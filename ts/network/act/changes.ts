/** From the state that the kernel has to the one that it is to have, without any program. Pure. */
import type { Lifetime, LinkChange, LiveAddress, LiveNetwork, LiveRoute, Nic, RouteOrigin } from '../../api/host.js';
import { type Address, type Family, contains, familyOf, isLinkLocal } from '../address.js';
import type { InterfaceConfig } from '../plan.js';
import { type PlannedRoute, isSameRoute, routesOf } from '../routes.js';

export interface Target {
  readonly nic: string;
  /** False: it is to be down, as it was; it then has no routes. */
  readonly up: boolean;
  /** Of each family, the first is to be the primary one. */
  readonly addresses: readonly (Address & { readonly lifetime?: Lifetime; readonly noPrefixRoute?: boolean })[];
  readonly routes: readonly (Pick<PlannedRoute, 'network' | 'prefix' | 'gateway' | 'metric' | 'onLink'> &
    Partial<Pick<LiveRoute, 'setBy' | 'expires'>>)[];
  /** Bytes; null: as it is. */
  readonly mtu: number | null;
  /** Of these families, addresses with a lifetime and the routes that came with them stay. */
  readonly keepDynamic: readonly Family[];
}

/** What was live before a change. */
export interface Before extends LiveNetwork {
  /** Absent in the note of an older version of the agent. */
  readonly nics?: readonly Nic[];
}

export function targetOf(config: InterfaceConfig): Target {
  return {
    nic: config.nic.name,
    up: true,
    addresses: [...config.ipv4, ...config.ipv6],
    routes: routesOf(config),
    mtu: config.mtu,
    keepDynamic: [...(config.dhcp4 ? [4 as const] : []), ...(config.auto6 === null ? [] : [6 as const])],
  };
}

export function nothingOn(nic: string): Target {
  return { nic, up: true, addresses: [], routes: [], mtu: null, keepDynamic: [] };
}

/**
 * What an interface had, so that it can be had again, each for the rest of its lifetime at most. Routes of
 * advertisements and temporary addresses are left to the kernel, which replaces only what it has set itself.
 */
export function targetFrom(nic: string, old: Before): Target {
  const own = ownOf(nic, old);
  const device = old.nics?.find(({ name }) => name === nic);
  return {
    nic,
    up: device?.up ?? true,
    // One that has a lifetime, but nobody noted how long: set from here it would stay for ever.
    addresses: own.addresses.filter(
      ({ dynamic, lifetime, temporary }) => !temporary && !(dynamic && lifetime === undefined),
    ),
    routes: own.routes.filter((route) => !isAdvertised(route)),
    mtu: device?.mtu ?? null,
    keepDynamic: [6],
  };
}

/** Whether the route came with an advertisement of a router. */
export function isAdvertised({ setBy }: LiveRoute): boolean {
  return setBy === 'advertisement';
}

/** Whether the route came with an address, or the like. */
export function isSetByKernel({ setBy }: LiveRoute): boolean {
  return setBy === 'kernel';
}

/** Steps in the order in which they work: a route needs an address that covers its gateway. */
export function stepsTo(target: Target, live: LiveNetwork): readonly LinkChange[] {
  const { nic, up, mtu, keepDynamic } = target;
  const own = ownOf(nic, live);
  const routes = withMetrics(target.routes, own.routes);
  const isKept = (route: LiveRoute): boolean =>
    (keepDynamic.includes(familyOf(route.network)) && isDynamic(route)) ||
    routes.some((wanted) => isSameRoute(wanted, route));
  const stale = own.routes.filter((route) => !isKept(route));
  // The way to a gateway outside the subnets comes before the routes via it.
  const inOrder = routes.toSorted((a, b) => Number(a.gateway !== null) - Number(b.gateway !== null));
  return [
    { type: up ? 'up' : 'down', nic },
    ...(mtu === null ? [] : [{ type: 'mtu', nic, mtu } as const]),
    ...stale.map(({ network, prefix, gateway, metric, onLink }) => {
      return { type: 'remove-route', nic, network, prefix, gateway, metric, onLink } as const;
    }),
    ...staleAddresses(target, own.addresses).map(({ address, prefix }) => {
      return { type: 'remove-address', nic, address, prefix } as const;
    }),
    // All of them: the kernel takes the secondary addresses of a network away together with its primary one.
    ...inOrderOfAdding(target.addresses).map(({ address, prefix, lifetime, noPrefixRoute }) => {
      const rest = lifetime === undefined ? {} : { lifetime: longerOf(lifetime, own.addresses, { address, prefix }) };
      return {
        type: 'add-address',
        nic,
        address,
        prefix,
        ...rest,
        ...(noPrefixRoute ? { noPrefixRoute } : {}),
      } as const;
    }),
    ...inOrder.map(({ network, prefix, gateway, metric, onLink, setBy, expires }) => {
      const origin = { ...(setBy === undefined ? {} : { setBy }), ...(expires === undefined ? {} : { expires }) };
      return { type: 'add-route', nic, network, prefix, gateway, metric, onLink, ...origin } as const;
    }),
  ];
}

/**
 * What a VLAN or the like has lost since `old`. When a device goes down, so do the VLANs on top of it: of these the kernel
 * takes the addresses of IPv6 and the routes away, and where no daemon has the VLAN nobody brings them back. An IPv4
 * address that is gone was taken away by somebody. What has a lifetime is left to its client or to a router, a route of a
 * routing daemon to that, and a device that was made anew to whoever made it.
 */
export function lostBy({ name, index }: Nic, old: Before, live: Before): readonly LinkChange[] {
  if (live.nics?.some((nic) => nic.name === name && nic.index === index && nic.up) !== true) return [];
  const had = targetFrom(name, old);
  const own = ownOf(name, live);
  const addresses = had.addresses.filter((address) => {
    const isLost = familyOf(address.address) === 6 && !own.addresses.some((one) => text(one) === text(address));
    return isLost && address.lifetime === undefined;
  });
  const routes = had.routes.filter((route) => {
    return isByHand(route) && !own.routes.some((one) => isSameRoute(route, one));
  });
  const steps = stepsTo({ ...had, addresses, routes, mtu: null }, { addresses: [], routes: [] });
  return steps.filter(({ type }) => type !== 'up');
}

function isByHand({ setBy }: { readonly setBy?: RouteOrigin }): boolean {
  return setBy === undefined || setBy === 'boot' || setBy === 'static';
}

/** A route that may have any metric takes that with which it is there, or it would be there twice. */
function withMetrics(wanted: Target['routes'], there: readonly LiveRoute[]): Target['routes'] {
  const isFree = (route: LiveRoute): boolean =>
    !wanted.some(({ network, prefix, metric }) => {
      return network === route.network && prefix === route.prefix && metric === route.metric;
    });
  return wanted.map((route) => {
    const found = route.metric === null ? there.find((one) => isSameRoute(route, one) && isFree(one)) : undefined;
    return { ...route, metric: found?.metric ?? route.metric };
  });
}

function ownOf(nic: string, { addresses, routes }: LiveNetwork): { addresses: LiveAddress[]; routes: LiveRoute[] } {
  return {
    addresses: addresses.filter((address) => address.nic === nic && !isLinkLocal(address.address)),
    routes: routes.filter((route) => route.nic === nic && !isSetByKernel(route)),
  };
}

/** The kernel puts a new IPv4 address behind the others, and a new IPv6 address before them. */
function inOrderOfAdding<T extends Address>(addresses: readonly T[]): readonly T[] {
  return [...addresses.filter(isFamily(4)), ...addresses.filter(isFamily(6)).toReversed()];
}

/** As the kernel lists them: IPv4 addresses that are the second or a later one of their network come last. */
function inKernelOrder(addresses: readonly Address[]): readonly Address[] {
  const isSecondary = (address: Address): boolean =>
    familyOf(address.address) === 4 && addresses.find((first) => areInOneSubnet(first, address)) !== address;
  return [...addresses.filter((address) => !isSecondary(address)), ...addresses.filter(isSecondary)];
}

function areInOneSubnet(one: Address, other: Address): boolean {
  return one.prefix === other.prefix && contains(one, other.address);
}

/** Unwanted ones; and where the order would not be the wanted one all of that family, since it cannot be changed. */
function staleAddresses({ addresses, keepDynamic }: Target, own: readonly LiveAddress[]): readonly LiveAddress[] {
  const wanted = new Set(addresses.map(text));
  const isWanted = (address: Address): boolean => wanted.has(text(address));
  return ([4, 6] as const).flatMap((family) => {
    const there = own.filter(isFamily(family)).filter(({ dynamic }) => !(dynamic && keepDynamic.includes(family)));
    // Whether it stays, and where, when the primary one of its network goes is up to the device's promote_secondaries.
    const isHeir = (address: Address): boolean => {
      const first = there.find((one) => areInOneSubnet(one, address));
      return family === 4 && first !== undefined && !isWanted(first);
    };
    const kept = there.filter((address) => isWanted(address) && !isHeir(address));
    const order = inKernelOrder(addresses.filter(isFamily(family))).filter(({ address }) => !isLinkLocal(address));
    const from = family === 4 ? 0 : order.length - kept.length;
    const isInOrder = kept.every((address, index) => {
      const place = order[from + index];
      return place !== undefined && text(place) === text(address);
    });
    return isInOrder ? there.filter((address) => !kept.includes(address)) : there;
  });
}

/** A client or a router may have renewed it in the meantime. */
function longerOf(lifetime: Lifetime, there: readonly LiveAddress[], wanted: Address): Lifetime {
  const renewed = there.find((address) => text(address) === text(wanted))?.lifetime;
  return renewed !== undefined && renewed.validUntil > lifetime.validUntil ? renewed : lifetime;
}

function text({ address, prefix }: Address): string {
  return `${address}/${prefix}`;
}

function isFamily(family: Family): (address: Address) => boolean {
  return ({ address }) => familyOf(address) === family;
}

function isDynamic({ setBy }: LiveRoute): boolean {
  return setBy === 'dhcp' || setBy === 'advertisement';
}
