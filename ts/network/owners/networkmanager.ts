/**
 * Which profile NetworkManager takes for a device at a boot, by its own rules: nm-settings-keyfile(5) for the files,
 * nm-settings(5) for what a profile matches. What the files do not tell, such as the kernel's command line, counts as
 * met: a profile that may take the device is a rival.
 */
import type { Nic } from '../../api/host.js';
import { parsePrefix } from '../address.js';
import { effectivePaths } from '../formats/folders.js';
import { fnmatch } from '../formats/glob.js';
import { type Setting, readSettings } from '../formats/ini-file.js';
import { type Ifcfg, ifcfgFiles } from '../formats/sysconfig.js';
import { IFCFG_DIRECTORY, portOwner } from './ifcfg.js';
import type { FileAccess, NetworkFacts } from '../plan.js';

/** Where ours are. */
export const PROFILES = '/etc/NetworkManager/system-connections/';
/** Of what NetworkManager notes beside them. */
const META = '.nmmeta';

/** Where a UUID stands in several, the first of these counts. In /etc the files have any name. */
const FOLDERS = [
  { folder: '/run/NetworkManager/system-connections/', suffix: '.nmconnection' },
  { folder: PROFILES, suffix: '' },
  { folder: '/usr/lib/NetworkManager/system-connections/', suffix: '.nmconnection' },
] as const;

/** For a renderer's `reads`. */
export const PROFILE_FILES: readonly string[] = FOLDERS.map(({ folder, suffix }) => `${folder}*${suffix}`);

/** Of one name that of the first folder counts; they are read from the last folder to the first. */
const CONFIGURATION = ['/etc', '/run', '/usr/lib'].map((root) => `${root}/NetworkManager/conf.d/`);
const MAIN = '/etc/NetworkManager/NetworkManager.conf';
/** MAC addresses, a line each. */
export const AUTO_DEFAULT_STATE = '/var/lib/NetworkManager/no-auto-default.state';
/** For a renderer's `reads`. */
export const CONFIGURATION_FILES: readonly string[] = [MAIN, ...CONFIGURATION.map((folder) => `${folder}*.conf`)];

/** The highest that a profile can have; without one it has 0. */
export const HIGHEST_PRIORITY = 999;

export interface Profile {
  readonly path: string;
  readonly text: string;
  /** In lower case, as NetworkManager takes it. */
  readonly uuid: string | null;
  /** Its id, or else its file, for people. */
  readonly name: string;
}

type Machine = Pick<NetworkFacts, 'files' | 'access'>;

/** Those that NetworkManager loads: of several with one UUID, that of the first folder. Red Hat's `ifcfg-` files come last. */
export function profilesIn(machine: Machine): readonly Profile[] {
  const { files, access } = machine;
  const hidden = hiddenIn(machine);
  const all = FOLDERS.flatMap(({ folder, suffix }) =>
    [...files]
      .filter(([path]) => path.startsWith(folder) && path.endsWith(suffix) && !path.endsWith(META))
      .filter(([path]) => isPrivate(access?.get(path)))
      .map(([path, text]): Profile => {
        const name = valueOf(text, 'connection', 'id') ?? path.slice(folder.length);
        return { path, text, uuid: valueOf(text, 'connection', 'uuid')?.toLowerCase() ?? null, name };
      })
      .filter(({ uuid, path }) => uuid === null || path.startsWith('/run/') || !hidden.has(uuid)),
  );
  const loaded = [...all, ...ifcfgFiles({ files }, IFCFG_DIRECTORY).flatMap(ifcfgProfile)];
  return loaded.filter(
    ({ uuid }, index) => uuid === null || loaded.findIndex((other) => other.uuid === uuid) === index,
  );
}

/**
 * UUIDs of profiles that somebody has removed and that stand in a folder which NetworkManager does not write: it keeps a
 * file or link `UUID.nmmeta` in /etc that leads to /dev/null. One in /run is gone at a boot.
 */
function hiddenIn({ files, access }: Machine): ReadonlySet<string> {
  const found = [...files].flatMap(([path, text]) => {
    if (!path.startsWith(PROFILES) || !path.endsWith(META)) return [];
    const uuid = path.slice(PROFILES.length, -META.length);
    const name = uuid.toLowerCase();
    if (access?.get(path) === 'mask') return [name];
    const isMeant = valueOf(text, 'nmmeta', 'uuid') === uuid;
    const isHidden = isMeant && valueOf(text, 'nmmeta', 'loaded-path') === '/dev/null';
    return isHidden && isPrivate(access?.get(path)) ? [name] : [];
  });
  return new Set(found);
}

