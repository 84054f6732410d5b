/** glibc's MAXNS, resolv.conf(5): further servers are never asked. */
const LIMIT = 3;

/** Names of programs whose file it is, as their headers have them. */
const GENERATED = /resolvconf|NetworkManager|netconfig|systemd-resolved/i;

/** A plain `/etc/resolv.conf` with these servers; search, options and comments stay. Null when it is not to be touched. */
export function resolvFile(text: string, servers: readonly string[]): string | null {
  const lines = text.split('\n');
  if (lines.some((line) => line.startsWith('#') && GENERATED.test(line))) return null;
  const isServer = (line: string): boolean => /^\s*nameserver\b/.test(line);
  const first = lines.findIndex(isServer);
  const others = lines.filter((line) => !isServer(line));
  const at = first < 0 ? others.length - (others.at(-1) === '' ? 1 : 0) : first;
  others.splice(at, 0, ...servers.slice(0, LIMIT).map((server) => `nameserver ${server}`));
  const result = others.join('\n');
  return result.endsWith('\n') ? result : `${result}\n`;
}
