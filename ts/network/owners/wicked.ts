/** Who else has a say over a device of wicked's: the bridge, bond or team that it is a port of, and files of wicked's own. */
import type { Ifcfg } from '../formats/sysconfig.js';

/** By them another file makes the device part of a bridge, bond or team, and wicked gives it no address. */
const PORTS = /^(BRIDGE_PORTS|BONDING_SLAVE\w*|TEAM_PORT_DEVICE\w*|OVS_BRIDGE_PORT_DEVICE\w*)$/;
/** Read beside the ifcfg files: wicked-config(5). */
const OWN_FORMAT = '/etc/wicked/ifconfig/';
/** For a renderer's `reads`. */
export const WICKED_FILES: readonly string[] = [`${OWN_FORMAT}*.xml`];

/** The file of what the device is a port of. */
export function ownerOf(all: readonly Ifcfg[], device: string): Ifcfg | undefined {
  return all.find(({ keys }) =>
    [...keys].some(([key, value]) => PORTS.test(key) && value.split(/\s+/).includes(device)),
  );
}

/** A file in wicked's own format that names the device; which of the two counts is not for us to say. */
export function definitionElsewhere(files: ReadonlyMap<string, string>, device: string): string | undefined {
  return [...files.keys()].find((path) => {
    if (!path.startsWith(OWN_FORMAT)) return false;
    const names = [...(files.get(path) ?? '').matchAll(/<name>\s*([^<\s]+)\s*<\/name>/g)].map(([, name]) => name);
    return names.includes(device);
  });
}
