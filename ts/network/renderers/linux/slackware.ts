/**
 * `/etc/rc.d/rc.inet1.conf` of Slackware: bash arrays, one index an interface, sourced by `/etc/rc.d/rc.inet1`;
 * rc.inet1.conf(5).
 *
 * - An index without `IFNAME` is ethN. Of two indexes for one interface the lower one counts, so ours is the one that is
 *   there; a new interface gets the first index that configures nothing. From `MAXNICS` on they are not looked at.
 * - Since Slackware 15 all addresses are in `IPADDRS` and `IP6ADDRS`. Up to 14.2 there is one address, `IPADDR` and
 *   `NETMASK`, and no IPv6: which of them is meant is told by the keys of the file that is there.
 * - rc.inet1 sets `GATEWAY` without naming a device, and only while there is no default route. So a gateway outside the
 *   subnets, a link-local one, and any one beside a DHCP client or SLAAC goes where all other routes have to go as well:
 *   into `/etc/rc.d/rc.local`, which has to be executable to be run.
 *
 * Ours stands in a marked block of both files; the same keys of the same indexes elsewhere go.
 */
import { AgentError } from '../../../api/errors.js';
import type { FileChange } from '../../../api/host.js';
import {
  type Address,
  type Family,
  contains,
  dottedMask,
  familyOf,
  isLinkLocal,
  parseAddress,
  parsePrefix,
} from '../../address.js';
import { refuseHidden } from '../hidden.js';
import { syntaxChecks } from '../syntax.js';
import { advertisementCommands, listenAsWanted } from './advertisements.js';
import { blockOf, withBlock } from '../../formats/block.js';
import {
  type Action,
  type InterfaceConfig,
  type NetworkFacts,
  type Renderer,
  commentText,
  writeExactly,
  writeIfChanged,
} from '../../plan.js';
import { SYSCTL_FILES } from '../../readers/listening.js';
import { readSlackware } from '../../readers/slackware.js';
import { type PlannedRoute, destination, gatewayNetworks, routesOf } from '../../routes.js';
import { quoted, readShellFile, removeShellKeys } from '../../formats/shell-file.js';
import { isExecutable } from '../../units.js';

const SCRIPT = '/etc/rc.d/rc.inet1';
const CONF = `${SCRIPT}.conf`;
const LOCAL = '/etc/rc.d/rc.local';
const FAMILIES = [4, 6] as const;
const GATEWAYS = { 4: 'GATEWAY', 6: 'GATEWAY6' } as const;
/** Of an index, what the host decides about. What else there is (HWADDR, DHCP_TIMEOUT ...) stays. */
const KEYS = [
  'IFNAME',
  'IPADDRS',
  'IPADDR',
  'NETMASK',
  'IPALIASES',
  'IP6ADDRS',
  'USE_DHCP',
  'USE_SLAAC',
  'USE_DHCP6',
  'USE_RA',
  'MTU',
];
const USUAL_LIMIT = 6;

type Keys = ReadonlyMap<string, string>;

interface Slot {
  readonly index: number;
  readonly config: InterfaceConfig;
}

