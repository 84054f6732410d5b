/**
 * `/etc/systemd/network/*.network`, read by systemd-networkd: systemd.network(5).
 *
 * Of all files that match a device the first by name counts and the others do not, so ours, one an interface, overrides
 * what images and cloud-init bring (`10-` and later). A file that sorts before ours and names only our interfaces is
 * commented out. networkd reads its files as a user of its own: 0644 is mandatory. A route whose gateway it cannot reach it
 * silently waits for. To a gateway outside the subnets goes a route of its own, and no `GatewayOnLink`: systemd 252 takes
 * two routes that differ in that only for the same one, and after a change never sets the new one.
 */
import { AgentError } from '../../api/errors.js';
import type { FileChange, Nic } from '../../api/host.js';
import { readSettings } from '../ini-file.js';
import { OWNER_FILES, networkdFile } from '../owners.js';
import {
  type Action,
  type InterfaceConfig,
  type NetworkFacts,
  type Renderer,
  commentText,
  withChanges,
  writeIfChanged,
} from '../plan.js';
import { type PlannedRoute, destination, isSecondary, gatewayNetworks, routesOf } from '../routes.js';

const DIRECTORY = '/etc/systemd/network/';
const OURS = '05-guestwire-';
/** By `systemctl enable`, under its two names, and by the distribution itself. */
const ENABLED = [
  '/etc/systemd/system/multi-user.target.wants/systemd-networkd.service',
  '/etc/systemd/system/dbus-org.freedesktop.network1.service',
  '/usr/lib/systemd/system/multi-user.target.wants/systemd-networkd.service',
] as const;
const RETIRED = '#guestwire# ';

export const networkd: Renderer = {
  name: 'networkd',
  looksFor: `systemd-networkd (enabled, or ${DIRECTORY}*.network)`,
  reads: [`${DIRECTORY}*.network`, ...OWNER_FILES],
  asks: ENABLED,
  feeds: ['resolved'],

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

  render(facts) {
    const { interfaces } = facts;
    const retired = retire(facts);
    const wanted = new Map(interfaces.map((config) => [pathOf(config.nic), networkFile(config, interfaces)]));
    const gone = networkFiles(facts).filter(([path]) => path.startsWith(DIRECTORY + OURS) && !wanted.has(path));
    for (const { nic } of interfaces) assertFirst(withChanges(facts, retired), nic);
    const written = [...wanted].flatMap(([path, text]) => readable(writeIfChanged(facts, path, text, 0o644)));
    // Interfaces with a new, changed or removed file are taken up by the reload. To ask for them once more would flush
    // them while they are being set up, and systemd 252 then loses routes; the others may have been changed live.
    const others = interfaces.map(({ nic }) => nic).filter((nic) => !written.some(({ path }) => path === pathOf(nic)));
    const after = [
      run('networkctl', 'reload'),
      ...(others.length === 0 ? [] : [run('networkctl', 'reconfigure', ...others.map(({ name }) => name))]),
    ];
    return {
      before: [],
      files: [...gone.map(([path]) => ({ type: 'remove', path }) as const), ...retired, ...written],
      after,
      restore: after,
    };
  },
};

function run(...argv: Extract<Action, { type: 'run' }>['argv']): Action {
  return { type: 'run', argv, onFailure: 'report' };
}

function networkFiles({ files }: NetworkFacts): readonly (readonly [path: string, text: string])[] {
  return [...files].filter(([path]) => path.startsWith(DIRECTORY) && path.endsWith('.network'));
}

function pathOf(nic: Nic): string {
  return `${DIRECTORY}${OURS}${nic.name}.network`;
}

function readable(changes: readonly FileChange[]): readonly FileChange[] {
  return changes.map((change) => ({ ...change, exactMode: true }));
}

/** Comments out what would win against our files and is about nothing else. */
function retire(facts: NetworkFacts): readonly FileChange[] {
  return networkFiles(facts)
    .filter(([path, text]) => path < DIRECTORY + OURS && isOnlyAbout(text, facts.interfaces))
    .flatMap(([path, text]) => {
      const lines = text
        .split('\n')
        .map((line) => (line.trim() === '' || /^\s*[#;]/.test(line) ? line : RETIRED + line));
      return writeIfChanged(facts, path, lines.join('\n'), 0o644);
    });
}

function isOnlyAbout(text: string, interfaces: readonly InterfaceConfig[]): boolean {
  const match = readSettings(text).filter(({ section }) => section === 'Match');
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

/** What holds the device by a name before ours, and has others to serve too, would go on doing so. */
function assertFirst(facts: NetworkFacts, nic: Nic): void {
  const file = networkdFile(facts, nic) ?? '';
  const isCommentedOut = facts.files.has(file) && readSettings(facts.files.get(file) ?? '').length === 0;
  if (file === '' || isCommentedOut || file.slice(file.lastIndexOf('/') + 1) > OURS) return;
  const what = `anything with ${nic.name} while ${file} holds it and others`;
  throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['systemd-networkd', what]);
}

function networkFile(config: InterfaceConfig, all: readonly InterfaceConfig[]): string {
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
    section('Network', network(config)),
    // Otherwise a router's advertisement would have to ask for it first.
    ...(auto6 === 'dhcp' ? [section('DHCPv6', ['WithoutRA=solicit'])] : []),
    ...([4, 6] as const)
      .flatMap((family) => gatewayNetworks(routes, family))
      .map((network) => section('Route', onLinkLines(network))),
    ...routes.map((route) => section('Route', routeLines(route))),
  ];
  const head = ['# Written by guestwire; changes are lost.', ...(label === '' ? [] : [`# Label ${label}`])];
  return `${head.join('\n')}\n${sections.join('\n')}`;
}

function section(name: string, lines: readonly string[]): string {
  return `[${name}]\n${lines.map((line) => `${line}\n`).join('')}`;
}

/** VLANs and bridges share the MAC of the device below them. */
function matches({ name, mac, permanentMac }: Nic): readonly string[] {
  return permanentMac === mac ? [`MACAddress=${mac}`, 'Type=ether'] : [`Name=${name}`];
}

function network({ ipv4, ipv6, dhcp4, auto6, dns }: InterfaceConfig): readonly string[] {
  const dhcp6 = auto6 === 'dhcp';
  return [
    `DHCP=${dhcp4 && dhcp6 ? 'yes' : dhcp4 ? 'ipv4' : dhcp6 ? 'ipv6' : 'no'}`,
    `IPv6AcceptRA=${auto6 === null ? 'no' : 'yes'}`,
    'LinkLocalAddressing=ipv6',
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
