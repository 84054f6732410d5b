/**
 * `/etc/netplan/*.yaml`, read by netplan(5), which makes files for systemd-networkd or NetworkManager of it.
 *
 * Files are merged in the order of their names: mappings merge, scalars override, but lists are joined, so an address
 * of ours beside one in another file gives both. What takes our interface and nothing else (owners/netplan.ts) is
 * therefore taken out of other files, with everything else in them kept; an id that others stand on stays ours. Defaults are written `0.0.0.0/0` and `::/0`: netplan 0.101 rejects `default`.
 */
import { type Alias, type Document, type Node, isAlias, isMap, visit } from 'yaml';
import { AgentError } from '../../../api/errors.js';
import type { FileChange, Nic } from '../../../api/host.js';
import {
  type Definition,
  NETPLAN_FILES,
  type Netplan,
  comesBefore,
  escaped,
  isForOne,
  isProfileOf,
  netplanFiles,
  readNetplan,
  readYaml,
  takes,
} from '../../owners/netplan.js';
import { NETWORKD_FILES, NETWORKD_FOLDERS, inMatch } from '../../owners/networkd.js';
import { CONFIGURATION_FILES, PROFILE_FILES } from '../../owners/networkmanager.js';
import { UNMANAGED_FILES, unmanagedBesides, unmanagedFollows } from '../../owners/unmanaged.js';
import { OWNER_FILES, isManaged, networkdFile } from '../../owners/live.js';
import { readSettings } from '../../formats/ini-file.js';
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
import { readNetplanBoot } from '../../readers/netplan.js';
import { INIT_ASKS, maskOf, mayStart, startFiles } from '../../units.js';
import { ENABLED } from './networkmanager.js';
import { type PlannedRoute, destination, isSecondary, gatewayNetworks, routesOf } from '../../routes.js';
import { posix } from '../../../host/shared/runtime/path.js';

const DIRECTORY = '/etc/netplan/';
const OURS = `${DIRECTORY}60-guestwire.yaml`;
const CLI = '/usr/sbin/netplan';
/** What turns the files into those of the daemons, without Python. Since 1.2 a service of its own does it. */
const GENERATORS = ['/usr/libexec/netplan/generate', '/usr/lib/netplan/generate', '/lib/netplan/generate'] as const;
const CONFIGURE = '/usr/libexec/netplan/configure';
/** For ids of ours that are to come first. */
const EARLY = ['0-guestwire-', '00-guestwire-', '-guestwire-'] as const;
const PROFILES = '/run/NetworkManager/system-connections/netplan-';
const NETWORKD_UNIT = 'systemd-networkd.service';
const MANAGER_UNIT = 'NetworkManager.service';
/** A link to /dev/null there keeps its generator from running at a boot. */
const GENERATOR_MASK = '/etc/systemd/system-generators/netplan';

/** Its generator prints a metric as a signed number (0.106 does): a higher one comes out as one below 0. */
const HIGHEST_METRIC = 0x7fffffff;