export const slackware: Renderer = {
  name: 'slackware',
  looksFor: `Slackware's network scripts (${SCRIPT})`,
  reads: [SCRIPT, CONF, LOCAL, ...SYSCTL_FILES],
  asks: [SCRIPT],
  feeds: () => [],

  detect({ present }) {
    return present.has(SCRIPT) ? { rank: 'enabled', why: `${SCRIPT} is there` } : null;
  },

  // rc.M runs it where it is executable.
  starts: (facts) => (facts.files.has(SCRIPT) && !isExecutable(facts, SCRIPT) ? false : null),

  render(facts) {
    const { interfaces, files } = facts;
    const text = files.get(CONF) ?? '';
    const isOld = usesSingleAddress(readShellFile(text));
    if (isOld && interfaces.some(({ auto6 }) => auto6 === 'dhcp')) {
      throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['rc.inet1 of Slackware 14', 'DHCPv6']);
    }
    const names = interfaces.map(({ nic }) => nic.name);
    refusePorts(readShellFile(text), names);
    const gone = namesIn(blockOf(text)).filter((name) => !names.includes(name));
    const conf = confText(text, interfaces, isOld);
    const plain = plainGateways(interfaces, readShellFile(conf), isOld);
    const commands = interfaces.flatMap((config) => commandsFor(config, isOld, plain));
    return {
      // By the old file, which tells whether there is a DHCP client to stop.
      before: [...names, ...gone].map((name) => inet1(name, 'stop', 'ignore')),
      files: [...writeIfChanged(facts, CONF, conf, 0o644), ...localFile(facts, commands)],
      after: [
        ...names.map((name) => inet1(name, 'start', 'report')),
        ...commands,
        // rc.inet1 leaves a default route alone that leads elsewhere.
        ...plain.map(({ nic, family, gateway }) =>
          ip(family, 'route', 'replace', 'default', 'via', gateway, 'dev', nic),
        ),
      ],
      restore: [...names, ...gone].map((name) => inet1(name, 'start', 'ignore')),
    };
  },

  checks: (_facts, changes) => syntaxChecks('/bin/bash', changes, (path) => path === CONF || path === LOCAL),

  boot({ files }, nic) {
    return readSlackware(files, CONF, LOCAL, nic);
  },
};

function inet1(name: string, command: 'start' | 'stop', onFailure: 'ignore' | 'report'): Action {
  return { type: 'run', argv: [SCRIPT, `${name}_${command}`], onFailure };
}

function run(onFailure: 'ignore' | 'report', ...args: readonly string[]): Action {
  return { type: 'run', argv: ['/sbin/ip', ...args], onFailure };
}

function ip(family: Family, ...args: readonly string[]): Action {
  return run('report', `-${family}`, ...args);
}

/** rc.inet1.conf(5): the devices of a bridge, and since Slackware 15 those of a bond, by names. */
const PORTS = /^(?:BRNICS|BONDNICS)\[(\d+)\]$/;

/** A bridge or bond takes the address of its ports away. */
function refusePorts(keys: Keys, names: readonly string[]): void {
  for (const [key, value] of keys) {
    const index = PORTS.exec(key)?.[1];
    const port = names.find((name) => value.split(/\s+/).includes(name));
    if (index === undefined || port === undefined) continue;
    const told = keys.get(`IFNAME[${index}]`) ?? '';
    const owner = told === '' ? `eth${index}` : told;
    const why = `an address on ${port}, which ${CONF} makes a port of ${owner}: it belongs on ${owner}`;
    throw new AgentError('GW_NETWORK_IMPOSSIBLE', ["Slackware's rc.inet1", why]);
  }
}

function usesSingleAddress(keys: Keys): boolean {
  const has = (name: string): boolean => [...keys.keys()].some((key) => key.startsWith(`${name}[`));
  return has('IPADDR') && !has('IPADDRS') && !has('IP6ADDRS');
}

function namesIn(block: string): readonly string[] {
  return [...block.matchAll(/^IFNAME\[\d+\]="(.+)"$/gm)].map(([, name = '']) => name);
}

function confText(text: string, interfaces: readonly InterfaceConfig[], isOld: boolean): string {
  const all = readShellFile(text);
  const foreign = readShellFile(withBlock(text, ''));
  const slots = slotsFor(interfaces, all, foreign);
  const ours = new Set(slots.flatMap(({ index }) => KEYS.map((key) => `${key}[${index}]`)));
  for (const family of FAMILIES) if (isOwnDefault(family, slots, all)) ours.add(GATEWAYS[family]);
  refuseHidden("Slackware's rc.inet1", [[CONF, text]], (key) => ours.has(key));
  const kept = removeShellKeys(text, (key) => ours.has(key));
  const last = Math.max(...slots.map(({ index }) => index));
  const limit = last < limitOf(foreign) ? '' : assigned('MAXNICS', String(last + 1));
  const own = slots.map((slot) => slotLines(slot, isOld)).join('') + limit;
  const gateways = plainGateways(interfaces, readShellFile(withBlock(kept, own)), isOld);
  return withBlock(kept, own + gateways.map(({ family, gateway }) => assigned(GATEWAYS[family], gateway)).join(''));
}