/** As NetworkManager's plugin takes it (nm-settings-ifcfg-rh(5)), in the form of its own profiles, as far as that is asked for here. */
function ifcfgProfile({ path, name, keys }: Ifcfg): readonly Profile[] {
  const of = (key: string): string => keys.get(key) ?? '';
  if (name === 'lo' || name.includes(':') || /^no$/i.test(of('NM_CONTROLLED'))) return [];
  const isEthernet = /^(ethernet)?$/i.test(of('TYPE')) && !keys.has('VLAN') && portOwner(keys) === null;
  const addresses = ['', '0', '1', '2'].filter((suffix) => of(`IPADDR${suffix}`) !== '');
  const method = /^(bootp|dhcp)$/i.test(of('BOOTPROTO')) ? 'auto' : addresses.length > 0 ? 'manual' : 'disabled';
  const line = (key: string, value: string): readonly string[] => (value === '' ? [] : [`${key}=${value}`]);
  const text = [
    '[connection]',
    `type=${isEthernet ? 'ethernet' : 'other'}`,
    ...line('interface-name', of('DEVICE')),
    ...line('zone', of('ZONE')),
    `autoconnect=${/^(no|false|0)$/i.test(of('ONBOOT')) ? 'false' : 'true'}`,
    ...line('autoconnect-priority', of('AUTOCONNECT_PRIORITY')),
    '[ethernet]',
    ...line('mac-address', of('HWADDR')),
    '[ipv4]',
    `method=${method}`,
    ...addresses.map((suffix, index) => {
      const length = of(`PREFIX${suffix}`) === '' ? parsePrefix(of(`NETMASK${suffix}`), 4) : of(`PREFIX${suffix}`);
      return `address${index + 1}=${of(`IPADDR${suffix}`)}/${length ?? 24}`;
    }),
    ...line('gateway', of('GATEWAY')),
    '[ipv6]',
    'method=ignore',
  ].join('\n');
  return [{ path, text, uuid: of('UUID') === '' ? null : of('UUID').toLowerCase(), name: of('NAME') || name }];
}

/** A file that gives profiles another folder than {@link PROFILES}, where ours stand; null when there is none. */
export function profilesElsewhere(
  files: ReadonlyMap<string, string>,
): { readonly path: string; readonly by: string } | null {
  let found: { readonly path: string; readonly by: string } | null = null;
  for (const by of configurationIn(files)) {
    for (const { section, key, value } of readSettings(files.get(by) ?? '')) {
      if (section === 'keyfile' && key === 'path') found = { path: value, by };
    }
  }
  const isUsual = found === null || found.path === '' || `${found.path}/`.replaceAll(/\/+/g, '/') === PROFILES;
  return isUsual ? null : found;
}

/** NetworkManager passes over a profile that is not root's, or that others may read or write, in any folder. */
export function isPrivate(access: FileAccess | undefined): boolean {
  return access === undefined || (access !== 'mask' && access.uid === 0 && (access.mode & 0o077) === 0);
}

/** Where a key comes twice, the last one counts. */
export function valueOf(text: string, section: string, key: string): string | undefined {
  return readSettings(text).findLast((setting) => setting.section === section && setting.key === key)?.value;
}

/** Whether it names this very device: what it is for, and no other. */
export function isFor(text: string, nic: Nic): boolean {
  const names = valueOf(text, 'connection', 'interface-name') ?? wired(text, 'mac-address');
  return names !== undefined && takes(text, nic);
}

/** Those that a boot may give the device, the winner first. Among equals the one last used would win. */
export function contenders(profiles: readonly Profile[], nic: Nic): readonly Profile[] {
  return profiles
    .filter(({ text }) => isAutomatic(text) && takes(text, nic))
    .sort((a, b) => priorityOf(b) - priorityOf(a));
}

/** Of the contenders those that a boot may choose: equals, and the ones after what files do not tell the conditions of. */
export function possible(all: readonly Profile[]): readonly Profile[] {
  const last = all.findIndex((one, index) => {
    const next = all[index + 1];
    return !isDoubtful(one) && (next === undefined || priorityOf(next) < priorityOf(one));
  });
  return last < 0 ? all : all.slice(0, last + 1);
}

/** Whether it asks for what {@link takes} counts as met. */
export function isDoubtful({ text }: Profile): boolean {
  return ['kernel-command-line', 'driver', 'path'].some((key) => listOf(valueOf(text, 'match', key)).length > 0);
}

export function priorityOf({ text }: Profile): number {
  return Number.parseInt(valueOf(text, 'connection', 'autoconnect-priority') ?? '0', 10) || 0;
}

