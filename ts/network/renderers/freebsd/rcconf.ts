/**
 * `/etc/rc.conf` of FreeBSD: rc.conf(5), sourced by sh(1) and used by /etc/network.subr, rc.d/netif and rc.d/routing.
 *
 * - A value is the command line of ifconfig(8) or route(8), so `inet` stands before every address. Further addresses are
 *   `ifconfig_IF_aliasN`; one in the network of an earlier address has a mask of 32 bits, as ifconfig(8) asks for.
 * - Where `ifconfig_IF` or `ifconfig_IF_ipv6` is not assigned at all, `ifconfig_DEFAULT` is used, which cloud images set
 *   to DHCP and accept_rtadv. So both are assigned always, if only to nothing.
 * - The routing table has one route to a network and no metrics: of several, the one with the lowest metric is kept.
 * - Routes go through `static_routes`, one list for everybody: ours are called `guestwire0:IF`, which rc.d/netif sets
 *   and removes with the interface. User routes are set before the default one, so that the way to a gateway outside
 *   the subnets is there in time.
 *
 * Ours stands in a marked block of rc.conf. The same keys elsewhere go, also from the files that are sourced later, and
 * with them the names of before FreeBSD 9, which would turn on router advertisements for all interfaces.
 */
import { AgentError } from '../../../api/errors.js';
import type { FileChange } from '../../../api/host.js';
import {
  type Address,
  type Family,
  contains,
  familyOf,
  isLinkLocal,
  parseAddress,
  parsePrefix,
} from '../../address.js';
import { refuseHidden } from '../hidden.js';
import { syntaxChecks } from '../syntax.js';
import { fnmatch } from '../../formats/glob.js';
import { interfacesIn, withBlock } from '../../formats/block.js';
import {
  type Action,
  type InterfaceConfig,
  type NetworkFacts,
  type Renderer,
  commentText,
  writeIfChanged,
} from '../../plan.js';
import { rcconfLeavesOut, readRcconf } from '../../readers/rcconf.js';
import { type PlannedRoute, routesOf } from '../../routes.js';
import { quoted, readShellFile, removeShellKeys, setShellKey } from '../../formats/shell-file.js';

const MAIN = '/etc/rc.conf';
/** In the order in which they are sourced: the last assignment counts. */
const PATHS = [MAIN, '/etc/rc.conf.local', ...['network', 'netif', 'routing'].map((name) => `/etc/rc.conf.d/${name}`)];
const SYSTEM = '/bin/freebsd-version';
const FAMILIES = [4, 6] as const;
const PREFIX = { 4: '', 6: 'ipv6_' } as const;
/** Words of ifconfig(8) for what the host decides, those of the first pattern with an argument. */
const WITH_ARGUMENT = /^(inet6?|netmask|prefixlen|broadcast|mtu)$/;
const ALONE = /^(up|down|add|alias|(no)?syncdhcp|dhcp|noauto|-?accept_rtadv|-?ifdisabled)$/i;

type Files = ReadonlyMap<string, string>;

export const rcconf: Renderer = {
  name: 'rcconf',
  looksFor: `FreeBSD (${SYSTEM})`,
  reads: PATHS,
  asks: [SYSTEM],
  feeds: () => [],

  detect({ present }) {
    return present.has(SYSTEM) ? { rank: 'owner', why: `${SYSTEM} is there` } : null;
  },

  render(facts) {
    const { interfaces, files } = facts;
    if (interfaces.some(({ auto6 }) => auto6 === 'dhcp')) {
      throw new AgentError('GW_NETWORK_IMPOSSIBLE', ["FreeBSD's rc.conf", 'DHCPv6']);
    }
    const names = interfaces.map(({ nic }) => nic.name);
    refusePorts(files, names);
    const gone = interfacesIn(files.get(MAIN) ?? '').filter((name) => !names.includes(name));
    const routes = plannedRoutes(interfaces);
    return {
      // By the old files, which tell whether there is a DHCP client to stop and IPv6 to take away.
      before: [service('netif', 'stop', 'ignore', ...names, ...gone)],
      files: changes(facts, routes),
      after: [service('netif', 'start', 'report', ...names), ...routing(routes)],
      restore: [service('netif', 'start', 'ignore', ...names, ...gone), service('routing', 'restart', 'ignore')],
    };
  },

  checks: (_facts, changes) => syntaxChecks('/bin/sh', changes, (path) => PATHS.includes(path)),

  boot({ files }, nic) {
    return readRcconf(files, PATHS, nic);
  },

  without: ({ files }, nic) => rcconfLeavesOut(files, PATHS, nic),

  able(interfaces) {
    const kept = oneToANetwork(ofAll(interfaces));
    return interfaces.map((config) => ({
      ...config,
      gateway4: null,
      gateway6: null,
      routes: kept
        .filter(({ nic }) => nic === config.nic.name)
        .map(({ network: address, prefix, gateway }) => ({ address, prefix, gateway, metric: null })),
    }));
  },
};

