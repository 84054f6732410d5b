import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { AgentError } from '../api/errors.js';
import type { Host, LiveNetwork } from '../api/host.js';
import { isLinkLocal } from './address.js';
import type { Action, NetworkFacts, NetworkPlan } from './plan.js';
import { type Mismatch, compare } from './verify.js';

const LOOK_EVERY_MS = 100;
const ACTION_LIMIT_MS = 45_000;

export interface ApplyOptions {
  readonly log: Logger;
  /** How long the kernel may take to show the wanted state, milliseconds. */
  readonly verifyTimeoutMs: number;
}

/**
 * Carries a plan out: old files' actions, files, new files' actions, then the kernel is read back until it shows what
 * was wanted. If it does not in time, the files and the live network are put back and GW_NETWORK_MISMATCH is thrown.
 * When files and kernel are right already, nothing is run.
 *
 * On a host that is not live, only files are written.
 */
export async function apply(
  plan: NetworkPlan,
  facts: NetworkFacts,
  host: Host,
  { log, verifyTimeoutMs }: ApplyOptions,
): Promise<void> {
  if (!host.live) {
    const commit = await host.files.commit(plan.files);
    await commit.confirm();
    log.info({ renderer: plan.renderer, files: commit.changed }, 'network files written; not live, nothing was run');
    return;
  }
  const settled = plan.files.length === 0 && !plan.after.some(({ type }) => type === 'set-hostname');
  if (settled && compare(facts.interfaces, await host.network.live()) === null) {
    log.info({ renderer: plan.renderer }, 'network is already as wanted');
    return;
  }
  const old = await host.network.live();
  await perform(plan.before, host, log);
  const commit = await host.files.commit(plan.files).catch(async (error: unknown) => {
    // The interfaces were taken down for the new files: back up with the old ones.
    await perform(plan.restore, host, log);
    throw error;
  });
  const failure = await perform(plan.after, host, log);
  const mismatch = await verified(facts, host, verifyTimeoutMs);
  if (mismatch === null) {
    await commit.confirm();
    log.info({ renderer: plan.renderer, files: commit.changed }, 'network is as wanted');
    return;
  }
  log.error({ renderer: plan.renderer, ...mismatch, failure }, 'network is not as wanted and is put back');
  await perform(plan.before, host, log);
  await commit.rollback();
  await perform(plan.restore, host, log);
  const back = await until(verifyTimeoutMs, async () => addressesOf(await host.network.live()) === addressesOf(old));
  if (!back) log.error({ renderer: plan.renderer }, 'the old addresses have not come back');
  const remarks = [failure, back ? null : 'the old addresses have not come back yet'];
  const got = [mismatch.got, ...remarks].filter((text) => text !== null).join('; ');
  throw new AgentError('GW_NETWORK_MISMATCH', [mismatch.wanted, got]);
}

/** Runs every action, whatever fails; tells the first failure that counts. */
async function perform(actions: readonly Action[], host: Host, log: Logger): Promise<string | null> {
  let first: string | null = null;
  for (const action of actions) {
    if (action.type === 'set-hostname') {
      await host.network.setHostname(action.hostname);
      continue;
    }
    const { code, stderr, timedOut } = await host.processes.run(action.argv, { timeout: ACTION_LIMIT_MS });
    if (code === 0) continue;
    const command = action.argv.join(' ');
    log.warn({ command, code, timedOut, stderr: stderr.slice(-500) }, 'program failed');
    if (action.onFailure === 'report') first ??= `${command} ${timedOut ? 'took too long' : `ended with ${code}`}`;
  }
  return first;
}

async function verified(facts: NetworkFacts, host: Host, limit: number): Promise<Mismatch | null> {
  let mismatch: Mismatch | null = null;
  await until(limit, async () => (mismatch = compare(facts.interfaces, await host.network.live())) === null);
  return mismatch;
}

/** Programs such as `netplan apply` end before the kernel is as they want it. */
async function until(limit: number, holds: () => Promise<boolean>): Promise<boolean> {
  const end = Date.now() + limit;
  for (;;) {
    if (await holds()) return true;
    if (Date.now() >= end) return false;
    await sleep(LOOK_EVERY_MS);
  }
}

function addressesOf({ addresses }: LiveNetwork): string {
  const own = addresses.filter(({ address }) => !isLinkLocal(address));
  return own
    .map(({ nic, address, prefix }) => `${nic} ${address}/${prefix}`)
    .sort()
    .join('\n');
}
