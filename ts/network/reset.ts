import type { Host } from '../api/host.js';
import { type ApplyOptions, type Outcome, apply } from './apply.js';
import { decide } from './decide.js';
import { gather } from './gather.js';
import { recoverNetwork } from './interrupted.js';
import { RENDERERS } from './renderers/index.js';
import { LOCK } from './unfinished.js';

export interface ResetOptions extends ApplyOptions {
  /** How long a device that a record names may take to appear, milliseconds. */
  readonly deviceTimeoutMs: number;
}

export interface ResetResult {
  readonly renderer: string;
  readonly outcome: Outcome;
  /** The interfaces that are as the host wants them. */
  readonly names: readonly string[];
  /** What is wrong with records that could not be used, a sentence each. */
  readonly recordErrors: readonly string[];
}

/** Makes the network what the host published. Throws AgentError, with everything as before. */
export async function resetNetwork(host: Host, options: ResetOptions): Promise<ResetResult> {
  // `guestwire apply network` may run beside the agent.
  return host.state.exclusively(LOCK, () => reset(host, options));
}

async function reset(host: Host, options: ResetOptions): Promise<ResetResult> {
  await recoverNetwork(host, options);
  const { facts, recordErrors } = await gather(host, RENDERERS, options.deviceTimeoutMs);
  const plan = decide(facts, RENDERERS);
  const outcome = await apply(plan, facts, host, options);
  return { renderer: plan.renderer, outcome, names: facts.interfaces.map(({ nic }) => nic.name), recordErrors };
}
