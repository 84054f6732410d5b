/** A plain `/etc/resolv.conf` that nobody else writes. */
import { writeIfChanged } from '../plan.js';
import { LIMIT, type Maker, RESOLV_CONF, serversIn } from './maker.js';

export const file: Maker = {
  reads: [],
  asks: [],
  refresh: [],

  tell(facts, servers) {
    if (servers.length === 0) return [];
    return writeIfChanged(facts, RESOLV_CONF, resolvFile(facts.files.get(RESOLV_CONF) ?? '', servers), 0o644);
  },

  // Who is told writes the file anew, as netifrc does.
  afterBoot({ files }, told) {
    return { servers: (told.length > 0 ? told : serversIn(files.get(RESOLV_CONF) ?? '')).slice(0, LIMIT) };
  },
};

/** A plain `/etc/resolv.conf` with these servers; search, options and comments stay. */
export function resolvFile(text: string, servers: readonly string[]): string {
  const lines = text.split('\n');
  const isServer = (line: string): boolean => /^\s*nameserver\b/.test(line);
  const first = lines.findIndex(isServer);
  const others = lines.filter((line) => !isServer(line));
  const at = first < 0 ? others.length - (others.at(-1) === '' ? 1 : 0) : lines.slice(0, first).length;
  others.splice(at, 0, ...servers.slice(0, LIMIT).map((server) => `nameserver ${server}`));
  const result = others.join('\n');
  return result.endsWith('\n') ? result : `${result}\n`;
}