/** if_bridge(4), lagg(4): ports by name; `autobridge_` by patterns, of which netif takes those that match. */
function refusePorts(files: Files, names: readonly string[]): void {
  for (const path of PATHS) {
    for (const [key, value] of readShellFile(files.get(path) ?? '')) {
      const words = value.split(/\s+/);
      const owner = /^(?:ifconfig|autobridge|create_args)_(.+?)(_alias\d+)?$/.exec(key)?.[1];
      if (owner === undefined || owner === 'interfaces') continue;
      const port = names.find((name) =>
        key.startsWith('autobridge_')
          ? words.some((word) => fnmatch(word, name))
          : words.some((word, index) => word === name && /^(addm|laggport)$/.test(words[index - 1] ?? '')),
      );
      if (port === undefined) continue;
      const why = `an address on ${port}, which ${path} makes a port of ${owner}: it belongs on ${owner}`;
      throw new AgentError('GW_NETWORK_IMPOSSIBLE', ["FreeBSD's rc.conf", why]);
    }
  }
}

function service(name: string, command: string, onFailure: 'ignore' | 'report', ...args: readonly string[]): Action {
  return { type: 'run', argv: ['service', name, command, ...args], onFailure };
}

/**
 * rc.d/netif has set the routes of our interfaces; what is missing is the default, and what others route through them. A
 * restart empties the table, with what a DHCP client of others has put there, so it is for a family whose default is
 * ours. A route that is there already counts as a failure.
 */
function routing(routes: readonly OwnRoute[]): readonly Action[] {
  return FAMILIES.map((family) => {
    const command = routes.some((route) => route.family === family && route.prefix === 0) ? 'restart' : 'start';
    return service('routing', command, 'ignore', family === 4 ? 'inet' : 'inet6');
  });
}

interface OwnRoute extends PlannedRoute {
  readonly nic: string;
}

/** One to a network, in the order in which they can be set: the way to a gateway outside the subnets comes first. */
function plannedRoutes(interfaces: readonly InterfaceConfig[]): readonly OwnRoute[] {
  const kept = oneToANetwork(ofAll(interfaces));
  const ways = kept.flatMap(({ family, gateway, onLink, nic }): readonly OwnRoute[] =>
    onLink && gateway !== null
      ? [{ family, network: gateway, prefix: family === 4 ? 32 : 128, gateway: null, metric: null, onLink: false, nic }]
      : [],
  );
  return oneToANetwork([...ways, ...kept]);
}

function ofAll(interfaces: readonly InterfaceConfig[]): readonly OwnRoute[] {
  return interfaces.flatMap((config) => routesOf(config).map((route) => ({ ...route, nic: config.nic.name })));
}

function oneToANetwork(routes: readonly OwnRoute[]): readonly OwnRoute[] {
  const found = new Map<string, OwnRoute>();
  for (const route of routes) {
    const key = `${route.network}/${route.prefix}`;
    const other = found.get(key);
    // Of two ways out a standby is left out; anything else would be a choice that is not ours.
    if (other !== undefined && other.nic !== route.nic && route.prefix > 0) {
      throw new AgentError('GW_NETWORK_IMPOSSIBLE', ["FreeBSD's rc.conf", `routes to ${key} through two interfaces`]);
    }
    if (other === undefined || (other.metric ?? 0) > (route.metric ?? 0)) found.set(key, route);
  }
  return [...found.values()];
}

