/**
 * What systemd-networkd makes of systemd.network(5): the file that takes the device with its drop-ins. Settings add up
 * or override one another as config_parse_*() of its source has it; what a lease or an advertisement brings is not said.
 */
import type { Setting } from '../formats/ini-file.js';
import type { Taker } from '../owners/networkd.js';
import type { Boot } from '../plan.js';
import { BootBuilder } from './boot.js';

/** `takers`: in networkd's order, the one that takes the device for certain last. Null when nothing does. */
export function readNetworkd(takers: readonly Taker[]): Boot | null {
  const possible = takers.flatMap((taker) => {
    const boots = bootsOf(taker);
    return boots.map((boot, index) => ({ boot, isCertain: taker.match === 'yes' && index === boots.length - 1 }));
  });
  return possible.reduceRight<Boot | null>(
    (next, { boot, isCertain }) => (isCertain ? boot : { ...boot, or: next }),
    null,
  );
}

/** systemd 252 does not know yet that an empty `Address=` or `Gateway=` takes back what came before it. */
function bootsOf(taker: Taker): readonly Boot[] {
  const isTakenBack = taker.settings.some(({ section, key, value }) => {
    return section === 'Network' && /^(Address|Gateway)$/.test(key) && value === '';
  });
  return isTakenBack ? [bootOf(taker, true), bootOf(taker, false)] : [bootOf(taker, true)];
}

function bootOf({ path, dropIns, settings }: Taker, takesBack: boolean): Boot {
  const by = [path, ...dropIns].join(', ');
  const boot = new BootBuilder();
  // What stands on a port is no way into the machine.
  const isPort = ['Bridge', 'Bond', 'BatmanAdvanced'].some((key) => valueOf(settings, ['Network'], [key]) !== '');
  if (isPort || !isBroughtUp(settings)) return boot.done(by);
  const { addresses, routes } = staticOf(settings, takesBack);
  for (const address of addresses) boot.addAddress(address);
  for (const { to, gateway, metric } of routes) boot.addRoute(to, gateway, metric);
  if (isTrue(settings, 'Network', 'DefaultRouteOnDevice')) boot.addRoute('0.0.0.0/0', null);
  const families = dhcpFamilies(settings);
  boot.dhcp4 = families.includes(4);
  boot.auto6 = auto6Of(settings, families.includes(6));
  const mtu = valueOf(settings, ['Link'], ['MTUBytes']);
  boot.mtu = mtu === '' ? null : bytesOf(mtu);
  return boot.done(by);
}

function isBroughtUp(settings: readonly Setting[]): boolean {
  const policy = valueOf(settings, ['Link'], ['ActivationPolicy']);
  return !isTrue(settings, 'Link', 'Unmanaged') && !/^(manual|down|always-down)$/.test(policy);
}

interface StaticRoute {
  readonly to: string;
  readonly gateway: string | null;
  readonly metric: number | null;
}

/** What an empty value of `[Network]` takes back is of other sections, too. */
function staticOf(
  settings: readonly Setting[],
  takesBack: boolean,
): {
  readonly addresses: readonly string[];
  readonly routes: readonly StaticRoute[];
} {
  let addresses: string[] = [];
  let routes: StaticRoute[] = [];
  for (const section of sectionsOf(settings)) {
    switch (section[0]?.section ?? '') {
      case 'Network':
        for (const { key, value } of section) {
          if (value === '' && !takesBack) continue;
          if (key === 'Address') addresses = value === '' ? [] : [...addresses, value];
          if (key === 'Gateway')
            routes = value === '' ? [] : [...routes, { to: 'default', gateway: value, metric: null }];
        }
        break;
      case 'Address': {
        // The prefix is that of the peer, where there is one.
        const own = valueOf(section, ['Address'], ['Address']);
        const length = valueOf(section, ['Address'], ['Peer']).split('/')[1];
        if (own !== '') addresses.push(length === undefined ? own : `${own.split('/', 1)[0] ?? ''}/${length}`);
        break;
      }
      case 'Route':
        routes.push(...routesOf(section));
        break;
      default:
    }
  }
  return { addresses, routes };
}

