/** Who holds an interface now, as the daemons themselves write it down below /run. */
import type { Nic } from '../api/host.js';
import type { NetworkFacts } from './plan.js';

const NETWORKD_LINKS = '/run/systemd/netif/links/';
const MANAGER_DEVICES = '/run/NetworkManager/devices/';
/** For a renderer's `reads`. */
export const OWNER_FILES = [`${NETWORKD_LINKS}*`, `${MANAGER_DEVICES}*`] as const;

type Live = Pick<NetworkFacts, 'files'>;

/** The `.network` file with which systemd-networkd configures the device; null when it does not. */
export function networkdFile({ files }: Live, { index }: Nic): string | null {
  const link = keys(files.get(`${NETWORKD_LINKS}${index}`));
  if (!/^(configured|configuring|pending|failed)$/.test(link.get('ADMIN_STATE') ?? '')) return null;
  return link.get('NETWORK_FILE') ?? null;
}

/** Whether NetworkManager manages the device. */
export function isManaged({ files }: Live, { index }: Nic): boolean {
  return keys(files.get(`${MANAGER_DEVICES}${index}`)).get('managed') === 'true';
}

function keys(text = ''): ReadonlyMap<string, string> {
  return new Map(
    text.split('\n').map((line) => {
      const [key = '', ...value] = line.split('=');
      return [key, value.join('=')];
    }),
  );
}
