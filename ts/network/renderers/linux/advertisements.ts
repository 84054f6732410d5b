/** Router advertisements of IPv6: what the kernel is told of them where the stack itself says nothing. */
import type { Action, InterfaceConfig } from '../../plan.js';

/** As Xen's devices are called: facts are asked for by name, so only these can be looked at before a change. */
export const USUAL_NAMES: readonly string[] = ['eth', 'enX'].flatMap((prefix) =>
  [0, 1, 2, 3, 4, 5, 6, 7].map((number) => `${prefix}${number}`),
);

type Ipv6Action = Extract<Action, { type: 'ipv6' }>;

/** A SLAAC address needs both; of DHCPv6 advertisements tell the routes only. */
export function listenAsWanted({ nic, auto6 }: InterfaceConfig): Ipv6Action {
  const advertisements = auto6 === null ? 'ignored' : 'heard';
  return { type: 'ipv6', nic: nic.name, settings: { advertisements, autoconfiguration: auto6 === 'ra' } };
}

/** The same for every boot: lines of sysctl.d(5), where a dot in a name is a slash. */
export function advertisementLines(config: InterfaceConfig): readonly string[] {
  const name = config.nic.name.replaceAll('.', '/');
  return keysOf(listenAsWanted(config)).map(([key, value]) => `net.ipv6.conf.${name}.${key} = ${value}`);
}

/** Writes to /proc/sys, for stacks that run shell commands. */
export function advertisementCommands(action: Ipv6Action): readonly string[] {
  return keysOf(action).map(([key, value]) => `echo ${value} > /proc/sys/net/ipv6/conf/${action.nic}/${key}`);
}

/** As the kernel calls them. */
function keysOf({ settings }: Ipv6Action): readonly (readonly [key: string, value: 0 | 1])[] {
  return [
    ['accept_ra', settings.advertisements === 'ignored' ? 0 : 1],
    ['autoconf', settings.autoconfiguration === true ? 1 : 0],
  ];
}
