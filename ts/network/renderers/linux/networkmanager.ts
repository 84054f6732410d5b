/**
 * `/etc/NetworkManager/system-connections/*`, read by NetworkManager: nm-settings-keyfile(5), a profile a file.
 *
 * A file that others may read is not loaded, and nmcli ends with 0 all the same: 0600 is mandatory. Profiles are known by
 * their UUID, never by a comment, for NetworkManager writes a profile anew when a program changes it. Of several profiles
 * for one device that with the highest priority is activated at a boot, and a user may activate the others: those for
 * our devices lose `autoconnect`, and ours goes above what is for any device. A VLAN or macvlan may name the device below
 * it by the UUID of a profile, and does not come up while another profile is active there: it gets the device's name.
 * `ignore` would leave IPv6 to the kernel, router advertisements included; `link-local` does not.
 */
import { AgentError } from '../../../api/errors.js';
import type { FileChange, Nic } from '../../../api/host.js';
import { type Family, familyOf } from '../../address.js';
import { readSettings } from '../../formats/ini-file.js';
import { setShellKey } from '../../formats/shell-file.js';
import { ifcfgFiles } from '../../formats/sysconfig.js';
import { IFCFG_DIRECTORY, definitions, portOwner } from '../../owners/ifcfg.js';
import { OWNER_FILES, isManaged } from '../../owners/live.js';
import {
  CONFIGURATION_FILES,
  HIGHEST_PRIORITY,
  PROFILE_FILES,
  AUTO_DEFAULT_STATE,
  PROFILES,
  type Profile,
  contenders,
  defaultsFor,
  isFor,
  isPrivate,
  portOf,
  priorityOf,
  profilesElsewhere,
  profilesIn,
  secondariesOf,
  takes,
  unreadableConfiguration,
  valueOf,
} from '../../owners/networkmanager.js';
import { UNMANAGED_FILES, isProfiledByInterfaces, unmanagedBy, unmanagedFollows } from '../../owners/unmanaged.js';
import {
  type Action,
  type Check,
  type InterfaceConfig,
  type NetworkFacts,
  type Renderer,
  commentText,
  isTooSmallForIpv6,
  textOf,
  withChanges,
  writeIfChanged,
  writeExactly,
} from '../../plan.js';
import { readMadeUp, readNetworkManager } from '../../readers/networkmanager.js';
import { type PlannedRoute, destination, gatewayNetworks, routesOf } from '../../routes.js';
import { INIT_ASKS, mayStart, startFiles } from '../../units.js';

const OURS = `${PROFILES}guestwire-`;
/** Of cloud-init: `dns=none` keeps NetworkManager from telling anybody the servers. */
const NO_DNS = '/etc/NetworkManager/conf.d/99-cloud-init.conf';
export const PROGRAMS = ['/usr/sbin/NetworkManager', '/usr/bin/NetworkManager'] as const;
const UNIT = 'NetworkManager.service';
/** systemd's two, OpenRC's, runit's. */
export const ENABLED = [
  '/etc/systemd/system/multi-user.target.wants/NetworkManager.service',
  '/usr/lib/systemd/system/multi-user.target.wants/NetworkManager.service',
  '/etc/runlevels/default/NetworkManager',
  '/etc/runit/runsvdir/default/NetworkManager',
] as const;
/** It requires NetworkManager. */
const WAIT_ONLINE = '/etc/systemd/system/network-online.target.wants/NetworkManager-wait-online.service';
const WAIT_S = '20';
/** Of ours, where nobody else's is as high. */
const PRIORITY = 120;
/** What {@link usualLines} sets: table 254 is main, 2 stands for "disabled". */
const USUAL: readonly (readonly [section: string, key: string, value: string])[] = [
  ['ethernet', 'mtu', '1500'],
  ['ethernet', 'cloned-mac-address', 'preserve'],
  ['ipv4', 'route-table', '254'],
  ['ipv4', 'link-local', '2'],
  ['ipv4', 'routed-dns', '0'],
  ['ipv6', 'route-table', '254'],
  ['ipv6', 'routed-dns', '0'],
];

