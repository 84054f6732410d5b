/**
 * `/etc/systemd/network/*.network`, read by systemd-networkd: systemd.network(5).
 *
 * Of all files that match a device the first by name counts and the others do not, so ours, one an interface, overrides
 * what images and cloud-init bring (`10-` and later). A file that sorts before ours and names only our interfaces is
 * commented out; before any other one, ours goes by a name that sorts still earlier. What the file before had VLANs and
 * the like take from the device, ours says too. networkd reads its files as a user of its own: 0644 is mandatory. A route whose gateway it cannot reach it
 * silently waits for. To a gateway outside the subnets goes a route of its own, and no `GatewayOnLink`: systemd 252 takes
 * two routes that differ in that only for the same one, and after a change never sets the new one.
 */
import { AgentError } from '../../../api/errors.js';
import type { FileChange, Nic } from '../../../api/host.js';
import { type Setting, readSettings } from '../../formats/ini-file.js';
import { OWNER_FILES, networkdFile } from '../../owners/live.js';
import { type Taker, NETWORKD_FILES, dropInsOf, takersOf } from '../../owners/networkd.js';
import {
  type Action,
  type InterfaceConfig,
  type NetworkFacts,
  type Renderer,
  commentText,
  isTooSmallForIpv6,
  withChanges,
  writeExactly,
  writeIfChanged,
} from '../../plan.js';
import { TRUE, readNetworkd, sectionsOf } from '../../readers/networkd.js';
import { type PlannedRoute, destination, isSecondary, gatewayNetworks, routesOf } from '../../routes.js';
import { INIT_ASKS, mayStart, startFiles } from '../../units.js';

const DIRECTORY = '/etc/systemd/network/';
const OURS = '05-guestwire-';
/** The usual one, then those that sort earlier. */
const PREFIXES = [OURS, '00-guestwire-', '0-guestwire-', '!guestwire-'] as const;
/** Of `[Network]`: a device is put on top of ours, any number of each. */
const CHILDREN = ['VLAN', 'MACVLAN', 'MACVTAP', 'IPVLAN', 'IPVTAP', 'VXLAN', 'Tunnel', 'Xfrm', 'MACsec', 'IPoIB'];
/** Of `[Network]`: ours becomes a port of another device. */
const OWNERS = ['Bridge', 'Bond', 'BatmanAdvanced'] as const;
/** Of `[Network]`: others reach the network through the device. */
const FORWARDING = ['IPMasquerade', 'IPForward', 'IPv4Forwarding', 'IPv6Forwarding'];
/** Of `[Network]`: others get their addresses from the device, by what the sections beside it say. */
const SERVING = {
  DHCPServer: ['DHCPServer', 'DHCPServerStaticLease'],
  IPv6SendRA: ['IPv6SendRA', 'IPv6Prefix', 'IPv6RoutePrefix', 'IPv6PREF64Prefix'],
} as const;
/** What a drop-in of our own file may say without being in the way of what the host wants. */
const HARMLESS = [...CHILDREN, ...FORWARDING, 'VRF', 'Domains', 'NTP', 'LLDP', 'EmitLLDP', 'Description'];
const UNIT = 'systemd-networkd.service';
/** By `systemctl enable`, under its two names, and by the distribution itself. */
const ENABLED = [
  '/etc/systemd/system/multi-user.target.wants/systemd-networkd.service',
  '/etc/systemd/system/dbus-org.freedesktop.network1.service',
  '/etc/systemd/system/sockets.target.wants/systemd-networkd.socket',
  '/etc/systemd/system/network-online.target.wants/systemd-networkd-wait-online.service',
  '/run/systemd/system/multi-user.target.wants/systemd-networkd.service',
  '/usr/lib/systemd/system/multi-user.target.wants/systemd-networkd.service',
] as const;
const RETIRED = '#guestwire# ';
const HEAD = '# Written by guestwire; changes are lost.';
/** To ask who takes a device of which only a file of ours tells. */
const NO_DEVICE = { index: 0, driver: null, kind: null, master: null, up: false, mtu: 1500, physical: true };

