/** interfaces(5), as far as the stanzas of the methods static, dhcp and manual go, and the `ip` commands in them. */
import ipaddr from 'ipaddr.js';
import { type Described, described } from '../describe.js';

export function readIfupdown(files: ReadonlyMap<string, string>): ReadonlyMap<string, Described> {
  const found = new Map<string, { -readonly [Key in keyof Described]: Described[Key] }>();
  const lines = (files.get('/etc/network/interfaces') ?? '').split('\n').map((line) => line.trim());
  let name = '';
  let family = '';
  let address = '';
  for (const line of lines.filter((text) => text !== '' && !text.startsWith('#'))) {
    const words = line.split(/\s+/);
    const [key = '', first = '', second = '', third = ''] = words;
    if (key === 'iface') {
      [name, family] = [first, second];
      if (!found.has(name)) found.set(name, { addresses: [], routes: [] });
      const one = found.get(name)!;
      if (third === 'dhcp' && family === 'inet') one.dhcp4 = true;
      if (third === 'dhcp' && family === 'inet6') one.auto6 = 'dhcp';
      continue;
    }
    const one = found.get(name);
    if (one === undefined) continue;
    const add = (text: string): void => void (one.addresses = [...one.addresses, text]);
    const route = (text: string): void => void (one.routes = [...one.routes, text]);
    if (key === 'address') address = first;
    else if (key === 'netmask') add(`${address}/${family === 'inet' ? maskLength(first) : first}`);
    else if (key === 'gateway') route(`default via ${first}`);
    else if (key === 'dns-nameservers') one.dns = words.slice(1);
    else if (/^pre-up echo 1 > .*\/accept_ra /.test(line)) one.auto6 ??= 'ra';
    else if (line.startsWith('pre-up ip link set')) one.mtu = Number(/ mtu (\d+)/.exec(line)?.[1]);
    else if (/^post-up ip -[46] addr add/.test(line)) add(words[5] ?? '');
    else if (/^post-up ip -[46] route replace/.test(line)) {
      const text =
        /replace (.*) \|\| true$/
          .exec(line)?.[1]
          ?.replace(/ dev \S+/, '')
          .replace(' scope link', '') ?? '';
      // The way to a gateway outside the subnets is no route that anybody asked for.
      if (/\/(32|128)$/.test(text) && lines.some((other) => other.includes(` via ${text.split('/', 1)[0]!} `)))
        continue;
      route(text);
    }
  }
  return new Map([...found].map(([iface, one]) => [iface, described(one)]));
}

function maskLength(mask: string): number {
  return ipaddr.parse(mask).prefixLengthFromSubnetMask() ?? -1;
}
