/** Which `.network` file takes a device, by systemd-networkd's own rules: systemd.network(5), systemd.syntax(7). Pure. */
import type { Nic } from '../../api/host.js';
import { effectivePaths } from '../formats/folders.js';
import { fnmatch } from '../formats/glob.js';
import { type Setting, readSettings } from '../formats/ini-file.js';
import type { FileAccess } from '../plan.js';
import { networkdFile } from './live.js';

/** Of files with one name that in the first folder counts. */
export const NETWORKD_FOLDERS = ['/etc', '/run', '/usr/local/lib', '/usr/lib'].map(
  (root) => `${root}/systemd/network/`,
);
/** By which udev gives devices their names, others beside them as well. For a renderer's `reads`. */
export const LINK_FILES = NETWORKD_FOLDERS.flatMap((folder) => [`${folder}*.link`, `${folder}*.link.d/*.conf`]);
/** For a renderer's `reads`. */
export const NETWORKD_FILES = NETWORKD_FOLDERS.flatMap((folder) => [
  `${folder}*.network`,
  `${folder}*.network.d/*.conf`,
]);

type Files = ReadonlyMap<string, string>;
type Access = ReadonlyMap<string, FileAccess>;

/** `maybe`: it depends on what files do not tell, such as the host's name or the kernel's command line. */
export type Match = 'yes' | 'no' | 'maybe';

export interface Definition {
  readonly path: string;
  /** In the order in which they are merged. */
  readonly dropIns: readonly string[];
  /** Of the file and its drop-ins together. */
  readonly settings: readonly Setting[];
}

export interface Taker extends Definition {
  readonly match: Exclude<Match, 'no'>;
}

/**
 * All that networkd reads, or udev of `.link`, in the order in which it asks them. An empty file (a link to /dev/null) masks
 * its name.
 */
export function definitions(files: Files, suffix: '.network' | '.link' = '.network'): readonly Definition[] {
  return effective(files, '', suffix).map((path) => {
    const settings = [...settingsOf(files.get(path) ?? ''), ...dropInsOf(files, path)];
    return { path, dropIns: dropInFiles(files, path), settings };
  });
}

/** What the drop-ins of a file say, in the order in which they are merged. */
export function dropInsOf(files: Files, path: string): readonly Setting[] {
  return dropInFiles(files, path).flatMap((one) => settingsOf(files.get(one) ?? ''));
}

function dropInFiles(files: Files, path: string): readonly string[] {
  return effective(files, `${baseName(path)}.d/`, '.conf');
}

/**
 * Those that may take the device, up to the one that does for certain; the first of them that matches is the only one.
 * networkd, which runs as a user of its own, passes over a file that it may not read, or a drop-in of which.
 */