export const networkd: Renderer = {
  name: 'networkd',
  looksFor: `systemd-networkd (enabled, or ${DIRECTORY}*.network)`,
  reads: [...NETWORKD_FILES, ...OWNER_FILES, ...startFiles(UNIT)],
  asks: [...ENABLED, ...INIT_ASKS],
  feeds: () => ['resolved'],

  detect(facts) {
    for (const { nic } of facts.interfaces) {
      const file = networkdFile(facts, nic);
      if (file !== null) return { rank: 'owner', why: `systemd-networkd configures ${nic.name} by ${file}` };
    }
    const enabled = ENABLED.find((path) => facts.present.has(path));
    if (enabled !== undefined) return { rank: 'enabled', why: `${enabled} is there` };
    // The program comes with systemd and says nothing; its files do not count either until it is started.
    const [file] = networkFiles(facts);
    return file === undefined ? null : { rank: 'present', why: `${file[0]} is there` };
  },

  starts: (facts) => mayStart(facts, UNIT, ENABLED),

  render(facts) {
    const { interfaces } = facts;
    const retired = retire(facts);
    const former = networkFiles(facts).filter(([path, text]) => isOurs(path) && !isMask(text));
    const bare = withChanges(facts, [...former.map(([path]) => ({ type: 'remove', path }) as const), ...retired]);
    const wanted = new Map(interfaces.map((config) => chosenFile(facts, bare, config)));
    const gone = former.filter(([path]) => !wanted.has(path)).flatMap((file) => partedFrom(facts, bare, file));
    const written = [...wanted].flatMap(([path, text]) => writeExactly(facts, path, text, 0o644));
    // Interfaces with a new, changed or removed file are taken up by the reload. To ask for them once more would flush
    // them while they are being set up, and systemd 252 then loses routes; the others may have been changed live.
    const kept = interfaces
      .map(({ nic }) => nic)
      .filter(({ name }) => !written.some(({ path }) => isOurs(path) && path.endsWith(`-${name}.network`)));
    const after = [
      run('networkctl', 'reload'),
      ...(kept.length === 0 ? [] : [run('networkctl', 'reconfigure', ...kept.map(({ name }) => name))]),
    ];
    return {
      before: [],
      files: [...gone, ...retired, ...written],
      after,
      restore: after,
    };
  },

  boot({ files, access }, nic) {
    return readNetworkd(takersOf(files, nic, access));
  },
};

function run(...argv: Extract<Action, { type: 'run' }>['argv']): Action {
  return { type: 'run', argv, onFailure: 'report' };
}

function networkFiles({ files }: NetworkFacts): readonly (readonly [path: string, text: string])[] {
  return [...files].filter(([path]) => path.startsWith(DIRECTORY) && path.endsWith('.network'));
}

function isOurs(path: string): boolean {
  return PREFIXES.some((prefix) => path.startsWith(DIRECTORY + prefix));
}

/** Path and text of the file of an interface. `bare`: the facts as they are without any of ours. */
function chosenFile(facts: NetworkFacts, bare: NetworkFacts, config: InterfaceConfig): readonly [string, string] {
  const { nic } = config;
  const takers = takersOf(facts.files, nic, facts.access);
  for (const { path, settings } of takers) assertNoPort(path, settings, nic);
  const children = childrenOf(takers.flatMap(({ settings }) => settings));
  const served = servedBy(takers, config);
  let rival = '';
  for (const prefix of PREFIXES) {
    const path = `${DIRECTORY}${prefix}${nic.name}.network`;
    if (isMask(facts.files.get(path))) {
      rival = path;
      continue;
    }
    const besides = dropInsOf(bare.files, path);
    const said = childrenOf(besides);
    const lines = children.filter((line) => !said.includes(line));
    const text = networkFile(config, facts.interfaces, [...lines, ...served.lines], served.sections);
    // The proof: networkd's own rules on the files as they will be.
    const access = new Map([...(bare.access ?? [])].filter(([one]) => one !== path));
    const [first] = takersOf(new Map(bare.files).set(path, text), nic, access);
    if (first?.path === path && first.match === 'yes' && besides.every(isHarmless)) return [path, text];
    rival = first === undefined || first.path === path ? `${path}.d` : first.path;
  }
  throw new AgentError('GW_NETWORK_IMPOSSIBLE', [
    'systemd-networkd',
    `a network for ${nic.name} that lasts: ${rival} stands in the way`,
  ]);
}

/**
 * A file of ours of which the host says nothing any more. It goes, unless somebody else's would then bring the device a
 * network: before that it stays, without one.
 */