function changes(facts: NetworkFacts, routes: readonly OwnRoute[]): readonly FileChange[] {
  const { interfaces, files } = facts;
  const old = new Map(PATHS.flatMap((path) => [...readShellFile(files.get(path) ?? '')]));
  const isOurs = ownKeys(interfaces, routes, old);
  refuseHidden(
    "FreeBSD's rc.conf",
    PATHS.map((path) => [path, files.get(path) ?? '']),
    isOurs,
  );
  const texts = new Map(
    PATHS.filter((path) => path === MAIN || files.has(path)).map((path) => [
      path,
      removeShellKeys(files.get(path) ?? '', isOurs),
    ]),
  );
  for (const family of FAMILIES) setRouteNames(texts, family, routes);
  const lines = [
    ...interfaces.flatMap((config) => interfaceLines(config, old)),
    ...FAMILIES.flatMap((family) => routeLines(family, routes)),
  ];
  texts.set(MAIN, withBlock(texts.get(MAIN) ?? '', lines.map((line) => `${line}\n`).join('')));
  return [...texts].flatMap(([path, text]) => writeIfChanged(facts, path, text, 0o644));
}

/** As network.subr makes a variable's name of it. */
function variable(name: string): string {
  return name.replace(/[-./+]/g, '_');
}

/** Which assignments are ours to replace: wherever they stand, and whoever wrote them. */
function ownKeys(
  interfaces: readonly InterfaceConfig[],
  routes: readonly OwnRoute[],
  old: Files,
): (key: string) => boolean {
  const names = interfaces.map(({ nic }) => variable(nic.name)).join('|');
  const keys = new RegExp(
    `^(ifconfig_(${names})(_ipv6|_alias(es|\\d+))?|ipv4_addrs_(${names})|ipv6_prefix_(${names})` +
      `|ipv6_ifconfig_(${names})(_alias\\d+)?|ipv6_enable|(ipv6_)?route_guestwire\\d+)$`,
  );
  const obsolete = (old.get('ipv6_network_interfaces') ?? '').split(/[\s,]+/);
  const unlisted = !obsolete.some((word) => /^auto$/i.test(word) || word === '') && interfaces.some(hasIpv6);
  const listed = interfaces.some(({ nic }) => obsolete.includes(nic.name));
  return (key) =>
    keys.test(key) ||
    (key === 'ipv6_network_interfaces' && (listed || unlisted)) ||
    FAMILIES.some(
      (family) => key === `${PREFIX[family]}defaultrouter` && isOwnDefault(family, interfaces, routes, old),
    );
}

/** Whether the default router of the files is replaced, or was reached through an interface that has no gateway now. */
function isOwnDefault(
  family: Family,
  interfaces: readonly InterfaceConfig[],
  routes: readonly OwnRoute[],
  old: Files,
): boolean {
  if (routes.some((route) => route.family === family && route.prefix === 0)) return true;
  const value = old.get(`${PREFIX[family]}defaultrouter`) ?? '';
  const gateway = parseAddress(value);
  return interfaces.some(({ nic, ipv4, ipv6 }) => {
    if (value.endsWith(`%${nic.name}`) || value === `-interface ${nic.name}`) return true;
    const networks = [...ipv4, ...ipv6, ...oldNetworks(nic.name, old)];
    return gateway !== null && networks.some((network) => contains(network, gateway));
  });
}

function oldNetworks(name: string, old: Files): readonly Address[] {
  const keys = new RegExp(`^(ipv[46]_)?(ifconfig|addrs)_${variable(name)}(_|$)`);
  return [...old]
    .filter(([key]) => keys.test(key))
    .flatMap(([, value]) => [...value.matchAll(/([\da-f.:]+)(?:\/| (?:netmask|prefixlen) )([\d.]+)/gi)])
    .flatMap(([, text, mask]) => {
      const address = parseAddress(text);
      const prefix = address === null ? null : parsePrefix(mask, familyOf(address));
      return address === null || prefix === null ? [] : [{ address, prefix }];
    });
}

function hasIpv6({ ipv6, auto6 }: InterfaceConfig): boolean {
  return ipv6.length > 0 || auto6 !== null;
}

