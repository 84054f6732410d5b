/**
 * Which lines of interfaces(5) take a device, by the rules of ifup(8) itself: its own stanzas, those of its aliases
 * (`eth0:1`), words such as `eth0=office` of `auto`, `mapping` stanzas, and the bridges and bonds that it is a port of.
 */

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

const PORTS = /^(?:bridge[_-]ports|bond[_-](?:slaves|members)|slaves)$/;
const MASTER = /^(?:bond[_-])?master$/;

/** The first such line; null when ours, once it is the device's only stanza, is what the next boot applies. */
export function rivalIn(path: string, text: string, devices: readonly string[]): Rival | null {
  let stanza = '';
  for (const { words, line } of logicalLines(text)) {
    const [word = '', ...rest] = words;
    if (word === 'iface') stanza = rest[0] ?? '';
    const what = (device: string): string | null => {
      if (PORTS.test(word) && deviceOf(stanza) !== device && isPort(rest, device)) return `a port of ${stanza}`;
      if (MASTER.test(word) && stanza === device && rest[0] !== 'none') return `a port of ${rest[0] ?? 'a bond'}`;
      const taking = word === 'mapping' || /^(?:auto|allow-)/.test(word) ? rest.find(takes(word, device)) : undefined;
      return taking === undefined ? null : `given another name by "${word} ${taking}"`;
    };
    for (const device of devices) {
      const found = what(device);
      if (found !== null) return { device, what: found, path, line };
    }
  }
  return null;
}

/** Patterns only: what names the device itself is taken out. `auto /eth*` alone does no harm. */
function takes(word: string, device: string): (pattern: string) => boolean {
  return (written) => {
    if (!/[*?[]/.test(written) || (word !== 'mapping' && !written.includes('='))) return false;
    return matches(ofGlob(written.replace(/^\//, '').split('=', 1)[0] ?? ''), device);
  };
}

/** By bridge-utils-interfaces(5): names, `all`, and `regex` before extended regular expressions up to `noregex`. */
function isPort(words: readonly string[], device: string): boolean {
  let isPattern = false;
  for (const word of words) {
    if (word === 'regex' || word === 'noregex') isPattern = word === 'regex';
    else if (word === device || word === 'all' || (isPattern && matches(word, device))) return true;
  }
  return false;
}

/** fnmatch(3)'s pattern as a regular expression. */
function ofGlob(glob: string): string {
  return glob
    .replace(/[.+^$(){}|\\]/g, '\\$&')
    .replaceAll('[!', '[^')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
}

function matches(pattern: string, device: string): boolean {
  try {
    return new RegExp(`^(?:${pattern})$`).test(device);
  } catch {
    return false; // Not one that egrep takes either, or a class that only it knows.
  }
}

function* logicalLines(text: string): Generator<{ readonly words: readonly string[]; readonly line: number }> {
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
}
