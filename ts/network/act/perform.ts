/** The acting half: what a plan's actions do to the live machine. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { firstLine } from '../../api/first-line.js';
import { messageOf } from '../../api/errors.js';
import type { Host, LiveAddress, LiveNetwork } from '../../api/host.js';
import { familyOf, isLinkLocal, networkOf } from '../address.js';
import { isAdvertised, nothingOn, stepsTo, targetFrom, targetOf } from './changes.js';
import type { Action, InterfaceConfig } from '../plan.js';

const LOOK_EVERY_MS = 100;
/** Of what a program says, characters: an answer has other things to say. */
const MAX_SAID = 200;
/** The exit code that stands for it, as in sh(1). */
export const NO_SUCH_PROGRAM = 127;

export interface ApplyOptions {
  readonly log: Logger;
  /** How long the kernel may take to show the wanted state, milliseconds. */
  readonly verifyTimeoutMs: number;
  /** How long the programs of each part of a plan may take together, milliseconds. */
  readonly programTimeoutMs: number;
}

export interface Performing {
  readonly host: Host;
  readonly log: Logger;
  /** What is wanted of the interfaces that actions name. */
  readonly interfaces: readonly InterfaceConfig[];
  /** How long the programs of one list of actions may take together, milliseconds: the host waits no longer than that. */
  readonly programTimeoutMs: number;
}

/** Runs every action, whatever fails; tells the first failure that counts. */
export async function perform(actions: readonly Action[], context: Performing): Promise<string | null> {
  const { log, programTimeoutMs } = context;
  const end = Date.now() + programTimeoutMs;
  let first: string | null = null;
  for (const action of actions) {
    try {
      const failure = await act(action, context, end - Date.now());
      first ??= failure;
    } catch (error) {
      log.warn({ action, error: String(error) }, 'action failed');
      first ??= `${action.type}: ${messageOf(error)}`;
    }
  }
  return first;
}

async function act(action: Action, { host, log, interfaces }: Performing, leftMs: number): Promise<string | null> {
  switch (action.type) {
    case 'set-hostname':
      await host.network.setHostname(action.hostname);
      return null;
    case 'sysctl':
      await host.network.setKernel(action.key, action.value);
      return null;
    case 'mtu':
      await host.network.change([{ type: 'mtu', nic: action.nic, mtu: action.mtu }]);
      return null;
    case 'configure': {
      const config = interfaces.find(({ nic }) => nic.name === action.nic);
      const target = config === undefined ? nothingOn(action.nic) : targetOf(config);
      await host.network.change(stepsTo(target, await host.network.live()));
      return null;
    }
    case 'run': {
      const { argv, stdin, onFailure } = action;
      const command = argv.join(' ');
      if (leftMs <= 0) return `there was no time left for ${command}`;
      const options = { timeout: leftMs, ...(stdin === undefined ? {} : { stdin }) };
      const { code, stderr, timedOut } = await host.processes.run(argv, options);
      if (code === 0) return null;
      log.warn({ command, code, timedOut, stderr: stderr.slice(-500) }, 'program failed');
      if (onFailure === 'ignore') return null;
      const reason = said(stderr);
      return `${command} ${timedOut ? 'took too long' : `ended with ${code}`}${reason === null ? '' : `: ${reason}`}`;
    }
  }
}

/** What a program gives as the reason of its failure, short, or null. */
export function said(stderr: string): string | null {
  return firstLine(stderr)?.slice(0, MAX_SAID) ?? null;
}

/** Whether there is somebody to wait for. */
export function runsPrograms(actions: readonly Action[]): boolean {
  return actions.some(({ type }) => type === 'run');
}

/**
 * Waits for the old addresses and routes to come back by what was run (`patient`); after half of the time, or at once,
 * they are set by netlink. Tells what differs in the end, or null.
 */