/** Of one `[Route]` section, as far as it leads somewhere and stands in the main table. */
function routesOf(section: readonly Setting[]): readonly StaticRoute[] {
  const of = (key: string): string => valueOf(section, ['Route'], [key]);
  if (!/^(|main|254)$/.test(of('Table')) || !/^(|unicast)$/.test(of('Type'))) return [];
  const metric = of('Metric') === '' ? null : Number(of('Metric'));
  const to = of('Destination');
  const hops = section.flatMap(({ key, value }) => {
    const [, hop] = /^([^\s@]+)/.exec(value) ?? [];
    return key === 'MultiPathRoute' && hop !== undefined ? [hop] : [];
  });
  const gateways = of('Gateway') === '' ? hops : [of('Gateway'), ...hops];
  if (gateways.length > 0) return gateways.map((gateway) => ({ to: to === '' ? 'default' : to, gateway, metric }));
  return to === '' ? [] : [{ to, gateway: null, metric }];
}

function dhcpFamilies(settings: readonly Setting[]): readonly (4 | 6)[] {
  const value = valueOf(settings, ['Network'], ['DHCP']);
  if (/^(ipv4|v4)$/.test(value)) return [4];
  if (/^(ipv6|v6)$/.test(value)) return [6];
  return value === 'both' || TRUE.test(value) ? [4, 6] : [];
}

/**
 * Without `WithoutRA=` a DHCPv6 client waits for an advertisement that asks for it, whatever `DHCP=` says. Both need a
 * link-local address.
 */
function auto6Of(settings: readonly Setting[], isDhcp: boolean): Boot['auto6'] {
  const port = valueOf(settings, ['Network'], ['Bridge', 'Bond']);
  const linkLocal = valueOf(settings, ['Network'], ['LinkLocalAddressing']);
  if (/^(ipv4|ipv4-fallback)$/.test(linkLocal) || FALSE.test(linkLocal) || (linkLocal === '' && port !== ''))
    return null;
  const solicits = isDhcp && valueOf(settings, ['DHCPv6'], ['WithoutRA']) === 'solicit';
  const asked = valueOf(settings, ['Network'], ['IPv6AcceptRA', 'IPv6AcceptRouterAdvertisements']);
  const listens = asked === '' ? port === '' && !isRouter(settings) : TRUE.test(asked);
  if (solicits) return 'dhcp';
  if (!listens) return null;
  const client = !FALSE.test(valueOf(settings, RA, ['DHCPv6Client']));
  const autonomous = !FALSE.test(valueOf(settings, RA, ['UseAutonomousPrefix']));
  return autonomous ? (client ? 'either' : 'ra') : client ? 'dhcp' : null;
}

/** Its old name stood for `[Network]`'s key. */
const RA = ['IPv6AcceptRA', 'IPv6AcceptRouterAdvertisements'];

/** A router does not listen to others unless it is told to. */
function isRouter(settings: readonly Setting[]): boolean {
  const forwarding = valueOf(settings, ['Network'], ['IPForward', 'IPv6Forwarding']);
  const masquerade = valueOf(settings, ['Network'], ['IPMasquerade']);
  return forwarding === 'ipv6' || TRUE.test(forwarding) || /^(ipv6|both)$/.test(masquerade);
}

/** Runs of settings below one header; a drop-in starts anew. */
export function sectionsOf(settings: readonly Setting[]): readonly (readonly Setting[])[] {
  const sections: Setting[][] = [];
  let last: Setting | undefined;
  for (const setting of settings) {
    const goesOn = last?.header === setting.header && setting.line > last.line;
    if (goesOn) sections.at(-1)?.push(setting);
    else sections.push([setting]);
    last = setting;
  }
  return sections;
}

export const TRUE = /^(1|y|yes|t|true|on)$/i;
const FALSE = /^(0|n|no|f|false|off)$/i;

function isTrue(settings: readonly Setting[], section: string, key: string): boolean {
  return TRUE.test(valueOf(settings, [section], [key]));
}

/** The last one; empty where none is said, or where it was taken back. */
function valueOf(settings: readonly Setting[], sections: readonly string[], keys: readonly string[]): string {
  return settings.findLast(({ section, key }) => sections.includes(section) && keys.includes(key))?.value ?? '';
}

/** `9K` is 9216. */
function bytesOf(text: string): number | null {
  const [, number, unit = ''] = /^(\d+)([KMG]?)$/.exec(text) ?? [];
  return number === undefined ? null : Number(number) * 1024 ** ' KMG'.indexOf(unit || ' ');
}
