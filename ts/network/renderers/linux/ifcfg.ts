/**
 * Red Hat's `/etc/sysconfig/network-scripts/ifcfg-*`, `route-*` and `route6-*`, read by the initscripts' ifup(8).
 *
 * Where an ifcfg of the interface exists, under whatever name, its foreign keys are kept and the file becomes
 * `ifcfg-<interface>`: ifup would run for each of two files. Not obvious in what stands there:
 * - `IPV6INIT=no` leaves the kernel's SLAAC on; only `IPV6INIT=yes IPV6_AUTOCONF=no` turns it off.
 * - `GATEWAY` is compared with the network of the first address and otherwise dropped without a word; any other default
 *   route stands in `route-*`, after a route to its gateway where no network of the interface covers that.
 * - ifup turns router advertisements off when the link has been up for a while, and at boot the initscripts turn them on
 *   for every interface before. A drop-in of sysctl.d(5), which they read after that, is in time.
 * - The search for duplicates (`ARPCHECK`) takes seconds an address; with many, ifup would not end in time.
 * - `DNSn` of one interface replace those of another, so the first one has them all. ifup compares them with
 *   resolv.conf by their beginnings and never removes one; a plain resolv.conf is therefore written as well.
 */
import { AgentError } from '../../../api/errors.js';
import { refuseHidden } from '../hidden.js';
import { syntaxChecks } from '../syntax.js';
import type { Argv, FileChange } from '../../../api/host.js';
import { advertisementLines, listenAsWanted } from './advertisements.js';
import { IFCFG_DIRECTORY as DIRECTORY, bondOver, definitions, isAlias, portOwner } from '../../owners/ifcfg.js';
import { OWNER_FILES, isManaged, networkdFile } from '../../owners/live.js';
import { type Action, type InterfaceConfig, type NetworkFacts, type Renderer, writeIfChanged } from '../../plan.js';
import { IFCFG_ROUTES, readIfcfg } from '../../readers/ifcfg.js';
import { SYSCTL_FILES } from '../../readers/listening.js';
import { firstNetworkHasGateway, ipRoutes, routesOf } from '../../routes.js';
import { readShellFile, removeShellKeys, setShellKey } from '../../formats/shell-file.js';
import { type Ifcfg, type Keys, ifcfgFiles, isMarked, ownFile, released, withKeys } from '../../formats/sysconfig.js';
import { INIT_ASKS, mayStart, startFiles } from '../../units.js';

const GLOBAL = '/etc/sysconfig/network';
const SYSCTL = '/etc/sysctl.d/60-guestwire.conf';
const SCRIPT = `${DIRECTORY}ifup-eth`;
/** Made by the service when it has started. */
const STARTED = '/var/lock/subsys/network';
const UNIT = 'network.service';
const ENABLED = ['/etc/rc.d/rc3.d/S10network', '/etc/systemd/system/multi-user.target.wants/network.service'] as const;
/** `DNS1` to `DNS3` are all that ifup knows. */
const SERVERS = 3;

const OWNED = new RegExp(
  `^(${[
    '(IPADDR|PREFIX|NETMASK|BROADCAST|NETWORK|GATEWAY|ARPCHECK)\\d*',
    'TYPE|DEVICE|HWADDR|ONBOOT|BOOTPROTO|NM_CONTROLLED|MTU|DEFROUTE|GATEWAYDEV|SRCADDR|NOROUTESET|NOZEROCONF|DNS\\d+',
    'IPV6INIT|IPV6ADDR(_SECONDARIES)?|IPV6_(AUTOCONF|FORCE_ACCEPT_RA|DEFAULTGW|DEFAULTDEV|MTU|SET_SYSCTLS)|DHCPV6C',
  ].join('|')})$`,
);
const RESOLVING = /^(PEERDNS|RESOLV_MODS)$/;
/** What tells whose file it is stays with it: without, NetworkManager would take it for any device. */
const RELEASED: Keys = {
  owned: (key) => OWNED.test(key) && !/^(TYPE|DEVICE|HWADDR)$/.test(key),
  quote: () => 'none',
};

