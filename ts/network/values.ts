/** What a host may write for an address, a mask, a MAC and the like, whatever the form of the record. */
import type { Nic } from '../api/host.js';
import { type Family, familyOf, isAssignable, parseAddress, parsePrefix } from './address.js';

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

export function show(value: unknown): string {
  const text = typeof value === 'string' ? `'${value}'` : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}

/** The real device: a VLAN, bridge or bond shows the MAC of the VIF below it. */
export function findNic(mac: string, nics: readonly Nic[]): Nic {
  const same = nics.filter((nic) => nic.physical && nic.mac === mac);
  // The paravirtual twin of an emulated device has the same MAC for as long as that is not unplugged.
  const nic = same.find(({ driver }) => driver === 'vif') ?? same[0];
  if (nic === undefined) throw new UnknownMac(mac);
  if (nic.master !== null) {
    throw new RecordError(`${nic.name} is part of ${nic.master}: its addresses are for whoever made that`);
  }
  return nic;
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

/** Absent, null and an empty text all mean: none. */
export function readGateway(value: unknown, family: Family, key: string): string | null {
  return value === undefined || value === null || value === '' ? null : readOwnAddress(value, family, key);
}

/** Bytes: 68 is the least that IPv4 allows (RFC 791), 1280 the least of IPv6 (RFC 8200). */
export function readMtu(value: unknown, ipv6: boolean): number | null {
  if (value === undefined || value === null || value === '') return null;
  const mtu = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value;
  const least = ipv6 ? 1280 : 68;
  if (typeof mtu === 'number' && Number.isInteger(mtu) && mtu >= least && mtu <= 65_535) return mtu;
  throw new RecordError(`'mtu': expected ${least} to 65535 bytes, got ${show(value)}`);
}
