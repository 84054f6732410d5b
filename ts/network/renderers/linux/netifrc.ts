/**
 * `/etc/conf.d/net` of netifrc (Gentoo with OpenRC), sourced as POSIX shell by `/etc/init.d/net.IF`; doc/net.example of
 * netifrc is its manual.
 *
 * One value a line in `config_IF` and `routes_IF` (arguments of `ip route`); IF is the interface's name with `_` for all
 * but letters and digits. An interface without `config_IF` is given DHCP, hence `null` where there is no address. Ours
 * stands in a marked block at the end, where it counts last. Other assignments of the same variables go, also those by
 * MAC (module macnet), which count more, and those in conf.d/net.IF, which is sourced later. Router advertisements are
 * not netifrc's business: they are turned off by a drop-in of sysctl.d(5).
 */
import { AgentError } from '../../../api/errors.js';
import { refuseHidden } from '../hidden.js';
import { syntaxChecks } from '../syntax.js';
import type { FileChange } from '../../../api/host.js';
import { USUAL_NAMES, advertisementLines, listenAsWanted } from './advertisements.js';
import { interfacesIn, withBlock } from '../../formats/block.js';
import {
  type Action,
  type InterfaceConfig,
  type NetworkFacts,
  type Renderer,
  commentText,
  writeIfChanged,
} from '../../plan.js';
import { SYSCTL_FILES } from '../../readers/listening.js';
import { readNetifrc } from '../../readers/netifrc.js';
import { RESOLV_CONF } from '../../resolvers/maker.js';
import { type PlannedRoute, ipRoute, routesOf } from '../../routes.js';
import { quoted, readShellFile, removeShellKeys, setShellKey } from '../../formats/shell-file.js';

const MAIN = '/etc/conf.d/net';
const SYSCTL = '/etc/sysctl.d/60-guestwire.conf';
const SCRIPT = '/etc/init.d/net.lo';
const LIBRARIES = ['/lib/netifrc', '/usr/lib/netifrc'] as const;
const SYSTEMD = '/run/systemd/system';
/** The only provider of DHCPv6 that netifrc has. */
const DHCLIENTS = ['/sbin/dhclient', '/usr/sbin/dhclient', '/bin/dhclient', '/usr/bin/dhclient'] as const;
/** What decides about addresses, routes, servers and the MTU; everything else of an interface stays. */
const VARIABLES = ['config', 'routes', 'fallback', 'fallback_routes', 'dns_servers', 'mtu'] as const;
/** Of resolv.conf(5), what netifrc writes as well when it writes servers. */
const RESOLVER_LINES = ['domain', 'search', 'sortlist', 'options'] as const;

const service = (name: string): string => `/etc/init.d/net.${name}`;
const started = (name: string): string => `/run/openrc/started/net.${name}`;
const levels = (name: string): readonly [string, string] => [
  `/etc/runlevels/default/net.${name}`,
  `/etc/runlevels/boot/net.${name}`,
];

