import type { Host } from '../../api/host.js';
import { type Outcome, apply } from './apply.js';
import { type ApplyOptions, kernelState } from './perform.js';
import { remembering } from './configured.js';
import { decide } from '../decide.js';
import { gather } from './gather.js';
import { recoverNetwork } from './interrupted.js';
import type { InterfaceConfig, NetworkFacts } from '../plan.js';
import { serversProblem } from './resolving.js';
import { RENDERERS } from '../renderers/index.js';
import { LOCK } from './unfinished.js';
import { compare } from './verify.js';

export interface ResetOptions extends ApplyOptions {
  /** How long a device that a record names may take to appear, milliseconds. */
  readonly deviceTimeoutMs: number;
}

export interface ResetResult {
  readonly renderer: string;
  readonly outcome: Outcome;
  /** The interfaces that are as the host wants them. */
  readonly names: readonly string[];
  /** What could not be made so, a sentence each: records that cannot be used, and the servers of names. */
  readonly leftAlone: readonly string[];
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
  const { interfaces, leftAlone = [] } = facts;
  const proven = await withoutStrays(facts, host);
  const outcome = await remembering(host, interfaces, () => apply(plan, proven, host, options));
  const names = interfaces.map(({ nic }) => nic.name).filter((name) => !leftAlone.includes(name));
  const problem = await serversProblem(plan, facts, host, options.verifyTimeoutMs);
  return {
    renderer: plan.renderer,
    outcome,
    names,
    leftAlone: problem === null ? recordErrors : [...recordErrors, problem],
  };
}

/** Of the interfaces that are left alone, those are not looked at that are not as the agent has set them even before. */
export async function withoutStrays(facts: NetworkFacts, host: Host): Promise<NetworkFacts> {
  const { leftAlone = [] } = facts;
  if (leftAlone.length === 0 || !host.live) return facts;
  const state = await kernelState(host);
  const isStray = (config: InterfaceConfig): boolean =>
    leftAlone.includes(config.nic.name) && compare([config], state) !== null;
  return { ...facts, interfaces: facts.interfaces.filter((config) => !isStray(config)) };
}
