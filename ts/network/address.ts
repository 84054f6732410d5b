import ipaddr from 'ipaddr.js';

/** An address with the length of its network's prefix, both checked. */
export interface Address {
  /** Canonical text, such as `192.0.2.1` or `2001:db8::1`. */
  readonly address: string;
  readonly prefix: number;
}

export type Family = 4 | 6;

/** Canonical text of an address of either family, or null when it is none. Zones (`fe80::1%eth0`) are dropped. */
export function parseAddress(text: unknown): string | null {
  if (typeof text !== 'string') return null;
  const bare = text.trim().split('%', 1)[0] ?? '';
  // Four parts only: inet_aton's short forms such as 10.1 are never what a host means.
  if (ipaddr.IPv4.isValidFourPartDecimal(bare)) return ipaddr.IPv4.parse(bare).toString();
  if (bare.includes(':') && ipaddr.IPv6.isValid(bare)) return ipaddr.IPv6.parse(bare).toRFC5952String();
  return null;
}

export function familyOf(address: string): Family {
  return address.includes(':') ? 6 : 4;
}

/** Length of the prefix that a netmask stands for: dotted text, an IPv6 mask, or the length itself. Null if neither. */
export function parsePrefix(netmask: unknown, family: Family): number | null {
  if (typeof netmask === 'number' || (typeof netmask === 'string' && /^\d{1,3}$/.test(netmask))) {
    const prefix = Number(netmask);
    return Number.isInteger(prefix) && prefix >= 0 && prefix <= (family === 4 ? 32 : 128) ? prefix : null;
  }
  const mask = parseAddress(netmask);
  return mask === null || familyOf(mask) !== family ? null : ipaddr.parse(mask).prefixLengthFromSubnetMask();
}

/** Whether `address` lies in the network of `network`. */
export function contains(network: Address, address: string): boolean {
  if (familyOf(network.address) !== familyOf(address)) return false;
  return networkOf({ address, prefix: network.prefix }) === networkOf(network);
}

/** The network's own address: all bits after the prefix are zero. */
export function networkOf({ address, prefix }: Address): string {
  const bytes = ipaddr.parse(address).toByteArray();
  const masked = bytes.map((byte, index) => {
    const bits = Math.max(0, Math.min(8, prefix - index * 8));
    return byte & (0xff << (8 - bits)) & 0xff;
  });
  const network = ipaddr.fromByteArray(masked);
  return network.kind() === 'ipv6' ? (network as ipaddr.IPv6).toRFC5952String() : network.toString();
}

/** Of an IPv4 network: all bits after the prefix are one. */
export function broadcastOf({ address, prefix }: Address): string {
  return ipaddr.IPv4.broadcastAddressFromCIDR(`${address}/${prefix}`).toString();
}

/** `255.255.255.0` for 24. */
export function dottedMask(prefix: number): string {
  return ipaddr.IPv4.subnetMaskFromPrefixLength(prefix).toString();
}

export function isLinkLocal(address: string): boolean {
  return ipaddr.parse(address).range() === 'linkLocal';
}

/** Whether a machine can have this address: it is no multicast, loopback, broadcast, unspecified or IPv4-mapped one. */
export function isAssignable(address: string): boolean {
  return !['multicast', 'loopback', 'broadcast', 'unspecified', 'ipv4Mapped'].includes(ipaddr.parse(address).range());
}

/**
 * Whether a gateway can only be reached after a route to it was set: it lies in none of the interface's networks. A
 * link-local gateway of IPv6 is on-link by definition; IPv4 knows no such thing.
 */
export function needsOnLink(gateway: string, addresses: readonly Address[]): boolean {
  const byDefinition = familyOf(gateway) === 6 && isLinkLocal(gateway);
  return !byDefinition && !addresses.some((own) => contains(own, gateway));
}
