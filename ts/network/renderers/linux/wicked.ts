/**
 * SUSE's `/etc/sysconfig/network/ifcfg-*`, `ifroute-*`, `ifsysctl-*`, and `routes`, read by wicked: ifcfg(5),
 * ifroute(5), ifsysctl(5). Files are found by the interface's name alone.
 *
 * - Addresses are taken in the order of their lines, whatever their suffixes; a suffix is any text.
 * - Routes and gateways stand in `ifroute-*` only; wicked ignores a `GATEWAY` in ifcfg. It refuses `onlink`, so a route
 *   to a gateway outside the subnets comes first.
 * - `routes` is for all interfaces, and a line without a name counts for the one whose subnet holds its gateway. Such
 *   lines about ours are commented out.
 * - `BOOTPROTO='static'` leaves SLAAC on: that is turned off in `ifsysctl-*`.
 * - Servers of names are global, in `config`, for netconfig(8) (ts/network/resolvers/netconfig.ts).
 */
import { AgentError } from '../../../api/errors.js';
import type { FileChange, Nic } from '../../../api/host.js';
import { contains, familyOf, parseAddress } from '../../address.js';
import { OWNER_FILES, isManaged } from '../../owners/live.js';
import { WICKED_FILES, definitionElsewhere, ownerOf } from '../../owners/wicked.js';
import { type Action, type InterfaceConfig, type NetworkFacts, type Renderer, writeIfChanged } from '../../plan.js';
import { SYSCTL_FILES } from '../../readers/listening.js';
import { DHCP_DEFAULTS, GLOBAL_SYSCTLS, readWicked } from '../../readers/wicked.js';
import { type PlannedRoute, destination, gatewayNetworks, routesOf } from '../../routes.js';
import { type Ifcfg, type Keys, ifcfgFiles, isMarked, ownFile, released, withKeys } from '../../formats/sysconfig.js';
import { INIT_ASKS, mayStart, startFiles } from '../../units.js';

const DIRECTORY = '/etc/sysconfig/network/';
const ROUTES = `${DIRECTORY}routes`;
const PROGRAM = '/usr/sbin/wicked';
const UNIT = 'wicked.service';
export const ENABLED = '/etc/systemd/system/multi-user.target.wants/wicked.service';
/** What wicked tells netconfig of each interface: `leaseinfo.eth0.static.ipv4`. */
const LEASES = '/run/wicked/leaseinfo.';
const RETIRED = '#guestwire# ';

const KEYS: Keys = {
  owned: (key) =>
    /^((IPADDR|PREFIXLEN|NETMASK|BROADCAST|REMOTE_IPADDR|LABEL|SCOPE|IP_OPTIONS)\w*|NETWORK)$/.test(key) ||
    /^(STARTMODE|BOOTPROTO|MTU|DHCLIENT_SET_DEFAULT_ROUTE|DHCLIENT6_MODE)$/.test(key),
  quote: () => 'single',
};
/** The interface comes up at boot with any of them. */
const STARTED = ['auto', 'onboot', 'on', 'boot', 'hotplug', 'nfsroot'];