function limitOf(keys: Keys): number {
  const limit = keys.get('MAXNICS') ?? '';
  return /^\d+$/.test(limit) ? Number(limit) : USUAL_LIMIT;
}

/** `all` tells the indexes of before, `foreign` which of the others are free: what a gone interface leaves does not count. */
function slotsFor(interfaces: readonly InterfaceConfig[], all: Keys, foreign: Keys): readonly Slot[] {
  const limit = limitOf(foreign);
  const indexes = [...all.keys()].map((key) => Number(/\[(\d+)\]$/.exec(key)?.[1] ?? -1));
  const length = Math.max(limit, ...indexes.map((index) => index + 1));
  const names = Array.from({ length }, (_, index) => {
    const name = all.get(`IFNAME[${index}]`) ?? '';
    return name === '' && index < limit ? `eth${index}` : name;
  });
  const taken = new Set(interfaces.map(({ nic }) => names.indexOf(nic.name)));
  const isFree = (index: number): boolean =>
    !taken.has(index) && [...foreign].every(([key, value]) => !key.endsWith(`[${index}]`) || value === '');
  return interfaces.map((config) => {
    let index = names.indexOf(config.nic.name);
    if (index < 0) for (index = 0; !isFree(index);) index++;
    taken.add(index);
    return { index, config };
  });
}

/** Whether the gateway of the file is replaced, or was reached through an interface that has none now. */
function isOwnDefault(family: Family, slots: readonly Slot[], keys: Keys): boolean {
  const gateway = parseAddress(keys.get(GATEWAYS[family]));
  return slots.some(({ index, config }) => {
    if (routesOf(config).some((route) => route.family === family && route.prefix === 0)) return true;
    const networks = [...config.ipv4, ...config.ipv6, ...oldNetworks(index, keys)];
    return gateway !== null && networks.some((network) => contains(network, gateway));
  });
}

function oldNetworks(index: number, keys: Keys): readonly Address[] {
  const value = (name: string): string => keys.get(`${name}[${index}]`) ?? '';
  const words = [value('IPADDRS'), value('IPALIASES'), value('IP6ADDRS'), `${value('IPADDR')}/${value('NETMASK')}`];
  return words
    .join(' ')
    .split(/\s+/)
    .flatMap((word) => {
      const [text, mask] = word.split('/');
      const address = parseAddress(text);
      const prefix = address === null ? null : parsePrefix(mask, familyOf(address));
      return address === null || prefix === null ? [] : [{ address, prefix }];
    });
}

function slotLines({ index, config }: Slot, isOld: boolean): string {
  const { nic, ipv4, ipv6, dhcp4, auto6, mtu } = config;
  const label = config.label === null ? '' : commentText(config.label);
  const list = (addresses: readonly Address[]): string =>
    addresses.map(({ address, prefix }) => `${address}/${prefix}`).join(' ');
  const [first] = dhcp4 ? [] : ipv4;
  const values: Readonly<Record<string, string>> = {
    IFNAME: nic.name,
    ...(isOld
      ? { IPADDR: first?.address ?? '', NETMASK: first === undefined ? '' : dottedMask(first.prefix) }
      : { IPADDRS: list(ipv4) }),
    USE_DHCP: dhcp4 ? 'yes' : '',
    ...(isOld
      ? {}
      : { IP6ADDRS: list(ipv6), USE_SLAAC: auto6 === 'ra' ? 'yes' : '', USE_DHCP6: auto6 === 'dhcp' ? 'yes' : '' }),
    ...(mtu === null ? {} : { MTU: String(mtu) }),
  };
  return [
    ...(label === '' ? [] : [`# Label ${label}\n`]),
    ...Object.entries(values).map(([key, value]) => assigned(`${key}[${index}]`, value)),
  ].join('');
}

interface PlainGateway {
  readonly nic: string;
  readonly family: Family;
  readonly gateway: string;
}

