import { ifupdown } from './ifupdown.js';
import { netplan } from './netplan.js';
import { networkd } from './networkd.js';
import { networkmanager } from './networkmanager.js';
import type { Grammar } from './system.js';

export const GRAMMARS: readonly Grammar[] = [ifupdown, netplan, networkd, networkmanager];
