/** The agent's own description: ts/network/formats/description.ts says what stands in it. */
import ipaddr from 'ipaddr.js';
import { type Described, described } from '../describe.js';

interface Described1 {
  readonly nic: { readonly name: string };
  readonly ipv4: readonly Part[];
  readonly ipv6: readonly Part[];
  readonly gateway4: string | null;
  readonly gateway6: string | null;
  readonly routes: readonly (Part & { readonly gateway: string | null; readonly metric: number | null })[];
  readonly dns: readonly string[];
  readonly mtu: number | null;
  readonly auto6: 'ra' | null;
}

interface Part {
  readonly address: string;
  readonly prefix: number;
}

export function readDirect(files: ReadonlyMap<string, string>): ReadonlyMap<string, Described> {
  const text = files.get('/etc/guestwire/network.json') ?? '{"version":1,"interfaces":[]}';
  const { version, interfaces } = JSON.parse(text) as { version: number; interfaces: readonly Described1[] };
  return new Map(version === 1 ? interfaces.map((one) => [one.nic.name, interpret(one)]) : []);
}

function interpret({ ipv4, ipv6, gateway4, gateway6, routes, dns, mtu, auto6 }: Described1): Described {
  return described({
    addresses: [...ipv4, ...ipv6].map(({ address, prefix }) => `${address}/${prefix}`),
    routes: [
      ...[gateway4, gateway6].filter((gateway) => gateway !== null).map((gateway) => `default via ${gateway}`),
      ...routes.map((route) => {
        const via = route.gateway === null ? '' : ` via ${route.gateway}`;
        return `${networkOf(route)}${via}${route.metric === null ? '' : ` metric ${route.metric}`}`;
      }),
    ],
    dns,
    ...(mtu === null ? {} : { mtu }),
    ...(auto6 === null ? {} : { auto6 }),
  });
}

function networkOf({ address, prefix }: Part): string {
  const cidr = `${address}/${prefix}`;
  const network = address.includes(':')
    ? ipaddr.IPv6.networkAddressFromCIDR(cidr).toRFC5952String()
    : ipaddr.IPv4.networkAddressFromCIDR(cidr).toString();
  return `${network}/${prefix}`;
}
