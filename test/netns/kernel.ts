/** What `ip -j` prints, in the words of the inputs. */
import { type Described, described } from '../network/describe.js';

interface Address {
  readonly ifname: string;
  readonly mtu: number;
  readonly addr_info: readonly {
    readonly local: string;
    readonly prefixlen: number;
    readonly scope: string;
    readonly tentative?: boolean;
    readonly dadfailed?: boolean;
  }[];
}

interface Route {
  readonly dst: string;
  readonly gateway?: string;
  readonly via?: { readonly host: string };
  readonly dev: string;
  readonly metric?: number;
  readonly protocol?: string;
}

export interface Kernel {
  /** Every interface with addresses or routes of somebody's own. */
  readonly interfaces: Readonly<Record<string, Described>>;
  /** Whether this is exactly `wanted`: metrics count where they are wanted, the MTU where it is wanted or not 1500. */
  shows(wanted: Readonly<Record<string, Described>>): boolean;
  /** The same in the words of `wanted`, for a readable comparison. */
  inWordsOf(wanted: Readonly<Record<string, Described>>): Readonly<Record<string, Described>>;
}

export function readKernel(addresses: unknown, routes: unknown): Kernel {
  const interfaces: Record<string, Described> = {};
  for (const { ifname, mtu, addr_info } of addresses as readonly Address[]) {
    if (ifname === 'lo') continue;
    const own = addr_info.filter(({ scope, tentative, dadfailed }) => scope === 'global' && !tentative && !dadfailed);
    interfaces[ifname] = described({
      addresses: own.map(({ local, prefixlen }) => `${local}/${prefixlen}`),
      routes: (routes as readonly Route[]).filter(({ dev }) => dev === ifname).flatMap(routeText),
      mtu,
    });
  }
  const kernel: Kernel = {
    interfaces,
    shows: (wanted) => JSON.stringify(kernel.inWordsOf(wanted)) === JSON.stringify(normal(wanted)),
    inWordsOf: (wanted) =>
      Object.fromEntries(Object.entries(interfaces).map(([name, shown]) => [name, inWords(shown, wanted[name])])),
  };
  return kernel;
}

/** Every interface is there, and in one form. */
export function normal(wanted: Readonly<Record<string, Described>>): Readonly<Record<string, Described>> {
  const nothing: Described = { addresses: [], routes: [] };
  return Object.fromEntries(
    ['eth0', 'eth1'].map((name) => {
      const { addresses, routes, mtu = 1500 } = wanted[name] ?? nothing;
      return [name, { addresses: inOrder(addresses), routes: [...routes].sort(), mtu }];
    }),
  );
}

function routeText({ dst, gateway, dev, via, metric, protocol }: Route): readonly string[] {
  // What the kernel makes of an address is none of anybody's; nor are link-local and multicast networks.
  if (protocol === 'kernel' || dev === 'lo' || dst.startsWith('fe80:') || dst.startsWith('ff00:')) return [];
  const next = gateway ?? via?.host;
  const target = dst === 'default' || dst.includes('/') ? dst : `${dst}/${dst.includes(':') ? 128 : 32}`;
  return [`${target}${next === undefined ? '' : ` via ${next}`}${metric === undefined ? '' : ` metric ${metric}`}`];
}

function inWords(shown: Described, wanted: Described = { addresses: [], routes: [] }): Described {
  const gateways = new Set(wanted.routes.flatMap((route) => / via (\S+)/.exec(route)?.slice(1, 2) ?? []));
  const routes = [...shown.routes]
    // Metrics that nobody asked for are the stack's own.
    .map((route) => (wanted.routes.includes(route) ? route : route.replace(/ metric \d+$/, '')))
    // A way to a gateway outside every subnet is a means only.
    .filter((route) => !/\/(32|128)$/.test(route) || !gateways.has(route.replace(/\/\d+$/, '')));
  return { addresses: inOrder(shown.addresses), routes: routes.sort(), mtu: shown.mtu ?? 1500 };
}

/** The first of IPv4 is the primary one; the kernel lists the others by their networks, and those of IPv6 as it likes. */
function inOrder(addresses: readonly string[]): readonly string[] {
  const [first, ...others] = addresses;
  return first === undefined || first.includes(':') ? [...addresses].sort() : [first, ...others.sort()];
}
