/**
 * `/etc/hosts`, hosts(5): makes the machine's own name resolve, on the line of 127.0.1.1, without touching what others
 * wrote. Comments, order and blanks of all other lines are kept byte for byte.
 */
const OWN = '127.0.1.1';

export function hostsFile(text: string, name: string, oldName: string): string {
  const short = name.split('.', 1)[0] ?? name;
  const names = name === short ? [short] : [name, short];
  const oldShort = oldName.split('.', 1)[0] ?? oldName;
  const lines = text.split('\n');
  const own = lines.findIndex((line) => fieldsOf(line)[0] === OWN);
  if (own >= 0) {
    const line = lines[own] ?? '';
    const present = fieldsOf(line).slice(1);
    const isOld = (alias: string): boolean => alias === oldShort || alias.startsWith(`${oldShort}.`);
    const others = present.filter((alias) => !isOld(alias) && !names.includes(alias));
    const wanted = [...names, ...others];
    if (wanted.join(' ') === present.join(' ')) return text;
    const comment = line.includes('#') ? `\t${line.slice(line.indexOf('#'))}` : '';
    lines[own] = `${OWN}\t${wanted.join(' ')}${comment}`;
    return lines.join('\n');
  }
  // Another line, such as that of the first address, may name the machine already.
  if (lines.some((line) => fieldsOf(line).slice(1).includes(short))) return text;
  const loopback = lines.findIndex((line) => fieldsOf(line)[0] === '127.0.0.1');
  lines.splice(loopback + 1, 0, `${OWN}\t${names.join(' ')}`);
  return lines.join('\n');
}

function fieldsOf(line: string): readonly string[] {
  return (line.split('#', 1)[0] ?? '').trim().split(/\s+/).filter(Boolean);
}
