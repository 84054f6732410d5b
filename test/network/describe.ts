/** An interface in few words: what tests compare, wherever it comes from. */
import type { InterfaceConfig } from '../../ts/network/plan.js';
import { destination, routesOf } from '../../ts/network/routes.js';

export interface Described {
  /** `192.0.2.4/24`; IPv4 first, in order. */
  readonly addresses: readonly string[];
  /** `default via 192.0.2.1`, `10.0.0.0/8 via 192.0.2.1 metric 10`, `10.0.0.0/8` when it is on the link; any order. */
  readonly routes: readonly string[];
  readonly dns?: readonly string[];
  readonly mtu?: number;
  readonly dhcp4?: true;
  readonly auto6?: 'ra' | 'dhcp';
}

export function describe(config: InterfaceConfig): Described {
  const { ipv4, ipv6, dns, mtu, dhcp4, auto6 } = config;
  return described({
    addresses: [...ipv4, ...ipv6].map(({ address, prefix }) => `${address}/${prefix}`),
    routes: routesOf(config).map((route) => {
      const via = route.gateway === null ? '' : ` via ${route.gateway}`;
      const metric = route.metric === null ? '' : ` metric ${route.metric}`;
      return `${route.prefix === 0 ? 'default' : destination(route)}${via}${metric}`;
    }),
    dns,
    ...(mtu === null ? {} : { mtu }),
    ...(dhcp4 ? { dhcp4 } : {}),
    ...(auto6 === null ? {} : { auto6 }),
  });
}

/** In one form: routes sorted, and nothing that is not there. */
export function described({ routes, dns = [], ...rest }: Described): Described {
  return { ...rest, routes: [...routes].sort(), ...(dns.length === 0 ? {} : { dns }) };
}