export const ifcfg: Renderer = {
  name: 'ifcfg',
  looksFor: `the initscripts (${SCRIPT})`,
  reads: [
    GLOBAL,
    ...SYSCTL_FILES,
    ...IFCFG_ROUTES,
    ...['ifcfg-*', 'route-*', 'route6-*', '*.route'].map((name) => DIRECTORY + name),
    ...OWNER_FILES,
    ...startFiles(UNIT),
  ],
  asks: [SCRIPT, STARTED, ...ENABLED, ...INIT_ASKS],
  // NetworkManager takes no servers from a device that is not its own.
  feeds: () => [],

  detect(facts) {
    const { present, interfaces } = facts;
    if (!present.has(SCRIPT)) return null;
    for (const config of interfaces) {
      const [file] = definitions(facts, config);
      if (file === undefined) continue;
      const held = present.has(STARTED) && !isManaged(facts, config.nic) && networkdFile(facts, config.nic) === null;
      return held
        ? { rank: 'owner', why: `${STARTED} is there and ${file.path} defines ${config.nic.name}` }
        : { rank: 'enabled', why: `${SCRIPT} is there and ${file.path} defines ${config.nic.name}` };
    }
    const enabled = ENABLED.find((path) => present.has(path));
    if (enabled !== undefined) return { rank: 'enabled', why: `${enabled} is there` };
    return { rank: 'present', why: `${SCRIPT} is there` };
  },

  starts: (facts) => mayStart(facts, UNIT, ENABLED),

  render(facts) {
    const { interfaces } = facts;
    const names = interfaces.map(({ nic }) => nic.name);
    const mine = interfaces.flatMap((config) => definitions(facts, config).map(({ path }) => path));
    const gone = ifcfgFiles(facts, DIRECTORY).filter(({ path, text }) => isMarked(text) && !mine.includes(path));
    const known = interfaces.filter((config) => definitions(facts, config).length > 0).map(({ nic }) => nic.name);
    const down = [...names, ...gone.map(({ name }) => name)];
    const run = (argv: Argv, onFailure: 'ignore' | 'report'): Action => ({ type: 'run', argv, onFailure });
    return {
      // One that was never brought up, or has no file, makes ifdown fail. What others left on it goes all the same.
      before: [
        ...down.map((name) => run(['ifdown', name], 'ignore')),
        ...names.flatMap((name) => [
          run(['ip', 'addr', 'flush', 'dev', name], 'ignore'),
          run(['ip', 'link', 'set', 'dev', name, 'down'], 'ignore'),
        ]),
      ],
      files: [
        ...interfaces.flatMap((config) => [...configFiles(facts, config), ...routeFiles(facts, config)]),
        ...gone.map((file) => released(file, RELEASED, ['ONBOOT', 'no'])),
        ...gone
          .flatMap(({ name }) => routePaths(name).filter((path) => isMarked(facts.files.get(path) ?? '')))
          .map((path): FileChange => ({ type: 'remove', path })),
        ...globalFile(facts),
        ...writeIfChanged(facts, SYSCTL, ownFile(interfaces.flatMap(advertisementLines)), 0o644),
      ],
      after: interfaces.flatMap((config) => [listenAsWanted(config), run(['ifup', config.nic.name], 'report')]),
      restore: [...known, ...gone.map(({ name }) => name)].map((name) => run(['ifup', name], 'ignore')),
    };
  },

  checks: (_facts, changes) =>
    syntaxChecks('/bin/bash', changes, (path) => path.startsWith(`${DIRECTORY}ifcfg-`) || path === GLOBAL),

  boot({ files }, nic) {
    return readIfcfg(files, nic);
  },
};

function keysOf(facts: NetworkFacts): Keys {
  const resolving = serversOf(facts).length > 0;
  return {
    owned: (key) => OWNED.test(key) || (resolving && RESOLVING.test(key)),
    quote: (value) => (value.includes(' ') ? 'double' : 'none'),
  };
}