export const netifrc: Renderer = {
  name: 'netifrc',
  looksFor: `netifrc (${SCRIPT} and ${LIBRARIES[0]})`,
  reads: [MAIN, `${MAIN}.*`, ...SYSCTL_FILES],
  asks: [
    ...[SCRIPT, ...LIBRARIES, SYSTEMD, ...DHCLIENTS],
    ...USUAL_NAMES.flatMap((name) => [service(name), started(name), ...levels(name)]),
  ],
  // Without resolvconf it writes resolv.conf itself, whole.
  feeds: () => ['resolvconf', 'file'],

  detect({ files, present, interfaces }) {
    const library = LIBRARIES.find((path) => present.has(path));
    if (library === undefined || !present.has(SCRIPT) || present.has(SYSTEMD)) return null;
    const names = interfaces.map(({ nic }) => nic.name);
    const running = names.map(started).find((path) => present.has(path));
    if (running !== undefined) return { rank: 'owner', why: `${running} is there` };
    const enabled = names.flatMap(levels).find((path) => present.has(path));
    if (enabled !== undefined) return { rank: 'enabled', why: `${enabled} is there` };
    const keys = readShellFile(files.get(MAIN) ?? '');
    const defined = names.find((name) => keys.has(`config_${suffix(name)}`));
    if (defined !== undefined) return { rank: 'enabled', why: `${MAIN} defines ${defined}` };
    return { rank: 'present', why: `${SCRIPT} and ${library} are there` };
  },

  // Each device's service has its own link, and boot() goes by it.
  starts: ({ present }) => present.has(SCRIPT) && !present.has(SYSTEMD),

  render(facts) {
    const { interfaces, present } = facts;
    const client = DHCLIENTS.some((path) => present.has(path));
    if (!client && interfaces.some(({ auto6 }) => auto6 === 'dhcp')) {
      throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['netifrc without dhclient', 'DHCPv6']);
    }
    const names = interfaces.map(({ nic }) => nic.name);
    refusePorts(facts, names);
    const gone = interfacesIn(facts.files.get(MAIN) ?? '').filter((name) => !names.includes(name));
    return {
      before: [...gone.map((name) => rc(name, 'stop', 'ignore')), ...names.flatMap(stop)],
      files: [...elsewhere(facts), ...mainFile(facts), ...sysctlFile(facts)],
      after: [
        // Without a configuration it would be given DHCP at the next boot.
        ...gone.map((name) => level('del', name, 'ignore')),
        ...interfaces.flatMap((config) => start(facts, config)),
      ],
      restore: [
        ...gone.filter((name) => present.has(levels(name)[0])).map((name) => level('add', name, 'ignore')),
        ...names.flatMap((name) => withoutLinks(facts, name)),
        ...[...gone, ...names].filter((name) => ran(facts, name)).map((name) => rc(name, 'start', 'ignore')),
      ],
    };
  },

  checks: (_facts, changes) => syntaxChecks('/bin/sh', changes, (path) => path === MAIN || path.startsWith(`${MAIN}.`)),

  boot({ files, present, copy, settled }, nic) {
    const { name } = nic;
    const isStarted = levels(name).some((path) => present.has(path));
    // A program sees to it, after the files are written; of other names it is not known whether it has.
    const isToBeStarted = copy !== true && !(settled === true && USUAL_NAMES.includes(name));
    return isStarted || isToBeStarted ? readNetifrc(files, isStarted, nic) : null;
  },

  without({ present, copy }, { name }) {
    if (levels(name).some((path) => present.has(path))) return null;
    return `no runlevel has net.${name} (${levels(name).join(', ')})${copy === true ? ', which only OpenRC enables' : ''}`;
  },
};

/** net.example of bridges and bonds; the variable's name is that of the owner, as a shell can have it. */
const PORTS = /^(?:bridge|slaves)_(.+)$/;
const OPTIONS_OF_BRIDGES = /^bridge_(add|forward_delay|hello_time|stp|max_age|priority|ageing_time)_/;

/** A bridge or bond takes the address of its ports away. */
function refusePorts({ files }: NetworkFacts, names: readonly string[]): void {
  for (const path of [MAIN, ...[...files.keys()].filter((one) => one.startsWith(`${MAIN}.`))]) {
    for (const [key, value] of readShellFile(files.get(path) ?? '')) {
      const added = names.find((name) => key === `bridge_add_${suffix(name)}`);
      const port = added ?? names.find((name) => value.split(/\s+/).includes(name));
      const named = OPTIONS_OF_BRIDGES.test(key) ? undefined : PORTS.exec(key)?.[1];
      const owner = added === undefined ? named : value.trim();
      if (port === undefined || owner === undefined) continue;
      const why = `an address on ${port}, which ${path} makes a port of ${owner}: it belongs on ${owner}`;
      throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['netifrc', why]);
    }
  }
}

type OnFailure = 'ignore' | 'report';

function run(argv: Extract<Action, { type: 'run' }>['argv'], onFailure: OnFailure): Action {
  return { type: 'run', argv, onFailure };
}