export const networkmanager: Renderer = {
  name: 'networkmanager',
  looksFor: `NetworkManager (${PROGRAMS[0]})`,
  reads: [
    ...PROFILE_FILES,
    ...CONFIGURATION_FILES,
    ...UNMANAGED_FILES,
    AUTO_DEFAULT_STATE,
    NO_DNS,
    ...OWNER_FILES,
    ...startFiles(UNIT),
  ],
  follows: ({ files }) => unmanagedFollows(files),
  asks: [...PROGRAMS, ...ENABLED, WAIT_ONLINE, ...INIT_ASKS],
  // It hands the servers on to resolved.
  feeds: () => ['networkmanager', 'resolved'],

  detect(facts) {
    const held = facts.interfaces.find(({ nic }) => isManaged(facts, nic));
    if (held !== undefined) return { rank: 'owner', why: `NetworkManager manages ${held.nic.name}` };
    const program = PROGRAMS.find((path) => facts.present.has(path));
    if (program === undefined) return null;
    const enabled = ENABLED.find((path) => facts.present.has(path));
    // What it is told to leave alone is more likely somebody else's.
    const isFree =
      unreadableConfiguration(facts) === null &&
      facts.interfaces.every(({ nic }) => {
        const found = unmanagedBy(facts.files, nic);
        return found === null || found.isOff === true;
      });
    if (enabled !== undefined && isFree) return { rank: 'enabled', why: `${enabled} is there` };
    return { rank: 'present', why: `${program} is there` };
  },

  starts: (facts) => mayStart(facts, UNIT, [...ENABLED, WAIT_ONLINE]),

  render(facts) {
    const { interfaces } = facts;
    refuseUnmanaged(facts);
    refusePorts(facts);
    refuseParents(facts);
    const paths = interfaces.map(({ nic }) => pathOf(nic));
    const gone = profiles(facts).filter(([path, text]) => isOurs(path, text) && !paths.includes(path));
    const others = changedOthers(facts);
    const twins = withoutIfcfg(facts);
    const quiet = withChanges(facts, [
      ...gone.map(([path]) => ({ type: 'remove', path }) as const),
      ...others,
      ...twins,
    ]);
    const own = interfaces.flatMap((config) =>
      secret(writeExactly(facts, pathOf(config.nic), profile(config, quiet, facts), 0o600)),
    );
    refuseRivals(withChanges(quiet, own));
    const servers = dnsFixes(facts);
    const reconfigure = servers.length === 0 ? [] : [run('ignore', 'general', 'reload')];
    const reload = run('report', 'connection', 'reload');
    return {
      before: [],
      files: [...gone.map(([path]) => ({ type: 'remove', path }) as const), ...others, ...twins, ...own, ...servers],
      after: [
        ...reconfigure,
        // Takes the devices down whose profile is gone.
        ...(gone.length > 0 ? [reload] : []),
        // Not every NetworkManager has the plugin for them.
        ...(twins.length > 0 ? [run('ignore', 'connection', 'load', ...twins.map(({ path }) => path))] : []),
        run('report', 'connection', 'load', ...others.map(({ path }) => path), ...paths),
        ...interfaces.map(({ nic }) => up('report', uuidOf(nic), 'ifname', nic.name)),
      ],
      restore: [
        ...reconfigure,
        reload,
        ...interfaces.flatMap(({ nic }): readonly Action[] => {
          // Left to choose, NetworkManager may take another one than before.
          const uuid = activeProfile(facts, nic) ?? (facts.files.has(pathOf(nic)) ? uuidOf(nic) : undefined);
          // One that had none is down again, with the profile that is gone: `device connect` would take any profile,
          // also one that is not to come up by itself, or make and keep one.
          return uuid === undefined ? [] : [up('report', uuid, 'ifname', nic.name)];
        }),
        ...gone.flatMap(([, text]) => valueOf(text, 'connection', 'uuid') ?? []).map((uuid) => up('ignore', uuid)),
      ],
    };
  },

  checks(_facts, changes) {
    return changes.flatMap((change): readonly Check[] => {
      const { path } = change;
      // One of somebody else's that it cannot read is none to it, and no harm.
      if (change.type === 'remove' || !path.startsWith(OURS)) return [];
      const stdin = textOf(change);
      const id = valueOf(stdin, 'connection', 'id') ?? path.slice(PROFILES.length);
      // Before 1.38 it does not know the option.
      return [
        { argv: ['nmcli', '--offline', 'connection', 'modify', 'connection.id', id], stdin, path, unable: /--offline/ },
      ];
    });
  },

  boot(facts, nic) {
    const { files } = facts;
    return unmanagedBy(files, nic) === null ? readNetworkManager(profilesIn(facts), nic, files) : null;
  },

  unasked(facts, nic) {
    const { files } = facts;
    if (unmanagedBy(files, nic) !== null || isProfiledByInterfaces(files, nic)) return null;
    return readMadeUp(profilesIn(facts), nic, files);
  },
};

