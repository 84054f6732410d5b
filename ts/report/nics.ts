import type { LiveAddress, Nic } from '../api/host.js';
import type { ReportedAddress, ReportedNic } from '../api/report.js';

/** The devices in the kernel's order, each with its addresses. `addresses` is null where nobody knows them. */
export function reportNics(nics: readonly Nic[], addresses: readonly LiveAddress[] | null): readonly ReportedNic[] {
  return nics
    .toSorted((a, b) => a.index - b.index)
    .map(({ name, mac, driver, kind, master, up, mtu }) => ({
      ...{ name, mac, driver, kind, master, up, mtu },
      addresses: addresses?.filter(({ nic }) => nic === name).map(reportAddress) ?? null,
    }));
}

/** Without lifetimes: their ends are computed anew at each look, and would never be the same. */
function reportAddress({ address, prefix, unusable, dynamic, temporary = false }: LiveAddress): ReportedAddress {
  const family = address.includes(':') ? 'ipv6' : 'ipv4';
  return { family, address, prefix, usable: !unusable, dynamic, temporary };
}