export const netplan: Renderer = {
  name: 'netplan',
  looksFor: `netplan (${DIRECTORY}*.yaml and ${CLI} or its generator)`,
  reads: [
    ...NETPLAN_FILES,
    ...NETWORKD_FILES,
    ...PROFILE_FILES,
    ...CONFIGURATION_FILES,
    ...UNMANAGED_FILES,
    `${PROFILES}*`,
    ...OWNER_FILES,
    ...startFiles(MANAGER_UNIT),
    maskOf(NETWORKD_UNIT),
    GENERATOR_MASK,
  ],
  follows: ({ files }) => unmanagedFollows(files),
  asks: [CLI, ...GENERATORS, CONFIGURE, ...ENABLED, ...INIT_ASKS],
  // What it makes for them, resolved and NetworkManager carry to resolv.conf.
  feeds: ({ files, interfaces }) => {
    const plan = readNetplan(files);
    // What others have on NetworkManager does not tell it the servers of ours.
    const telling = interfaces.filter(({ dns }) => dns.length > 0);
    const isManaged = telling.length > 0 && telling.every(({ nic }) => daemonOf(nic, plan) === 'NetworkManager');
    return isManaged ? ['resolved', 'networkmanager'] : ['resolved'];
  },

  detect(facts) {
    const { files, present, interfaces } = facts;
    const program = [CLI, ...GENERATORS].find((path) => present.has(path));
    const { definitions } = readNetplan(files);
    const taking = (nic: Nic): readonly Definition[] => definitions.filter((one) => takes(one, nic));
    // What a package brings in /lib is no sign that anything of the machine is configured by netplan, and no more is the
    // mask of such a file; what stands in for a file in /etc is.
    const sources = netplanFiles(files).filter((path) => {
      return (
        (files.get(path) !== '' && files.has(DIRECTORY + posix.basename(path))) ||
        interfaces.some(({ nic }) => taking(nic).some((one) => one.files.includes(path)))
      );
    });
    if (program === undefined || sources.length === 0) return null;
    for (const { nic } of interfaces) {
      const made = networkdFile(facts, nic);
      if (made?.includes('-netplan-') === true) {
        return { rank: 'owner', why: `systemd-networkd configures ${nic.name} by ${made}` };
      }
      const ids = [nic.name, ...taking(nic).map(({ id }) => id)];
      const profile = [...files.keys()].find(
        (path) => path.startsWith(PROFILES) && ids.some((id) => isProfileOf(path, id)),
      );
      if (profile !== undefined && isManaged(facts, nic)) {
        return { rank: 'owner', why: `NetworkManager configures ${nic.name} by ${profile}` };
      }
    }
    return { rank: 'enabled', why: `${program} and ${sources.join(', ')} are there` };
  },

  // It has networkd started where its files are for that, unless somebody has masked it.
  starts(facts) {
    const { files, present, interfaces } = facts;
    if (![CLI, ...GENERATORS].some((path) => present.has(path)) || files.get(GENERATOR_MASK) === '') return false;
    const plan = readNetplan(files);
    const daemons = new Set(interfaces.map(({ nic }) => daemonOf(nic, plan)));
    if (daemons.has('NetworkManager') && mayStart(facts, MANAGER_UNIT, ENABLED) === false) return false;
    return daemons.size === 1 && daemons.has('NetworkManager') ? true : files.get(maskOf(NETWORKD_UNIT)) !== '';
  },

  without({ files }, nic) {
    if (daemonOf(nic, readNetplan(files)) !== 'NetworkManager') return takenAway(files, nic);
    const found = unmanagedBesides(files, nic);
    return found === null ? null : `NetworkManager leaves it unmanaged by ${found.path} (${found.how})`;
  },

  render(facts) {
    const after = applying(facts);
    return {
      before: [],
      files: plannedFiles(facts),
      after,
      restore: after,
    };
  },

  checks({ files, present }, changes) {
    const generator = GENERATORS.find((path) => present.has(path));
    if (generator === undefined || !changes.some(({ path }) => path.startsWith(DIRECTORY))) return [];
    const texts = netplanFiles(files).map((path) => [path, files.get(path) ?? ''] as const);
    return [{ argv: [generator, '--root-dir', '{folder}'], files: new Map(texts) }];
  },

  boot(facts, nic) {
    return readNetplanBoot(facts, nic);
  },
};

function applying({ present, interfaces }: NetworkFacts): readonly Action[] {
  const run = (...argv: Extract<Action, { type: 'run' }>['argv']): Action => ({
    type: 'run',
    argv,
    onFailure: 'report',
  });
  if (present.has(CLI)) return [run(CLI, 'apply')];
  return [
    run('systemctl', 'daemon-reload'),
    ...(present.has(CONFIGURE) ? [run('systemctl', 'restart', 'netplan-configure.service')] : []),
    run('networkctl', 'reload'),
    run('networkctl', 'reconfigure', ...interfaces.map(({ nic }) => nic.name)),
  ];
}

/**
 * The files that are to stand there. What takes one of our devices and no other one goes; for the rest, and for what
 * another program writes to /run at every boot, ours has an id whose file networkd reads first. The plan is read once
 * more at the end: it refuses where ours would not win.
 */
function plannedFiles(facts: NetworkFacts): readonly FileChange[] {
  for (const path of netplanFiles(facts.files)) {
    const { problem } = readYaml(facts.files.get(path) ?? '');
    // netplan reads all files or none: a broken one is to be mended by whoever wrote it.
    if (problem !== null) throw new AgentError('GW_NETWORK_INVALID', [`${path} is not YAML: ${problem}`]);
  }
  const old = readNetplan(facts.files);
  for (const { nic } of facts.interfaces) refusePort(old, nic);
  const removed = withoutOurs(facts, old);
  const others = new Map(withChanges(facts, removed).files);
  others.delete(OURS);
  const left = withCarried(readNetplan(others), old, facts);
  const used = new Set(left.ids);
  const ours = facts.interfaces.map((config) => {
    const one = { config, ...placeOf(config.nic, { old, left, used }) };
    used.add(one.id);
    return one;
  });
  const stubs = old.definitions.filter(({ id }) => !used.has(id) && isNeeded(id, left));
  // Where the file that defines the card sorts after ours, its id has to be known to ours.
  const cards = new Set(ours.flatMap(({ functions }) => functions.get('link') ?? []).filter((id) => left.ids.has(id)));
  const changes = [...removed, ...ourFile(facts, ours, [...stubs.flatMap(stub), ...[...cards].map(known)])];
  prove(ours, readNetplan(withChanges(facts, changes).files));
  return changes;
}

