/** What the kinds of all stacks share: addresses of others, and devices that somebody has put eth0 into by hand. */
import { type Kind, ONE_DEVICE } from '../../netns/boots.js';
import { ETH0, ETH1 } from '../../netns/namespace.js';
import type { Files } from '../../netns/stacks.js';
import { type Input, readInput } from '../../network/inputs.js';

export const RIVAL = '203.0.113.9/24';
/** Of a VLAN on top; the kernel takes the one of IPv6 away when the device goes down. */
export const V5: readonly string[] = ['198.51.100.50/24', '2001:db8:5::50/64'];
/** Of a bond with eth0 in it. */
export const BOND = { top0: ['198.51.100.30/24'] } as const;

const { networking, wanted, ...more } = readInput(ONE_DEVICE);
const [[id, record] = ['', {}]] = Object.entries(networking ?? {});

/** The host names eth1 only. */
export const ETH1_ONLY: Input = {
  ...more,
  networking: { [id]: { ...(record as object), mac: ETH1 } },
  wanted: { eth1: wanted['eth0']! },
};

/** Somebody has put eth0, which has RIVAL by these files, into a device called top0. */
export function inDevicesByHand(files: Files): readonly Kind[] {
  return Object.entries(BY_HAND).map(([of, make]) => ({
    what: `eth0 in a ${of} that somebody has made since the boot is refused, and the answer names the ${of}`,
    files,
    before: { eth0: [RIVAL] },
    // A bond takes no device that is up.
    later: ['set -e', `ip link add top0 address ${ETH0} type ${make}`, ...INTO_TOP0].join('\n'),
    input: ONE_DEVICE,
    refuses: ['eth0 is part of top0'],
  }));
}

// With a MAC of its own it would give that to eth0, whose own nobody could see then: veth has none burnt in.
const BY_HAND = { bond: 'bond mode active-backup miimon 100', team: 'team', VRF: 'vrf table 10' } as const;
const INTO_TOP0 = [
  'ip link set eth0 down',
  'ip link set eth0 master top0',
  'ip link set top0 up',
  'ip link set eth0 up',
] as const;
