/** The acting half: what a plan's actions do to the live machine. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../../api/log.js';
import { messageOf } from '../../api/errors.js';
import type { Host, LiveAddress, LiveNetwork } from '../../api/host.js';
import { familyOf, isLinkLocal, networkOf } from '../address.js';
import {
  type Before,
  isAdvertised,
  isSetByKernel,
  lostBy,
  nothingOn,
  stepsTo,
  targetFrom,
  targetOf,
} from './changes.js';
import type { Action, InterfaceConfig } from '../plan.js';
import type { KernelState } from './verify.js';

const LOOK_EVERY_MS = 100;
/** Of what a program says, characters: an answer has other things to say. */
const MAX_SAID = 200;
/** The exit code that stands for it, as in sh(1). */
export const NO_SUCH_PROGRAM = 127;

export interface ApplyOptions {
  readonly log: Log;
  /** How long the kernel may take to show the wanted state, milliseconds. */
  readonly verifyTimeoutMs: number;
  /** How long the programs of each part of a plan may take together, milliseconds. */
  readonly programTimeoutMs: number;
}

export interface Performing {
  readonly host: Host;
  readonly log: Log;
  /** What is wanted of the interfaces that actions name. */
  readonly interfaces: readonly InterfaceConfig[];
  /** How long the programs of one list of actions may take together, milliseconds: the host waits no longer than that. */
  readonly programTimeoutMs: number;
}

/** Runs every action, whatever fails; tells the first failure that counts. `leastMs`: what each program has at least. */
export async function perform(actions: readonly Action[], context: Performing, leastMs = 0): Promise<string | null> {
  const { log, programTimeoutMs } = context;
  const end = Date.now() + programTimeoutMs;
  let first: string | null = null;
  for (const action of actions) {
    try {
      const failure = await act(action, context, Math.max(end - Date.now(), leastMs));
      first ??= failure;
    } catch (error) {
      log.warn({ action, error: String(error) }, 'action failed');
      first ??= `${action.type}: ${messageOf(error)}`;
    }
  }
  return first;
}

/**
 * As {@link perform}, on the way back: a program that hangs takes no other one's share of the time. So all of them
 * together may take up to twice the time.
 */
export async function performEach(actions: readonly Action[], context: Performing): Promise<void> {
  const programs = actions.filter(({ type }) => type === 'run').length;
  await perform(actions, context, Math.ceil(context.programTimeoutMs / Math.max(programs, 1)));
}

