/**
 * Which lines of interfaces(5) take a device, by the rules of ifup(8) itself: its own stanzas, those of its aliases
 * (`eth0:1`), words such as `eth0=office` of `auto`, `mapping` stanzas, and the bridges and bonds that it is a port of.
 */
import { fnmatch, isGlob, matchesPath, spelledOut } from '../formats/glob.js';
import { readShellFile } from '../formats/shell-file.js';
import { posix } from '../../host/shared/runtime/path.js';

/** The device that a stanza's name, or a word of `auto` and `allow-*`, stands for: of `eth0:1=office`, eth0. */
export function deviceOf(word: string): string {
  return word.split(/[:=]/, 1)[0] ?? '';
}

/** Where a text file says something that keeps an address from lasting on `device`. */
export interface Rival {
  readonly device: string;
  /** As in `a port of br0`. */
  readonly what: string;
  readonly path: string;
  /** Counted from 1. */
  readonly line: number;
}

/** Of Debian's services, at a boot: what they leave out. */
export const DEFAULTS = '/etc/default/networking';

/**
 * Which words of `auto` a boot passes over by {@link DEFAULTS}. Patterns are met by the whole word before a `=`, so `eth0`
 * leaves `eth0:1` in. What comes up by hotplug does so all the same. ifupdown's unit of systemd does not ask for
 * CONFIGURE_INTERFACES, and ifupdown-ng for nothing else.
 */
export function excludes(
  files: ReadonlyMap<string, string>,
  { isClassic, isSystemd }: { readonly isClassic: boolean; readonly isSystemd: boolean },
): (word: string) => boolean {
  const keys = readShellFile(files.get(DEFAULTS) ?? '');
  const list = isClassic ? (keys.get('EXCLUDE_INTERFACES') ?? '') : '';
  const patterns = list.split(/\s+/).filter((pattern) => pattern !== '');
  const isOff = !(isClassic && isSystemd) && keys.get('CONFIGURE_INTERFACES') === 'no';
  return (word) => isOff || patterns.some((pattern) => fnmatch(pattern, word.split('=', 1)[0] ?? ''));
}

/** Also Open vSwitch's, by openvswitch-switch's README.Debian. */
const PORTS = /^(?:bridge[_-]ports|bond[_-](?:slaves|members)|slaves|ovs[_-](?:ports|bonds))$/;
const MASTER = /^(?:(?:bond[_-])?master|ovs[_-]bridge)$/;
/** What `all` means to bridge-utils; to ifupdown-ng it is every device. */
const ALL = ['eth.*', 'em.*', 'en.*', 'p[0-9].*'];

/**
 * The first such line; null when ours, once it is the device's only stanza, is what the next boot applies. What cannot
 * be judged counts as one.
 */
export function rivalIn(path: string, text: string, devices: readonly string[], isClassic: boolean): Rival | null {
  let stanza = '';
  for (const { words, line } of logicalLines(text)) {
    const [word = '', ...rest] = words;
    if (word === 'iface' || word === 'interface' || word === 'template') stanza = rest[0] ?? '';
    const what = (device: string): string | null => {
      const isOther = deviceOf(stanza) !== device;
      if (PORTS.test(word) && isOther && isPort(rest, device, isClassic)) return `a port of ${stanza}`;
      if (MASTER.test(word) && stanza === device && rest[0] !== 'none') return `a port of ${rest[0] ?? 'a bond'}`;
      // Without its base, classic ifupdown reads no further in the file.
      if (isOther && deviceOf(baseOf(words) ?? '') === device) return `what ${stanza} inherits from`;
      if (word === 'rename') {
        const renaming = rest.find((pair) => pair.split('=', 1)[0] === device || isPatternOf(pair, device));
        return renaming === undefined ? null : `given another name by "rename ${renaming}"`;
      }
      const other = isOther && rest[0] === 'ifup' ? rest.find((one) => one.startsWith(`${device}=`)) : undefined;
      if (other !== undefined) return `given another definition by "${words.join(' ')}"`;
      const taking = word === 'mapping' || isUp(word) ? rest.find(takes(word, device)) : undefined;
      return taking === undefined ? null : `given another name by "${word} ${taking}"`;
    };
    for (const device of devices) {
      const found = what(device);
      if (found !== null) return { device, what: found, path, line };
    }
  }
  return null;
}

/** Whether a line of this word says what is brought up. */
export function isUp(word: string): boolean {
  return word === 'auto' || word.startsWith('allow-');
}

/** What a stanza takes its options from: `iface eth1 inet static inherits base`, or ifupdown-ng's `inherit base`. */
function baseOf(words: readonly string[]): string | undefined {
  if (words[0] === 'inherit') return words[1];
  return words[0] === 'iface' || words[0] === 'interface' ? words[words.indexOf('inherits', 2) + 1] : undefined;
}

