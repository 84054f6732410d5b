/**
 * `/etc/netplan/*.yaml`, read by netplan(5), which makes files for systemd-networkd or NetworkManager of it.
 *
 * Files are merged in the order of their names: mappings merge, scalars override, but lists are joined, so an address
 * of ours beside one in another file gives both. Definitions of our interfaces are therefore taken out of other files,
 * with everything else in them kept. Defaults are written `0.0.0.0/0` and `::/0`: netplan 0.101 rejects `default`.
 */
import { type Document, isMap, parseDocument } from 'yaml';
import { AgentError } from '../../api/errors.js';
import type { FileChange } from '../../api/host.js';
import { OWNER_FILES, isManaged, networkdFile } from '../owners.js';
import {
  type Action,
  type InterfaceConfig,
  type NetworkFacts,
  type Renderer,
  commentText,
  writeIfChanged,
} from '../plan.js';
import { type PlannedRoute, destination, isSecondary, gatewayNetworks, routesOf } from '../routes.js';

const DIRECTORY = '/etc/netplan/';
const OURS = `${DIRECTORY}60-guestwire.yaml`;
const CLI = '/usr/sbin/netplan';
/** What turns the files into those of the daemons, without Python. Since 1.2 a service of its own does it. */
const GENERATORS = ['/usr/libexec/netplan/generate', '/usr/lib/netplan/generate', '/lib/netplan/generate'] as const;
const CONFIGURE = '/usr/libexec/netplan/configure';
const PROFILES = '/run/NetworkManager/system-connections/netplan-';

export const netplan: Renderer = {
  name: 'netplan',
  looksFor: `netplan (${DIRECTORY}*.yaml and ${CLI} or its generator)`,
  reads: [`${DIRECTORY}*.yaml`, `${PROFILES}*`, ...OWNER_FILES],
  asks: [CLI, ...GENERATORS, CONFIGURE],
  // What it makes for them, resolved and NetworkManager carry to resolv.conf.
  feeds: ['resolved', 'networkmanager'],

  detect(facts) {
    const { files, present, interfaces } = facts;
    const program = [CLI, ...GENERATORS].find((path) => present.has(path));
    const sources = [...files.keys()].filter((path) => path.startsWith(DIRECTORY));
    if (program === undefined || sources.length === 0) return null;
    for (const { nic } of interfaces) {
      const made = networkdFile(facts, nic);
      if (made?.includes('-netplan-') === true) {
        return { rank: 'owner', why: `systemd-networkd configures ${nic.name} by ${made}` };
      }
      const profile = [...files.keys()].find((path) => path.startsWith(PROFILES + nic.name));
      if (profile !== undefined && isManaged(facts, nic)) {
        return { rank: 'owner', why: `NetworkManager configures ${nic.name} by ${profile}` };
      }
    }
    return { rank: 'enabled', why: `${program} and ${sources.join(', ')} are there` };
  },

  render(facts) {
    const after = applying(facts);
    return {
      before: [],
      files: [...withoutOurs(facts), ...ourFile(facts)],
      after,
      restore: after,
    };
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

/** netplan warns about files that others may read; 0600 is what it wants. */
function ourFile(facts: NetworkFacts): readonly FileChange[] {
  return writeIfChanged(facts, OURS, render(facts.interfaces), 0o600).map((change) => ({ ...change, exactMode: true }));
}

function withoutOurs(facts: NetworkFacts): readonly FileChange[] {
  return [...facts.files]
    .filter(([path]) => path.startsWith(DIRECTORY) && path !== OURS)
    .flatMap(([path, text]) => {
      const document = parseDocument(text);
      const [error] = document.errors;
      // netplan reads all files or none: a broken one is to be mended by whoever wrote it.
      if (error !== undefined) throw new AgentError('GW_NETWORK_INVALID', [`${path} is not YAML: ${error.code}`]);
      return removeDefinitions(document, facts.interfaces)
        ? writeIfChanged(facts, path, document.toString({ lineWidth: 0 }), 0o600)
        : [];
    });
}

/** Removes what defines one of `interfaces` under any name; tells whether there was something. */
function removeDefinitions(document: Document, interfaces: readonly InterfaceConfig[]): boolean {
  const ethernets = document.getIn(['network', 'ethernets']);
  if (!isMap(ethernets)) return false;
  const ours = ethernets.items.filter((pair) => {
    const id = String(pair.key);
    const definition = ethernets.get(pair.key);
    const at = (...path: string[]): unknown => (isMap(definition) ? definition.getIn(path) : undefined);
    return interfaces.some(
      ({ nic }) =>
        id === nic.name ||
        at('set-name') === nic.name ||
        at('match', 'name') === nic.name ||
        String(at('match', 'macaddress')).toLowerCase() === nic.mac,
    );
  });
  for (const pair of ours) ethernets.delete(pair.key);
  if (ethernets.items.length === 0) document.deleteIn(['network', 'ethernets']);
  return ours.length > 0;
}

function render(interfaces: readonly InterfaceConfig[]): string {
  const lines = ['# Written by guestwire; changes are lost.', 'network:', '  version: 2', '  ethernets:'];
  return `${[...lines, ...interfaces.flatMap((config) => definition(config, interfaces))].join('\n')}\n`;
}

function definition(config: InterfaceConfig, all: readonly InterfaceConfig[]): readonly string[] {
  const { nic, ipv4, ipv6, auto6 } = config;
  const routes = routesOf(config);
  const label = config.label === null ? '' : commentText(config.label);
  const addresses = [...ipv4, ...ipv6].map(({ address, prefix }) => `- ${quoted(`${address}/${prefix}`)}`);
  return [
    ...(label === '' ? [] : [`    # Label ${label}`]),
    `    ${quoted(nic.name)}:`,
    // netplan matches the permanent MAC; a device without one would be matched by nothing.
    ...(nic.permanentMac === nic.mac
      ? ['      match:', `        macaddress: ${quoted(nic.mac)}`, `      set-name: ${quoted(nic.name)}`]
      : []),
    ...(isSecondary(config, all) ? ['      optional: true'] : []),
    `      dhcp4: ${config.dhcp4}`,
    `      dhcp6: ${auto6 === 'dhcp'}`,
    `      accept-ra: ${auto6 !== null}`,
    ...(config.mtu === null ? [] : [`      mtu: ${config.mtu}`]),
    ...section('addresses', addresses),
    ...(config.dns.length === 0
      ? []
      : ['      nameservers:', `        addresses: [${config.dns.map(quoted).join(', ')}]`]),
    ...section('routes', [...hostRoutes(routes), ...routes.flatMap(route)]),
  ];
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
  return [
    `- to: ${quoted(destination(planned))}`,
    gateway === null ? '  scope: link' : `  via: ${quoted(gateway)}`,
    ...(metric === null ? [] : [`  metric: ${metric}`]),
  ];
}

function quoted(text: string): string {
  return `"${text}"`;
}