function configFiles(facts: NetworkFacts, config: InterfaceConfig): readonly FileChange[] {
  const path = `${DIRECTORY}ifcfg-${config.nic.name}`;
  const found = definitions(facts, config);
  const base = found.find((file) => !isAlias(config.nic, file));
  refusePort(facts, config, found);
  const keys = keysOf(facts);
  refuseHidden('the initscripts', base === undefined ? [] : [[base.path, base.text]], keys.owned, 'sources');
  const values = valuesOf(facts, config, base);
  return [
    ...writeIfChanged(facts, path, withKeys(base?.text, config.label, values, keys), 0o644),
    ...found.filter((file) => file.path !== path).map((file): FileChange => ({ type: 'remove', path: file.path })),
  ];
}

/** A file of ours would take the device out of the bridge, bond or team that an administrator has put it in. */
function refusePort(facts: NetworkFacts, { nic }: InterfaceConfig, found: readonly Ifcfg[]): void {
  const bond = bondOver(ifcfgFiles(facts, DIRECTORY), nic.name);
  const port = bond ?? found.map((file) => ({ file, owner: portOwner(file.keys) })).find(({ owner }) => owner !== null);
  if (port === undefined) return;
  const why = `an address on ${nic.name}, which ${port.file.path} makes a port of ${port.owner}: it belongs on ${port.owner}`;
  throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['the initscripts', why]);
}

function valuesOf(facts: NetworkFacts, config: InterfaceConfig, base: Ifcfg | undefined): ReadonlyMap<string, string> {
  const { nic, ipv4, dhcp4 } = config;
  if (dhcp4 && ipv4.length > 0) {
    throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['the initscripts', 'IPv4 addresses beside DHCP']);
  }
  return new Map([
    ['TYPE', 'Ethernet'],
    ['DEVICE', nic.name],
    // ifup refuses a device with another MAC, which it has at boot where the user sets one.
    ...entry('HWADDR', base?.keys.has('MACADDR') === true ? null : nic.mac.toUpperCase()),
    ['ONBOOT', 'yes'],
    ['BOOTPROTO', dhcp4 ? 'dhcp' : 'none'],
    ['NM_CONTROLLED', 'no'],
    // A route to 169.254.0.0/16, where clouds have their services behind the gateway, would come along.
    ['NOZEROCONF', 'yes'],
    ...entry('MTU', config.mtu),
    ...ipv4.flatMap(({ address, prefix }, index): readonly Entry[] => {
      const suffix = index === 0 ? '' : String(index);
      return [
        [`IPADDR${suffix}`, address],
        [`PREFIX${suffix}`, String(prefix)],
        // What ifup computes there is the address of a host.
        ...entry(`BROADCAST${suffix}`, prefix >= 31 ? '255.255.255.255' : null),
        [`ARPCHECK${suffix}`, 'no'],
      ];
    }),
    ...entry('GATEWAY', firstNetworkHasGateway(config) ? config.gateway4 : null),
    // Without it ifup would take the gateway of /etc/sysconfig/network, and dhclient a second default route.
    ['DEFROUTE', config === defaultOf(facts) ? 'yes' : 'no'],
    ...values6(facts, config),
    ...resolving(facts, config),
  ]);
}

/** Whose the default route of IPv4 is. */
function defaultOf({ interfaces }: NetworkFacts): InterfaceConfig | undefined {
  return interfaces.find(({ gateway4 }) => gateway4 !== null) ?? interfaces.find(({ dhcp4 }) => dhcp4);
}

type Entry = readonly [key: string, value: string];

function entry(key: string, value: string | number | null): readonly Entry[] {
  return value === null ? [] : [[key, String(value)]];
}

