/**
 * The initscripts' sysconfig.txt: `ifcfg-*`, `route-*` and `route6-*` as ifup-eth, ifup-ipv6, ifup-post and ifup-routes
 * take them. What these would drop in silence is not there: a gateway outside the first address's network, an address
 * after a gap, the keys of IPv6 behind `IPV6INIT=no`.
 */
import { BlockList, isIPv4 } from 'node:net';
import { type Described, described } from '../describe.js';

const DIRECTORY = '/etc/sysconfig/network-scripts/';

type Keys = ReadonlyMap<string, string>;

export function readIfcfg(files: ReadonlyMap<string, string>): ReadonlyMap<string, Described> {
  const shared = assignments(files.get('/etc/sysconfig/network') ?? '');
  const found = new Map<string, Described>();
  for (const [path, text] of files) {
    const file = /^\/etc\/sysconfig\/network-scripts\/ifcfg-(.*)$/.exec(path)?.[1];
    if (file === undefined || file === 'lo' || /(~|\.bak|\.old|\.orig|\.rpm(new|orig|save))$/.test(file)) continue;
    // Each script reads the file for all interfaces first.
    const keys = new Map([...shared, ...assignments(text)]);
    const name = keys.get('DEVICE') ?? file;
    if (isNo(keys, 'ONBOOT')) continue;
    if (found.has(name)) throw new Error(`two files for ${name}`);
    found.set(name, described(interpret(name, keys, routesIn(files, name))));
  }
  return found;
}

function assignments(text: string): Keys {
  const pairs = text.split('\n').flatMap((line) => {
    const match = /^\s*(\w+)=(?:"([^"]*)"|'([^']*)'|(\S*))/.exec(line);
    return match === null ? [] : [[match[1] ?? '', match[2] ?? match[3] ?? match[4] ?? ''] as const];
  });
  return new Map(pairs);
}

function isNo(keys: Keys, key: string): boolean {
  return /^(no|n|false|f|off|0)$/i.test(keys.get(key) ?? '');
}

function isYes(keys: Keys, key: string): boolean {
  return /^(yes|y|true|t|on|1)$/i.test(keys.get(key) ?? '');
}

function interpret(name: string, keys: Keys, routes: readonly string[]): Described {
  const get = (key: string): string => keys.get(key) ?? '';
  const dhcp4 = ['dhcp', 'bootp'].includes(get('BOOTPROTO'));
  const v4 = dhcp4 ? [] : addresses4(keys);
  const v6 = isNo(keys, 'IPV6INIT')
    ? []
    : [get('IPV6ADDR'), ...get('IPV6ADDR_SECONDARIES').split(/\s+/)].filter(Boolean);
  const gateway = get('GATEWAY');
  const reached = v4[0] !== undefined && gateway !== '' && covers(v4[0], gateway) && !isNo(keys, 'DEFROUTE');
  const [gateway6 = '', scope = name] = isNo(keys, 'IPV6INIT') ? [] : get('IPV6_DEFAULTGW').split('%');
  const byKernel = isNo(keys, 'IPV6INIT') || !isNo(keys, 'IPV6_AUTOCONF');
  const listens = byKernel || isYes(keys, 'IPV6_FORCE_ACCEPT_RA');
  const dhcp6 = isYes(keys, 'DHCPV6C');
  if (dhcp6 && !listens) throw new Error('DHCPv6 gives no routes');
  const auto6 = dhcp6 ? ({ auto6: 'dhcp' } as const) : listens ? ({ auto6: 'ra' } as const) : {};
  return {
    addresses: [...v4, ...v6],
    routes: [
      ...(reached ? [`default via ${gateway}`] : []),
      ...(gateway6 !== '' && scope === name ? [`default via ${gateway6}`] : []),
      ...routes,
    ],
    dns: ['DNS1', 'DNS2', 'DNS3'].map(get).filter(Boolean),
    ...(get('MTU') === '' ? {} : { mtu: Number(get('MTU')) }),
    ...(dhcp4 ? { dhcp4 } : {}),
    ...auto6,
  };
}

/** expand_config: without a number, 0, 1, and from 2 on up to the first gap. */
function addresses4(keys: Keys): readonly string[] {
  const found: string[] = [];
  for (const suffix of ['', ...Array.from({ length: 256 }, (_, index) => String(index))]) {
    const address = keys.get(`IPADDR${suffix}`) ?? '';
    if (address !== '') found.push(`${address}/${keys.get(`PREFIX${suffix}`) ?? ''}`);
    else if (Number(suffix) >= 2) break;
  }
  return found;
}

function covers(network: string, address: string): boolean {
  const [own = '', prefix] = network.split('/');
  const list = new BlockList();
  list.addSubnet(own, Number(prefix), isIPv4(own) ? 'ipv4' : 'ipv6');
  return list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
}

/** `ip route add` takes each line; a route to a gateway only opens the way to it. */
function routesIn(files: ReadonlyMap<string, string>, name: string): readonly string[] {
  const lines = ['route', 'route6'].flatMap((kind) => (files.get(`${DIRECTORY}${kind}-${name}`) ?? '').split('\n'));
  const routes = lines
    .filter((line) => !/^\s*(#.*)?$/.test(line))
    .map((line) => line.replace(` dev ${name}`, '').replace(' scope link', ''));
  const gateways = routes.map((route) => / via (\S+)/.exec(route)?.[1]);
  return routes.filter((route) => !gateways.some((gateway) => route === `${gateway}/32` || route === `${gateway}/128`));
}
