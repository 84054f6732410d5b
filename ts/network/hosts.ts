import { parseAddress } from './address.js';

/**
 * `/etc/hosts`, hosts(5): makes the machine's own name resolve, without touching what others wrote. Comments, order and
 * blanks of all other lines are kept byte for byte.
 */
const OWN = '127.0.1.1';
/** A program's signature; what else stands behind a line is somebody's note. */
const SIGNED = /\b(added|created|generated|managed|set|written) by\b/i;

/**
 * The names stand on one line of 127.0.1.1, and on lines of `addresses` (the machine's own) that named it before. A
 * line is made only where none names the machine.
 */
export function hostsFile(text: string, name: string, oldName: string, addresses: readonly string[]): string {
  const short = shortOf(name);
  const names = name === short ? [short] : [name, short];
  const isOld = (alias: string): boolean => isNameOf(oldName, alias);
  const given = text.split('\n');
  const namesIt = (line: string): boolean =>
    fieldsOf(line)
      .slice(1)
      .some((alias) => isOld(alias) || names.includes(alias));
  const loopbacks = given.filter((line) => fieldsOf(line)[0] === OWN);
  const chosen = given.indexOf(loopbacks.find(namesIt) ?? loopbacks[0] ?? OWN);
  const renamed = (line: string, index: number): string => {
    const [address = '', ...present] = fieldsOf(line);
    const named = [OWN, ...addresses].includes(address) && present.some((alias) => isOld(alias));
    if (index !== chosen && !named) return line;
    // Of a name that stays, a longer form is somebody's domain.
    if (name === oldName && name === short && present.some((alias) => alias.startsWith(`${short}.`))) return line;
    const others = present.filter((alias) => !isOld(alias) && !names.includes(alias));
    const wanted = [...names, ...others];
    if (wanted.join(' ') === present.join(' ')) return line;
    const comment = line.includes('#') ? `\t${line.slice(line.indexOf('#'))}` : '';
    return `${address}\t${wanted.join(' ')}${comment}`;
  };
  const lines = given.map(renamed);
  // Somebody may have named the machine on any line, even localhost's.
  if (!lines.some((line) => fieldsOf(line).slice(1).includes(short))) {
    return withOwnLine(lines, names).join('\n');
  }
  return lines.join('\n');
}

function withOwnLine(lines: readonly string[], names: readonly string[]): readonly string[] {
  const loopback = lines.findIndex((line) => fieldsOf(line)[0] === '127.0.0.1');
  return lines.toSpliced(loopback + 1, 0, `${OWN}\t${names.join(' ')}`);
}

/**
 * Without the lines of addresses that the machine has no more (`gone`), where they name this machine alone, by one of
 * `hostnames`: so the old agents wrote them, as `IP NAME`, and cloud-init and its like, as `IP FQDN NAME`. A line with
 * other names, or with a note on it, is its user's and stays. Where no line names the machine then, one of 127.0.1.1
 * does, by the names that were taken away.
 */
export function withoutGone(text: string, hostnames: readonly string[], gone: ReadonlySet<string>): string {
  const lines = text.split('\n');
  const taken = lines.filter((line) => isOurs(line, hostnames) && gone.has(addressOf(line) ?? ''));
  if (taken.length === 0) return text;
  const rest = lines.filter((line) => !taken.includes(line));
  const names = [...new Set(taken.flatMap((line) => fieldsOf(line).slice(1)))];
  const isNamed = rest.some((line) =>
    fieldsOf(line)
      .slice(1)
      .some((alias) => names.includes(alias)),
  );
  return (isNamed ? rest : withOwnLine(rest, names)).join('\n');
}

/** Lines that name the machine, alone or among others, at an address that is none of `own`, the machine's addresses. */
export function foreignLines(
  text: string,
  hostname: string,
  own: ReadonlySet<string>,
): readonly { readonly line: string; readonly address: string }[] {
  return text.split('\n').flatMap((line) => {
    const address = addressOf(line);
    if (address === null || own.has(address) || isLoopback(address)) return [];
    const names = fieldsOf(line).slice(1);
    return names.some((alias) => isNameOf(hostname, alias)) ? [{ line: line.trim(), address }] : [];
  });
}

function isOurs(line: string, hostnames: readonly string[]): boolean {
  const names = fieldsOf(line).slice(1);
  const note = line.includes('#') ? line.slice(line.indexOf('#') + 1).trim() : '';
  const isOwn = (alias: string): boolean => hostnames.some((hostname) => isNameOf(hostname, alias));
  return names.length > 0 && names.every(isOwn) && (note === '' || SIGNED.test(note));
}

/** In canonical form; null for a line without any. */
function addressOf(line: string): string | null {
  return parseAddress(fieldsOf(line)[0]);
}

function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}

function shortOf(name: string): string {
  return name.split('.', 1)[0] ?? name;
}

/** Whether the machine of that name goes by `alias`, with a domain or without. */
function isNameOf(name: string, alias: string): boolean {
  const short = shortOf(name);
  return short !== '' && (alias === short || alias.startsWith(`${short}.`));
}

function fieldsOf(line: string): readonly string[] {
  return (line.split('#', 1)[0] ?? '').trim().split(/\s+/).filter(Boolean);
}