/** With its dependencies, a stop would take down every service that needs the network, and leave it down. */
function rc(name: string, command: 'start' | 'stop', onFailure: OnFailure): Action {
  return run([service(name), '--nodeps', command], onFailure);
}

function level(command: 'add' | 'del', name: string, onFailure: OnFailure): Action {
  return run(['rc-update', command, `net.${name}`, 'default'], onFailure);
}

/** OpenRC stops only what it started; what others set would be in the way. */
function stop(name: string): readonly Action[] {
  return [
    // Also where there is no script yet: the same actions take back a change that failed.
    rc(name, 'stop', 'ignore'),
    run(['ip', 'address', 'flush', 'dev', name], 'ignore'),
    run(['ip', 'link', 'set', 'dev', name, 'down'], 'ignore'),
  ];
}

function start({ present }: NetworkFacts, config: InterfaceConfig): readonly Action[] {
  const { name } = config.nic;
  return [
    listenAsWanted(config),
    // Never forced: what stands there already may be a script of somebody's own.
    ...(present.has(service(name)) ? [] : [run(['ln', '-s', 'net.lo', service(name)], 'ignore')]),
    ...(levels(name).some((path) => present.has(path)) ? [] : [level('add', name, 'report')]),
    rc(name, 'start', 'report'),
  ];
}

/** The links that {@link start} has made go, where it is known that they were not there. */
function withoutLinks({ present }: NetworkFacts, name: string): readonly Action[] {
  if (!USUAL_NAMES.includes(name)) return [];
  return [
    ...(levels(name).some((path) => present.has(path)) ? [] : [level('del', name, 'ignore')]),
    ...(present.has(service(name)) ? [] : [run(['rm', '-f', service(name)], 'ignore')]),
  ];
}

/** To start what did not run before would try DHCP. */
function ran({ files, present }: NetworkFacts, name: string): boolean {
  if (USUAL_NAMES.includes(name)) return present.has(started(name));
  return readShellFile(files.get(MAIN) ?? '').has(`config_${suffix(name)}`);
}

/** OpenRC's shell_var. */
function suffix(name: string): string {
  return name.replace(/[^A-Za-z0-9]/g, '_');
}