/** A virtual function of ours still names its card, by the definition that goes and so by ours. */
function withCarried(left: Netplan, old: Netplan, { interfaces }: NetworkFacts): Netplan {
  const going = old.definitions.filter((one) => isForOne(one) && interfaces.some(({ nic }) => takes(one, nic)));
  const carried = old.references.filter(({ by }) => going.some(({ id }) => by === `ethernets.${id}`));
  return { ...left, references: [...left.references, ...carried] };
}

/** What ours is called, and what it takes over of the definition that the device had. */
interface Place {
  readonly id: string;
  /** Taken over: on a copy it cannot be told whether the device has the name already that the image gives it. */
  readonly mac: string | null;
  readonly renderer: string | null;
  /** By key. */
  readonly functions: ReadonlyMap<string, string>;
  /** The daemon is NetworkManager. */
  readonly isManager: boolean;
}

function placeOf(
  nic: Nic,
  { old, left, used }: { readonly old: Netplan; readonly left: Netplan; readonly used: ReadonlySet<string> },
): Place {
  const before = inOrder(old.definitions.filter((one) => takes(one, nic)));
  const rivals = left.definitions.filter((one) => takes(one, nic));
  const renderer = before[0]?.renderer ?? null;
  const functions = new Map(before.filter(isForOne).flatMap((one) => [...one.functions]));
  for (const rival of rivals) {
    const [user] = old.references.filter(({ id }) => id === rival.id);
    if (user !== undefined) refuse(nic, `${user.by} in ${user.file} refers to ${described(rival)}, which takes it`);
    const daemons = [renderer, rival.renderer].map((one) => one ?? left.renderer);
    // NetworkManager goes by no order of names.
    if (daemons.some((daemon) => daemon !== 'networkd')) refuse(nic, `${described(rival)} takes it as well`);
  }
  const isFirst = (id: string): boolean => rivals.every((rival) => comesBefore(id, rival.id));
  const needed = [...new Set([...before.filter(isForOne).map(({ id }) => id), nic.name])].filter(
    (id) => isNeeded(id, left) && !left.ids.has(id),
  );
  if (needed.length > 1) refuse(nic, `others refer to it by several ids: ${needed.join(', ')}`);
  const candidates = needed.length > 0 ? needed : [nic.name, ...EARLY.map((prefix) => prefix + nic.name)];
  const id = candidates.find((candidate) => !used.has(candidate) && isFirst(candidate));
  if (id === undefined) {
    const [rival] = inOrder(rivals);
    const why = rival === undefined ? `the id ${nic.name} is taken` : `${described(rival)} comes first`;
    refuse(nic, needed.length > 0 ? `${why}, and others refer to the id ${needed.join()}` : why);
  }
  const isManager = (renderer ?? left.renderer) === 'NetworkManager';
  const isCopy = nic.index === 0 && before.some((one) => isForOne(one) && one.match?.mac === nic.mac);
  return { id, mac: isCopy || nic.permanentMac === nic.mac ? nic.mac : null, renderer, functions, isManager };
}

/** By the definition that counts, or else by what counts for all. */
function daemonOf(nic: Nic, { definitions, renderer }: Netplan): string {
  return inOrder(definitions.filter((one) => takes(one, nic)))[0]?.renderer ?? renderer;
}

/** What keeps networkd from taking the file that is made of the device's definition. */
function takenAway(files: NetworkFacts['files'], nic: Nic): string | null {
  for (const { id } of readNetplan(files).definitions.filter((one) => takes(one, nic))) {
    const made = `10-netplan-${escaped(id)}.network`;
    const masks = NETWORKD_FOLDERS.map((folder) => folder + made).filter((path) => files.get(path) === '');
    if (masks.length > 0) return `${masks.join(', ')} masks it (a link to /dev/null)`;
    const parts = [...files].filter(
      ([path, text]) => path.includes(`/systemd/network/${made}.d/`) && inMatch(readSettings(text)).length > 0,
    );
    if (parts.length > 0) return `${parts.map(([path]) => path).join(', ')} gives it another [Match]`;
  }
  return null;
}

