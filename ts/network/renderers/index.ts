/**
 * The ways of configuring a network that the agent knows, in the order in which they are asked.
 *
 * To add one: a file here that makes a `Renderer` (ts/network/plan.ts says what it promises), a line in the list below,
 * and case folders under test/network/cases/<name>/. One that holds an interface now goes before one that is merely
 * installed; among equals the order of this list decides. netplan comes first: where it is configured, it makes the
 * files of others.
 */
import type { Renderer } from '../plan.js';
import { ifupdown } from './ifupdown.js';
import { netplan } from './netplan.js';

export const RENDERERS: readonly Renderer[] = [netplan, ifupdown];