/** Default gateways that rc.inet1 can set itself, with the whole file as it will be. */
function plainGateways(interfaces: readonly InterfaceConfig[], keys: Keys, isOld: boolean): readonly PlainGateway[] {
  const clients = [...keys].some(([key, value]) => /^USE_(DHCP6?|SLAAC)\[/.test(key) && value === 'yes');
  if (clients) return [];
  const found = interfaces.flatMap((config) =>
    routesOf(config).flatMap((route): readonly PlainGateway[] =>
      isPlain(route, config, isOld) && route.gateway !== null
        ? [{ nic: config.nic.name, family: route.family, gateway: route.gateway }]
        : [],
    ),
  );
  return FAMILIES.flatMap((family) => found.find((one) => one.family === family) ?? []);
}

function isPlain(
  { prefix, gateway, metric, family, onLink }: PlannedRoute,
  { ipv4 }: InterfaceConfig,
  isOld: boolean,
): boolean {
  if (prefix > 0 || gateway === null || metric !== null || onLink) return false;
  if (family === 6) return !isOld && !isLinkLocal(gateway);
  const [first] = ipv4;
  return !isOld || (first !== undefined && contains(first, gateway));
}

/** What rc.inet1 cannot do, in the order in which it works. Repeating it changes nothing. */
function commandsFor(config: InterfaceConfig, isOld: boolean, plain: readonly PlainGateway[]): readonly Action[] {
  const { nic, ipv4, ipv6, dhcp4, auto6, mtu } = config;
  const { name } = nic;
  const routes = routesOf(config);
  const isUp = dhcp4 || ipv4.length > 0 || (!isOld && (ipv6.length > 0 || auto6 !== null));
  const further = isOld ? [...(dhcp4 ? ipv4 : ipv4.slice(1)), ...ipv6] : [];
  const flush = (what: string, ...which: readonly string[]): Action =>
    run('ignore', '-6', what, 'flush', 'dev', name, ...which);
  return [
    ...(isOld ? [listenAsWanted(config)] : []),
    // What came by advertisements before they were turned off.
    ...(isOld && auto6 === null ? [flush('addr', 'dynamic'), flush('route', 'proto', 'ra')] : []),
    ...(isUp ? [] : [run('report', 'link', 'set', 'dev', name, ...(mtu === null ? [] : ['mtu', String(mtu)]), 'up')]),
    ...further.map(({ address, prefix }) =>
      ip(familyOf(address), 'addr', 'replace', `${address}/${prefix}`, 'dev', name),
    ),
    ...gatewayNetworks(routes, 6).map((network) => ip(6, 'route', 'replace', network, 'dev', name)),
    ...routes.filter((route) => !isSetBy(plain, route, name)).map((route) => routeCommand(route, name)),
  ];
}

function isSetBy(plain: readonly PlainGateway[], { prefix, gateway, metric }: PlannedRoute, name: string): boolean {
  return prefix === 0 && metric === null && plain.some((one) => one.nic === name && one.gateway === gateway);
}

function routeCommand(route: PlannedRoute, name: string): Action {
  const { family, prefix, gateway, metric, onLink } = route;
  return ip(
    family,
    'route',
    'replace',
    prefix === 0 ? 'default' : destination(route),
    ...(gateway === null ? [] : ['via', gateway]),
    ...['dev', name],
    ...(metric === null ? [] : ['metric', String(metric)]),
    // IPv6 has it only in kernels of after Slackware 14.2; there, a route to the gateway comes first.
    ...(onLink && family === 4 ? ['onlink'] : []),
  );
}

/** Before the commands of others, one of which may be `exit`. */
function localFile(facts: NetworkFacts, commands: readonly Action[]): readonly FileChange[] {
  const old = facts.files.get(LOCAL);
  const lines = commands.map(commandLine).join('');
  if (lines === '') {
    return old === undefined ? [] : writeIfChanged(facts, LOCAL, withBlock(old, ''), 0o755);
  }
  const text = old ?? '#!/bin/bash\n';
  const head = /^(#.*\n?)*/.exec(text)?.[0] ?? '';
  return writeExactly(facts, LOCAL, withBlock(text, lines, head.length), 0o755);
}

function commandLine(action: Action): string {
  if (action.type === 'run') return `${action.argv.join(' ')}\n`;
  return action.type === 'ipv6'
    ? advertisementCommands(action)
        .map((line) => `${line}\n`)
        .join('')
    : '';
}

function assigned(key: string, value: string): string {
  return `${key}=${quoted(value, 'double')}\n`;
}
