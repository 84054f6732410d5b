/** netplan(5). */
import { parse } from 'yaml';
import { type Described, described } from '../describe.js';

interface Definition {
  readonly dhcp4?: boolean;
  readonly dhcp6?: boolean;
  readonly 'accept-ra'?: boolean;
  readonly mtu?: number;
  readonly addresses?: readonly string[];
  readonly nameservers?: { readonly addresses?: readonly string[] };
  readonly routes?: readonly {
    readonly to: string;
    readonly via?: string;
    readonly metric?: number;
    readonly scope?: string;
  }[];
}

export function readNetplan(files: ReadonlyMap<string, string>): ReadonlyMap<string, Described> {
  const found = new Map<string, Described>();
  for (const [path, text] of [...files].sort()) {
    if (!path.startsWith('/etc/netplan/')) continue;
    const { network } = parse(text) as { network?: { ethernets?: Record<string, Definition> } };
    for (const [name, definition] of Object.entries(network?.ethernets ?? {})) {
      found.set(name, described(interpret(definition)));
    }
  }
  return found;
}

function interpret(definition: Definition): Described {
  return {
    addresses: definition.addresses ?? [],
    routes: (definition.routes ?? []).flatMap(({ to, via, metric }, _, all) => {
      // The way to a gateway outside the subnets is no route that anybody asked for.
      if (via === undefined && /\/(32|128)$/.test(to) && all.some((other) => other.via === to.split('/')[0])) return [];
      const target = to === '0.0.0.0/0' || to === '::/0' ? 'default' : to;
      return `${target}${via === undefined ? '' : ` via ${via}`}${metric === undefined ? '' : ` metric ${metric}`}`;
    }),
    dns: definition.nameservers?.addresses ?? [],
    ...(definition.mtu === undefined ? {} : { mtu: definition.mtu }),
    ...(definition.dhcp4 === true ? { dhcp4: true } : {}),
    ...(definition.dhcp6 === true ? { auto6: 'dhcp' } : definition['accept-ra'] === true ? { auto6: 'ra' } : {}),
  };
}
