/**
 * The ways of configuring a network that the agent knows, in the order in which they are asked.
 *
 * To add one: a file in the folder of its system that makes a `Renderer` (ts/network/plan.ts says what it promises), a line in the list below,
 * and case folders under test/network/cases/<name>/. One that holds an interface now goes before one that is merely
 * installed; among equals the order of this list decides. netplan comes first: where it is configured, it makes the
 * files of others.
 */
import type { Renderer } from '../plan.js';
import { direct } from './linux/direct.js';
import { ifcfg } from './linux/ifcfg.js';
import { ifupdown } from './linux/ifupdown.js';
import { netctl } from './linux/netctl.js';
import { netifrc } from './linux/netifrc.js';
import { netplan } from './linux/netplan.js';
import { networkd } from './linux/networkd.js';
import { networkmanager } from './linux/networkmanager.js';
import { rcconf } from './freebsd/rcconf.js';
import { slackware } from './linux/slackware.js';
import { wicked } from './linux/wicked.js';

export const RENDERERS: readonly Renderer[] = [
  netplan,
  networkd,
  ifupdown,
  networkmanager,
  ifcfg,
  wicked,
  netifrc,
  netctl,
  slackware,
  rcconf,
  direct,
];
