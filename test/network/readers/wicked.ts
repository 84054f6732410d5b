/** ifcfg(5), ifroute(5), routes(5) and ifsysctl(5) of wicked. */
import { BlockList, isIP, isIPv4 } from 'node:net';
import { type Described, described } from '../describe.js';

const DIRECTORY = '/etc/sysconfig/network/';
const IGNORED = /(~|\.old|\.bak|\.orig|\.scpmbackup|\.rpmnew|\.rpmsave|\.rpmorig)$/;

export function readWicked(files: ReadonlyMap<string, string>): ReadonlyMap<string, Described> {
  const servers = variables(files.get(`${DIRECTORY}config`) ?? '').get('NETCONFIG_DNS_STATIC_SERVERS') ?? '';
  const found = new Map<string, Described>();
  for (const [path, text] of files) {
    const name = path.startsWith(`${DIRECTORY}ifcfg-`) ? path.slice(`${DIRECTORY}ifcfg-`.length) : 'lo';
    if (name === 'lo' || IGNORED.test(name)) continue;
    const keys = variables(text);
    if (['off', 'manual', undefined].includes(keys.get('STARTMODE'))) continue;
    const dns = servers.split(/\s+/).filter(Boolean);
    const config = { ...interpret(keys), ...kernel(files, name) };
    found.set(name, described({ ...config, routes: routesOf(files, name, config.addresses), dns }));
  }
  return found;
}

/** Lines that are no plain assignment are passed over; a shell is not involved. */
function variables(text: string): ReadonlyMap<string, string> {
  const pairs = text.split('\n').flatMap((line) => {
    const match = /^\s*([A-Za-z]\w*)=(?:'([^']*)'|"([^"]*)"|(\S*))/.exec(line);
    return match === null ? [] : [[match[1] ?? '', match[2] ?? match[3] ?? match[4] ?? ''] as const];
  });
  return new Map(pairs);
}

function interpret(keys: ReadonlyMap<string, string>): Described {
  const protocols = (keys.get('BOOTPROTO') ?? 'static').split('+');
  if (protocols.includes('none')) return { addresses: [], routes: [] };
  const mtu = keys.get('MTU');
  return {
    // Any suffix, in the order of the file.
    addresses: [...keys].filter(([key]) => key.startsWith('IPADDR')).map(([, value]) => value),
    routes: [],
    ...(mtu === undefined ? {} : { mtu: Number(mtu) }),
    ...(protocols.includes('dhcp') || protocols.includes('dhcp4') ? { dhcp4: true } : {}),
    ...(protocols.includes('dhcp') || protocols.includes('dhcp6') ? { auto6: 'dhcp' } : {}),
  };
}

/** What the kernel does of itself; a DHCPv6 client without advertisements would have no routes. */
function kernel(files: ReadonlyMap<string, string>, name: string): Pick<Described, 'auto6'> {
  const set = new Map(
    (files.get(`${DIRECTORY}ifsysctl-${name}`) ?? '')
      .split('\n')
      .filter((line) => !line.trimStart().startsWith('#'))
      .map(
        (line) =>
          line
            .replace('$INTERFACE', name)
            .replaceAll('/', '.')
            .split(/\s*=\s*/) as [string, string],
      ),
  );
  const get = (key: string): string => set.get(`net.ipv6.conf.${name}.${key}`)?.trim() ?? '1';
  if (get('accept_ra') === '0') return {};
  return get('autoconf') === '0' ? { auto6: 'dhcp' } : { auto6: 'ra' };
}

function covers(network: string, address: string): boolean {
  const [own = '', prefix] = network.split('/');
  const list = new BlockList();
  list.addSubnet(own, Number(prefix), isIPv4(own) ? 'ipv4' : 'ipv6');
  return list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
}

function routesOf(files: ReadonlyMap<string, string>, name: string, addresses: readonly string[]): readonly string[] {
  const read = (file: string): readonly (readonly string[])[] =>
    (files.get(DIRECTORY + file) ?? '')
      .replaceAll('\\\n', '')
      .split('\n')
      .map((line) => line.replace(/#.*/, '').trim().split(/\s+/))
      .filter(([first]) => first !== '');
  const own = read(`ifroute-${name}`);
  // A line without a name is for the interface whose subnet holds the gateway.
  const shared = read('routes').filter(([, via = '-', , device = '-']) =>
    device === '-' ? isIP(via) > 0 && addresses.some((own) => covers(own, via)) : device === name,
  );
  return [...own, ...shared]
    .filter(([target = '', via = '-', , , ...options]) => {
      // The way to a gateway outside the subnets is no route that anybody asked for.
      const opens = own.some(([, gateway = '-']) => target === `${gateway}/32` || target === `${gateway}/128`);
      return !(opens && via === '-' && options.length === 0);
    })
    .map(([target = '', via = '-', , , ...options]) => {
      return `${target}${via === '-' ? '' : ` via ${via}`}${options.length === 0 ? '' : ` ${options.join(' ')}`}`;
    });
}