/** The text without our block and without what it is about to say. */
function foreign(path: string, text: string, interfaces: readonly InterfaceConfig[]): string {
  const owners = interfaces.flatMap(({ nic }) => [suffix(nic.name), nic.mac.replaceAll(':', '').toUpperCase()]);
  const ours = new Set(owners.flatMap((owner) => VARIABLES.map((variable) => `${variable}_${owner}`)));
  const isOurs = (key: string): boolean => ours.has(key.replace(/\[.*/, ''));
  refuseHidden('netifrc', [[path, text]], isOurs);
  return removeShellKeys(withBlock(text, ''), isOurs);
}

function elsewhere(facts: NetworkFacts): readonly FileChange[] {
  return facts.interfaces.flatMap((config) => {
    const path = `${MAIN}.${config.nic.name}`;
    const text = facts.files.get(path);
    if (text === undefined) return [];
    return writeIfChanged(facts, path, withoutIpv6(foreign(path, text, facts.interfaces), config), 0o644);
  });
}

/** What stands there for the DHCP client counts more than what we say of it. */
function withoutIpv6(text: string, { nic, dhcp4, auto6 }: InterfaceConfig): string {
  const key = `dhcpcd_${suffix(nic.name)}`;
  const options = readShellFile(text).get(key) ?? '';
  if (!dhcp4 || auto6 !== null || options === '' || /(^|\s)-4(\s|$)/.test(options)) return text;
  const value = `-4 ${options}`;
  // An expansion is to stay one.
  return setShellKey(text, key, /["`\\]/.test(value) ? quoted(value, 'double') : `"${value}"`, 'none');
}

function mainFile(facts: NetworkFacts): readonly FileChange[] {
  const kept = foreign(MAIN, facts.files.get(MAIN) ?? '', facts.interfaces);
  const others = readShellFile(kept);
  const texts = facts.interfaces.map((config) => definition(config, others, facts));
  return writeIfChanged(facts, MAIN, withBlock(kept, texts.join('\n')), 0o644);
}

function definition(config: InterfaceConfig, others: ReadonlyMap<string, string>, facts: NetworkFacts): string {
  const { nic, dhcp4, auto6, mtu } = config;
  const label = config.label === null ? '' : commentText(config.label);
  const key = suffix(nic.name);
  const addresses = [...config.ipv4, ...config.ipv6].map(({ address, prefix }) => `${address}/${prefix}`);
  // DHCP clients take what they find on the device away, so they come first.
  const settings = [...(dhcp4 ? ['dhcp'] : []), ...(auto6 === 'dhcp' ? ['dhcpv6'] : []), ...addresses];
  // A metric, once given, is also that of the following routes.
  const routes = routesOf(config).toSorted((a, b) => Number(a.metric !== null) - Number(b.metric !== null));
  const lines = [
    `# Interface ${nic.name}${label === '' ? '' : `, label ${label}`}`,
    ...modules(key, others),
    assigned(`config_${key}`, settings.length === 0 ? 'null' : settings.join('\n')),
    ...(routes.length === 0 ? [] : [assigned(`routes_${key}`, routes.map(routeLine).join('\n'))]),
    ...resolver(config, key, others, facts),
    ...(mtu === null ? [] : [assigned(`mtu_${key}`, String(mtu))]),
    // It does IPv6 as well, and its own SLAAC, unless it is told not to.
    ...(dhcp4 && auto6 === null ? [`dhcpcd_${key}="-4 \${dhcpcd_${key}:-\${dhcpcd}}"`] : []),
  ];
  return `${lines.join('\n')}\n`;
}

function assigned(key: string, value: string): string {
  return `${key}=${quoted(value, 'double')}`;
}

function routeLine(route: PlannedRoute): string {
  return ipRoute(route, route.onLink ? ' onlink' : '');
}

/** The module ifconfig knows neither `onlink` nor metrics: where it was chosen, iproute2 is for our interfaces. */
function modules(key: string, others: ReadonlyMap<string, string>): readonly string[] {
  const chosen = (others.get(`modules_${key}`) ?? others.get('modules') ?? '').split(/\s+/);
  const kept = chosen.filter((word) => /^!?\w+$/.test(word) && word !== 'ifconfig' && word !== '!iproute2');
  return chosen.some((word) => word === 'ifconfig' || word === '!iproute2')
    ? [assigned(`modules_${key}`, [...kept, 'iproute2'].join(' '))]
    : [];
}

/**
 * With resolvconf, an interface has its own servers. Without, each start of an interface makes the whole of
 * resolv.conf: so all have all servers, and what else stands there. A resolv.conf of others is not to be written to.
 */
function resolver(
  { dns }: InterfaceConfig,
  key: string,
  others: ReadonlyMap<string, string>,
  { interfaces, resolver: maker, files }: NetworkFacts,
): readonly string[] {
  if (maker === 'resolvconf') return dns.length === 0 ? [] : [assigned(`dns_servers_${key}`, dns.join(' '))];
  const servers = [...new Set(interfaces.flatMap((config) => config.dns))];
  if (maker !== 'file' || servers.length === 0) return [];
  const rest = RESOLVER_LINES.filter((line) => !others.has(`dns_${line}_${key}`) && !others.has(`dns_${line}`));
  return [
    assigned(`dns_servers_${key}`, servers.join(' ')),
    ...rest.flatMap((line) => {
      const value = new RegExp(`^${line}[ \\t]+([\\w.:/ \\t-]+)$`, 'm').exec(files.get(RESOLV_CONF) ?? '')?.[1]?.trim();
      return value === undefined ? [] : [assigned(`dns_${line}_${key}`, value)];
    }),
  ];
}

function sysctlFile(facts: NetworkFacts): readonly FileChange[] {
  const lines = ['# Written by guestwire; changes are lost.', ...facts.interfaces.flatMap(advertisementLines)];
  return writeIfChanged(facts, SYSCTL, `${lines.join('\n')}\n`, 0o644);
}
