import { AgentError, messageOf } from '../../api/errors.js';
import type { Commit, FileChange, Host, LiveAddress, LiveNetwork } from '../../api/host.js';
import { isLinkLocal } from '../address.js';
import { begin, end, settingsOf } from './interrupted.js';
import {
  type ApplyOptions,
  kernelState,
  othersBack,
  perform,
  performEach,
  putBack,
  runsPrograms,
  until,
} from './perform.js';
import {
  type InterfaceConfig,
  type NetworkFacts,
  type NetworkPlan,
  type Renderer,
  textOf,
  withChanges,
} from '../plan.js';
import { encode } from '../formats/bytes.js';
import { compareBoot } from '../proof.js';
import { isManaged, networkdFile } from '../owners/live.js';
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
 * GW_NETWORK_MISMATCH is thrown; GW_NETWORK_NOT_BACK where something then differs from what it was. Before all that the
 * stack's own programs look at the plan, GW_NETWORK_REFUSED, and it is found out whether the files can be written.
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
    const changed = await changing(plan.files, host, log, {
      after: async () => {
        const mismatch = await bootMismatch(plan, facts, host);
        if (mismatch !== null) throw new AgentError('GW_NETWORK_BOOT', [mismatch.wanted, mismatch.got]);
      },
    });
    log.info({ renderer, files: changed }, 'network files written; not live, nothing was run');
    return changed.length > 0 ? 'changed' : 'unchanged';
  }
  const old = await kernelState(host);
  const left = await due(plan, facts, host, old);
  if (left === null) {
    log.info({ renderer }, 'network is already as wanted');
    return 'unchanged';
  }
  // Nothing is to be undone of what these find. Where a file cannot be written, no program is run at all.
  await host.files.check(left.files.map(inBytes), LOCK);
  for (const reason of await validate(left, host, options.programTimeoutMs)) log.info({ renderer }, reason);
  const all = touched(left, facts, old);
  // Without a program of the old files it is netlink that has to undo.
  const isByPrograms = runsPrograms(left.restore);
  const coming = isByPrograms ? comingUp(facts, rendererOf(left), old).filter((name) => all.includes(name)) : [];
  const nics = all.filter((name) => !coming.includes(name));
  const others = onTop(facts, all, old);
  const settings = await settingsOf(nics, host);
  // Once more at the end: a program may have set what its files say, and somebody another value since.
  const restore = [...settings, ...(await settingsOf(coming, host)), ...left.restore, ...settings];
  await begin(host, { nics, others, live: old, files: left.files, restore });
  await change({ ...left, restore }, facts, host, options, { nics, others, old });
  return 'changed';
}