/** The bridge, bond or team that a boot makes the device a port of, and the profile that says so; null when there is none. */
export function portOf(
  profiles: readonly Profile[],
  nic: Nic,
): { readonly profile: Profile; readonly owner: string } | null {
  for (const profile of profiles) {
    const named = CONTROLLER.map((key) => valueOf(profile.text, 'connection', key)).find(
      (value) => value !== undefined,
    );
    if (named === undefined || named === '' || !takes(profile.text, nic)) continue;
    const controller = profiles.find(
      ({ uuid, name, text }) =>
        uuid === named.toLowerCase() || [name, valueOf(text, 'connection', 'interface-name')].includes(named),
    );
    const text = controller?.text ?? '';
    // A controller may bring its ports up whatever these say of themselves.
    const brings = BRINGS_PORTS.some((key) => /^(1|true)$/.test(valueOf(text, 'connection', key) ?? ''));
    if (!isAutomatic(profile.text) && !(brings && isAutomatic(text))) continue;
    return { profile, owner: valueOf(text, 'connection', 'interface-name') ?? controller?.name ?? named };
  }
  return null;
}

/** The VPNs, by UUID, that come up with a profile and are there. */
export function secondariesOf(text: string, profiles: readonly Profile[]): readonly string[] {
  return listOf(valueOf(text, 'connection', 'secondaries')).filter((one) =>
    profiles.some(({ uuid }) => uuid === one.toLowerCase()),
  );
}

/** NetworkManager 1.46 has renamed them. */
const CONTROLLER = ['controller', 'master'] as const;
const BRINGS_PORTS = ['autoconnect-ports', 'autoconnect-slaves'] as const;

function isAutomatic(text: string): boolean {
  return !/^(false|0)$/.test(valueOf(text, 'connection', 'autoconnect') ?? 'true');
}

/** A key of the device's own section, under either of its names. */
export function wired(text: string, key: string): string | undefined {
  return valueOf(text, 'ethernet', key) ?? valueOf(text, '802-3-ethernet', key);
}

/** Whether NetworkManager may activate it on the device. */
export function takes(text: string, { name, mac, permanentMac }: Nic): boolean {
  const type = valueOf(text, 'connection', 'type');
  const isEthernet = type === undefined ? /^\[(802-3-)?ethernet\]/m.test(text) : /^(802-3-)?ethernet$/.test(type);
  if (!isEthernet || (valueOf(text, 'connection', 'interface-name') ?? name) !== name) return false;
  const only = wired(text, 'mac-address');
  if (only !== undefined && ![mac, permanentMac].includes(asMac(only))) return false;
  const never = listOf(wired(text, 'mac-address-denylist') ?? wired(text, 'mac-address-blacklist'));
  if (never.some((one) => asMac(one) === (permanentMac ?? mac))) return false;
  return matchesName(listOf(valueOf(text, 'match', 'interface-name')), name);
}

/**
 * A file of its configuration that keeps NetworkManager from starting; null when there is none. A link to /dev/null is no
 * mask to it, but "Not a regular file"; an empty file is one.
 */
export function unreadableConfiguration({ files, access }: Machine): string | null {
  return configurationIn(files).find((path) => access?.get(path) === 'mask') ?? null;
}

/** Paths of its configuration, in the order in which they are read: of a key that comes twice the last one counts. */
export function configurationIn(files: ReadonlyMap<string, string>): readonly string[] {
  const parts = effectivePaths(files, CONFIGURATION, '.conf');
  const [own = [], ...others] = CONFIGURATION.map((folder) => parts.filter((path) => path.startsWith(folder)));
  return [...others.reverse().flat(), MAIN, ...own];
}

/** Every setting of its configuration in the order in which they are read, with its file. */
export function configured(
  files: ReadonlyMap<string, string>,
): readonly (Pick<Setting, 'section' | 'key' | 'value'> & { readonly path: string })[] {
  return configurationIn(files).flatMap((path) =>
    readSettings(files.get(path) ?? '').map(({ section, key, value }) => ({ section, key, value, path })),
  );
}

/** A list of the configuration, and the file that said something of it last: `KEY+=` adds to it, and `KEY-=` takes away. */
export function configuredList(
  files: ReadonlyMap<string, string>,
  section: string,
  name: string,
): { readonly items: readonly string[]; readonly path: string | null } {
  let items: readonly string[] = [];
  let path: string | null = null;
  for (const one of configured(files)) {
    const [, key, how] = /^(.*?)([+-]?)$/.exec(one.key) ?? [];
    if (one.section !== section || key !== name) continue;
    const said = wordsOf(one.value);
    if (how === '+') items = [...items, ...said];
    else items = how === '-' ? items.filter((item) => !said.includes(item)) : said;
    ({ path } = one);
  }
  return { items, path };
}

/**
 * What profiles have where they say nothing themselves, for this device: `[connection]` sections of NetworkManager.conf(5).
 * By names such as `ipv4.route-table`. Of several sections with one key any may be the one that counts: the first.
 */
