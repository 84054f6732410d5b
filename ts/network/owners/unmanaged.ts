/** Which devices NetworkManager leaves alone at a boot, whatever profiles there are: NetworkManager.conf(5) and its plugins. Pure. */
import type { Nic } from '../../api/host.js';
import { ifcfgFiles } from '../formats/sysconfig.js';
import { readSettings } from '../formats/ini-file.js';
import { IFCFG_DIRECTORY } from './ifcfg.js';
import { isManaged } from './live.js';
import { followSources, logicalLines } from './ifupdown.js';
import { configured, configuredList, isSpecified, sectionsFor } from './networkmanager.js';
import { UDEV_FILES, propertyOf } from './udev.js';

type Files = ReadonlyMap<string, string>;

export interface Unmanaged {
  readonly path: string;
  /** How the file says it, as in `NM_CONTROLLED=no`. */
  readonly how: string;
  /** It is said of all devices, and no sign that another stack has this one. */
  readonly isOff?: true;
}

/** What `nmcli networking off` keeps over a boot. */
const STATE = '/var/lib/NetworkManager/NetworkManager.state';
const INTERFACES = '/etc/network/interfaces';
const FALSE = /^(?:0|n|no|f|false|off)$/i;
const TRUE = /^(?:1|y|yes|t|true|on)$/i;

/** For a renderer's `reads`; {@link unmanagedFollows} names more. */
export const UNMANAGED_FILES: readonly string[] = [STATE, INTERFACES, `${IFCFG_DIRECTORY}ifcfg-*`, ...UDEV_FILES];

/** For a renderer's `follows`. */
export function unmanagedFollows(files: Files): readonly string[] {
  return followSources(files, INTERFACES, true).patterns;
}

/** null where NetworkManager manages the device. */
export function unmanagedBy(files: Files, nic: Nic): Unmanaged | null {
  const { items, path } = configuredList(files, 'keyfile', 'unmanaged-devices');
  if (path !== null && isSpecified(items, nic)) return { path, how: 'unmanaged-devices or managed' };
  const settings = sectionsFor(files, 'device', nic).flatMap((section) => section.settings.get('managed') ?? []);
  // Of several sections that contradict one another, the one that says no counts here.
  const off = settings.find(({ value }) => FALSE.test(value));
  if (off !== undefined) return { path: off.path, how: 'unmanaged-devices or managed' };
  return unmanagedBesides(files, nic);
}

/** The same by what is no list of devices in its configuration; that is made anew by netplan where netplan is. */
export function unmanagedBesides(files: Files, nic: Nic): Unmanaged | null {
  const state = readSettings(files.get(STATE) ?? '').findLast(
    ({ section, key }) => section === 'main' && key === 'NetworkingEnabled',
  );
  if (FALSE.test(state?.value ?? '')) return { path: STATE, how: 'NetworkingEnabled=false', isOff: true };
  return byInterfaces(files, nic) ?? byIfcfg(files, nic) ?? byUdev(files, nic);
}

/**
 * Debian's plugin `ifupdown` leaves alone what interfaces(5) defines, brought up or not, unless it is told `managed=true`.
 * Also what a `mapping` names, and the ports of a bridge with a name that starts with `br`. No release has it by default.
 */
function byInterfaces(files: Files, nic: Nic): Unmanaged | null {
  return isManagingInterfaces(files) ? null : inInterfaces(files, nic);
}

/** Whether NetworkManager has a profile for the device that the plugin makes of interfaces(5), which brings the same. */
export function isProfiledByInterfaces(files: Files, nic: Nic): boolean {
  return isManagingInterfaces(files) && inInterfaces(files, nic) !== null;
}

function isManagingInterfaces(files: Files): boolean {
  const managed = configured(files).findLast(({ section, key }) => section === 'ifupdown' && key === 'managed');
  return TRUE.test(managed?.value ?? '');
}

/** Where interfaces(5) has the device, as the plugin reads it; null also where there is no plugin. */
function inInterfaces(files: Files, { name }: Nic): Unmanaged | null {
  if (!configuredList(files, 'main', 'plugins').items.includes('ifupdown')) return null;
  for (const path of followSources(files, INTERFACES, true).read) {
    let stanza = '';
    for (const { words, line } of logicalLines(files.get(path) ?? '')) {
      const [word = '', ...rest] = words;
      if (word === 'iface') stanza = rest[0] ?? '';
      const isPort = /^bridge[-_]ports$/.test(word) && stanza.startsWith('br') && rest.includes(name);
      const isNamed = (word === 'iface' && stanza === name) || (word === 'mapping' && rest[0] === name);
      if (isPort || isNamed) return { path, how: `line ${line}, by the plugin ifupdown with managed=false` };
    }
  }
  return null;
}

/** Red Hat's plugin `ifcfg-rh`: built in where `plugins` says nothing, unless it is a package of its own or gone. */
function byIfcfg(files: Files, nic: Nic): Unmanaged | null {
  // Whatever the file says, nobody has read it.
  if (isManaged({ files }, nic)) return null;
  const { name, mac, permanentMac } = nic;
  const { items, path: said } = configuredList(files, 'main', 'plugins');
  if (said !== null && !items.includes('ifcfg-rh')) return null;
  const found = ifcfgFiles({ files }, IFCFG_DIRECTORY).find(({ keys }) => {
    if (!FALSE.test(keys.get('NM_CONTROLLED') ?? '')) return false;
    const address = keys.get('HWADDR')?.toLowerCase() ?? '';
    return address === '' ? keys.get('DEVICE') === name : [mac, permanentMac].includes(address);
  });
  return found === undefined ? null : { path: found.path, how: 'NM_CONTROLLED=no' };
}

/** `managed` of a section for the device has the last word over udev. */
function byUdev(files: Files, nic: Nic): Unmanaged | null {
  const isManaged = sectionsFor(files, 'device', nic).some(({ settings }) =>
    TRUE.test(settings.get('managed')?.value ?? ''),
  );
  const property = isManaged ? null : propertyOf(files, nic, 'NM_UNMANAGED');
  if (property === null || !TRUE.test(property.value)) return null;
  return { path: property.path, how: 'NM_UNMANAGED' };
}