function partedFrom(
  facts: NetworkFacts,
  bare: NetworkFacts,
  [path, text]: readonly [path: string, text: string],
): readonly FileChange[] {
  const settings = readSettings(text);
  const match = settings.filter(({ section: at }) => at === 'Match');
  const mac = match.find(({ key }) => key === 'MACAddress')?.value ?? '';
  const name = path.replace(/^.*guestwire-/, '').replace(/\.network$/, '');
  const nic = { ...NO_DEVICE, name, mac, permanentMac: mac === '' ? null : mac };
  // By another name it may be one that the host speaks of.
  const isWanted = facts.interfaces.some((config) => takersOf(new Map([[path, text]]), config.nic).length > 0);
  if (isWanted || takersOf(bare.files, nic, bare.access).length === 0) return [{ type: 'remove', path }];
  const sections = [
    section(
      'Match',
      match.map(({ key, value }) => `${key}=${value}`),
    ),
    section('Link', ['RequiredForOnline=no']),
    section('Network', ['DHCP=no', 'IPv6AcceptRA=no', 'LinkLocalAddressing=no', ...childrenOf(settings)]),
  ];
  return writeExactly(facts, path, `${HEAD}\n${sections.join('\n')}`, 0o644);
}

/** A link to /dev/null, by which somebody says that there is to be no file of this name. */
function isMask(text: string | undefined): boolean {
  return text === '';
}

function isHarmless({ section, key }: Setting): boolean {
  return section === 'Match' || (section === 'Network' && HARMLESS.includes(key));
}

function assertNoPort(path: string, settings: readonly Setting[], { name }: Nic): void {
  for (const key of OWNERS) {
    const owner = lastOf(settings, key);
    if (owner === '') continue;
    const what = `an address on ${name}, which ${path} makes a port of ${owner} (${key}=): it belongs on ${owner}`;
    throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['systemd-networkd', what]);
  }
}

/** What others need of the device, as lines of `[Network]`. */
function childrenOf(settings: readonly Setting[]): readonly string[] {
  const lines = settings
    .filter(({ section, key, value }) => section === 'Network' && CHILDREN.includes(key) && value !== '')
    .map(({ key, value }) => `${key}=${value}`);
  const vrf = lastOf(settings, 'VRF');
  return [...new Set([...lines, ...(vrf === '' ? [] : [`VRF=${vrf}`])])];
}

/**
 * What others need of the device to reach the network or to get an address, as lines of `[Network]` and whole sections.
 * Throws GW_NETWORK_IMPOSSIBLE where the old file has that set an address itself, or where ours has none to serve from.
 */
function servedBy(
  takers: readonly Pick<Taker, 'path' | 'settings' | 'match'>[],
  { nic, ipv4 }: InterfaceConfig,
): { readonly lines: readonly string[]; readonly sections: readonly string[] } {
  const lines = FORWARDING.flatMap((key) => {
    const value = takers.map(({ settings }) => lastOf(settings, key)).find((one) => one !== '');
    return value === undefined ? [] : [`${key}=${value}`];
  });
  const sections: string[] = [];
  const refuse = (path: string, what: string): never => {
    throw new AgentError('GW_NETWORK_IMPOSSIBLE', [
      'systemd-networkd',
      `${what} on ${nic.name}, as ${path} has it: change that first`,
    ]);
  };
  for (const [key, names] of Object.entries(SERVING)) {
    // What only may take the device has perhaps never served.
    const server = takers.findLast(({ match, settings }) => match === 'yes' && lastOf(settings, key) !== '');
    if (server === undefined || !TRUE.test(lastOf(server.settings, key))) continue;
    const { path, settings } = server;
    const own = settings.filter(({ section: at }) => names.some((name) => name === at));
    if (key === 'DHCPServer') {
      if (ipv4.length === 0) refuse(path, 'a DHCP server (DHCPServer=) without a fixed IPv4 address');
      const address = own.findLast((one) => one.key === 'ServerAddress')?.value ?? '';
      const isOurs = ipv4.some((one) => `${one.address}/${one.prefix}` === address);
      if (address !== '' && !isOurs) refuse(path, `a DHCP server with the address ${address} (ServerAddress=)`);
    }
    const assigning = own.find((one) => one.key === 'Assign' && TRUE.test(one.value));
    if (assigning !== undefined) refuse(path, 'an address of an announced prefix (Assign=)');
    lines.push(`${key}=yes`);
    for (const run of sectionsOf(own)) {
      const header = run[0]?.section ?? '';
      sections.push(
        section(
          header,
          run.map((one) => `${one.key}=${one.value}`),
        ),
      );
    }
  }
  return { lines, sections };
}

/** An empty value takes the ones before it back. */
function lastOf(settings: readonly Setting[], name: string): string {
  return settings.findLast(({ section, key }) => section === 'Network' && key === name)?.value ?? '';
}

