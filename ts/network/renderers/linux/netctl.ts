/**
 * `/etc/netctl/PROFILE`, netctl.profile(5) of Arch Linux: a file of bash assignments that `netctl@PROFILE.service`
 * sources.
 *
 * One profile of ours an interface; other profiles of the same interface stay as files but are disabled and stopped. An
 * address or route that cannot be added, say because it is there already, makes netctl take the interface down: the
 * device is emptied before. `IP6=static` also stands where there is no IPv6 address: it turns router advertisements off, where leaving it
 * out does not and `no` would turn IPv6 off for whatever comes after us.
 */
import { AgentError } from '../../../api/errors.js';
import type { FileChange } from '../../../api/host.js';
import { type Address, type Family, familyOf } from '../../address.js';
import { syntaxChecks } from '../syntax.js';
import { USUAL_NAMES } from './advertisements.js';
import {
  type Action,
  type InterfaceConfig,
  type NetworkFacts,
  type Renderer,
  commentText,
  writeIfChanged,
} from '../../plan.js';
import { SYSCTL_FILES } from '../../readers/listening.js';
import { NETCTL_SOURCED, readNetctl } from '../../readers/netctl.js';
import { type PlannedRoute, ipRoute, routesOf } from '../../routes.js';
import { quoted, readShellFile } from '../../formats/shell-file.js';
import { posix } from '../../../host/shared/runtime/path.js';

const DIRECTORY = '/etc/netctl/';
const OURS = 'guestwire-';
const CLI = '/usr/bin/netctl';
const WANTED = '/etc/systemd/system/multi-user.target.wants/netctl@';
const FOLDERS = ['/usr/bin', '/usr/sbin', '/sbin'] as const;
/** In the order of netctl's own preference. */
const CLIENTS = { 4: ['dhcpcd', 'dhclient'], 6: ['dhclient', 'dhcpcd'] } as const;
/** Connections that take the devices they bind to for themselves; a VLAN only stands on its own. */
const PORT_TAKERS = /^(bridge|bond|openvswitch)$/;
const plug = (name: string): string => `netctl-ifplugd@${name}.service`;
const plugged = (name: string): string =>
  `/etc/systemd/system/sys-subsystem-net-devices-${name}.device.wants/${plug(name)}`;