function inOrder(definitions: readonly Definition[]): readonly Definition[] {
  return definitions.toSorted((one, other) => (comesBefore(one.id, other.id) ? -1 : 1));
}

function isNeeded(id: string, { references }: Netplan): boolean {
  return references.some((reference) => reference.id === id);
}

function described({ id, files }: Definition): string {
  return `${id} in ${files.join(', ')}`;
}

function refuse(nic: Nic, why: string, what = `a network for ${nic.name} that lasts`): never {
  throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['netplan', `${what}: ${why}`]);
}

function refusePort({ definitions, references }: Netplan, nic: Nic): void {
  const ids = new Set([nic.name, ...definitions.filter((one) => takes(one, nic)).map(({ id }) => id)]);
  // The name of our device may be the id of another one.
  if (definitions.some((one) => one.id === nic.name && !takes(one, nic))) ids.delete(nic.name);
  const port = references.find(({ id, master }) => master !== null && ids.has(id));
  if (port === undefined) return;
  const { by, file, master } = port;
  refuse(nic, `${nic.name} is a port of ${by} in ${file}, and they belong on ${master}`, `addresses on ${nic.name}`);
}

function prove(ours: readonly (Place & { readonly config: InterfaceConfig })[], planned: Netplan): void {
  for (const { id, config } of ours) {
    const [first, second] = inOrder(planned.definitions.filter((one) => takes(one, config.nic)));
    if (first?.id === id && first.files.every((file) => file === OURS)) continue;
    const rival = first?.id === id ? first : (first ?? second);
    refuse(config.nic, rival === undefined ? 'no definition takes it' : `${described(rival)} would take it`);
  }
}

/** netplan warns about files that others may read; 0600 is what it wants. */
function ourFile(
  facts: NetworkFacts,
  ours: readonly (Place & { readonly config: InterfaceConfig })[],
  more: readonly string[],
): readonly FileChange[] {
  const lines = [
    ...['# Written by guestwire; changes are lost.', 'network:', '  version: 2', '  ethernets:'],
    ...ours.flatMap(({ config, ...place }) => definition(config, place, facts.interfaces)),
    ...more,
  ];
  return writeExactly(facts, OURS, `${lines.join('\n')}\n`, 0o600);
}

/** A file below /lib gives way to one of its name in /etc; one below /run to none. */
function withoutOurs(facts: NetworkFacts, old: Netplan): readonly FileChange[] {
  const ids = old.definitions
    .filter((one) => isForOne(one) && facts.interfaces.some(({ nic }) => takes(one, nic)))
    .map(({ id }) => id);
  return netplanFiles(facts.files)
    .filter((path) => path !== OURS && !path.startsWith('/run/'))
    .flatMap((path) => {
      const { document } = readYaml(facts.files.get(path) ?? '');
      if (!removeDefinitions(document, ids, old)) return [];
      const own = `${DIRECTORY}${path.slice(path.lastIndexOf('/') + 1)}`;
      return writeIfChanged(facts, own, document.toString({ lineWidth: 0 }), 0o600);
    });
}

/**
 * Removes the definitions called `ids`; tells whether there was one. netplan looks for what a file names in that file and
 * those before it, so an id that others stand on stays there, empty.
 */
function removeDefinitions(document: Document, ids: readonly string[], old: Netplan): boolean {
  const ethernets = document.getIn(['network', 'ethernets']);
  if (!isMap(ethernets)) return false;
  // An empty one takes nothing; it only makes the id known to its file.
  const isEmpty = (value: unknown): boolean => (isMap(value) ? value.items.length === 0 : !isAlias(value));
  const ours = ethernets.items.filter(({ key, value }) => ids.includes(String(key)) && !isEmpty(value));
  if (ours.length === 0) return false;
  const sources = new Map<Alias, Node | undefined>();
  visit(document, {
    Alias: (_, alias) => {
      sources.set(alias, alias.resolve(document));
    },
  });
  for (const { key } of ours) {
    if (isNeeded(String(key), old)) ethernets.set(key, document.createNode({}));
    else ethernets.delete(key);
  }
  if (ethernets.items.length === 0) document.deleteIn(['network', 'ethernets']);
  keepAnchored(document, sources);
  return true;
}

/** Puts what had an anchor in a definition that is gone where it is needed first. */
function keepAnchored(document: Document, sources: ReadonlyMap<Alias, Node | undefined>): void {
  const anchored = new Map<string, Node>();
  visit(document, {
    Value: (_, node) => {
      if (node.anchor !== undefined) anchored.set(node.anchor, node);
    },
    Alias: (_, alias) => {
      const source = sources.get(alias);
      return source === undefined || anchored.get(alias.source) === source ? undefined : source;
    },
  });
}