function up(onFailure: 'ignore' | 'report', uuid: string, ...device: readonly string[]): Action {
  return run(onFailure, '--wait', WAIT_S, 'connection', 'up', 'uuid', uuid, ...device);
}

/** As NetworkManager itself writes it down. */
function activeProfile({ files }: NetworkFacts, { index }: Nic): string | undefined {
  return valueOf(files.get(`/run/NetworkManager/devices/${index}`) ?? '', 'device', 'connection-uuid');
}

function run(onFailure: 'ignore' | 'report', ...args: readonly string[]): Action {
  return { type: 'run', argv: ['nmcli', ...args], onFailure };
}

function profiles({ files }: NetworkFacts): readonly (readonly [path: string, text: string])[] {
  return [...files].filter(([path]) => path.startsWith(PROFILES));
}

function pathOf(nic: Nic): string {
  return `${OURS}${nic.name}.nmconnection`;
}

function secret(changes: readonly FileChange[]): readonly FileChange[] {
  return changes.map((change) => ({ ...change, directoryMode: 0o700 }));
}

const UUID_PREFIX = '67756573-7477-8972-a500-';

/**
 * The same for a device for ever. A MAC fits whole into an UUID of version 8 (RFC 9562), which is free for such use: no
 * hash is needed, and ours are told by their beginning.
 */
function uuidOf({ mac }: Nic): string {
  return UUID_PREFIX + mac.replaceAll(':', '');
}

function isOurs(path: string, text: string): boolean {
  return path.startsWith(OURS) || valueOf(text, 'connection', 'uuid')?.startsWith(UUID_PREFIX) === true;
}

/** Profiles of others for our devices are no longer activated by themselves, and what is above our devices finds them. */
function changedOthers(facts: NetworkFacts): readonly FileChange[] {
  const all = profilesIn(facts);
  return (
    profiles(facts)
      // One that it passes over stays so: with the mode that ours have, it would be read.
      .filter(([path, text]) => !isOurs(path, text) && isPrivate(facts.access?.get(path)))
      .flatMap(([path, text]) => {
        const isRival = facts.interfaces.some(({ nic }) => isFor(text, nic));
        const found = withParentsByName(path, text, all, facts);
        const now = isRival ? withoutAutoconnect(found) : found;
        return now === text ? [] : secret(writeExactly(facts, path, now, 0o600));
      })
  );
}

/** Red Hat's files of our devices, which its plugin takes for profiles and the initscripts, where they are, for theirs. */
function withoutIfcfg(facts: NetworkFacts): readonly FileChange[] {
  const own = new Set<string>();
  for (const { nic } of facts.interfaces) {
    for (const { path, keys } of definitions(facts, { nic })) {
      const owner = portOwner(keys);
      if (owner !== null) {
        const why = `an address on ${nic.name}, which ${path} makes a port of ${owner}: it belongs on ${owner}`;
        throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['NetworkManager', why]);
      }
      if (!/^no$/i.test(keys.get('ONBOOT') ?? '')) own.add(path);
    }
  }
  const all = profilesIn(facts);
  return ifcfgFiles(facts, IFCFG_DIRECTORY).flatMap(({ path, text, keys }) => {
    const parent = keys.get('PHYSDEV') ?? '';
    const name = parent === '' ? undefined : parentName(`PHYSDEV=${parent} in ${path}`, parent, all, facts);
    const found = name === undefined ? text : setShellKey(text, 'PHYSDEV', name, 'none');
    return writeIfChanged(facts, path, own.has(path) ? setShellKey(found, 'ONBOOT', 'no', 'none') : found, 0o644);
  });
}

