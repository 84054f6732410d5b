/** SUSE's netconfig(8), which merges the static servers with those of interfaces. */
import { readShellFile, setShellKey } from '../formats/shell-file.js';
import { writeIfChanged } from '../plan.js';
import { ENABLED as WICKED } from '../renderers/linux/wicked.js';
import { parseAddress } from '../address.js';
import { ENABLED as MANAGER } from '../renderers/linux/networkmanager.js';
import { type Maker, RESOLV_CONF } from './maker.js';

export const NETCONFIG_PROGRAMS = ['/sbin/netconfig', '/usr/sbin/netconfig'] as const;
const CONFIG = '/etc/sysconfig/network/config';
const SERVERS = 'NETCONFIG_DNS_STATIC_SERVERS';
const POLICY = 'NETCONFIG_DNS_POLICY';

export const netconfig: Maker = {
  reads: [CONFIG],
  asks: [...NETCONFIG_PROGRAMS, WICKED, ...MANAGER],
  refresh: [{ type: 'run', argv: ['netconfig', 'update', '-f'], onFailure: 'report' }],

  /** Servers that nobody gives any more stay, as in any other file that is not ours. */
  tell(facts, servers) {
    if (servers.length === 0) return [];
    return writeIfChanged(facts, CONFIG, setShellKey(facts.files.get(CONFIG) ?? '', SERVERS, servers.join(' ')), 0o644);
  },

  afterBoot({ files, present }, told) {
    const settings = readShellFile(files.get(CONFIG) ?? '');
    const policy = settings.get(POLICY) ?? 'auto';
    if (!NETCONFIG_PROGRAMS.some((path) => present.has(path))) {
      return { unknown: `there is no netconfig to make ${RESOLV_CONF}` };
    }
    if (!/\b(auto|STATIC|STATIC_FALLBACK)\b/.test(policy)) {
      return { unknown: `${POLICY} tells netconfig to leave the static servers out` };
    }
    // The services of interfaces run it; it has none of its own.
    if (![WICKED, ...MANAGER].some((path) => present.has(path))) return { unknown: 'nobody runs netconfig at a boot' };
    const servers = (settings.get(SERVERS) ?? '').split(/\s+/).filter((server) => server !== '');
    return { servers: [...servers.map((server) => parseAddress(server) ?? server), ...told] };
  },
};
