import { type Family, familyOf, needsOnLink, networkOf } from './address.js';
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

/** Gateways outside all subnets, each once: stacks without a keyword for it need a route to each of them first. */
export function offSubnetGateways(config: InterfaceConfig, family: Family): readonly string[] {
  const found = routesOf(config).flatMap((route) =>
    route.family === family && route.onLink && route.gateway !== null ? [route.gateway] : [],
  );
  return [...new Set(found)];
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
