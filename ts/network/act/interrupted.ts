/**
 * A change of the network that a crash cut in two. The files' own journal puts the files back; this one brings back what
 * is live: it is written before the first program is run and taken away once the change is good, or undone.
 */
import type { FileChange, Host } from '../../api/host.js';
import type { Before } from './changes.js';
import { INTERRUPTED, LOCK } from './unfinished.js';
import { type ApplyOptions, othersBack, performEach, putBack, runsPrograms } from './perform.js';
import type { Action } from '../plan.js';
import { readWhole } from './gather.js';

/** What it takes to undo a change. */
export interface Change {
  readonly nics: readonly string[];
  /** Devices on top of these that may lose something by it. Absent in the note of an older version of the agent. */
  readonly others?: readonly string[];
  readonly live: Before;
  readonly files: readonly FileChange[];
  readonly restore: readonly Action[];
  /** In which boot it was made; null on a copy of a system. Absent in the note of an older version of the agent. */
  readonly boot?: string | null;
}

/** random(4): another one at each boot. */
const BOOT_ID = '/proc/sys/kernel/random/boot_id';

export async function begin(host: Host, change: Omit<Change, 'boot'>): Promise<void> {
  const boot = host.live ? await bootOf(host) : null;
  await host.state.write(INTERRUPTED, JSON.stringify({ ...change, boot } satisfies Change));
}

/** Null where the kernel does not tell. */
async function bootOf({ files }: Host): Promise<string | null> {
  return (await files.readText(BOOT_ID))?.trim() ?? null;
}

export async function end({ state }: Host): Promise<void> {
  await state.remove(INTERRUPTED);
}

/**
 * What the kernel is told of the devices now, as actions that tell it again. A plan's files and programs set these, and no
 * program that reads the old files takes that back.
 */
export async function settingsOf(nics: readonly string[], { network }: Host): Promise<readonly Action[]> {
  const actions: Action[] = [];
  for (const nic of nics) {
    const settings = await network.ipv6Settings(nic);
    if (Object.keys(settings).length > 0) actions.push({ type: 'ipv6', nic, settings });
  }
  return actions;
}

/** For whoever has just taken the lock. Does nothing when no change was under way. */
export async function recoverNetwork(
  host: Host,
  { log, verifyTimeoutMs, programTimeoutMs }: ApplyOptions,
): Promise<void> {
  const { restored, left } = await host.files.recover(LOCK);
  if (restored.length > 0) log.warn({ files: restored }, 'files of an interrupted change of the network put back');
  for (const file of left) log.error(file, 'a file of an interrupted change of the network is left alone');
  const text = await host.state.read(INTERRUPTED);
  if (text === null) return;
  const change = parse(text);
  if (change !== null && host.live && (await isLive(change, host))) {
    const { nics, others = [], live, restore } = change;
    log.warn({ nics }, 'a change of the network was interrupted and is undone');
    await performEach(restore, { host, log, interfaces: [], programTimeoutMs });
    await putBack(nics, live, host, log, verifyTimeoutMs, runsPrograms(restore));
    await othersBack(others, live, host, log);
  }
  await end(host);
}

/** Whether there is anything of it to take back. */
async function isLive({ boot, files }: Change, host: Host): Promise<boolean> {
  // Nothing that was live is so after another boot, which brings the network by the files and in its own order.
  if (boot !== undefined && boot !== (await bootOf(host))) return false;
  // With the new files in place the change had been found good; only this journal was left to be taken away.
  return !(files.length > 0 && (await inEffect(host, files)));
}

/** Null when it is not whole, which its writing rules out, or of another version of the agent. */
function parse(text: string): Change | null {
  try {
    return JSON.parse(text) as Change;
  } catch {
    return null;
  }
}

async function inEffect({ files }: Host, changes: readonly FileChange[]): Promise<boolean> {
  for (const change of changes) {
    const text = await readWhole(files, change.path);
    if (change.type === 'remove' ? text !== null : text !== change.content) return false;
  }
  return true;
}