/** The profile with the names of our devices for the UUIDs of the profiles that these have had. */
function withParentsByName(path: string, text: string, all: readonly Profile[], facts: NetworkFacts): string {
  const lines = text.split('\n');
  for (const { key, value, line } of readSettings(text)) {
    const name = key === 'parent' ? parentName(`parent=${value} in ${path}`, value, all, facts) : undefined;
    if (name !== undefined) lines[line] = `parent=${name}`;
  }
  return lines.join('\n');
}

/** The device of ours that has the profile of this UUID; undefined where none has. `what`: for people. */
function parentName(what: string, uuid: string, all: readonly Profile[], facts: NetworkFacts): string | undefined {
  const below = all.find((one) => one.uuid === uuid.toLowerCase());
  if (below === undefined || isOurs(below.path, below.text)) return undefined;
  const taken = devicesOf(below, facts);
  if (taken.length > 1) {
    const which = `naming the device of ${what}: it may be ${taken.map(({ name }) => name).join(' or ')}`;
    throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['NetworkManager', which]);
  }
  return taken[0]?.name;
}

/** Only what is in /etc is an administrator's to change. */
function refuseParents(facts: NetworkFacts): void {
  const all = profilesIn(facts);
  for (const { path, text } of all.filter((one) => !one.path.startsWith(PROFILES))) {
    const found = withParentsByName(path, text, all, facts);
    if (found === text) continue;
    const names = facts.interfaces.map(({ nic }) => nic.name).join(', ');
    const why = `another profile for ${names}: ${path} finds its parent by the UUID of the old one`;
    throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['NetworkManager', why]);
  }
}

/** Those of our devices that the profile has now, or else may have. */
function devicesOf(profile: Profile, facts: NetworkFacts): readonly Nic[] {
  const nics = facts.interfaces.map(({ nic }) => nic);
  const active = nics.filter((nic) => activeProfile(facts, nic) === profile.uuid);
  return active.length > 0 ? active : nics.filter((nic) => takes(profile.text, nic));
}

function refusePorts(facts: NetworkFacts): void {
  for (const { nic } of facts.interfaces) {
    const port = portOf(profilesIn(facts), nic);
    if (port === null) continue;
    const { owner, profile } = port;
    const why = `an address on ${nic.name}, which ${profile.path} makes a port of ${owner}: it belongs on ${owner}`;
    throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['NetworkManager', why]);
  }
}

function refuseUnmanaged(facts: NetworkFacts): void {
  const { files, interfaces } = facts;
  const unreadable = unreadableConfiguration(facts);
  if (unreadable !== null) {
    const why = `starting while ${unreadable} is a link to /dev/null: put an empty file there to mask it`;
    throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['NetworkManager', why]);
  }
  const elsewhere = profilesElsewhere(files);
  if (elsewhere !== null) {
    const why = `profiles in ${PROFILES}, while ${elsewhere.by} has them in ${elsewhere.path} (path=)`;
    throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['NetworkManager', why]);
  }
  for (const { nic } of interfaces) {
    const found = unmanagedBy(files, nic);
    if (found === null) continue;
    const why = `a network on ${nic.name}, which ${found.path} leaves unmanaged (${found.how})`;
    throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['NetworkManager', why]);
  }
}

/** What the next boot takes, by the files as they will be, is ours. */
function refuseRivals(facts: NetworkFacts): void {
  for (const { nic } of facts.interfaces) {
    const all = contenders(profilesIn(facts), nic);
    const own = all.find(({ path }) => path === pathOf(nic));
    const rival = all.find((other) => other !== own && (own === undefined || priorityOf(other) >= priorityOf(own)));
    if (own !== undefined && rival === undefined) continue;
    const what = rival === undefined ? 'another' : `${rival.name} (${rival.path}, priority ${priorityOf(rival)})`;
    const why = `a profile for ${nic.name} with priority over ${what}`;
    throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['NetworkManager', why]);
  }
}

