/** conf.d/net as doc/net.example of netifrc has it, and sysctl.d(5) for router advertisements. */
import { type Described, described } from '../describe.js';

export function readNetifrc(files: ReadonlyMap<string, string>): ReadonlyMap<string, Described> {
  const variables = new Map<string, readonly string[]>();
  // The script of net.eth0 sources conf.d/net and then conf.d/net.eth0.
  for (const path of [...files.keys()].filter((name) => /^\/etc\/conf\.d\/net(\.\w+)?$/.test(name)).sort()) {
    for (const [, key = '', value = ''] of (files.get(path) ?? '').matchAll(/^[ \t]*(\w+)="([^"]*)"/gm)) {
      variables.set(
        key,
        value.split('\n').flatMap((line) => line.trim() || []),
      );
    }
  }
  const kernel = files.get('/etc/sysctl.d/60-guestwire.conf') ?? '';
  const names = [...kernel.matchAll(/^net\.ipv6\.conf\.(\S+)\.accept_ra = [01]$/gm)].map(([, name = '']) => name);
  return new Map(
    names.map((name) => {
      const of = (variable: string): readonly string[] =>
        variables.get(`${variable}_${name.replace(/\W/g, '_')}`) ?? [];
      const config = of('config');
      const listens = kernel.includes(`net.ipv6.conf.${name}.accept_ra = 1`);
      const mtu = of('mtu')[0];
      return [
        name.replaceAll('/', '.'),
        described({
          addresses: config.filter((line) => /^[\d.]+\/\d+$|^[\da-f:]+\/\d+$/.test(line)),
          routes: of('routes').map((line) => line.replace(' onlink', '')),
          dns: of('dns_servers').flatMap((line) => line.split(' ')),
          ...(mtu === undefined ? {} : { mtu: Number(mtu) }),
          ...(config.includes('dhcp') || config.length === 0 ? { dhcp4: true } : {}),
          ...(config.includes('dhcpv6') ? { auto6: 'dhcp' } : listens ? { auto6: 'ra' } : {}),
        }),
      ];
    }),
  );
}