function values6(facts: NetworkFacts, config: InterfaceConfig): readonly Entry[] {
  const { nic, auto6, gateway6 } = config;
  const [first, ...more] = config.ipv6.map(({ address, prefix }) => `${address}/${prefix}`);
  const shared = readShellFile(facts.files.get(GLOBAL) ?? '');
  // What stands there for all interfaces goes if one of ours has a gateway, and is overridden if none has.
  const overridden =
    facts.interfaces.every((other) => other.gateway6 === null) &&
    (shared.has('IPV6_DEFAULTGW') || shared.has('IPV6_DEFAULTDEV'));
  return [
    ['IPV6INIT', 'yes'],
    ['IPV6_AUTOCONF', auto6 === 'ra' ? 'yes' : 'no'],
    ...(auto6 === 'ra' ? [] : entry('IPV6_FORCE_ACCEPT_RA', auto6 === 'dhcp' ? 'yes' : 'no')),
    ...(auto6 === 'dhcp' ? entry('DHCPV6C', 'yes') : []),
    ...entry('IPV6ADDR', first ?? null),
    ...entry('IPV6ADDR_SECONDARIES', more.length === 0 ? null : more.join(' ')),
    ...(gateway6 !== null && byKeyword6(config) ? entry('IPV6_DEFAULTGW', `${gateway6}%${nic.name}`) : []),
    ...(overridden ? [...entry('IPV6_DEFAULTGW', ''), ...entry('IPV6_DEFAULTDEV', '')] : []),
  ];
}

function serversOf({ interfaces, resolver }: NetworkFacts): readonly string[] {
  // Of any other maker ifup knows nothing, and would write into its file.
  if (resolver !== 'file' && resolver !== 'networkmanager') return [];
  return [...new Set(interfaces.flatMap(({ dns }) => dns))].slice(0, SERVERS);
}

function resolving(facts: NetworkFacts, config: InterfaceConfig): readonly Entry[] {
  const servers = serversOf(facts);
  if (servers.length === 0) return [];
  const first = facts.interfaces.find(({ dns }) => dns.length > 0);
  return [
    ...(config === first ? servers.flatMap((server, index) => entry(`DNS${index + 1}`, server)) : []),
    // dhclient would replace them.
    ...(config.dhcp4 ? entry('PEERDNS', 'no') : []),
  ];
}

function byKeyword6(config: InterfaceConfig): boolean {
  return routesOf(config).some((route) => route.family === 6 && route.prefix === 0 && !route.onLink);
}

/** Of both families, in today's form and, last, in the one of old. */
function routePaths(name: string): readonly string[] {
  return [`${DIRECTORY}route-${name}`, `${DIRECTORY}route6-${name}`, `${DIRECTORY}${name}.route`];
}

function routeFiles(facts: NetworkFacts, config: InterfaceConfig): readonly FileChange[] {
  const { name } = config.nic;
  const [path4 = '', path6 = ''] = routePaths(name);
  const wanted = new Map([
    [path4, routeLines(config, 4)],
    [path6, routeLines(config, 6)],
  ]);
  const names = new Set([name, ...definitions(facts, config).map((file) => file.name)]);
  return [
    ...[...wanted].flatMap(([path, lines]) =>
      lines.length === 0 ? [] : writeIfChanged(facts, path, ownFile(lines), 0o644),
    ),
    ...[...names]
      .flatMap(routePaths)
      .filter((path) => facts.files.has(path) && (wanted.get(path) ?? []).length === 0)
      .map((path): FileChange => ({ type: 'remove', path })),
  ];
}

/** Arguments of `ip route add`, one a line. */
function routeLines(config: InterfaceConfig, family: 4 | 6): readonly string[] {
  const byKeyword = family === 4 ? firstNetworkHasGateway(config) : byKeyword6(config);
  return ipRoutes(config, family, ({ prefix }) => byKeyword && prefix === 0);
}

/** A default route for all interfaces would be a second one. Without the file, or with `no` in it, nothing starts. */
function globalFile(facts: NetworkFacts): readonly FileChange[] {
  const { files, interfaces } = facts;
  const stale = [
    // dhclient takes no router where there is one.
    ...(defaultOf(facts) === undefined ? [] : ['GATEWAY', 'GATEWAYDEV']),
    ...(interfaces.some(({ gateway6 }) => gateway6 !== null) ? ['IPV6_DEFAULTGW', 'IPV6_DEFAULTDEV'] : []),
  ];
  const text = removeShellKeys(files.get(GLOBAL) ?? '', (key) => stale.includes(key));
  const off = !files.has(GLOBAL) || /^(no|n|false|f|off|0)$/i.test(readShellFile(text).get('NETWORKING') ?? '');
  return writeIfChanged(facts, GLOBAL, off ? setShellKey(text, 'NETWORKING', 'yes', 'none') : text, 0o644);
}