export const netctl: Renderer = {
  name: 'netctl',
  looksFor: `netctl (${CLI})`,
  reads: [`${DIRECTORY}*`, ...NETCTL_SOURCED, `${WANTED}*.service`, ...SYSCTL_FILES],
  asks: [
    CLI,
    ...CLIENTS[4].flatMap((client) => FOLDERS.map((folder) => `${folder}/${client}`)),
    ...USUAL_NAMES.map(plugged),
  ],
  feeds: () => ['resolvconf'],

  detect(facts) {
    if (!facts.present.has(CLI)) return null;
    const own = profiles(facts).filter((profile) => facts.interfaces.some(({ nic }) => nic.name === profile.nic));
    const enabled = own.find(({ wanted }) => wanted !== null);
    if (enabled !== undefined) return { rank: 'enabled', why: `${enabled.wanted} is there` };
    const link = facts.interfaces.map(({ nic }) => plugged(nic.name)).find((path) => facts.present.has(path));
    if (link !== undefined) return { rank: 'enabled', why: `${link} is there` };
    const [defined] = own;
    if (defined !== undefined) return { rank: 'enabled', why: `${DIRECTORY}${defined.name} defines ${defined.nic}` };
    return { rank: 'present', why: `${CLI} is there` };
  },

  // Each profile or service has its own link, and boot() goes by it.
  starts: ({ present }) => present.has(CLI),

  render(facts) {
    const { interfaces, files, present } = facts;
    const names = interfaces.map(({ nic }) => nic.name);
    const old = profiles(facts);
    const isOurs = ({ name }: Profile): boolean => name.startsWith(OURS);
    const gone = old.filter((profile) => isOurs(profile) && !names.includes(profile.name.slice(OURS.length)));
    const foreign = old.filter((profile) => !isOurs(profile) && names.includes(profile.nic));
    refusePorts(facts, old, names);
    // ifplugd would bring up other profiles of the interface whenever its link comes back.
    const plugs = names.filter((name) => present.has(plugged(name))).map(plug);
    return {
      before: [
        ...plugs.map((unit) => run(['systemctl', 'disable', '--now', unit], 'ignore')),
        ...[...foreign, ...gone].flatMap(({ name, wanted }) => [
          ...(wanted === null ? [] : [cli('disable', name, 'ignore')]),
          cli('stop', name, 'ignore'),
        ]),
        // By the old profile: it knows which DHCP client to stop. Or, after a failure, by the one that failed.
        ...names.map((name) => cli('stop', OURS + name, 'ignore')),
        ...names.flatMap((name) => [
          run(['ip', 'address', 'flush', 'dev', name], 'ignore'),
          run(['ip', 'link', 'set', 'dev', name, 'down'], 'ignore'),
        ]),
      ],
      files: [
        ...gone.map(({ name }): FileChange => ({ type: 'remove', path: DIRECTORY + name })),
        // Where no program is run, on a copy, they would start at the next boot.
        ...[...foreign, ...gone].flatMap(({ wanted }): readonly FileChange[] =>
          wanted === null ? [] : [{ type: 'remove', path: wanted }],
        ),
        ...interfaces.flatMap((config) =>
          writeIfChanged(facts, DIRECTORY + OURS + config.nic.name, profileOf(config, facts), 0o644),
        ),
      ],
      after: names.flatMap((name) => [cli('reenable', OURS + name, 'report'), cli('restart', OURS + name, 'report')]),
      restore: [
        ...names
          .filter((name) => !files.has(DIRECTORY + OURS + name))
          .map((name) => cli('disable', OURS + name, 'ignore')),
        // What was not to start at boot, of others, was not what had set the interface up.
        ...[...foreign.filter(({ wanted }) => wanted !== null), ...old.filter(isOurs)].flatMap(({ name, wanted }) => [
          ...(wanted === null ? [] : [cli('reenable', name, 'ignore')]),
          cli('restart', name, 'ignore'),
        ]),
        ...plugs.map((unit) => run(['systemctl', 'enable', '--now', unit], 'ignore')),
      ],
    };
  },

  checks: (_facts, changes) => syntaxChecks('/bin/bash', changes, (path) => path.startsWith(DIRECTORY)),

  boot(facts, nic) {
    // Ours is enabled by a program, after the files are written.
    const isToBeEnabled = facts.copy !== true && facts.settled !== true;
    const isEnabled = ({ name, wanted }: Profile): boolean =>
      wanted !== null || (name.startsWith(OURS) && isToBeEnabled);
    const started = profiles(facts).filter(isEnabled);
    return readNetctl(
      facts.files,
      started.map(({ name }) => name),
      nic,
    );
  },

  without(facts, nic) {
    const isEnabled = profiles(facts).some(({ name, wanted }) => name === OURS + nic.name && wanted !== null);
    const folder = posix.dirname(WANTED);
    if (isEnabled) return null;
    return `no link in ${folder} enables ${DIRECTORY}${OURS}${nic.name}${facts.copy === true ? ', which only netctl does' : ''}`;
  },
};

/** A bridge or bond that starts at boot would take the address away. */
function refusePorts({ files }: NetworkFacts, all: readonly Profile[], names: readonly string[]): void {
  for (const { name, nic, wanted } of all) {
    const keys = readShellFile(files.get(DIRECTORY + name) ?? '');
    if (wanted === null || !PORT_TAKERS.test(keys.get('Connection') ?? '')) continue;
    const ports = (keys.get('BindsToInterfaces') ?? '').split(/\s+/);
    const port = names.find((one) => ports.includes(one));
    if (port === undefined) continue;
    const why = `an address on ${port}, which ${DIRECTORY}${name} makes a port of ${nic}: it belongs on ${nic}`;
    throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['netctl', why]);
  }
}

function run(argv: Extract<Action, { type: 'run' }>['argv'], onFailure: 'ignore' | 'report'): Action {
  return { type: 'run', argv, onFailure };
}

function cli(command: string, profile: string, onFailure: 'ignore' | 'report'): Action {
  return run(['netctl', command, profile], onFailure);
}

interface Profile {
  readonly name: string;
  /** The interface that it is for; empty when it names none. */
  readonly nic: string;
  /** The link that starts it at boot, or null. */
  readonly wanted: string | null;
}

/** What netctl takes for a profile. */
function profiles({ files }: NetworkFacts): readonly Profile[] {
  return [...files]
    .filter(([path]) => path.startsWith(DIRECTORY) && !/\.(action|conf|service)$/.test(path))
    .filter(([path]) => !path.slice(DIRECTORY.length).includes('/'))
    .map(([path, text]) => {
      const name = path.slice(DIRECTORY.length);
      const wanted = `${WANTED}${escaped(name)}.service`;
      return { name, nic: readShellFile(text).get('Interface') ?? '', wanted: files.has(wanted) ? wanted : null };
    });
}

