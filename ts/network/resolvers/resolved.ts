/** systemd-resolved: resolved.conf(5). What renderers tell it of a device it takes from them. */
import { parseAddress } from '../address.js';
import { effectivePaths } from '../formats/folders.js';
import { readSettings } from '../formats/ini-file.js';
import { type NetworkFacts, writeIfChanged } from '../plan.js';
import { type Maker, type OnDisk, withoutFile } from './maker.js';
import { maskOf, notStarted } from '../units.js';

const UNIT = 'systemd-resolved.service';
/** Of files with one name that in the first folder counts. */
const FOLDERS = ['/etc', '/run', '/usr/local/lib', '/usr/lib'].map((root) => `${root}/systemd/`);
const PART = '/etc/systemd/resolved.conf.d/60-guestwire.conf';
/** By a boot's target, or by the first program that asks it over D-Bus. */
const ENABLED = [
  ...['/etc/systemd/system', '/usr/lib/systemd/system', '/lib/systemd/system'].flatMap((folder) =>
    ['sysinit', 'multi-user'].map((target) => `${folder}/${target}.target.wants/${UNIT}`),
  ),
  '/etc/systemd/system/dbus-org.freedesktop.resolve1.service',
];
/** Addresses at which it listens itself. */
export const STUBS: readonly string[] = ['127.0.0.53', '127.0.0.54'];
/** The servers behind them, in the form of a resolv.conf. */
export const BEHIND_STUB = '/run/systemd/resolve/resolv.conf';

export const resolved: Maker = {
  reads: [maskOf(UNIT), ...FOLDERS.flatMap((folder) => [`${folder}resolved.conf`, `${folder}resolved.conf.d/*.conf`])],
  asks: ENABLED,
  refresh: [{ type: 'run', argv: ['systemctl', 'try-restart', UNIT], onFailure: 'ignore' }],

  tell(facts, servers) {
    if (servers.length === 0) return withoutFile(facts, PART);
    const text = `# Written by guestwire; changes are lost.\n[Resolve]\nDNS=${servers.join(' ')}\n`;
    return writeIfChanged(facts, PART, text, 0o644);
  },

  afterBoot(facts, told) {
    const problem = resolvedProblem(facts);
    return problem === null ? { servers: [...globalServers(facts.files), ...told] } : { unknown: problem };
  },
};

/** Whether it starts at a boot: null when it does, or why not. */
export function resolvedProblem(facts: OnDisk): string | null {
  return notStarted(facts, UNIT, ENABLED);
}

/** `DNS=` adds to what files before it say; an empty one takes that back. */
function globalServers(files: NetworkFacts['files']): readonly string[] {
  const main = FOLDERS.map((folder) => files.get(`${folder}resolved.conf`)).find((text) => text !== undefined);
  const folders = FOLDERS.map((folder) => `${folder}resolved.conf.d/`);
  const texts = [main ?? '', ...effectivePaths(files, folders, '.conf').map((path) => files.get(path) ?? '')];
  let servers: readonly string[] = [];
  for (const { section, key, value } of texts.flatMap(readSettings)) {
    if (section !== 'Resolve' || key !== 'DNS') continue;
    // Behind the address: a server's name, for TLS.
    const more = value.split(/\s+/).map((word) => word.replace(/#.*/, ''));
    servers = value === '' ? [] : [...servers, ...more.map((word) => parseAddress(word) ?? word)];
  }
  return servers;
}
