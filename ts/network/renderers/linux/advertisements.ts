/** Router advertisements of IPv6: what the kernel is told of them where the stack itself says nothing. */
import type { Action, InterfaceConfig } from '../../plan.js';

/** A SLAAC address needs both; of DHCPv6 advertisements tell the routes only. */
const KEYS = ['accept_ra', 'autoconf'] as const;
/** As Xen's devices are called: facts are asked for by name, so only these can be looked at before a change. */
export const USUAL_NAMES: readonly string[] = ['eth', 'enX'].flatMap((prefix) =>
  [0, 1, 2, 3, 4, 5, 6, 7].map((number) => `${prefix}${number}`),
);

export function listenAsWanted({ nic, auto6 }: InterfaceConfig): readonly Action[] {
  return KEYS.map((key) => ({ type: 'sysctl', key: path(nic.name, key), value: String(wanted(key, auto6)) }));
}

/** The same for every boot: lines of sysctl.d(5), where a dot in a name is a slash. */
export function advertisementLines({ nic, auto6 }: InterfaceConfig): readonly string[] {
  return KEYS.map((key) => `net.ipv6.conf.${nic.name.replaceAll('.', '/')}.${key} = ${wanted(key, auto6)}`);
}

/** Writes to /proc/sys, for stacks that run shell commands. */
export function advertisementCommands({ nic, auto6 }: InterfaceConfig): readonly string[] {
  return KEYS.map((key) => `echo ${wanted(key, auto6)} > /proc/sys/${path(nic.name, key)} || true`);
}

function wanted(key: (typeof KEYS)[number], auto6: InterfaceConfig['auto6']): 0 | 1 {
  return auto6 === 'ra' || (auto6 === 'dhcp' && key === 'accept_ra') ? 1 : 0;
}

function path(name: string, key: string): string {
  return `net/ipv6/conf/${name}/${key}`;
}