/** systemd-escape(1). */
function escaped(name: string): string {
  return name.replace(/[^\w:.]|^\./gu, (char) =>
    [...Buffer.from(char)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join(''),
  );
}

function profileOf(config: InterfaceConfig, facts: NetworkFacts): string {
  const { nic, dns, dhcp4, auto6, mtu } = config;
  const label = config.label === null ? '' : commentText(config.label);
  // Beside DHCP, its own keys for addresses do not count.
  const further = [...(dhcp4 ? config.ipv4 : []), ...(auto6 === 'dhcp' ? config.ipv6 : [])];
  const lines = [
    '# Written by guestwire; changes are lost.',
    ...(label === '' ? [] : [`# Label ${label}`]),
    // `netctl switch-to` looks for the name without quotes.
    `Interface=${/^[\w.-]+$/.test(nic.name) ? nic.name : quoted(nic.name, 'single')}`,
    'Connection=ethernet',
    'ForceConnect=yes',
    // Also leaves out the wait for duplicates, which a DHCPv6 client needs: its own address has to be usable.
    ...(auto6 === 'dhcp' ? [] : ['SkipNoCarrier=yes']),
    'ExcludeAuto=yes',
    ...ipv4Lines(config, facts),
    ...ipv6Lines(config, facts),
    ...list(
      'IPCustom',
      further.map((address) => `-${familyOf(address.address)} address add ${text(address)} dev ${nic.name}`),
    ),
    // Without a resolvconf that works, servers would make netctl take the interface down.
    ...(facts.resolver === 'resolvconf' ? list('DNS', dns) : []),
    ...(mtu === null ? [] : [`ExecUpPost='ip link set dev "$Interface" mtu ${mtu} || true'`]),
  ];
  return `${lines.join('\n')}\n`;
}

type Lines = readonly string[];

function list(key: string, values: readonly string[]): Lines {
  return values.length === 0 ? [] : [`${key}=${quoted(values.join('\n'), 'array')}`];
}

function ipv4Lines(config: InterfaceConfig, facts: NetworkFacts): Lines {
  const { lines, used } = routeLines(config, 4, !config.dhcp4);
  if (config.dhcp4) return ['IP=dhcp', `DHCPClient=${clientOf(facts, 4)}`, ...lines];
  if (config.ipv4.length === 0 && !used) return ['IP=no'];
  return ['IP=static', ...list('Address', config.ipv4.map(text)), ...lines];
}

function ipv6Lines(config: InterfaceConfig, facts: NetworkFacts): Lines {
  const { lines } = routeLines(config, 6, config.auto6 !== 'dhcp');
  if (config.auto6 === 'dhcp') return ['IP6=dhcp', `DHCP6Client=${clientOf(facts, 6)}`, ...lines];
  return [
    `IP6=${config.auto6 === 'ra' ? 'stateless' : 'static'}`,
    ...list('Address6', config.ipv6.map(text)),
    ...lines,
  ];
}

function clientOf({ present }: NetworkFacts, family: Family): string {
  const found = CLIENTS[family].find((client) => FOLDERS.some((folder) => present.has(`${folder}/${client}`)));
  if (found === undefined) throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['netctl without dhcpcd or dhclient', 'DHCP']);
  return found;
}

function text({ address, prefix }: Address): string {
  return `${address}/${prefix}`;
}

/** The gateway's own key knows neither `onlink` nor a metric, and does not count beside DHCP. */
function routeLines(config: InterfaceConfig, family: Family, byKey: boolean): { lines: Lines; used: boolean } {
  const routes = routesOf(config).filter((route) => route.family === family);
  const [first] = routes;
  const gateway = byKey && first?.prefix === 0 && first.metric === null && !first.onLink ? first.gateway : null;
  const key = family === 4 ? '' : '6';
  return {
    lines: [
      ...list(`Routes${key}`, routes.slice(gateway === null ? 0 : 1).map(routeText)),
      ...(gateway === null ? [] : [`Gateway${key}=${gateway}`]),
    ],
    used: routes.length > 0,
  };
}

function routeText(route: PlannedRoute): string {
  return ipRoute(route, route.onLink ? ' onlink' : '');
}