export async function putBack(
  nics: readonly string[],
  old: LiveNetwork,
  host: Host,
  log: Logger,
  timeoutMs: number,
  patient: boolean,
): Promise<string | null> {
  let difference: string | null = null;
  const isBack = async (): Promise<boolean> => {
    difference = differenceOf(summary(nics, old, old), summary(nics, await host.network.live(), old));
    return difference === null;
  };
  if (await until(patient ? timeoutMs / 2 : 0, isBack)) return null;
  log.warn({ nics }, 'the old network has not come back by itself and is set directly');
  let unattended: readonly string[] = [];
  try {
    const live = await host.network.live();
    unattended = leasesWithoutClient(nics, old, live);
    await host.network.change(nics.flatMap((nic) => stepsTo(targetFrom(nic, old), live)));
  } catch (error) {
    log.error({ error: String(error) }, 'the old network cannot be set directly');
  }
  await until(timeoutMs / 2, isBack);
  return [difference, ...unattended].filter((text) => text !== null).join('; ') || null;
}

/** In words: leases of IPv4 that have not come back by themselves. Whether a client will still do so cannot be told. */
function leasesWithoutClient(nics: readonly string[], old: LiveNetwork, live: LiveNetwork): readonly string[] {
  const isBack = (lease: LiveAddress): boolean =>
    live.addresses.some(({ nic, address, dynamic }) => dynamic && nic === lease.nic && address === lease.address);
  return old.addresses
    .filter((one) => nics.includes(one.nic) && one.dynamic && familyOf(one.address) === 4 && !isBack(one))
    .map(({ nic, address, prefix }) => {
      return `no DHCP client brought ${address}/${prefix} on ${nic} back: it stays for the rest of its lifetime`;
    });
}

/** Programs such as `netplan apply` end before the kernel is as they want it. */
export async function until(limitMs: number, holds: () => Promise<boolean>): Promise<boolean> {
  const end = Date.now() + limitMs;
  for (;;) {
    if (await holds()) return true;
    if (Date.now() >= end) return false;
    await sleep(LOOK_EVERY_MS);
  }
}

/**
 * In words. A client or a router may give another IPv6 address of the same network: a temporary one is never the same.
 * One that cannot be used yet has not come back, unless it could not be used before.
 */
function summary(nics: readonly string[], { addresses, routes }: LiveNetwork, old: LiveNetwork): ReadonlySet<string> {
  const before = new Set(old.addresses.filter(({ unusable }) => unusable).map(({ address }) => address));
  const own = addresses.filter(({ nic, address }) => nics.includes(nic) && !isLinkLocal(address));
  const defaults = routes.filter(({ nic, prefix }) => nics.includes(nic) && prefix === 0);
  return new Set([
    ...own.map(({ nic, address, prefix, dynamic, unusable }) => {
      const state = unusable && !before.has(address) ? ', tentative or a duplicate' : '';
      if (!dynamic) return `${address}/${prefix} on ${nic} without a lifetime${state}`;
      if (familyOf(address) === 4) return `${address}/${prefix} on ${nic} with a lifetime${state}`;
      return `an address of ${networkOf({ address, prefix })}/${prefix} on ${nic} with a lifetime${state}`;
    }),
    ...defaults.map((route) => {
      const { nic, network, gateway } = route;
      return `default of ${network} via ${gateway ?? 'the link'} on ${nic}${isAdvertised(route) ? ' by advertisement' : ''}`;
    }),
  ]);
}

function differenceOf(old: ReadonlySet<string>, now: ReadonlySet<string>): string | null {
  const lost = [...old].filter((text) => !now.has(text));
  const extra = [...now].filter((text) => !old.has(text));
  const parts = [
    ...(lost.length === 0 ? [] : [`gone: ${lost.join(', ')}`]),
    ...(extra.length === 0 ? [] : [`new: ${extra.join(', ')}`]),
  ];
  return parts.length === 0 ? null : parts.join('; ');
}
