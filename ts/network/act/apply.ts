import { AgentError } from '../../api/errors.js';
import type { Commit, Host, LiveAddress, LiveNetwork } from '../../api/host.js';
import { isLinkLocal } from '../address.js';
import { begin, end, settingsOf } from './interrupted.js';
import { type ApplyOptions, perform, putBack, runsPrograms, until } from './perform.js';
import type { InterfaceConfig, NetworkFacts, NetworkPlan } from '../plan.js';
import { compareBoot } from '../proof.js';
import { RENDERERS } from '../renderers/index.js';
import { inspect } from './gather.js';
import { asideOnly } from './resolving.js';
import { LOCK } from './unfinished.js';
import type { Mismatch } from '../mismatch.js';
import { validate } from './validate.js';
import { type KernelState, compare } from './verify.js';

/** `unchanged`: files and kernel were right already, and nothing was run. */
export type Outcome = 'changed' | 'unchanged';

/**
 * Carries a plan out: old files' actions, files, new files' actions, then the kernel is read back until it shows what
 * was wanted, and the files are, for the next boot. On a difference the files and the live network are put back and
 * GW_NETWORK_MISMATCH is thrown; GW_NETWORK_NOT_BACK where the live network then differs from what it was. Before all
 * that the stack's own programs look at the plan: GW_NETWORK_REFUSED.
 *
 * On a host that is not live, only files are written; GW_NETWORK_BOOT where the next boot would bring something else.
 */
export async function apply(
  plan: NetworkPlan,
  facts: NetworkFacts,
  host: Host,
  options: ApplyOptions,
): Promise<Outcome> {
  const { log } = options;
  const { renderer } = plan;
  if (!host.live) {
    await begin(host, { nics: [], live: { addresses: [], routes: [] }, files: plan.files, restore: [] });
    const commit = await host.files.commit(plan.files, LOCK);
    const mismatch = await bootMismatch(plan, facts, host);
    if (mismatch !== null) {
      await commit.rollback();
      await end(host);
      throw new AgentError('GW_NETWORK_BOOT', [mismatch.wanted, mismatch.got]);
    }
    await commit.confirm();
    await end(host);
    log.info({ renderer, files: commit.changed }, 'network files written; not live, nothing was run');
    return commit.changed.length > 0 ? 'changed' : 'unchanged';
  }
  const old = await kernelState(host);
  const isAside = plan.files.every(({ path }) => plan.aside.includes(path));
  const left = isAside && compare(facts.interfaces, old) === null ? await asideOnly(plan, facts, host) : plan;
  if (left === null) {
    log.info({ renderer }, 'network is already as wanted');
    return 'unchanged';
  }
  const nics = touched(left, facts, old);
  const live = { addresses: old.addresses, routes: old.routes };
  const undoing = { ...left, restore: [...(await settingsOf(nics, host)), ...left.restore] };
  await begin(host, { nics, live, files: left.files, restore: undoing.restore });
  await change(undoing, facts, host, options, { nics, live });
  return 'changed';
}

/** The interfaces that are to be put back after a failure: also those that are cleared or, formerly ours, taken down. */
function touched(
  { after }: NetworkPlan,
  { interfaces, configured: remembered = [] }: NetworkFacts,
  { nics }: KernelState,
): readonly string[] {
  const configured = after.flatMap((action) => (action.type === 'configure' ? [action.nic] : []));
  const formerly = remembered.map(({ nic }) => nic.name);
  const there = formerly.filter((name) => nics.some((nic) => nic.name === name));
  return [...new Set([...interfaces.map(({ nic }) => nic.name), ...configured, ...there])];
}

