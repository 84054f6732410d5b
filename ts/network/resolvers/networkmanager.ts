/**
 * NetworkManager as the maker of resolv.conf for devices that others configure: a global configuration, by
 * NetworkManager.conf(5). Where there is one, NetworkManager passes over the servers of its own connections.
 */
import { readSettings } from '../formats/ini-file.js';
import { CONFIGURATION_FILES, configurationIn } from '../owners/networkmanager.js';
import { type NetworkFacts, writeIfChanged } from '../plan.js';
import { ENABLED, PROGRAMS } from '../renderers/linux/networkmanager.js';
import { parseAddress } from '../address.js';
import { type Maker, type OnDisk, RESOLV_CONF, withoutFile } from './maker.js';
import { maskOf, notStarted } from '../units.js';

/** Read last: of a key that comes twice the last one counts. */
const PART = '/etc/NetworkManager/conf.d/zz-guestwire-dns.conf';
const UNIT = 'NetworkManager.service';
const SECTION = 'global-dns-domain-*';
/** The servers that it knows, in the form of a resolv.conf, where that names one on the machine itself. */
export const BEHIND_MANAGER = '/run/NetworkManager/no-stub-resolv.conf';

export const networkmanager: Maker = {
  reads: [...CONFIGURATION_FILES, maskOf(UNIT)],
  asks: [...PROGRAMS, ...ENABLED],
  refresh: [{ type: 'run', argv: ['nmcli', 'general', 'reload'], onFailure: 'ignore' }],

  tell(facts, servers) {
    if (servers.length === 0) return withoutFile(facts, PART);
    const text = `# Written by guestwire; changes are lost.\n[${SECTION}]\nservers=${servers.join(',')}\n`;
    return writeIfChanged(facts, PART, text, 0o644);
  },

  afterBoot(facts, told) {
    const problem = managerProblem(facts);
    if (problem !== null) return { unknown: problem };
    const found = valueOf(facts.files, SECTION, 'servers');
    const servers = found?.split(/[,;\s]+/).filter((server) => server !== '');
    return { servers: servers?.map((server) => parseAddress(server) ?? server) ?? told };
  },
};

/** Whether it starts at a boot and then makes resolv.conf: null when it does, or why not. */
export function managerProblem(facts: OnDisk): string | null {
  const key = ['dns', 'rc-manager'].find((name) => /^(none|unmanaged)$/.test(valueOf(facts.files, 'main', name) ?? ''));
  if (key !== undefined) return `${key} tells NetworkManager to leave ${RESOLV_CONF} alone`;
  return notStarted(facts, UNIT, ENABLED);
}

function valueOf(files: NetworkFacts['files'], section: string, key: string): string | undefined {
  const settings = configurationIn(files).flatMap((path) => readSettings(files.get(path) ?? ''));
  return settings.findLast((setting) => setting.section === section && setting.key === key)?.value;
}
