/** rc.conf(5) and ifconfig(8) of FreeBSD; the order of the routes is that of /etc/rc.d/routing. */
import ipaddr from 'ipaddr.js';
import { type Described, described } from '../describe.js';

const PATHS = ['', '.local', '.d/network', '.d/netif', '.d/routing'].map((end) => `/etc/rc.conf${end}`);

export function readRcconf(files: ReadonlyMap<string, string>): ReadonlyMap<string, Described> {
  const values = new Map<string, string>();
  for (const text of PATHS.map((path) => files.get(path) ?? '')) {
    for (const [, key = '', value = ''] of text.matchAll(/(?:^|;)[ \t]*(\w+)=["']?([^"'\n#;]*)/gm))
      values.set(key, value.trim());
  }
  const names = [...values.keys()].flatMap((key) => /^ifconfig_([a-z]+\d+)$/i.exec(key)?.[1] ?? []);
  const routes = [...routesOf(values, ''), ...routesOf(values, 'ipv6_')];
  const interfaces = names.map((name): [string, Interface] => [name, interfaceOf(values, name)]);
  // A route belongs to the interface in whose network its gateway is, or that is the way to the gateway.
  const ownerOf = ({ gateway, device }: Route): string | undefined =>
    device ??
    routes.find((route) => route.network === `${gateway ?? ''}/${bits(gateway ?? '')}` && route.device !== null)
      ?.device ??
    interfaces.find(([, { addresses }]) => addresses.some((address) => contains(address, gateway ?? '')))?.[0];
  return new Map(
    interfaces.map(([name, one]) => {
      const own = routes
        .filter((route) => ownerOf(route) === name)
        .filter(
          ({ network, gateway }) =>
            gateway !== null || !routes.some((route) => network.startsWith(`${route.gateway ?? ''}/`)),
        )
        .map(({ network, gateway }) => `${network}${gateway === null ? '' : ` via ${gateway}`}`);
      return [name, described({ ...one, routes: own })];
    }),
  );
}

/** One route to a network, and no metrics; an address in a network that the interface has already is its own network. */
export function limitedByRcconf({ addresses, routes, ...rest }: Described): Described {
  const metric = (route: string): number => Number(/ metric (\d+)/.exec(route)?.[1] ?? 0);
  const byNetwork = new Map<string, string>();
  for (const route of routes) {
    const [target = ''] = route.split(' ');
    const key = target === 'default' ? `default${route.includes(':') ? 6 : 4}` : target;
    const other = byNetwork.get(key);
    if (other === undefined || metric(route) < metric(other)) byNetwork.set(key, route);
  }
  return {
    ...rest,
    addresses: addresses.map((own, index) => {
      const [address = '', prefix] = own.split('/');
      const isFurther = addresses.slice(0, index).some((one) => one.endsWith(`/${prefix!}`) && contains(one, address));
      return isFurther && !address.includes(':') ? `${address}/32` : own;
    }),
    routes: [...byNetwork.values()].map((route) => route.replace(/ metric \d+/, '')),
  };
}

type Interface = Omit<Described, 'routes'>;

function interfaceOf(values: ReadonlyMap<string, string>, name: string): Interface {
  const words = (suffix: string): readonly string[] => (values.get(`ifconfig_${name}${suffix}`) ?? '').split(' ');
  const after = (list: readonly string[], word: string): readonly string[] =>
    list.flatMap((one, index) => (one === word ? (list[index + 1] ?? '') : []));
  const addressesOf = (list: readonly string[]): readonly string[] =>
    ['inet', 'inet6'].flatMap((word) => after(list, word).filter((next) => next.includes('/')));
  const aliases: string[] = [];
  for (let index = 0; values.has(`ifconfig_${name}_alias${index}`); index++) {
    aliases.push(...addressesOf(words(`_alias${index}`)));
  }
  const [mtu] = after(words(''), 'mtu');
  const [of4, of6] = [false, true].map((is6) => aliases.filter((one) => one.includes(':') === is6));
  return {
    // The kernel lists IPv4 first, whatever the order here.
    addresses: [...addressesOf(words('')), ...of4!, ...addressesOf(words('_ipv6')), ...of6!],
    ...(mtu === undefined ? {} : { mtu: Number(mtu) }),
    ...(words('').includes('DHCP') ? { dhcp4: true } : {}),
    ...(words('_ipv6').includes('accept_rtadv') ? { auto6: 'ra' } : {}),
  };
}

interface Route {
  readonly network: string;
  readonly gateway: string | null;
  readonly device: string | null;
}

function routesOf(values: ReadonlyMap<string, string>, family: '' | 'ipv6_'): readonly Route[] {
  const names = (values.get(`${family}static_routes`) ?? '').split(' ').filter((name) => name.startsWith('guestwire'));
  const router = values.get(`${family}defaultrouter`);
  return [
    ...names.map((name) => values.get(`${family}route_${name.split(':')[0]!}`) ?? ''),
    ...(router === undefined ? [] : [`default ${router}`]),
  ].map((text) => {
    // `-host A TARGET`, `-net A/P TARGET`, `A -prefixlen P TARGET` or `default TARGET`; TARGET is a gateway or a device.
    const [, host, destination = '', prefix, target = ''] =
      /^(?:(-host)|-net)? ?(\S+)(?: -prefixlen (\d+))? (.+)$/.exec(text) ?? [];
    const length = host === undefined ? prefix : String(bits(destination));
    const device = /^-interface (.+)$/.exec(target)?.[1];
    const [gateway = '', zone = null] = device === undefined ? target.split('%') : [];
    return {
      network: length === undefined ? destination : `${destination}/${length}`,
      gateway: gateway === '' ? null : gateway,
      device: device ?? zone,
    };
  });
}

function bits(address: string): number {
  return address.includes(':') ? 128 : 32;
}

function contains(network: string, address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const [parsed, length] = ipaddr.parseCIDR(network);
  const one = ipaddr.parse(address);
  return parsed.kind() === one.kind() && one.match(parsed, length);
}