async function change(
  plan: NetworkPlan,
  facts: NetworkFacts,
  host: Host,
  { log, verifyTimeoutMs, programTimeoutMs }: ApplyOptions,
  { nics, live }: { readonly nics: readonly string[]; readonly live: LiveNetwork },
): Promise<void> {
  const { renderer } = plan;
  const performing = { host, log, interfaces: facts.interfaces, programTimeoutMs };
  const restored = async (): Promise<string | null> => {
    await perform(plan.restore, performing);
    const difference = await putBack(nics, live, host, log, verifyTimeoutMs, runsPrograms(plan.restore));
    if (difference !== null) log.error({ renderer, difference }, 'the old network has not come back');
    await end(host);
    return difference;
  };
  try {
    // What cannot be read or written is to be known before anything is taken down.
    for (const reason of await validate(plan, host, programTimeoutMs)) log.info({ renderer }, reason);
    await host.files.check(plan.files, LOCK);
  } catch (error) {
    await end(host);
    throw error;
  }
  await perform(plan.before, performing);
  let commit: Commit;
  try {
    commit = await host.files.commit(plan.files, LOCK);
  } catch (error) {
    // Interfaces were taken down for the new files: back up with the old ones.
    await restored();
    throw error;
  }
  const failure = await perform(plan.after, performing);
  const mismatch =
    (await verified(facts, host, live, verifyTimeoutMs)) ?? afterBoot(await bootMismatch(plan, facts, host));
  if (mismatch === null) {
    await commit.confirm();
    await end(host);
    log.info({ renderer, files: commit.changed }, 'network is as wanted');
    return;
  }
  log.error({ renderer, ...mismatch, failure }, 'network is not as wanted and is put back');
  await perform(plan.before, performing);
  await commit.rollback();
  const difference = await restored();
  const got = [mismatch.got, failure].filter((text) => text !== null).join('; ');
  if (difference === null) throw new AgentError('GW_NETWORK_MISMATCH', [mismatch.wanted, got]);
  throw new AgentError('GW_NETWORK_NOT_BACK', [difference, mismatch.wanted, got]);
}

/** What the files now on disk would bring at the next boot: a program or a hook may have written them since. */
async function bootMismatch({ renderer }: NetworkPlan, facts: NetworkFacts, host: Host): Promise<Mismatch | null> {
  const used = RENDERERS.find(({ name }) => name === renderer);
  if (used === undefined) throw new Error(`no renderer is called ${renderer}`);
  return compareBoot({ ...facts, ...(await inspect(host, [used])) }, used);
}

function afterBoot(mismatch: Mismatch | null): Mismatch | null {
  return mismatch === null ? null : { ...mismatch, wanted: `${mismatch.wanted} after the next boot` };
}

async function verified(
  { interfaces }: NetworkFacts,
  host: Host,
  old: LiveNetwork,
  limit: number,
): Promise<Mismatch | null> {
  let mismatch: Mismatch | null = null;
  const half = Date.now() + limit / 2;
  await until(limit, async () => {
    const state = await kernelState(host);
    mismatch = compare(interfaces, state);
    return mismatch === null && !(Date.now() < half && lingers(interfaces, state, old));
  });
  return mismatch;
}

/**
 * Whether an old address without a lifetime stands where one from the network is wanted, and may be taken for that: not
 * every DHCP client gives lifetimes. Some daemons take it away only when the new one comes.
 */
function lingers(interfaces: readonly InterfaceConfig[], state: LiveNetwork, old: LiveNetwork): boolean {
  const text = ({ nic, address }: LiveAddress): string => `${nic} ${address}`;
  const before = new Set(old.addresses.filter(({ dynamic }) => !dynamic).map(text));
  return interfaces
    .filter(({ dhcp4, auto6 }) => dhcp4 || auto6 !== null)
    .some((config) => {
      const wanted = [...config.ipv4, ...config.ipv6].map(({ address }) => address);
      const own = state.addresses.filter(({ nic, address }) => nic === config.nic.name && !isLinkLocal(address));
      return own.some((address) => !wanted.includes(address.address) && before.has(text(address)));
    });
}

async function kernelState({ network }: Host): Promise<KernelState> {
  return { nics: await network.nics(), ...(await network.live()) };
}