function interfaceLines(config: InterfaceConfig, old: Files): readonly string[] {
  const { nic, label, ipv4, ipv6, dhcp4, auto6, mtu } = config;
  const key = `ifconfig_${variable(nic.name)}`;
  const comment = label === null ? '' : commentText(label);
  const [first4] = ipv4;
  const more4 = dhcp4 ? ipv4 : ipv4.slice(1);
  const [first6, ...more6] = ipv6;
  const first = dhcp4 ? 'DHCP' : first4 === undefined ? 'up' : inet(first4, []);
  const listens = auto6 === null ? '-accept_rtadv' : 'accept_rtadv';
  // Who turned IPv6 on everywhere may have turned advertisements on everywhere as well.
  const everywhere = /^(yes|true|on|1)$/i.test(old.get('ipv6_activate_all_interfaces') ?? '');
  const further = [...more4.map((address) => inet(address, ipv4)), ...more6.map((address) => inet(address, []))];
  return [
    `# Interface ${nic.name}${comment === '' ? '' : `, label ${comment}`}`,
    assigned(key, [first, ...(mtu === null ? [] : [`mtu ${mtu}`]), ...options(old.get(key) ?? '')].join(' ')),
    assigned(
      `${key}_ipv6`,
      first6 !== undefined ? `${inet(first6, [])} ${listens}` : auto6 !== null || everywhere ? `inet6 ${listens}` : '',
    ),
    ...further.map((value, index) => assigned(`${key}_alias${index}`, value)),
  ];
}

/** `earlier`: addresses of the same interface, those before this one included. */
function inet(own: Address, earlier: readonly Address[]): string {
  const first = earlier.find(({ prefix, address }) => prefix === own.prefix && contains(own, address));
  const prefix = first === undefined || first === own ? own.prefix : 32;
  return `inet${familyOf(own.address) === 6 ? '6' : ''} ${own.address}/${prefix}`;
}

/** What an administrator has told the driver (`-tso`, `media ...`) stays; words that a shell would read are not kept. */
function options(value: string): readonly string[] {
  const words = value.split(/\s+/).filter((word) => word !== '');
  if (!words.every((word) => /^[-\w.:/]+$/.test(word))) return [];
  return words.filter((word, index) => {
    const argument = WITH_ARGUMENT.test(words[index - 1] ?? '');
    return !argument && !WITH_ARGUMENT.test(word) && !ALONE.test(word) && parseAddress(word.split('/')[0]) === null;
  });
}

function routeLines(family: Family, routes: readonly OwnRoute[]): readonly string[] {
  const own = routes.filter((route) => route.family === family);
  const fallback = own.find(({ prefix }) => prefix === 0);
  return [
    ...(fallback === undefined ? [] : [assigned(`${PREFIX[family]}defaultrouter`, target(fallback))]),
    ...own
      .filter(({ prefix }) => prefix > 0)
      .map((route, index) =>
        assigned(`${PREFIX[family]}route_guestwire${index}`, `${network(route)} ${target(route)}`),
      ),
  ];
}

function network(route: PlannedRoute): string {
  if (route.family === 6) return `${route.network} -prefixlen ${route.prefix}`;
  return route.prefix === 32 ? `-host ${route.network}` : `-net ${route.network}/${route.prefix}`;
}

function target({ gateway, nic }: OwnRoute): string {
  if (gateway === null) return `-interface ${nic}`;
  return familyOf(gateway) === 6 && isLinkLocal(gateway) ? `${gateway}%${nic}` : gateway;
}

/** The names of others stay, in the file whose list counts. */
function setRouteNames(texts: Map<string, string>, family: Family, routes: readonly OwnRoute[]): void {
  const key = `${PREFIX[family]}static_routes`;
  const own = routes.filter((route) => route.family === family && route.prefix > 0);
  const home = [...texts.keys()].findLast((path) => readShellFile(texts.get(path) ?? '').has(key)) ?? MAIN;
  for (const [path, text] of texts) {
    const words = (readShellFile(text).get(key) ?? '').split(/\s+/).filter((word) => word !== '');
    const others = words.filter((word) => !/^guestwire\d+(:|$)/.test(word));
    const wanted = [...others, ...(path === home ? own.map(({ nic }, index) => `guestwire${index}:${nic}`) : [])];
    if (wanted.join(' ') === words.join(' ')) continue;
    const value = wanted.join(' ');
    texts.set(
      path,
      wanted.length === 0
        ? removeShellKeys(text, (name) => name === key)
        : // `${static_routes} mine`, for one, is to stay what it is.
          setShellKey(text, key, /["`\\]/.test(value) ? quoted(value, 'double') : `"${value}"`, 'none'),
    );
  }
}

function assigned(key: string, value: string): string {
  return `${key}=${quoted(value, 'double')}`;
}