export function defaultsFor(files: ReadonlyMap<string, string>, nic: Nic): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const { settings } of sectionsFor(files, 'connection', nic)) {
    for (const [key, { value }] of settings) if (!found.has(key)) found.set(key, value);
  }
  return found;
}

/**
 * Whether NetworkManager gives the device a profile of its own with DHCP: there is none for it, however that comes up, and
 * `no-auto-default` is not said of it, nor noted by a user's removal of such a profile.
 */
export function makesUpProfile(files: ReadonlyMap<string, string>, profiles: readonly Profile[], nic: Nic): boolean {
  const { items } = configuredList(files, 'main', 'no-auto-default');
  const noted = (files.get(AUTO_DEFAULT_STATE) ?? '').toLowerCase();
  return !isSpecified(items, nic) && !noted.includes(nic.mac) && !profiles.some(({ text }) => takes(text, nic));
}

/** Sections such as `[device-eth]` or `[connection]` that are about the device, with their settings. */
export function sectionsFor(
  files: ReadonlyMap<string, string>,
  kind: 'connection' | 'device',
  nic: Nic,
): readonly { readonly settings: ReadonlyMap<string, { readonly value: string; readonly path: string }> }[] {
  const sections = new Map<string, Map<string, { readonly value: string; readonly path: string }>>();
  for (const { section, key, value, path } of configured(files)) {
    if (!section.startsWith(kind) || /^[A-Za-z]/.test(section.slice(kind.length))) continue;
    const settings = sections.get(section) ?? new Map<string, { readonly value: string; readonly path: string }>();
    sections.set(section, settings.set(key, { value, path }));
  }
  return [...sections.values()]
    .filter((settings) => isSpecified(wordsOf(settings.get('match-device')?.value ?? '*'), nic))
    .map((settings) => ({ settings }));
}

function wordsOf(list: string): readonly string[] {
  return list.split(/[,;\s]+/).filter((word) => word !== '');
}

/** A list of devices by NetworkManager.conf(5): one that says only `except:` means all others. */
export function isSpecified(specs: readonly string[], nic: Nic): boolean {
  const [excepted, named] = [true, false].map((isException) =>
    specs
      .filter((spec) => spec.startsWith('except:') === isException)
      .map((spec) => meets(spec.replace(/^except:/, ''), nic)),
  );
  if (excepted?.includes(true) === true) return false;
  return named?.length === 0 ? specs.length > 0 : named?.includes(true) === true;
}

function meets(spec: string, { name, mac, permanentMac, driver }: Nic): boolean {
  const [, kind = '', value = ''] = /^(interface-name|mac|type|driver):(.*)$/.exec(spec) ?? [];
  if (kind === 'interface-name')
    return value.startsWith('=') ? value.slice(1) === name : fnmatch(value.replace(/^~/, ''), name);
  if (kind === 'type') return value === 'ethernet';
  if (kind === 'driver') return driver !== null && fnmatch(value.split('/', 1)[0] ?? '', driver);
  if (kind === '' && (spec === '*' || spec === name)) return true;
  return [mac, permanentMac].includes(asMac(kind === 'mac' ? value : spec));
}

/** In the old form as well, a list of bytes. */
function asMac(text: string): string {
  const bytes = /^(?:\d{1,3};){5}\d{1,3};?$/.test(text) ? text.split(';').slice(0, 6) : null;
  if (bytes !== null) return bytes.map((byte) => Number(byte).toString(16).padStart(2, '0')).join(':');
  return text.toLowerCase().replaceAll('-', ':');
}

/** By GLib's key files: separated by `;`, and a backslash takes a separator's meaning away. */
function listOf(value: string | undefined): readonly string[] {
  const parts = (value ?? '').match(/(?:\\.|[^;\\])+/g) ?? [];
  return parts.map((part) => part.replace(/\\([;\\])/g, '$1').trim()).filter((part) => part !== '');
}

/** Elements are ORed; one after `&` must match besides, `!` inverts, and `!` alone is `&!`. */
function matchesName(elements: readonly string[], name: string): boolean {
  const read = elements.map((element) => {
    const [, sign = '', not = '', escaped = ''] = /^([|&]?)(!?)(.*)$/.exec(element) ?? [];
    const matches = fnmatch(escaped.replace(/^\\/, ''), name);
    return { isNeeded: sign === '&' || (sign === '' && not !== ''), isMet: matches === (not === '') };
  });
  const optional = read.filter(({ isNeeded }) => !isNeeded);
  return (
    read.every(({ isNeeded, isMet }) => isMet || !isNeeded) &&
    (optional.length === 0 || optional.some(({ isMet }) => isMet))
  );
}
