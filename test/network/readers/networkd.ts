/** systemd.network(5): the sections Match, Link, Network, Address and Route. */
import { type Described, described } from '../describe.js';
import { ETH0, ETH1 } from '../inputs.js';

interface Section {
  readonly name: string;
  readonly values: Map<string, string[]>;
}

export function readNetworkd(files: ReadonlyMap<string, string>): ReadonlyMap<string, Described> {
  const found = new Map<string, Described>();
  const paths = [...files.keys()].filter((path) => /^\/etc\/systemd\/network\/.*\.network$/.test(path));
  for (const path of paths.sort()) {
    const sections = sectionsOf(files.get(path) ?? '');
    const match = sections.filter(({ name }) => name === 'Match');
    if (match.length === 0) continue;
    for (const nic of [ETH0, ETH1]) {
      const names = match.flatMap(({ values }) => values.get('Name') ?? []);
      const macs = match.flatMap(({ values }) => values.get('MACAddress') ?? []);
      const isMatch = names.every((name) => name === nic.name) && macs.every((mac) => mac.toLowerCase() === nic.mac);
      // The first file that matches is the only one.
      if (isMatch && !found.has(nic.name)) found.set(nic.name, described(interpret(sections)));
    }
  }
  return found;
}

function sectionsOf(text: string): readonly Section[] {
  const sections: Section[] = [];
  for (const line of text.split('\n')) {
    if (line.trim() === '' || /^[#;]/.test(line)) continue;
    const header = /^\[(\w+)\]$/.exec(line);
    if (header !== null) sections.push({ name: header[1]!, values: new Map() });
    else {
      const [key = '', ...value] = line.split('=');
      const { values } = sections.at(-1)!;
      values.set(key, [...(values.get(key) ?? []), value.join('=')]);
    }
  }
  return sections;
}

function interpret(sections: readonly Section[]): Described {
  const all = (section: string, key: string): readonly string[] =>
    sections.filter(({ name }) => name === section).flatMap(({ values }) => values.get(key) ?? []);
  const dhcp = all('Network', 'DHCP').at(-1) ?? 'no';
  const [mtu] = all('Link', 'MTUBytes');
  const gateways = all('Route', 'Gateway');
  const routes = sections
    .filter(({ name }) => name === 'Route')
    .flatMap(({ values }) => {
      const one = (key: string): string | undefined => values.get(key)?.at(-1);
      const [to, via, metric] = [one('Destination') ?? 'default', one('Gateway'), one('Metric')];
      // The way to a gateway outside the subnets is no route that anybody asked for.
      if (via === undefined && /\/(32|128)$/.test(to) && gateways.includes(to.split('/')[0]!)) return [];
      return [`${to}${via === undefined ? '' : ` via ${via}`}${metric === undefined ? '' : ` metric ${metric}`}`];
    });
  return {
    addresses: [...all('Network', 'Address'), ...all('Address', 'Address')],
    routes,
    dns: all('Network', 'DNS'),
    ...(mtu === undefined ? {} : { mtu: Number(mtu) }),
    ...(/^(yes|ipv4)$/.test(dhcp) ? { dhcp4: true } : {}),
    ...(/^(yes|ipv6)$/.test(dhcp)
      ? { auto6: 'dhcp' }
      : all('Network', 'IPv6AcceptRA').at(-1) === 'no'
        ? {}
        : { auto6: 'ra' }),
  };
}
