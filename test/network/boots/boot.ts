/** What a boot brings, in lines that a table can hold; and what a real consumer has made of the same files. */
import type { Boot, Route } from '../../../ts/network/plan.js';
import type { Described } from '../describe.js';

/** Such as `203.0.113.9/24`, `default via 203.0.113.1`, `dhcp4`, `auto6 either`, `mtu 9000`, and `or` before what else may come. */
export function linesOf(boot: Boot | null): readonly string[] {
  if (boot === null) return ['nothing'];
  const { addresses, routes, dhcp4, auto6, mtu, or } = boot;
  return [
    ...addresses.map(({ address, prefix }) => `${address}/${prefix}`),
    ...routes.map(routeLine),
    ...(dhcp4 ? ['dhcp4'] : []),
    ...(auto6 === null ? [] : [`auto6 ${auto6}`]),
    ...(mtu === null ? [] : [`mtu ${mtu}`]),
    ...(or === undefined ? [] : ['or', ...linesOf(or)]),
  ];
}

function routeLine({ address, prefix, gateway, metric }: Route): string {
  const to = prefix === 0 ? `default${gateway === null && address === '::' ? ' of IPv6' : ''}` : `${address}/${prefix}`;
  return `${to}${gateway === null ? '' : ` via ${gateway}`}${metric === null ? '' : ` metric ${metric}`}`;
}

/** What a consumer sets by itself, without a server or a router. */
export function keptOf(boot: Boot | null): Described {
  const { addresses, routes, mtu } = boot ?? { addresses: [], routes: [], mtu: null };
  return {
    addresses: addresses.map(({ address, prefix }) => `${address}/${prefix}`),
    routes: routes.map(routeLine),
    ...(mtu === null ? {} : { mtu }),
  };
}
