/** netctl.profile(5); of the profiles of an interface, the one that is not disabled: ours. */
import { type Described, described } from '../describe.js';

export function readNetctl(files: ReadonlyMap<string, string>): ReadonlyMap<string, Described> {
  const profiles = [...files].filter(([path]) => /^\/etc\/netctl\/guestwire-[^/]+$/.test(path));
  return new Map(profiles.map(([, text]) => interpret(text)));
}

function interpret(text: string): [string, Described] {
  const value = (key: string): string => new RegExp(`^${key}=(.*)$`, 'm').exec(text)?.[1] ?? '';
  const list = (key: string): readonly string[] => [...value(key).matchAll(/'([^']*)'/g)].map(([, one = '']) => one);
  const [ip, ip6] = [value('IP'), value('IP6')];
  const gateways = [
    ip === 'static' ? value('Gateway') : '',
    ip6 === 'static' || ip6 === 'stateless' ? value('Gateway6') : '',
  ];
  const routes = [...(ip === 'no' ? [] : list('Routes')), ...list('Routes6')];
  const mtu = / mtu (\d+)/.exec(value('ExecUpPost'))?.[1];
  return [
    value('Interface'),
    described({
      addresses: [
        ...(ip === 'static' ? list('Address') : []),
        ...(ip6 === 'static' || ip6 === 'stateless' ? list('Address6') : []),
      ],
      routes: [
        ...gateways.filter((gateway) => gateway !== '').map((gateway) => `default via ${gateway}`),
        ...routes.map((route) => route.replace(' onlink', '')),
      ],
      dns: list('DNS'),
      ...(mtu === undefined ? {} : { mtu: Number(mtu) }),
      ...(ip === 'dhcp' ? { dhcp4: true } : {}),
      ...(ip6 === 'dhcp' ? { auto6: 'dhcp' } : ip6 === 'stateless' || ip6 === '' ? { auto6: 'ra' } : {}),
    }),
  ];
}
