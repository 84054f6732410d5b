/** What a host may write for an address, a mask, a MAC and the like, whatever the form of the record. */
import type { Nic } from '../../api/host.js';
import {
  type Address,
  type Family,
  broadcastOf,
  familyOf,
  isAssignable,
  networkOf,
  parseAddress,
  parsePrefix,
} from '../address.js';
import { IPV6_MTU } from '../plan.js';

/** Why a record cannot be used; becomes part of the answer. */
export class RecordError extends Error {}

/** No device has the MAC (yet: a VIF may be plugged after its record was written). */
export class UnknownMac extends RecordError {
  readonly mac: string;

  constructor(mac: string) {
    super(`Unknown interface MAC ${mac}`);
    this.mac = mac;
  }
}

/** The host switches the interface off. */
export class AllDisabled extends RecordError {
  readonly mac: string;

  constructor(mac: string) {
    super('all its addresses are disabled');
    this.mac = mac;
  }
}

export function show(value: unknown): string {
  const text = typeof value === 'string' ? `'${value}'` : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}

/** Drivers of devices that a hypervisor makes up: Xen's, KVM's, VMware's and Hyper-V's. */
const PARAVIRTUAL = ['vif', 'virtio_net', 'vmxnet3', 'hv_netvsc'];

/**
 * The real device: a VLAN, bridge or bond shows the MAC of the VIF below it, and a bond gives its own to all its ports, of
 * which the MAC burnt in then tells.
 */
export function findNic(mac: string, nics: readonly Nic[]): Nic {
  const real = nics.filter(({ physical }) => physical);
  const same = real.filter((one) => one.mac === mac && (one.master === null || (one.permanentMac ?? mac) === mac));
  const port = real.find(({ master, permanentMac }) => master !== null && permanentMac === mac);
  const nic = paravirtualOf(same) ?? port;
  if (nic === undefined) throw new UnknownMac(mac);
  if (nic.master !== null) {
    const isVrf = nics.some(({ name, kind }) => name === nic.master && kind === 'vrf');
    // Its routes stand in a table of its own.
    const why = isVrf ? 'guestwire sets no routes in a VRF' : `whoever made ${nic.master} sets its addresses`;
    throw new RecordError(`${nic.name} is part of ${nic.master}: ${why}`);
  }
  return nic;
}

/**
 * An emulated device has the MAC of its twin until it is unplugged, and a virtual function (SR-IOV) for good: the
 * paravirtual one of them is configured, and the way of the data is its business.
 */
function paravirtualOf(same: readonly Nic[]): Nic | undefined {
  if (same.length <= 1) return same[0];
  const paravirtual = same.filter(({ driver }) => driver !== null && PARAVIRTUAL.includes(driver));
  // Of those that net_failover or netvsc has joined, the one on top.
  const free = paravirtual.length > 1 ? paravirtual.filter(({ master }) => master === null) : paravirtual;
  if (free.length === 1) return free[0];
  const shown = same.map(({ name, driver }) => `${name} (driver ${driver ?? 'unknown'})`).join(' and ');
  throw new RecordError(`${shown} have the same MAC, and nothing shows which one is paravirtual`);
}

/** Lower case with colons. Hyphens and no separator at all are understood too. */
export function readMac(value: unknown): string {
  if (value === undefined || value === null) throw new RecordError('No MAC found in config');
  const digits = typeof value === 'string' ? value.trim().toLowerCase().replace(/[:-]/g, '') : '';
  if (!/^[0-9a-f]{12}$/.test(digits)) {
    throw new RecordError(`'mac': expected six pairs of hex digits, got ${show(value)}`);
  }
  return (digits.match(/../g) ?? []).join(':');
}

/** An address that a machine can have: none of the multicast, loopback and unspecified ones. */
export function readOwnAddress(value: unknown, family: Family, key: string): string {
  const address = parseAddress(value);
  if (address === null || familyOf(address) !== family || !isAssignable(address)) {
    throw new RecordError(`'${key}': expected an IPv${family} address, got ${show(value)}`);
  }
  return address;
}

export function readPrefix(value: unknown, family: Family, key: string): number {
  const prefix = parsePrefix(value, family);
  if (prefix === null) {
    throw new RecordError(`'${key}': expected a mask of IPv${family} or a prefix length, got ${show(value)}`);
  }
  return prefix;
}

/**
 * An address of the machine's own with the mask beside it. Addresses that stand for the network or for all of its
 * machines (RFC 1122 section 3.2.1.3) are refused, but for networks of one or two addresses (RFC 3021). The kernel takes
 * IPv6's counterpart, the anycast address of the subnet's routers, and so does this.
 */
export function withOwnPrefix(address: string, mask: unknown, key: string): Address {
  const family = familyOf(address);
  const prefix = readPrefix(mask, family, key);
  if (prefix === 0) {
    throw new RecordError(`'${key}': expected a mask other than 0, got ${show(mask)} for ${address}`);
  }
  const own = { address, prefix };
  if (family === 4 && prefix < 31) {
    if (address === networkOf(own)) throw new RecordError(`${address}/${prefix} is the network's own address`);
    if (address === broadcastOf(own)) throw new RecordError(`${address}/${prefix} is the broadcast address`);
  }
  return own;
}

/** Absent, null and an empty text all mean: none. */
export function readGateway(value: unknown, family: Family, key: string): string | null {
  return value === undefined || value === null || value === '' ? null : readOwnAddress(value, family, key);
}

/** Bytes: 68 is the least that IPv4 allows (RFC 791). */
export function readMtu(value: unknown, ipv6: boolean): number | null {
  if (value === undefined || value === null || value === '') return null;
  const mtu = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value;
  const least = ipv6 ? IPV6_MTU : 68;
  if (typeof mtu === 'number' && Number.isInteger(mtu) && mtu >= least && mtu <= 65_535) return mtu;
  throw new RecordError(`'mtu': expected ${least} to 65535 bytes, got ${show(value)}`);
}