/** Of the profile that the device has: with another one, these would not come up any more. */
function secondaries(nic: Nic, facts: NetworkFacts): readonly string[] {
  return secondariesOf(formerText(nic, facts), profilesIn(facts));
}

/** Ours, or else the profile that the device has had so far; empty where it has had none. */
function formerText(nic: Nic, facts: NetworkFacts): string {
  const all = profilesIn(facts);
  const active = activeProfile(facts, nic);
  const old = all.find(({ uuid }) => uuid !== null && uuid === active) ?? contenders(all, nic)[0];
  return facts.files.get(pathOf(nic)) ?? old?.text ?? '';
}

/** Above every profile that a boot may give the device instead. */
function priorityFor(nic: Nic, facts: NetworkFacts): number {
  const [highest] = contenders(profilesIn(facts), nic).filter(({ path, text }) => !isOurs(path, text));
  return Math.min(HIGHEST_PRIORITY, Math.max(PRIORITY, highest === undefined ? PRIORITY : priorityOf(highest) + 1));
}

function withoutAutoconnect(text: string): string {
  const lines = text.split('\n');
  const set = readSettings(text).findLast(({ section, key }) => section === 'connection' && key === 'autoconnect');
  if (set === undefined) {
    const header = lines.findIndex((line) => line.trim() === '[connection]');
    // Without one, NetworkManager makes it up; what comes before any header is an error to it.
    if (header < 0) return `[connection]\nautoconnect=false\n\n${text}`;
    return lines.toSpliced(header + 1, 0, 'autoconnect=false').join('\n');
  }
  return /^(false|0)$/.test(set.value) ? text : lines.with(set.line, 'autoconnect=false').join('\n');
}

function dnsFixes({ files }: NetworkFacts): readonly FileChange[] {
  const off = readSettings(files.get(NO_DNS) ?? '').some(({ key, value }) => key === 'dns' && value === 'none');
  return off ? [{ type: 'remove', path: NO_DNS }] : [];
}

/** `before`: with the profiles as they were. */
function profile(config: InterfaceConfig, facts: NetworkFacts, before: NetworkFacts): string {
  const { nic, mtu } = config;
  const vpns = secondaries(nic, before);
  const zone = valueOf(formerText(nic, before), 'connection', 'zone') ?? '';
  const usual = usualLines(config, facts);
  const label = config.label === null ? '' : commentText(config.label);
  const byMac = nic.permanentMac === nic.mac;
  const lines = [
    '# Written by guestwire; changes are lost.',
    ...(label === '' ? [] : [`# Label ${label}`]),
    '[connection]',
    `id=guestwire-${nic.name}`,
    `uuid=${uuidOf(nic)}`,
    'type=ethernet',
    ...(byMac ? [] : [`interface-name=${nic.name}`]),
    `autoconnect-priority=${priorityFor(nic, facts)}`,
    // A firewall has its rules by it.
    ...(zone === '' ? [] : [`zone=${zone}`]),
    ...(vpns.length === 0 ? [] : [`secondaries=${vpns.map((uuid) => `${uuid};`).join('')}`]),
    '',
    '[ethernet]',
    ...(byMac ? [`mac-address=${nic.mac.toUpperCase()}`] : []),
    ...(mtu === null ? [] : [`mtu=${mtu}`]),
    ...usual('ethernet'),
    '',
    '[ipv4]',
    ...usual('ipv4'),
    ...ipLines(config, 4, facts),
    '',
    '[ipv6]',
    // As the kernel makes link-local addresses, and without temporary ones, whatever NetworkManager's defaults.
    'addr-gen-mode=eui64',
    'ip6-privacy=0',
    ...usual('ipv6'),
    ...ipLines(config, 6, facts),
  ];
  return `${lines.join('\n')}\n`;
}

/**
 * Where the configuration gives profiles that say nothing another value (`[connection]`), ours says the usual one: the routes
 * would stand in another table, or the device would get another MTU, MAC or address.
 */
