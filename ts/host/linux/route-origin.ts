/** Who set a route, by the numbers of linux/rtnetlink.h (RTPROT_*). */
import type { RouteOrigin } from '../../api/host.js';

const PROTOCOLS: readonly (readonly [number, RouteOrigin])[] = [
  [2, 'kernel'],
  [3, 'boot'],
  [4, 'static'],
  [9, 'advertisement'],
  [16, 'dhcp'],
];
const OTHER = 'other ';

export function originOf(protocol: number): RouteOrigin {
  return PROTOCOLS.find(([number]) => number === protocol)?.[1] ?? `${OTHER}${protocol}`;
}

/** Throws an Error for what {@link originOf} does not give. */
export function protocolOf(origin: RouteOrigin): number {
  const known = PROTOCOLS.find(([, name]) => name === origin)?.[0];
  if (known !== undefined) return known;
  const protocol = origin.slice(OTHER.length);
  if (origin.startsWith(OTHER) && /^\d{1,3}$/.test(protocol) && Number(protocol) <= 255) return Number(protocol);
  throw new Error(`who set a route: wanted ${PROTOCOLS.map(([, name]) => name).join(', ')} or other N, got ${origin}`);
}
