import type { Host } from '../api/host.js';
import type { Updates } from './updates.js';

/** The machine as the agent's own commands see it. */
export interface AgentHost extends Host {
  readonly updates: Updates;
}
