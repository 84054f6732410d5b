/** cloud-init would write its own network configuration and host name at the next boot: it is told to leave both. */
import type { FileChange } from '../api/host.js';
import { type NetworkFacts, writeIfChanged } from './plan.js';

/** On Linux and on FreeBSD. */
const DIRECTORIES = ['/etc/cloud/', '/usr/local/etc/cloud/'] as const;
const CONFIG = 'cloud.cfg';
const PARTS = 'cloud.cfg.d/';
/** Of one key in several parts, that of the last name counts: ours are to come after those of a provider. */
const PREFIXES = ['99-', 'zz-', 'zzzz-'] as const;
const NETWORK = { name: 'guestwire-disable-network-config.cfg', keys: /^(?:network)\s*:/m };
const NAME = { name: 'guestwire-preserve-hostname.cfg', keys: /^(?:preserve_hostname|manage_etc_hosts)\s*:/m };
const HEADER = '# Written by guestwire, which has configured this for the host.\n';
export const CLOUD_FILES = DIRECTORIES.flatMap((directory) => [directory + CONFIG, `${directory}${PARTS}*.cfg`]);

export function hasCloudInit({ files }: NetworkFacts): boolean {
  return DIRECTORIES.some((directory) => files.has(directory + CONFIG));
}

export function quietCloudInit(facts: NetworkFacts): readonly FileChange[] {
  return DIRECTORIES.filter((directory) => facts.files.has(directory + CONFIG)).flatMap((directory) => [
    ...told(facts, directory, NETWORK, 'network: {config: disabled}\n'),
    ...(facts.hostname === null
      ? []
      : told(facts, directory, NAME, 'preserve_hostname: true\nmanage_etc_hosts: false\n')),
  ]);
}

function told(
  facts: NetworkFacts,
  directory: string,
  { name, keys }: typeof NETWORK,
  text: string,
): readonly FileChange[] {
  const start = directory + PARTS;
  const others = [...facts.files]
    .filter(([path, other]) => path.startsWith(start) && !path.endsWith(name) && keys.test(other))
    .map(([path]) => path.slice(start.length));
  const isLast = (prefix: string): boolean => others.every((other) => other < prefix + name);
  const chosen = start + (PREFIXES.find(isLast) ?? PREFIXES[2]) + name;
  const former = PREFIXES.map((prefix) => start + prefix + name).filter(
    (path) => path !== chosen && facts.files.has(path),
  );
  return [
    ...former.map((path): FileChange => ({ type: 'remove', path })),
    ...writeIfChanged(facts, chosen, HEADER + text, 0o644),
  ];
}