export const wicked: Renderer = {
  name: 'wicked',
  looksFor: `wicked (${PROGRAM})`,
  reads: [
    ...['ifcfg-*', 'ifroute-*', 'ifsysctl-*', 'routes', 'config'].map((name) => DIRECTORY + name),
    ...[DHCP_DEFAULTS, GLOBAL_SYSCTLS, ...SYSCTL_FILES, ...WICKED_FILES],
    `${LEASES}*`,
    ...OWNER_FILES,
    ...startFiles(UNIT),
  ],
  asks: [PROGRAM, ENABLED, ...INIT_ASKS],
  feeds: () => [],

  detect(facts) {
    const { files, present, interfaces } = facts;
    if (!present.has(PROGRAM)) return null;
    for (const { nic } of interfaces) {
      const lease = [...files.keys()].find((path) => path.startsWith(`${LEASES}${nic.name}.`));
      // One of an earlier run may still be there.
      if (lease !== undefined && !isManaged(facts, nic)) return { rank: 'owner', why: `${lease} is there` };
    }
    const named = interfaces.find(({ nic }) => files.has(pathOf('ifcfg', nic.name)));
    if (named !== undefined) {
      const path = pathOf('ifcfg', named.nic.name);
      return { rank: 'enabled', why: `${PROGRAM} is there and ${path} defines ${named.nic.name}` };
    }
    if (present.has(ENABLED)) return { rank: 'enabled', why: `${ENABLED} is there` };
    return { rank: 'present', why: `${PROGRAM} is there` };
  },

  starts: (facts) => mayStart(facts, UNIT, [ENABLED]),

  render(facts) {
    const { interfaces } = facts;
    const all = ifcfgFiles(facts, DIRECTORY);
    const names = interfaces.map(({ nic }) => nic.name);
    const gone = all.filter(({ name, text }) => isMarked(text) && !names.includes(name));
    const reload = (touched: readonly string[]): Action => {
      return { type: 'run', argv: [PROGRAM, 'ifreload', ...touched], onFailure: 'report' };
    };
    return {
      before: gone.map(({ name }) => ({ type: 'run', argv: [PROGRAM, 'ifdown', name], onFailure: 'ignore' })),
      files: [
        ...interfaces.flatMap((config) => interfaceFiles(facts, config, all)),
        ...gone.flatMap((file) => [released(file, KEYS, ['STARTMODE', 'off']), ...leftovers(facts, file.name)]),
        ...globalRoutes(facts),
      ],
      after: [reload(names)],
      restore: [reload([...names, ...gone.map(({ name }) => name)])],
    };
  },

  boot({ files }, nic) {
    return readWicked(files, nic);
  },
};

function pathOf(kind: 'ifcfg' | 'ifroute' | 'ifsysctl', name: string): string {
  return `${DIRECTORY}${kind}-${name}`;
}

function leftovers({ files }: NetworkFacts, name: string): readonly FileChange[] {
  return [pathOf('ifroute', name), pathOf('ifsysctl', name)]
    .filter((path) => isMarked(files.get(path) ?? ''))
    .map((path) => ({ type: 'remove', path }));
}

function interfaceFiles(facts: NetworkFacts, config: InterfaceConfig, all: readonly Ifcfg[]): readonly FileChange[] {
  const { name } = config.nic;
  const owner = ownerOf(all, name);
  if (owner !== undefined) {
    const why = `an address on ${name}, which ${owner.path} makes a port of ${owner.name}: it belongs on ${owner.name}`;
    throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['wicked', why]);
  }
  const elsewhere = definitionElsewhere(facts.files, name);
  if (elsewhere !== undefined) {
    throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['wicked', `an address on ${name}, which ${elsewhere} defines`]);
  }
  const path = pathOf('ifcfg', name);
  const base = all.find((file) => file.path === path);
  const text = withKeys(base?.text, config.label, valuesOf(facts, config, base), KEYS);
  return [...writeIfChanged(facts, path, text, 0o644), ...routeFile(facts, config), ...sysctlFile(facts, config)];
}

function valuesOf(
  { interfaces }: NetworkFacts,
  config: InterfaceConfig,
  base: Ifcfg | undefined,
): ReadonlyMap<string, string> {
  const { ipv4, ipv6, dhcp4, auto6, mtu } = config;
  const clients = [...(dhcp4 ? ['dhcp4'] : []), ...(auto6 === 'dhcp' ? ['dhcp6'] : [])];
  const hasDefault = interfaces.find(({ gateway4 }) => gateway4 !== null) ?? interfaces.find((other) => other.dhcp4);
  const mode = base?.keys.get('STARTMODE') ?? '';
  return new Map([
    ['STARTMODE', STARTED.includes(mode) ? mode : 'auto'],
    ['BOOTPROTO', clients.length === 0 ? 'static' : clients.join('+')],
    ...(dhcp4 ? ([['DHCLIENT_SET_DEFAULT_ROUTE', config === hasDefault ? 'yes' : 'no']] as const) : []),
    // By itself the client does what the router advertises, which may be nothing.
    ...(auto6 === 'dhcp' ? ([['DHCLIENT6_MODE', 'managed']] as const) : []),
    ...[...ipv4, ...ipv6].map(
      ({ address, prefix }, index) => [index === 0 ? 'IPADDR' : `IPADDR_${index}`, `${address}/${prefix}`] as const,
    ),
    ...(mtu === null ? [] : ([['MTU', String(mtu)]] as const)),
  ]);
}