/** Patterns only: what names the device itself is taken out. `auto /eth*` alone does no harm. */
function takes(word: string, device: string): (pattern: string) => boolean {
  return (written) => {
    if (word === 'mapping') return /[*?[\\]/.test(written) && fnmatch(written, device);
    return written.includes('=') && isPatternOf(written, device);
  };
}

/** `[VARIABLE]/VALUE[/OPTIONS][=LOGICAL]`, and a plain glob; a VARIABLE (a MAC, say) is not looked into. */
function isPatternOf(written: string, device: string): boolean {
  const [left = ''] = written.split('=', 1);
  const [variable = '', value] = left.split('/');
  if (value === undefined) return isGlob(left) && fnmatch(left, device);
  return variable !== '' || fnmatch(value, device);
}

/** By bridge-utils-interfaces(5): names, `all`, and `regex` before extended regular expressions up to `noregex`. */
function isPort(words: readonly string[], device: string, isClassic: boolean): boolean {
  let isPattern = false;
  for (const word of words) {
    if (word === 'regex' || word === 'noregex') isPattern = word === 'regex';
    else if (word === 'all' && (!isClassic || ALL.some((pattern) => matches(pattern, device)))) return true;
    else if (word === device || (isPattern && matches(word, device))) return true;
    // Its expansion ends with `noregex`.
    if (word === 'all') isPattern = false;
  }
  return false;
}

/** What means the same to egrep, once its classes are spelled out, and here. */
const PLAIN = /^(?:[\w.,:@%=~*+?|()^$-]|\\[^\w\s]|\[\^?[\w.:-]+\])*$/;
const OWN = /[*+?|(^][*+?]/;

/** True also for what cannot be judged. */
function matches(pattern: string, text: string): boolean {
  const plain = spelledOut(pattern);
  if (!PLAIN.test(plain) || OWN.test(plain.replace(/\\./g, ''))) return true;
  try {
    return new RegExp(`^(?:${plain})$`).test(text);
  } catch {
    return true;
  }
}

/** Lines with those that a backslash joins to them, without blank ones and comments. `line` counts from 1. */
export function* logicalLines(text: string): Generator<{ readonly words: readonly string[]; readonly line: number }> {
  let joined = '';
  let first = 0;
  for (const [index, line] of text.split('\n').entries()) {
    if (joined === '') {
      if (line.trim() === '' || line.trimStart().startsWith('#')) continue;
      first = index + 1;
    }
    joined += line.replace(/\\$/, ' ');
    if (line.endsWith('\\')) continue;
    yield { words: joined.trim().split(/\s+/), line: first };
    joined = '';
  }
  if (joined !== '') yield { words: joined.trim().split(/\s+/), line: first };
}

/** More files, and more of them one inside the other, than anybody has: a `source` may lead to itself by links. */
const MOST_FILES = 256;
const DEEPEST = 16;

export interface Sources {
  /** Paths that ifup reads, in its order. */
  readonly read: readonly string[];
  /** Patterns of paths of which the files are wanted; `*`, `?` and `[...]` stand within one name. */
  readonly patterns: readonly string[];
  /** A line whose files are not known: too many, or words that only a shell can expand. */
  readonly unknown: { readonly path: string; readonly line: number } | null;
}

/**
 * Where the `source` and `source-directory` lines of `main` lead in `files`, one inside the other. A path without a slash
 * at its start is below the folder of the file that has the line, so that `~` stands for itself there, as in ifup(8).
 */
export function followSources(files: ReadonlyMap<string, string>, main: string, isClassic: boolean): Sources {
  const read = new Set<string>();
  const patterns = new Set<string>();
  let unknown: Sources['unknown'] = null;
  const walk = (path: string, depth: number): void => {
    const text = files.get(path);
    if (text === undefined || read.has(path)) return;
    read.add(path);
    for (const { words, line } of logicalLines(text)) {
      const [word = '', ...rest] = words;
      const isDirectory = word.startsWith('source-dir');
      if (!isDirectory && word !== 'source') continue;
      // Only the first word is relative to the file; wordexp(3) takes others as they are.
      const [first = '', ...more] = rest;
      const wanted = [posix.resolve(posix.dirname(path), first), ...more];
      const isKnown = wanted.every((one) => /^\/(?:[\w.,:@%+=~*?/-]|\[!?[\w.-]+\])+$/.test(one));
      if (depth >= DEEPEST || read.size >= MOST_FILES || !isKnown) {
        unknown ??= { path, line };
        continue;
      }
      for (const one of wanted) {
        const pattern = isDirectory ? `${one}/*` : one;
        patterns.add(pattern);
        for (const found of [...files.keys()].filter((candidate) => matchesPath(pattern, candidate)).sort()) {
          // Names by ifup's own rule for folders; ifupdown-ng and busybox take more.
          if (!isDirectory || !isClassic || /^[\w-]+$/.test(posix.basename(found))) walk(found, depth + 1);
        }
      }
    }
  };
  walk(main, 0);
  return { read: [...read], patterns: [...patterns], unknown };
}
