/** rc.inet1.conf(5) of Slackware 15 and of 14.2, and the `ip` commands of /etc/rc.d/rc.local. */
import ipaddr from 'ipaddr.js';
import { type Described, described } from '../describe.js';

export function readSlackware(files: ReadonlyMap<string, string>): ReadonlyMap<string, Described> {
  const values = new Map<string, string>();
  for (const [, key = '', value = ''] of (files.get('/etc/rc.d/rc.inet1.conf') ?? '').matchAll(
    /(?:^|;)[ \t]*(\w+(?:\[\d+\])?)=["']?([^"'\n#;]*)/gm,
  )) {
    values.set(key, value.trim());
  }
  const commands = (files.get('/etc/rc.d/rc.local') ?? '').split('\n').filter((line) => !line.startsWith('#'));
  const limit = Number(values.get('MAXNICS') ?? 6);
  const found = new Map<string, Described>();
  for (let index = 0; index < limit; index++) {
    const of = (key: string): string => values.get(`${key}[${index}]`) ?? '';
    const name = of('IFNAME') || `eth${index}`;
    // if_up() of rc.inet1 takes the first index of a name.
    if (!found.has(name)) found.set(name, interfaceOf(name, of, commands));
  }
  const gateways = ['GATEWAY', 'GATEWAY6'].map((key) => values.get(key) ?? '').filter((gateway) => gateway !== '');
  return new Map(
    [...found].map(([name, one]) => {
      const reached = gateways.filter((gateway) => one.addresses.some((address) => contains(address, gateway)));
      return [
        name,
        described({ ...one, routes: [...one.routes, ...reached.map((gateway) => `default via ${gateway}`)] }),
      ];
    }),
  );
}

function interfaceOf(name: string, of: (key: string) => string, commands: readonly string[]): Described {
  const own = commands.filter((line) => ` ${line} `.includes(` dev ${name} `)).map((line) => line.split(' '));
  const added = own.filter((words) => words[2] === 'addr' && words[3] === 'replace').map((words) => words[4]!);
  const routes = own
    .filter((words) => words[2] === 'route' && words[3] === 'replace')
    .map((words) => words.slice(4).join(' ').replace(` dev ${name}`, '').replace(' onlink', ''));
  const dynamic = ['USE_DHCP', 'USE_DHCP6', 'USE_SLAAC'].some((key) => of(key) === 'yes');
  const single = of('IPADDR') === '' || dynamic ? '' : `${of('IPADDR')}/${maskLength(of('NETMASK'))}`;
  const addresses = [...of('IPADDRS').split(' '), single, ...of('IP6ADDRS').split(' '), ...added].filter(
    (one) => one !== '',
  );
  const listens = commands.includes(`echo 1 > /proc/sys/net/ipv6/conf/${name}/accept_ra`);
  const mtu =
    of('MTU') ||
    own
      .find((words) => words[1] === 'link')
      ?.join(' ')
      .match(/ mtu (\d+)/)?.[1];
  return {
    addresses: [...addresses].sort((a, b) => Number(a.includes(':')) - Number(b.includes(':'))),
    // The way to a gateway outside the subnets is no route that anybody asked for.
    routes: routes.filter(
      (route) =>
        route.includes(' via ') ||
        !routes.some((other) => `${other} `.includes(` via ${route.replace(/\/(32|128)$/, '')} `)),
    ),
    ...(mtu === undefined || mtu === '' ? {} : { mtu: Number(mtu) }),
    ...(of('USE_DHCP') === 'yes' ? { dhcp4: true } : {}),
    ...(of('USE_DHCP6') === 'yes' ? { auto6: 'dhcp' } : of('USE_SLAAC') === 'yes' || listens ? { auto6: 'ra' } : {}),
  };
}

function maskLength(mask: string): number {
  return /^\d+$/.test(mask) ? Number(mask) : (ipaddr.parse(mask).prefixLengthFromSubnetMask() ?? -1);
}

function contains(network: string, address: string): boolean {
  const [parsed, length] = ipaddr.parseCIDR(network);
  const one = ipaddr.parse(address);
  return parsed.kind() === one.kind() && one.match(parsed, length);
}
