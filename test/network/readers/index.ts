/** For each renderer, a reader that makes of its files again what they configure. */
import type { Described } from '../describe.js';
import { readDirect } from './direct.js';
import { readIfcfg } from './ifcfg.js';
import { readIfupdown } from './ifupdown.js';
import { readNetctl } from './netctl.js';
import { readNetifrc } from './netifrc.js';
import { readNetplan } from './netplan.js';
import { readNetworkd } from './networkd.js';
import { readNetworkManager } from './networkmanager.js';
import { limitedByRcconf, readRcconf } from './rcconf.js';
import { readSlackware } from './slackware.js';
import { readWicked } from './wicked.js';

export interface Reader {
  /** By interface. Written from the format's own documentation, not from the renderer. */
  read(files: ReadonlyMap<string, string>): ReadonlyMap<string, Described>;
  /** What is left of `wanted` where the format cannot say all of it. */
  limited(wanted: Described): Described;
}

const everything = (wanted: Described): Described => wanted;

/** Whether there is DHCPv6 is told by the router. */
const byAdvertisement = ({ auto6, ...wanted }: Described): Described => {
  return auto6 === undefined ? wanted : { ...wanted, auto6: 'ra' };
};

export const READERS: Readonly<Record<string, Reader>> = {
  direct: { read: readDirect, limited: everything },
  ifcfg: { read: readIfcfg, limited: everything },
  ifupdown: { read: readIfupdown, limited: everything },
  netctl: { read: readNetctl, limited: everything },
  netifrc: { read: readNetifrc, limited: everything },
  netplan: { read: readNetplan, limited: everything },
  networkd: { read: readNetworkd, limited: everything },
  networkmanager: { read: readNetworkManager, limited: byAdvertisement },
  rcconf: { read: readRcconf, limited: limitedByRcconf },
  slackware: { read: readSlackware, limited: everything },
  wicked: { read: readWicked, limited: everything },
};