export function takersOf(files: Files, nic: Nic, access?: Access): readonly Taker[] {
  const live = networkdFile({ files }, nic)?.replace(/^\/lib\//, '/usr/lib/');
  const named = { ...nic, alternativeNames: alternativeNames(files, nic) };
  const takers: Taker[] = [];
  for (const definition of definitions(files)) {
    if ([definition.path, ...definition.dropIns].some((path) => isClosed(access?.get(path)))) continue;
    const told = matchOf(definition.settings, named);
    // What networkd has chosen by itself it may choose again, for reasons that its files do not tell.
    const chosen = definition.path === live && inMatch(definition.settings).length > 0;
    const match = told === 'no' && chosen ? 'maybe' : told;
    if (match !== 'no') takers.push({ ...definition, match });
    if (match === 'yes') break;
  }
  return takers;
}

/** Root's alone. Of other owners, and of a group that may read, it is not known here whether networkd is one. */
function isClosed(access: FileAccess | undefined): boolean {
  return access !== undefined && access !== 'mask' && access.uid === 0 && (access.mode & 0o044) === 0;
}

/** What a file may call the device besides its name: what the kernel has, and what `.link` files give it at the next boot. */
export function alternativeNames(files: Files, nic: Nic): readonly string[] {
  const names = new Set(nic.alternativeNames);
  for (const { settings } of definitions(files, '.link')) {
    const match = matchOf(settings, nic);
    if (match === 'no') continue;
    let told: readonly string[] = [];
    for (const { section, key, value } of settings) {
      if (section !== 'Link' || key !== 'AlternativeName') continue;
      told = value === '' ? [] : [...told, ...value.split(/\s+/)];
    }
    for (const name of told) names.add(name);
    if (match === 'yes') break;
  }
  return [...names];
}

/** Whether the keys of `[Match]` together mean the device. A file without any is ignored. */
export function matchOf(settings: readonly Setting[], nic: Nic): Match {
  const values = new Map<string, readonly string[]>();
  for (const { key, value } of inMatch(settings)) {
    values.set(key, value === '' ? [] : [...(values.get(key) ?? []), ...patternsOf(value)]);
  }
  const asked = [...values].filter(([, patterns]) => patterns.length > 0);
  const answers = asked.map(([key, patterns]) => answerTo(key, patterns, nic));
  return asked.length === 0 || answers.includes('no') ? 'no' : answers.includes('maybe') ? 'maybe' : 'yes';
}

export function inMatch(settings: readonly Setting[]): readonly Setting[] {
  return settings.filter(({ section }) => section === 'Match');
}

/** Each with the `!` of its list before it. */
function patternsOf(list: string): readonly string[] {
  const [mark, rest] = list.startsWith('!') ? ['!', list.slice(1)] : ['', list];
  const words = rest.split(/\s+/).map((word) => word.replaceAll(/^["']|["']$/g, ''));
  return words.filter((word) => word !== '').map((word) => mark + word);
}

function answerTo(key: string, patterns: readonly string[], nic: Nic): Match {
  const macs = patterns.map((mac) => mac.toLowerCase().replaceAll(/[^0-9a-f]/g, ''));
  const isListed = (mac: string): boolean => macs.includes(mac.replaceAll(':', ''));
  switch (key) {
    case 'Name':
      // udev gives a device that keeps its kernel's name the predictable ones as alternatives: systemd.link(5).
      if (/^eth\d+$/.test(nic.name) && patterns.some((pattern) => /^!?en/.test(pattern))) {
        return matchesAll(patterns, nic.name) === 'yes' && !patterns.some((pattern) => pattern.startsWith('!'))
          ? 'yes'
          : 'maybe';
      }
      if (matchesAll(patterns, nic.name) === 'yes') return 'yes';
      // One that was given by hand is gone at a boot, and one that only a .link has comes then.
      return nic.alternativeNames?.some((name) => matchesAll(patterns, name) === 'yes') === true ? 'maybe' : 'no';
    case 'OriginalName':
      return patterns.includes('*') ? 'yes' : 'maybe';
    case 'MACAddress':
      return isListed(nic.mac) ? 'yes' : 'no';
    case 'PermanentMACAddress':
      if (nic.permanentMac !== null) return isListed(nic.permanentMac) ? 'yes' : 'no';
      // A copy of a system does not tell it.
      return nic.index === 0 && isListed(nic.mac) ? 'maybe' : 'no';
    case 'Driver':
      return nic.driver === null ? 'maybe' : matchesAll(patterns, nic.driver);
    case 'Type':
      return nic.kind === null || nic.kind === 'veth' ? matchesAll(patterns, 'ether') : 'maybe';
    case 'Kind':
      return matchesAll(patterns, nic.kind);
    case 'WLANInterfaceType':
      return matchesAll(patterns, null);
    case 'SSID':
    case 'BSSID':
      return 'no';
    default:
      return 'maybe';
  }
}

/** Any of the patterns without `!`, if there are such, and none of those with it. */
function matchesAll(patterns: readonly string[], value: string | null): Match {
  const isMet = (pattern: string): boolean => value !== null && fnmatch(pattern, value);
  const excluded = patterns.filter((pattern) => pattern.startsWith('!')).map((pattern) => pattern.slice(1));
  const included = patterns.filter((pattern) => !pattern.startsWith('!'));
  return !excluded.some(isMet) && (included.length === 0 || included.some(isMet)) ? 'yes' : 'no';
}

/** Paths of the files below `under` that count, in networkd's order; masked ones are left out. */
function effective(files: Files, under: string, suffix: string): readonly string[] {
  const folders = NETWORKD_FOLDERS.map((folder) => folder + under);
  return effectivePaths(files, folders, suffix).filter((path) => files.get(path) !== '');
}

/** A backslash at the end of a line joins the next one to it; comments in between do not count. */
function settingsOf(text: string): readonly Setting[] {
  const lines = text.split('\n').filter((line) => !/^\s*[#;]/.test(line));
  return readSettings(lines.join('\n').replaceAll('\\\n', ' '));
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
