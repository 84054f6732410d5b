/**
 * The ways of configuring a network that the agent knows, in the order in which they are asked.
 *
 * To add one: a file here that makes a `Renderer` (ts/network/plan.ts says what it promises), a line in the list below,
 * and case folders under test/network/cases/<name>/. One that holds an interface now goes before one that is merely
 * installed; among equals the order of this list decides. netplan comes first: where it is configured, it makes the
 * files of others.
 */
import type { Renderer } from '../plan.js';
import { direct } from './direct.js';
import { ifcfg } from './ifcfg.js';
import { ifupdown } from './ifupdown.js';
import { netctl } from './netctl.js';
import { netifrc } from './netifrc.js';
import { netplan } from './netplan.js';
import { networkd } from './networkd.js';
import { networkmanager } from './networkmanager.js';
import { rcconf } from './rcconf.js';
import { slackware } from './slackware.js';
import { wicked } from './wicked.js';

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