function usualLines({ nic, mtu }: InterfaceConfig, { files }: NetworkFacts): (section: string) => readonly string[] {
  const defaults = defaultsFor(files, nic);
  return (section) =>
    USUAL.filter(([name, key]) => name === section && defaults.has(`${section}.${key}`))
      .filter(([, key]) => key !== 'mtu' || mtu === null)
      .map(([, key, value]) => `${key}=${value}`);
}

function methodOf(config: InterfaceConfig, family: Family): string {
  const { ipv4, ipv6, dhcp4, auto6 } = config;
  if (family === 4) return dhcp4 ? 'auto' : ipv4.length > 0 ? 'manual' : 'disabled';
  // The advertisements tell whether there is a DHCPv6 server to be asked; without them it would give no routes.
  if (auto6 !== null) return 'auto';
  return ipv6.length > 0 ? 'manual' : isTooSmallForIpv6(config) ? 'disabled' : 'link-local';
}

function hasServers(config: InterfaceConfig, family: Family): boolean {
  return ['auto', 'manual'].includes(methodOf(config, family));
}

/**
 * A server can only stand in a section of its own family that has addresses. Where the interface has none of it, the
 * first that does takes the server; where none does, it could not be reached.
 */
function serversFor(config: InterfaceConfig, family: Family, { interfaces }: NetworkFacts): readonly string[] {
  if (!hasServers(config, family)) return [];
  const isFirst = interfaces.find((other) => hasServers(other, family)) === config;
  const more = isFirst ? interfaces.filter((other) => !hasServers(other, family)) : [];
  const servers = [config, ...more].flatMap(({ dns }) => dns).filter((server) => familyOf(server) === family);
  return [...new Set(servers)];
}

function leadsOut(config: InterfaceConfig, family: Family): boolean {
  if (family === 4) return config.dhcp4 || config.gateway4 !== null;
  return config.auto6 !== null || config.gateway6 !== null;
}

/**
 * Whether each interface with servers is to be asked for every name (`~.`). NetworkManager keeps from systemd-resolved the
 * servers of one that does not lead out, unless a domain leads to them, and resolved asks those alone that have it.
 */
function asksAll(facts: NetworkFacts): boolean {
  if (facts.resolver !== 'resolved') return false;
  const told = ([4, 6] as const).flatMap((family) =>
    facts.interfaces.flatMap((config) =>
      serversFor(config, family, facts).map((server) => ({ server, leads: leadsOut(config, family) })),
    ),
  );
  return told.some(({ server }) => !told.some((other) => other.leads && other.server === server));
}

function ipLines(config: InterfaceConfig, family: Family, facts: NetworkFacts): readonly string[] {
  const servers = serversFor(config, family, facts);
  const method = methodOf(config, family);
  const addresses = family === 4 ? config.ipv4 : config.ipv6;
  const routes = routesOf(config).filter((route) => route.family === family);
  if (method === 'disabled' && routes.length > 0) {
    const what = `an IPv4 route on ${config.nic.name} without an IPv4 address`;
    throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['NetworkManager', what]);
  }
  // The key is refused where no address stands beside it. What it needs to reach the gateway it adds itself.
  const byKey = addresses.length > 0 ? routes.find(({ prefix, metric }) => prefix === 0 && metric === null) : undefined;
  const gateway = byKey?.gateway ?? null;
  const others = routes.filter((route) => route !== byKey);
  const hosts = gatewayNetworks(others, family);
  return [
    `method=${method}`,
    ...addresses.map(({ address, prefix }, index) => `address${index + 1}=${address}/${prefix}`),
    ...(gateway === null ? [] : [`gateway=${gateway}`]),
    ...[...hosts, ...others.map(routeText)].map((text, index) => `route${index + 1}=${text}`),
    ...(servers.length === 0 ? [] : [`dns=${servers.map((server) => `${server};`).join('')}`]),
    ...(servers.length > 0 && asksAll(facts) ? ['dns-search=~.;'] : []),
  ];
}

/** With a metric the place of the gateway has to be filled. */
function routeText(route: PlannedRoute): string {
  const { family, gateway, metric } = route;
  if (metric === null) return gateway === null ? destination(route) : `${destination(route)},${gateway}`;
  return `${destination(route)},${gateway ?? (family === 4 ? '0.0.0.0' : '::')},${metric}`;
}