/** A device that the host names no more, and that others stand on: without its id netplan would read no file at all. */
function stub({ id, match, setName }: Definition): readonly string[] {
  const { name = null, mac = null } = match ?? {};
  const conditions = [
    ...(name === null ? [] : [`name: ${quoted(name)}`]),
    ...(mac === null ? [] : [`macaddress: ${quoted(mac)}`]),
  ];
  return [
    `    ${quoted(id)}:`,
    '      optional: true',
    ...(conditions.length === 0 ? [] : [`      match: {${conditions.join(', ')}}`]),
    ...(setName === null ? [] : [`      set-name: ${quoted(setName)}`]),
  ];
}

function known(id: string): string {
  return `    ${quoted(id)}: {}`;
}

function definition(
  config: InterfaceConfig,
  { id, mac, renderer, functions, isManager }: Place,
  all: readonly InterfaceConfig[],
): readonly string[] {
  const { nic, ipv4, ipv6, auto6 } = config;
  const routes = routesOf(config);
  const label = config.label === null ? '' : commentText(config.label);
  const addresses = [...ipv4, ...ipv6].map(({ address, prefix }) => `- ${quoted(`${address}/${prefix}`)}`);
  return [
    ...(label === '' ? [] : [`    # Label ${label}`]),
    `    ${quoted(id)}:`,
    ...matchOf(nic, id, mac),
    ...(renderer === null ? [] : [`      renderer: ${quoted(renderer)}`]),
    ...[...functions].map(([key, value]) => `      ${key}: ${quoted(value)}`),
    ...(isSecondary(config, all) ? ['      optional: true'] : []),
    `      dhcp4: ${config.dhcp4}`,
    `      dhcp6: ${auto6 === 'dhcp'}`,
    `      accept-ra: ${auto6 !== null}`,
    ...(isManager ? method6Of(config) : isTooSmallForIpv6(config) ? ['      link-local: []'] : []),
    ...(config.mtu === null ? [] : [`      mtu: ${config.mtu}`]),
    ...section('addresses', addresses),
    ...(config.dns.length === 0
      ? []
      : ['      nameservers:', `        addresses: [${config.dns.map(quoted).join(', ')}]`]),
    ...section('routes', [...hostRoutes(routes), ...routes.flatMap(route)]),
  ];
}

/** netplan matches the permanent MAC; a device without one would be matched by nothing. */
function matchOf({ name }: Nic, id: string, mac: string | null): readonly string[] {
  if (mac !== null) return ['      match:', `        macaddress: ${quoted(mac)}`, `      set-name: ${quoted(name)}`];
  return id === name ? [] : ['      match:', `        name: ${quoted(name)}`];
}

/** netplan tells NetworkManager nothing of `accept-ra`, and without addresses to leave IPv6 to the kernel, which listens. */
function method6Of(config: InterfaceConfig): readonly string[] {
  const { ipv6, auto6 } = config;
  const without = isTooSmallForIpv6(config) ? 'disabled' : 'link-local';
  const method = auto6 === 'ra' ? 'auto' : auto6 === null && ipv6.length === 0 ? without : null;
  return method === null ? [] : ['      networkmanager:', `        passthrough: {ipv6.method: ${quoted(method)}}`];
}

function section(key: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : [`      ${key}:`, ...lines.map((line) => `        ${line}`)];
}

/**
 * The ways to gateways outside the subnets. Not by `on-link`: systemd-networkd 252 takes two routes that differ in that
 * only for the same one, and after a change never sets the new one.
 */
function hostRoutes(routes: readonly PlannedRoute[]): readonly string[] {
  return ([4, 6] as const).flatMap((family) =>
    gatewayNetworks(routes, family).flatMap((network) => [`- to: ${quoted(network)}`, '  scope: link']),
  );
}

function route(planned: PlannedRoute): readonly string[] {
  const { gateway, metric } = planned;
  if (metric !== null && metric > HIGHEST_METRIC) {
    const what = `a metric of ${metric}, above ${HIGHEST_METRIC}`;
    throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['netplan', what]);
  }
  return [
    `- to: ${quoted(destination(planned))}`,
    gateway === null ? '  scope: link' : `  via: ${quoted(gateway)}`,
    ...(metric === null ? [] : [`  metric: ${metric}`]),
  ];
}

function quoted(text: string): string {
  return `"${text}"`;
}
