import type { LiveRoute } from '../api/host.js';
import { type Family, contains, familyOf, needsOnLink, networkOf } from './address.js';
import type { InterfaceConfig } from './plan.js';

/** A route as it is to be set: with its network's own address, and told whether its gateway is inside a subnet. */
export interface PlannedRoute {
  readonly family: Family;
  /** `0.0.0.0` or `::` with prefix 0 for a default route. */
  readonly network: string;
  readonly prefix: number;
  /** null: the network is on the link itself. */
  readonly gateway: string | null;
  /** null: whatever the stack gives. */
  readonly metric: number | null;
  /** The gateway lies outside all subnets of the interface. Never for a link-local one, which is on-link anyway. */
  readonly onLink: boolean;
}

/** All routes of an interface in the order in which they can be set: defaults first. No route comes twice. */
export function routesOf(config: InterfaceConfig): readonly PlannedRoute[] {
  const own = [...config.ipv4, ...config.ipv6];
  const defaults = [
    { address: '0.0.0.0', prefix: 0, gateway: config.gateway4, metric: null },
    { address: '::', prefix: 0, gateway: config.gateway6, metric: null },
  ].filter(({ gateway }) => gateway !== null);
  const routes = [...defaults, ...config.routes].map(({ address, prefix, gateway, metric }): PlannedRoute => ({
    family: familyOf(address),
    network: networkOf({ address, prefix }),
    prefix,
    gateway,
    metric,
    onLink: gateway !== null && needsOnLink(gateway, own),
  }));
  const key = ({ network, prefix, gateway, metric }: PlannedRoute): string =>
    [network, prefix, gateway ?? '', metric ?? ''].join(' ');
  return [...new Map(routes.map((route) => [key(route), route])).values()];
}

/** Gateways outside all subnets, each once, as networks: without a keyword for it a route to each has to come first. */
export function gatewayNetworks(routes: readonly PlannedRoute[], family: Family): readonly string[] {
  const found = routes.flatMap((route) =>
    route.family === family && route.onLink && route.gateway !== null ? [route.gateway] : [],
  );
  return [...new Set(found)].map((gateway) => `${gateway}/${family === 4 ? 32 : 128}`);
}

/** Whether a `gateway` keyword beside the first address of IPv4 will do: several stacks compare with that one alone. */
export function firstNetworkHasGateway({ gateway4, ipv4, dhcp4 }: InterfaceConfig): boolean {
  const [first] = ipv4;
  return gateway4 !== null && !dhcp4 && first !== undefined && contains(first, gateway4);
}

/** Arguments of `ip route add`; `more`, such as ` dev eth0`, stands before the metric. */
export function ipRoute(route: PlannedRoute, more: string): string {
  const via = route.gateway === null ? '' : ` via ${route.gateway}`;
  const metric = route.metric === null ? '' : ` metric ${route.metric}`;
  return `${route.prefix === 0 ? 'default' : destination(route)}${via}${more}${metric}`;
}

/** All that `ip route add` has to be told of a family, but for the routes that a keyword tells. */
export function ipRoutes(
  config: InterfaceConfig,
  family: Family,
  byKeyword: (route: PlannedRoute) => boolean,
): readonly string[] {
  const device = ` dev ${config.nic.name}`;
  const routes = routesOf(config).filter((route) => route.family === family);
  return [
    ...gatewayNetworks(routes, family).map((network) => `${network}${device}${family === 4 ? ' scope link' : ''}`),
    ...routes.filter((route) => !byKeyword(route)).map((route) => ipRoute(route, device)),
  ];
}

/** Whether the kernel's route is the wanted one. A metric counts only where one was asked for. */
export function isSameRoute(wanted: Omit<PlannedRoute, 'family' | 'onLink'>, route: LiveRoute): boolean {
  return (
    wanted.network === route.network &&
    wanted.prefix === route.prefix &&
    wanted.gateway === route.gateway &&
    (wanted.metric === null || wanted.metric === route.metric)
  );
}

/** Whether a boot need not wait for it: the way out is another interface's. */
export function isSecondary(config: InterfaceConfig, all: readonly InterfaceConfig[]): boolean {
  const leadsOut = ({ gateway4, gateway6, dhcp4, auto6 }: InterfaceConfig): boolean =>
    gateway4 !== null || gateway6 !== null || dhcp4 || auto6 !== null;
  return !leadsOut(config) && all.some(leadsOut);
}

/** `10.0.0.0/8`. */
export function destination({ network, prefix }: PlannedRoute): string {
  return `${network}/${prefix}`;
}