/** What is left to do of a plan on a live host, whose kernel is as `state` says; null: nothing. */
export async function due(
  plan: NetworkPlan,
  facts: NetworkFacts,
  host: Host,
  state: KernelState,
): Promise<NetworkPlan | null> {
  const isAside = plan.files.every(({ path }) => plan.aside.includes(path));
  const isRight = isAside && compare(facts.interfaces, state) === null && settledMismatch(plan, facts) === null;
  return isRight ? asideOnly(plan, facts, host) : plan;
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

interface Touched {
  /** To be as in `old` after a failure. */
  readonly nics: readonly string[];
  /** Devices that may lose something because one below them goes down. */
  readonly others: readonly string[];
  readonly old: KernelState;
}

/**
 * Devices without an address to which the old files give one: a boot may be about to do so. They go by these files after
 * a failure, and not by what was live for a moment.
 */
function comingUp(facts: NetworkFacts, renderer: Renderer, { nics, addresses }: KernelState): readonly string[] {
  const isBare = (name: string): boolean =>
    !addresses.some(({ nic, address }) => nic === name && !isLinkLocal(address));
  return nics
    .filter((nic) => {
      const boot = isBare(nic.name) ? renderer.boot(facts, nic) : null;
      return boot !== null && (boot.dhcp4 || boot.addresses.length > 0);
    })
    .map(({ name }) => name);
}

/** VLANs and the like that no daemon has: it would see to them itself. */
function onTop(facts: NetworkFacts, touched: readonly string[], { nics }: KernelState): readonly string[] {
  return nics
    .filter(({ physical, up, name }) => !physical && up && !touched.includes(name))
    .filter((nic) => networkdFile(facts, nic) === null && !isManaged(facts, nic))
    .map(({ name }) => name);
}

async function change(
  plan: NetworkPlan,
  facts: NetworkFacts,
  host: Host,
  { log, verifyTimeoutMs, programTimeoutMs }: ApplyOptions,
  { nics, others, old }: Touched,
): Promise<void> {
  const { renderer } = plan;
  const performing = { host, log, interfaces: facts.interfaces, programTimeoutMs };
  await perform(plan.before, performing);
  const changed = await changing(plan.files, host, log, {
    after: async () => {
      const failure = await perform(plan.after, performing);
      const mismatch =
        (await verified(facts, host, old, verifyTimeoutMs)) ?? afterBoot(await bootMismatch(plan, facts, host));
      if (mismatch === null) {
        await othersBack(others, old, host, log);
        return;
      }
      const got = [mismatch.got, failure].filter((text) => text !== null).join('; ');
      throw new AgentError('GW_NETWORK_MISMATCH', [mismatch.wanted, got]);
    },
    leave: () => performEach(plan.before, performing),
    restore: async () => {
      await performEach(plan.restore, performing);
      const left = await putBack(nics, old, host, log, verifyTimeoutMs, runsPrograms(plan.restore));
      await othersBack(others, old, host, log);
      return left;
    },
  });
  log.info({ renderer, files: changed }, 'network is as wanted');
}

/** What is done around a change of files. */
interface Around {
  /** Once they are changed; throws where the outcome is not good. */
  readonly after: () => Promise<void>;
  /** Before they go back. */
  readonly leave?: () => Promise<void>;
  /** Once the old ones stand there again; tells what differs all the same, or null. */
  readonly restore?: () => Promise<string | null>;
}

/**
 * Changes `files` and does what is to follow. Whatever fails of it, all is put back: else the network would be down, or a
 * new one that nobody has confirmed. Throws what failed, or GW_NETWORK_NOT_BACK. Returns the paths that were changed.
 */
async function changing(
  files: readonly FileChange[],
  host: Host,
  log: ApplyOptions['log'],
  { after, leave, restore }: Around,
): Promise<readonly string[]> {
  let commit: Commit | null = null;
  try {
    commit = await host.files.commit(files.map(inBytes), LOCK);
    await after();
    await commit.confirm();
  } catch (error) {
    const failed = inWords(error);
    log.error({ code: failed.code, error: String(error) }, 'the change of the network failed and is taken back');
    // What was not written has brought nothing up.
    if (commit !== null) await leave?.();
    const lost = await filesBack(commit, host);
    const differences = [lost, (await restore?.()) ?? null].filter((text) => text !== null);
    // With the note, the next start of the agent tries again what could not be put back now.
    if (lost === null) {
      await end(host).catch((problem: unknown) => {
        log.error({ error: String(problem) }, 'the note of the change cannot be taken away');
      });
    }
    if (differences.length === 0) throw failed;
    throw new AgentError('GW_NETWORK_NOT_BACK', [differences.join('; '), ...wantedAndGot(failed)], { cause: error });
  }
  await end(host);
  return commit.changed;
}

/** With what was no UTF-8 of the file before. */
function inBytes(change: FileChange): FileChange {
  return change.type === 'remove' ? change : { ...change, content: encode(textOf(change)) };
}

/** What stays of the new files, in words, or null. */
async function filesBack(commit: Commit | null, { files }: Host): Promise<string | null> {
  try {
    await commit?.rollback();
  } catch {
    // It ends at the first file that cannot be put back.
  }
  try {
    // Also where it was the confirmation that failed, or a commit that could not take itself back.
    const { left } = await files.recover(LOCK);
    return left.length === 0 ? null : left.map(({ path, reason }) => `${path} is not put back: ${reason}`).join(', ');
  } catch (error) {
    return `files are not put back: ${messageOf(error)}`;
  }
}

function inWords(error: unknown): AgentError {
  if (error instanceof AgentError) return error;
  return new AgentError('GW_NETWORK_MISMATCH', ['the change carried out', messageOf(error)], { cause: error });
}

function wantedAndGot({ code, args, message }: AgentError): readonly string[] {
  return code === 'GW_NETWORK_MISMATCH' || code === 'GW_NETWORK_BOOT' ? args : ['the change carried out', message];
}

/** What the files now on disk would bring at the next boot: a program or a hook may have written them since. */
async function bootMismatch(plan: NetworkPlan, facts: NetworkFacts, host: Host): Promise<Mismatch | null> {
  const used = rendererOf(plan);
  const now = { ...facts, ...(await inspect(host, [used])) };
  return compareBoot(host.live ? { ...now, settled: true } : now, used);
}

/** The same by what was gathered. */
function settledMismatch(plan: NetworkPlan, facts: NetworkFacts): Mismatch | null {
  return compareBoot({ ...withChanges(facts, plan.files), settled: true }, rendererOf(plan));
}

function rendererOf({ renderer }: NetworkPlan): Renderer {
  const used = RENDERERS.find(({ name }) => name === renderer);
  if (used === undefined) throw new Error(`no renderer is called ${renderer}`);
  return used;
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
