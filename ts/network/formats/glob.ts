/**
 * Patterns of names by fnmatch(3) without flags: what netplan, systemd-networkd, NetworkManager and ifup(8) match devices
 * with. No library does just that: theirs give braces and slashes a meaning of their own.
 */

const CLASSES: Readonly<Record<string, string>> = {
  alnum: 'A-Za-z0-9',
  alpha: 'A-Za-z',
  blank: ' \t',
  cntrl: '\0-\x1f\x7f',
  digit: '0-9',
  graph: '!-~',
  lower: 'a-z',
  print: ' -~',
  punct: '!-/:-@[-`{-~',
  space: ' \t-\r',
  upper: 'A-Z',
  xdigit: 'A-Fa-f0-9',
};

/** A backslash, a set with its `!`, or any sign. */
const PART = /\\([^])|\[([!^]?)(\]?(?:\[:[a-z]+:\]|[^\]])*)\]|[^]/g;

/** Whether `name` as a whole meets `pattern`. A set that is no range of signs (`[z-a]`) is met by nothing. */
export function fnmatch(pattern: string, name: string): boolean {
  const source = pattern.replaceAll(PART, (part, escaped?: string, not?: string, set?: string) => {
    if (set !== undefined) return `[${not === '' ? '' : '^'}${members(set)}]`;
    if (part === '*') return '[^]*';
    return part === '?' ? '[^]' : literal(escaped ?? part);
  });
  try {
    return new RegExp(`^(?:${source})$`).test(name);
  } catch {
    return false;
  }
}

/** Whether a pattern can be met by more than one name. */
export function isGlob(text: string): boolean {
  return /[*?[]/.test(text);
}

/** glob(3) for one part of a path: a dot at its start is met only by a dot. */
export function matchesPathPart(pattern: string, name: string): boolean {
  return !(name.startsWith('.') && !pattern.startsWith('.')) && fnmatch(pattern, name);
}

/** glob(3), part by part. */
export function matchesPath(pattern: string, path: string): boolean {
  const [wanted, parts] = [pattern.split('/'), path.split('/')];
  return wanted.length === parts.length && wanted.every((part, index) => matchesPathPart(part, parts[index] ?? ''));
}

/** `[:digit:]` and the like, spelled out. */
export function spelledOut(set: string): string {
  return set.replaceAll(/\[:([a-z]+):\]/g, (whole, name: string) => CLASSES[name] ?? whole);
}

function members(set: string): string {
  return spelledOut(set).replaceAll(/[\\[\]^]/g, String.raw`\$&`);
}

function literal(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\/]/g, String.raw`\$&`);
}
