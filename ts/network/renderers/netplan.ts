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
import { type Address, familyOf, needsOnLink, networkOf } from '../address.js';
import {
  type Action,
  type InterfaceConfig,
  type NetworkFacts,
  type Renderer,
  commentText,
  writeIfChanged,
} from '../plan.js';

const DIRECTORY = '/etc/netplan/';
const OURS = `${DIRECTORY}60-guestwire.yaml`;
const CLI = '/usr/sbin/netplan';

export const netplan: Renderer = {
  name: 'netplan',
  looksFor: `netplan (${DIRECTORY}*.yaml and ${CLI})`,
  reads: [`${DIRECTORY}*.yaml`, '/run/systemd/network/*.network'],
  programs: [CLI],

  detect({ files, programs, interfaces }) {
    if (!programs.has(CLI) || ![...files.keys()].some((path) => path.startsWith(DIRECTORY))) return null;
    const made = interfaces.some(({ nic }) => files.has(`/run/systemd/network/10-netplan-${nic.name}.network`));
    return made ? 'owner' : 'present';
  },

  render(facts) {
    const after: readonly Action[] = [{ type: 'run', argv: [CLI, 'apply'], onFailure: 'report' }];
    return { before: [], files: [...withoutOurs(facts), ...ourFile(facts)], after, restore: after };
  },
};

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
  return `${[...lines, ...interfaces.flatMap(definition)].join('\n')}\n`;
}

function definition(config: InterfaceConfig): readonly string[] {
  const { nic, ipv4, ipv6 } = config;
  const label = config.label === null ? '' : commentText(config.label);
  const addresses = [...ipv4, ...ipv6].map(({ address, prefix }) => `- ${quoted(`${address}/${prefix}`)}`);
  const routes = [
    ...route('0.0.0.0/0', config.gateway4, ipv4, null),
    ...route('::/0', config.gateway6, ipv6, null),
    ...config.routes.flatMap((entry) =>
      route(
        `${networkOf(entry)}/${entry.prefix}`,
        entry.gateway,
        familyOf(entry.address) === 4 ? ipv4 : ipv6,
        entry.metric,
      ),
    ),
  ];
  return [
    ...(label === '' ? [] : [`    # Label ${label}`]),
    `    ${quoted(nic.name)}:`,
    // netplan matches the permanent MAC; a device without one would be matched by nothing.
    ...(nic.permanentMac === nic.mac
      ? ['      match:', `        macaddress: ${quoted(nic.mac)}`, `      set-name: ${quoted(nic.name)}`]
      : []),
    '      dhcp4: false',
    '      dhcp6: false',
    '      accept-ra: false',
    ...section('addresses', addresses),
    ...(config.dns.length === 0
      ? []
      : ['      nameservers:', `        addresses: [${config.dns.map(quoted).join(', ')}]`]),
    ...section('routes', routes),
  ];
}

function section(key: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : [`      ${key}:`, ...lines.map((line) => `        ${line}`)];
}

function route(to: string, via: string | null, own: readonly Address[], metric: number | null): readonly string[] {
  if (via === null) return to === '0.0.0.0/0' || to === '::/0' ? [] : [`- to: ${quoted(to)}`, '  scope: link'];
  return [
    `- to: ${quoted(to)}`,
    `  via: ${quoted(via)}`,
    // fe80:: gateways need it in networkd's eyes no less than those outside the subnet.
    ...(needsOnLink(via, own) || via.startsWith('fe80:') ? ['  on-link: true'] : []),
    ...(metric === null ? [] : [`  metric: ${metric}`]),
  ];
}

function quoted(text: string): string {
  return `"${text}"`;
}
