/** Who holds an interface now, as the daemons themselves write it down below /run. */
import type { Nic } from '../../api/host.js';
import { readSettings } from '../formats/ini-file.js';
import type { NetworkFacts } from '../plan.js';

const NETWORKD_LINKS = '/run/systemd/netif/links/';
const MANAGER_DEVICES = '/run/NetworkManager/devices/';
/** For a renderer's `reads`. */
export const OWNER_FILES = [`${NETWORKD_LINKS}*`, `${MANAGER_DEVICES}*`] as const;

type Live = Pick<NetworkFacts, 'files'>;

/** The `.network` file with which systemd-networkd configures the device; null when it does not. */
export function networkdFile({ files }: Live, { index }: Nic): string | null {
  const link = files.get(`${NETWORKD_LINKS}${index}`);
  if (!/^(configured|configuring|pending|failed)$/.test(valueOf(link, 'ADMIN_STATE') ?? '')) return null;
  return valueOf(link, 'NETWORK_FILE') ?? null;
}

/** Whether NetworkManager manages the device. */
export function isManaged({ files }: Live, { index }: Nic): boolean {
  return valueOf(files.get(`${MANAGER_DEVICES}${index}`), 'managed') === 'true';
}

function valueOf(text: string | undefined, key: string): string | undefined {
  return readSettings(text ?? '').findLast((setting) => setting.key === key)?.value;
}