function routeFile(facts: NetworkFacts, config: InterfaceConfig): readonly FileChange[] {
  const { name } = config.nic;
  const path = pathOf('ifroute', name);
  const routes = routesOf(config);
  const ways = ([4, 6] as const).flatMap((family) => gatewayNetworks(routes, family));
  const lines = [...ways.map((network) => `${network} - - ${name}`), ...routes.map((route) => routeLine(route, name))];
  if (lines.length > 0) return writeIfChanged(facts, path, ownFile(lines), 0o644);
  return facts.files.has(path) ? [{ type: 'remove', path }] : [];
}

/** Destination, gateway, netmask, interface, options. */
function routeLine(route: PlannedRoute, name: string): string {
  // The word takes its family from the gateway.
  const target = route.prefix === 0 && route.gateway !== null ? 'default' : destination(route);
  return `${target} ${route.gateway ?? '-'} - ${name}${route.metric === null ? '' : ` metric ${route.metric}`}`;
}

function sysctlFile(facts: NetworkFacts, { nic, ipv6, auto6 }: InterfaceConfig): readonly FileChange[] {
  const path = pathOf('ifsysctl', nic.name);
  const lines = [
    `net.ipv6.conf.$INTERFACE.accept_ra = ${auto6 === null ? 0 : 1}`,
    `net.ipv6.conf.$INTERFACE.autoconf = ${auto6 === 'ra' ? 1 : 0}`,
  ];
  const before = facts.files.get(path);
  if (before === undefined || isMarked(before)) return writeIfChanged(facts, path, ownFile(lines), 0o644);
  const keys = ['accept_ra', 'autoconf', ...(ipv6.length > 0 || auto6 !== null ? ['disable_ipv6'] : [])];
  const kept = before.split('\n').filter((line) => !sets(line, nic, keys));
  if (kept.at(-1) === '') kept.pop();
  return writeIfChanged(facts, path, [...kept, ...lines, ''].join('\n'), 0o644);
}

/** `net.ipv6.conf.eth0.accept_ra = 1`, also with slashes and with a variable for the name. */
function sets(line: string, { name }: Nic, keys: readonly string[]): boolean {
  const [left = '', ...right] = line.split('=');
  const key = left.trim().replaceAll('/', '.');
  const who = ['$INTERFACE', '$SYSCTL_IF', name.replaceAll('/', '.')];
  return right.length > 0 && who.some((one) => keys.some((last) => key === `net.ipv6.conf.${one}.${last}`));
}

/** Comments out the lines about our interfaces, and defaults of no interface where one of ours has the default. */
function globalRoutes(facts: NetworkFacts): readonly FileChange[] {
  const text = facts.files.get(ROUTES);
  if (text === undefined) return [];
  const lines = text.split('\n').map((line) => (isOurs(line, facts.interfaces) ? RETIRED + line : line));
  return writeIfChanged(facts, ROUTES, lines.join('\n'), 0o644);
}

function isOurs(line: string, interfaces: readonly InterfaceConfig[]): boolean {
  const [target = '', via = '-', , name = '-'] = line.split('#', 1)[0]?.trim().split(/\s+/) ?? [];
  if (name !== '-') return interfaces.some(({ nic }) => nic.name === name);
  const gateway = parseAddress(via);
  if (gateway === null) return false;
  const isDefault = target === 'default' || /^(0\.0\.0\.0|::)(\/0)?$/.test(target);
  return interfaces.some((config) => {
    const { ipv4, ipv6, gateway4, gateway6 } = config;
    // One outside of all networks has a way to it in a file of ours, and is reached by that.
    const isReached = routesOf(config).some((route) => route.onLink && route.gateway === gateway);
    return (
      isReached ||
      [...ipv4, ...ipv6].some((own) => contains(own, gateway)) ||
      (isDefault && (familyOf(gateway) === 4 ? gateway4 : gateway6) !== null)
    );
  });
}
