/** Who else has a say over a device in Red Hat's ifcfg files: a bridge, bond or team that it is a port of. */
import type { Ifcfg } from '../formats/sysconfig.js';

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