async function act(action: Action, { host, log, interfaces }: Performing, leftMs: number): Promise<string | null> {
  switch (action.type) {
    case 'set-hostname':
      await host.network.setHostname(action.hostname);
      return null;
    case 'ipv6':
      await host.network.setIpv6(action.nic, action.settings);
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

const A_WARNING = /\bwarning\b|\bdeprecated\b/i;

/**
 * What a program gives as the reason of its failure, short, or null: what it calls an error, or else its first line that
 * is no warning. A warning of GLib's, as netplan and NetworkManager give them, goes on in the line after it.
 */
export function said(stderr: string): string | null {
  const lines = stderr.split('\n').flatMap((line) => (line.trim() === '' ? [] : [line.trim()]));
  const reasons = lines.filter((line) => !A_WARNING.test(line));
  const reason = reasons.find((line) => /\berror\b/i.test(line)) ?? reasons[0] ?? lines[0];
  return reason?.slice(0, MAX_SAID) ?? null;
}

/** Whether there is somebody to wait for. */
export function runsPrograms(actions: readonly Action[]): boolean {
  return actions.some(({ type }) => type === 'run');
}

/** What the kernel shows now. */
export async function kernelState({ network }: Host): Promise<KernelState> {
  return { nics: await network.nics(), ...(await network.live()) };
}

/**
 * Waits for what was live to come back by what was run (`patient`); after half of the time, or at once, it is set by
 * netlink. Tells what differs in the end, or null.
 */
export async function putBack(
  nics: readonly string[],
  old: Before,
  host: Host,
  log: Log,
  timeoutMs: number,
  patient: boolean,
): Promise<string | null> {
  let difference: string | null = null;
  const isBack = async (): Promise<boolean> => {
    try {
      difference = differenceOf(summary(nics, old, old), summary(nics, await kernelState(host), old));
    } catch (error) {
      difference = `it cannot be read: ${messageOf(error)}`;
    }
    return difference === null;
  };
  if (await until(patient ? timeoutMs / 2 : 0, isBack)) return null;
  log.warn({ nics, difference }, 'the old network has not come back by itself and is set directly');
  let unattended: readonly string[] = [];
  try {
    const live = await kernelState(host);
    unattended = leasesWithoutClient(nics, old, live);
    for (const nic of nics.filter((name) => live.nics.some((one) => one.name === name))) {
      const failed = (error: unknown): void => {
        log.error({ nic, error: String(error) }, 'the old network cannot be set directly');
      };
      await host.network.change(stepsTo(targetFrom(nic, old), live)).catch(failed);
    }
  } catch (error) {
    log.error({ error: String(error) }, 'what is live cannot be read');
  }
  await until(timeoutMs / 2, isBack);
  const left = [difference, ...unattended].filter((text) => text !== null).join('; ');
  if (left === '') return null;
  log.error({ nics, difference: left }, 'the old network has not come back');
  return left;
}

/** Gives devices on top of others back what they have lost since `old`; a failure is logged. */
export async function othersBack(others: readonly string[], old: Before, host: Host, log: Log): Promise<void> {
  for (const nic of (old.nics ?? []).filter(({ name }) => others.includes(name))) {
    try {
      const lost = lostBy(nic, old, await kernelState(host));
      if (lost.length === 0) continue;
      log.info({ nic: nic.name }, 'what the device on top of another one has lost is set again');
      await host.network.change(lost);
    } catch (error) {
      log.error({ nic: nic.name, error: String(error) }, 'what the device has lost cannot be set again');
    }
  }
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
 * One that cannot be used yet has not come back, unless it could not be used before. Metrics are not among it: stacks
 * count them up. Of routes that come and go by advertisements only the way out counts.
 */
function summary(nics: readonly string[], now: Before, old: Before): ReadonlySet<string> {
  const unusableBefore = new Set(old.addresses.filter(({ unusable }) => unusable).map(({ address }) => address));
  const own = now.addresses.filter(({ nic, address }) => nics.includes(nic) && !isLinkLocal(address));
  const routes = now.routes.filter((route) => {
    const isLasting = !isSetByKernel(route) && !isAdvertised(route);
    return nics.includes(route.nic) && (route.prefix === 0 || isLasting);
  });
  return new Set([
    ...linksOf(nics, now, old),
    ...own.map(({ nic, address, prefix, dynamic, unusable }) => {
      const state = unusable && !unusableBefore.has(address) ? ', tentative or a duplicate' : '';
      if (!dynamic) return `${address}/${prefix} on ${nic} without a lifetime${state}`;
      if (familyOf(address) === 4) return `${address}/${prefix} on ${nic} with a lifetime${state}`;
      return `an address of ${networkOf({ address, prefix })}/${prefix} on ${nic} with a lifetime${state}`;
    }),
    ...nics.flatMap((name) => {
      const [first] = fixedOf(name, now);
      const isOneOfMany = fixedOf(name, old).length > 1;
      return first !== undefined && isOneOfMany ? [`${first.address} as the first address of ${name}`] : [];
    }),
    ...routes.map((route) => {
      const { nic, network, prefix, gateway } = route;
      const what = prefix === 0 ? `default of ${network}` : `${network}/${prefix}`;
      return `${what} via ${gateway ?? 'the link'} on ${nic}${isAdvertised(route) ? ' by advertisement' : ''}`;
    }),
  ]);
}

/** Addresses of IPv4 of which the order counts: the first one is that of what the machine sends. */
function fixedOf(name: string, { addresses }: LiveNetwork): readonly LiveAddress[] {
  return addresses.filter(({ nic, address, dynamic }) => {
    return nic === name && familyOf(address) === 4 && !dynamic && !isLinkLocal(address);
  });
}

/** Of the devices that `old` knows. */
function linksOf(nics: readonly string[], now: Before, old: Before): readonly string[] {
  const known = (old.nics ?? []).filter(({ name }) => nics.includes(name));
  return known.flatMap(({ name }) => {
    const device = now.nics?.find((nic) => nic.name === name);
    if (device === undefined) return [];
    return [`an MTU of ${device.mtu} on ${name}`, `${name} ${device.up ? 'up' : 'down'}`];
  });
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
