/** cloud-init would write its own network configuration and host name at the next boot: it is told to leave both. */
import type { FileChange } from '../api/host.js';
import { type NetworkFacts, writeIfChanged } from './plan.js';

/** On Linux and on FreeBSD. */
const DIRECTORIES = ['/etc/cloud/', '/usr/local/etc/cloud/'] as const;
const CONFIG = 'cloud.cfg';
const NETWORK = 'cloud.cfg.d/99-guestwire-disable-network-config.cfg';
const NAME = 'cloud.cfg.d/99-guestwire-preserve-hostname.cfg';
const HEADER = '# Written by guestwire, which has configured this for the host.\n';
export const CLOUD_FILES = DIRECTORIES.flatMap((directory) => [CONFIG, NETWORK, NAME].map((file) => directory + file));

export function hasCloudInit({ files }: NetworkFacts): boolean {
  return DIRECTORIES.some((directory) => files.has(directory + CONFIG));
}

export function quietCloudInit(facts: NetworkFacts): readonly FileChange[] {
  return DIRECTORIES.filter((directory) => facts.files.has(directory + CONFIG)).flatMap((directory) => [
    ...writeIfChanged(facts, directory + NETWORK, `${HEADER}network: {config: disabled}\n`, 0o644),
    ...(facts.hostname === null
      ? []
      : writeIfChanged(facts, directory + NAME, `${HEADER}preserve_hostname: true\nmanage_etc_hosts: false\n`, 0o644)),
  ]);
}
