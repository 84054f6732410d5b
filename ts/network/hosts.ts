/**
 * `/etc/hosts`, hosts(5): makes the machine's own name resolve, without touching what others wrote. Comments, order and
 * blanks of all other lines are kept byte for byte.
 */
const OWN = '127.0.1.1';

/**
 * The names stand on one line of 127.0.1.1, and on lines of `addresses` (the machine's own) that named it before. A
 * line is made only where none names the machine.
 */
export function hostsFile(text: string, name: string, oldName: string, addresses: readonly string[]): string {
  const short = name.split('.', 1)[0] ?? name;
  const names = name === short ? [short] : [name, short];
  const oldShort = oldName.split('.', 1)[0] ?? oldName;
  const isOld = (alias: string): boolean => oldShort !== '' && (alias === oldShort || alias.startsWith(`${oldShort}.`));
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
    const others = present.filter((alias) => !isOld(alias) && !names.includes(alias));
    const wanted = [...names, ...others];
    if (wanted.join(' ') === present.join(' ')) return line;
    const comment = line.includes('#') ? `\t${line.slice(line.indexOf('#'))}` : '';
    return `${address}\t${wanted.join(' ')}${comment}`;
  };
  const lines = given.map(renamed);
  // Somebody may have named the machine on any line, even localhost's.
  if (!lines.some((line) => fieldsOf(line).slice(1).includes(short))) {
    const loopback = lines.findIndex((line) => fieldsOf(line)[0] === '127.0.0.1');
    lines.splice(loopback + 1, 0, `${OWN}\t${names.join(' ')}`);
  }
  return lines.join('\n');
}

function fieldsOf(line: string): readonly string[] {
  return (line.split('#', 1)[0] ?? '').trim().split(/\s+/).filter(Boolean);
}
