/**
 * A change of the network that a crash cut in two. The files' own journal puts the files back; this one brings back what
 * is live: it is written before the first program is run and taken away once the change is good, or undone.
 */
import type { FileChange, Host, LiveNetwork } from '../../api/host.js';
import { INTERRUPTED, LOCK } from './unfinished.js';
import { type ApplyOptions, perform, putBack, runsPrograms } from './perform.js';
import type { Action } from '../plan.js';

/** What it takes to undo a change. */
export interface Change {
  readonly nics: readonly string[];
  readonly live: LiveNetwork;
  readonly files: readonly FileChange[];
  readonly restore: readonly Action[];
}

export async function begin({ state }: Host, change: Change): Promise<void> {
  await state.write(INTERRUPTED, JSON.stringify(change));
}

export async function end({ state }: Host): Promise<void> {
  await state.remove(INTERRUPTED);
}

/**
 * In the order in which they are set again: with IPv6 off there is nothing to set. A plan's files and programs write
 * these, and no program that reads the old files takes that back.
 */
const SETTINGS = ['disable_ipv6', 'forwarding', 'use_tempaddr', 'autoconf', 'accept_ra'] as const;

/** What the kernel is told of the devices now, as actions that tell it again. */
export async function settingsOf(nics: readonly string[], { files }: Host): Promise<readonly Action[]> {
  const actions: Action[] = [];
  for (const nic of nics) {
    for (const name of SETTINGS) {
      const key = `net/ipv6/conf/${nic}/${name}`;
      const value = (await files.readText(`/proc/sys/${key}`))?.trim();
      if (value !== undefined) actions.push({ type: 'sysctl', key, value });
    }
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
  // With the new files in place the change had been found good; only this journal was left to be taken away.
  if (change !== null && host.live && !(change.files.length > 0 && (await inEffect(host, change.files)))) {
    log.warn({ nics: change.nics }, 'a change of the network was interrupted and is undone');
    await perform(change.restore, { host, log, interfaces: [], programTimeoutMs });
    await putBack(change.nics, change.live, host, log, verifyTimeoutMs, runsPrograms(change.restore));
  }
  await end(host);
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
    const text = await files.readText(change.path);
    if (change.type === 'remove' ? text !== null : text !== change.content) return false;
  }
  return true;
}
