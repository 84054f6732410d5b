/** nm-settings-keyfile(5), of profiles that are activated by themselves. */
import { type Described, described } from '../describe.js';
import { ETH0, ETH1 } from '../inputs.js';

type Profile = ReadonlyMap<string, string>;

export function readNetworkManager(files: ReadonlyMap<string, string>): ReadonlyMap<string, Described> {
  const best = new Map<string, Profile>();
  const priority = (profile: Profile): number => Number(profile.get('connection.autoconnect-priority') ?? 0);
  for (const [path, text] of files) {
    if (!path.startsWith('/etc/NetworkManager/system-connections/')) continue;
    const profile = valuesOf(text);
    if (profile.get('connection.type') !== 'ethernet' || profile.get('connection.autoconnect') === 'false') continue;
    for (const nic of [ETH0, ETH1]) {
      const name = profile.get('connection.interface-name') ?? nic.name;
      const mac = profile.get('ethernet.mac-address')?.toLowerCase() ?? nic.mac;
      if (name !== nic.name || mac !== nic.mac) continue;
      const other = best.get(nic.name);
      if (other === undefined || priority(other) < priority(profile)) best.set(nic.name, profile);
    }
  }
  return new Map([...best].map(([name, profile]) => [name, described(interpret(profile))]));
}

/** By `section.key`. */
function valuesOf(text: string): Profile {
  const values = new Map<string, string>();
  let section = '';
  for (const line of text.split('\n').filter((one) => one !== '' && !one.startsWith('#'))) {
    const header = /^\[(.*)\]$/.exec(line);
    if (header !== null) section = header[1]!;
    else values.set(`${section}.${line.slice(0, line.indexOf('='))}`, line.slice(line.indexOf('=') + 1));
  }
  return values;
}

function interpret(profile: Profile): Described {
  const [v4, v6] = [readFamily(profile, 'ipv4'), readFamily(profile, 'ipv6')];
  const mtu = profile.get('ethernet.mtu');
  return {
    addresses: [...v4.addresses, ...v6.addresses],
    routes: [...v4.routes, ...v6.routes],
    dns: [...v4.dns, ...v6.dns],
    ...(mtu === undefined ? {} : { mtu: Number(mtu) }),
    ...(profile.get('ipv4.method') === 'auto' ? { dhcp4: true } : {}),
    // DHCPv6 is asked for by the router, not by the profile.
    ...(profile.get('ipv6.method') === 'auto' ? { auto6: 'ra' } : {}),
  };
}

function readFamily(
  profile: Profile,
  family: 'ipv4' | 'ipv6',
): Pick<Described, 'addresses' | 'routes'> & { dns: string[] } {
  const numbered = (key: string): readonly string[] => {
    const found: string[] = [];
    for (let at = 1; profile.has(`${family}.${key}${at}`); at++) found.push(profile.get(`${family}.${key}${at}`)!);
    return found;
  };
  const gateway = profile.get(`${family}.gateway`);
  const routes = numbered('route').map((text) => text.split(','));
  const vias = routes.map(([, via]) => via);
  return {
    addresses: numbered('address'),
    routes: [
      ...(gateway === undefined ? [] : [`default via ${gateway}`]),
      ...routes
        // The way to a gateway outside the subnets is no route that anybody asked for.
        .filter(([to = '', via]) => via !== undefined || !/\/(32|128)$/.test(to) || !vias.includes(to.split('/')[0]))
        .map(([to = '', via, metric]) => {
          const next = via === undefined || via === '0.0.0.0' || via === '::' ? '' : ` via ${via}`;
          return `${to.endsWith('/0') ? 'default' : to}${next}${metric === undefined ? '' : ` metric ${metric}`}`;
        }),
    ],
    dns: (profile.get(`${family}.dns`) ?? '').split(';').filter((server) => server !== ''),
  };
}