/** Comments out what would win against our files and is about nothing else. */
function retire(facts: NetworkFacts): readonly FileChange[] {
  return networkFiles(facts)
    .filter(([path]) => path < DIRECTORY + OURS && !isOurs(path))
    .filter(([path, text]) => isOnlyAbout([...readSettings(text), ...dropInsOf(facts.files, path)], facts.interfaces))
    .flatMap(([path, text]) => {
      const lines = text
        .split('\n')
        .map((line) => (line.trim() === '' || /^\s*[#;]/.test(line) ? line : RETIRED + line));
      return writeIfChanged(facts, path, lines.join('\n'), 0o644);
    });
}

/** `settings`: of a file with its drop-ins, which may name other devices. */
function isOnlyAbout(settings: readonly Setting[], interfaces: readonly InterfaceConfig[]): boolean {
  const match = settings.filter(({ section }) => section === 'Match');
  const words = (...keys: readonly string[]): readonly string[] =>
    match
      .filter(({ key }) => keys.includes(key))
      .flatMap(({ value }) => value.split(/\s+/).filter((word) => word !== ''));
  const [names, macs] = [words('Name'), words('MACAddress', 'PermanentMACAddress')];
  return (
    names.length + macs.length > 0 &&
    names.every((name) => interfaces.some(({ nic }) => nic.name === name)) &&
    macs.every((mac) => interfaces.some(({ nic }) => nic.mac === mac.toLowerCase().replaceAll('-', ':')))
  );
}

function networkFile(
  config: InterfaceConfig,
  all: readonly InterfaceConfig[],
  children: readonly string[],
  served: readonly string[],
): string {
  const { nic, mtu, auto6 } = config;
  const routes = routesOf(config);
  const link = [
    ...(mtu === null ? [] : [`MTUBytes=${mtu}`]),
    ...(isSecondary(config, all) ? ['RequiredForOnline=no'] : []),
  ];
  const label = config.label === null ? '' : commentText(config.label);
  const sections = [
    section('Match', matches(nic)),
    ...(link.length === 0 ? [] : [section('Link', link)]),
    section('Network', [...network(config), ...children]),
    // Otherwise a router's advertisement would have to ask for it first.
    ...(auto6 === 'dhcp' ? [section('DHCPv6', ['WithoutRA=solicit'])] : []),
    ...([4, 6] as const)
      .flatMap((family) => gatewayNetworks(routes, family))
      .map((network) => section('Route', onLinkLines(network))),
    ...routes.map((route) => section('Route', routeLines(route))),
    ...served,
  ];
  const head = [HEAD, ...(label === '' ? [] : [`# Label ${label}`])];
  return `${head.join('\n')}\n${sections.join('\n')}`;
}

function section(name: string, lines: readonly string[]): string {
  return `[${name}]\n${lines.map((line) => `${line}\n`).join('')}`;
}

/** VLANs and bridges share the MAC of the device below them. */
function matches({ name, mac, permanentMac }: Nic): readonly string[] {
  return permanentMac === mac ? [`MACAddress=${mac}`, 'Type=ether'] : [`Name=${name}`];
}

function network(config: InterfaceConfig): readonly string[] {
  const { ipv4, ipv6, dhcp4, auto6, dns } = config;
  const dhcp6 = auto6 === 'dhcp';
  return [
    `DHCP=${dhcp4 && dhcp6 ? 'yes' : dhcp4 ? 'ipv4' : dhcp6 ? 'ipv6' : 'no'}`,
    `IPv6AcceptRA=${auto6 === null ? 'no' : 'yes'}`,
    `LinkLocalAddressing=${isTooSmallForIpv6(config) ? 'no' : 'ipv6'}`,
    ...[...ipv4, ...ipv6].map(({ address, prefix }) => `Address=${address}/${prefix}`),
    ...dns.map((server) => `DNS=${server}`),
  ];
}

function routeLines(route: PlannedRoute): readonly string[] {
  const { prefix, gateway, metric } = route;
  if (gateway === null) return [...onLinkLines(destination(route)), ...metricLines(metric)];
  // Of a default route the gateway tells the family.
  return [...(prefix === 0 ? [] : [`Destination=${destination(route)}`]), `Gateway=${gateway}`, ...metricLines(metric)];
}

/** Not every release gives a route of IPv4 this scope by itself; IPv6 has none. */
function onLinkLines(network: string): readonly string[] {
  return [`Destination=${network}`, ...(network.includes(':') ? [] : ['Scope=link'])];
}

function metricLines(metric: number | null): readonly string[] {
  return metric === null ? [] : [`Metric=${metric}`];
}
