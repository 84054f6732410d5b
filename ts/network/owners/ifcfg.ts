/** Red Hat's ifcfg files: which of them define a device, and the bridge, bond or team that it is a port of. */
import type { Nic } from '../../api/host.js';
import { type Ifcfg, ifcfgFiles } from '../formats/sysconfig.js';
import type { InterfaceConfig, NetworkFacts } from '../plan.js';

export const IFCFG_DIRECTORY = '/etc/sysconfig/network-scripts/';

/** With any of them ifup makes the device part of another one and gives it no address. */
const OWNERS = ['MASTER', 'BRIDGE', 'TEAM_MASTER', 'OVS_BRIDGE', 'BOND_MASTER', 'CONTROLLER'] as const;

/** What the device of a file is a port of, by its own keys; null when it is none. */
export function portOwner(keys: ReadonlyMap<string, string>): string | null {
  for (const key of OWNERS) {
    const owner = keys.get(key) ?? '';
    if (owner !== '') return owner;
  }
  return null;
}

/** Open vSwitch names the ports of a bond at the bond. */
export function bondOver(
  files: readonly Ifcfg[],
  device: string,
): { readonly file: Ifcfg; readonly owner: string } | null {
  const file = files.find(({ keys }) => (keys.get('BOND_IFACES') ?? '').split(/\s+/).includes(device));
  return file === undefined ? null : { file, owner: file.keys.get('DEVICE') ?? file.name };
}

/** The files that define the interface, the one whose foreign keys are to be kept first; aliases come last. */
export function definitions(facts: NetworkFacts, { nic }: Pick<InterfaceConfig, 'nic'>): readonly Ifcfg[] {
  const others = facts.interfaces.map((other) => other.nic.name).filter((name) => name !== nic.name);
  return ifcfgFiles(facts, IFCFG_DIRECTORY)
    .map((file) => ({ file, order: match(nic, file) }))
    .filter(({ file, order }) => order !== null && !others.includes(file.name))
    .sort((a, b) => (a.order ?? 0) - (b.order ?? 0))
    .map(({ file }) => file);
}

/** Whether the file gives the device addresses besides those of its own file. */
export function isAlias(nic: Nic, file: Ifcfg): boolean {
  return match(nic, file) === 3;
}

/** How well the file fits the device, best first; null when it defines another one. */
function match({ name, mac }: Nic, file: Ifcfg): number | null {
  const [device, alias] = (file.keys.get('DEVICE') ?? file.name).split(':');
  if (file.name === name) return 0;
  if (device === name) return alias === undefined && !file.name.includes(':') ? 1 : 3;
  if (file.name.startsWith(`${name}:`) || file.name.startsWith(`${name}-range`)) return 3;
  // VLANs and bridges borrow a MAC.
  const plain = /^(ethernet)?$/i.test(file.keys.get('TYPE') ?? '') && !file.keys.has('VLAN') && !device?.includes('.');
  return plain && file.keys.get('HWADDR')?.toLowerCase() === mac ? 2 : null;
}
