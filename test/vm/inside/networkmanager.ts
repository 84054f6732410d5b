/** VLANs above eth0, and bonds, teams and VRFs that it is in, with the real NetworkManager. */
import { type Kind, ONE_DEVICE, boots } from '../../netns/boots.js';
import { ETH0 } from '../../netns/namespace.js';
import { stackNamed } from '../../netns/stacks.js';
import { BOND, ETH1_ONLY, RIVAL, V5, inDevicesByHand } from './shared.js';

const ETC = '/etc/NetworkManager/system-connections/';
/** Of the stack's own profile, `wired`. */
const UUID = '11111111-2222-4333-8444-555555555555';
const TOP_UUID = '11111111-2222-4333-8444-00000000000a';
const BEFORE = { eth0: [RIVAL] };

interface Profile {
  readonly uuid: string;
  readonly type?: string;
  /** Of `[connection]`. */
  readonly connection?: readonly string[];
  /** Sections of other names. */
  readonly more?: readonly string[];
  readonly addresses?: readonly string[];
}

function profile(name: string, { uuid, type = 'ethernet', ...rest }: Profile): string {
  const { connection = [], more = [], addresses = [] } = rest;
  const family = (kind: string, own: readonly string[]): readonly string[] => [
    ...['', `[${kind}]`, `method=${own.length > 0 ? 'manual' : 'disabled'}`],
    ...own.map((address, index) => `address${index + 1}=${address}`),
  ];
  return [
    ...['[connection]', `id=${name}`, `uuid=${uuid}`, `type=${type}`, `interface-name=${name}`, ...connection],
    ...['', ...more],
    ...family(
      'ipv4',
      addresses.filter((address) => !address.includes(':')),
    ),
    ...family(
      'ipv6',
      addresses.filter((address) => address.includes(':')),
    ),
    '',
  ].join('\n');
}

const WIRED = { [`${ETC}wired.nmconnection`]: profile('eth0', { uuid: UUID, addresses: [RIVAL] }) };

/** Its parent is what `below` says. */
function vlan(below: string): Readonly<Record<string, string>> {
  const more = ['[vlan]', 'id=5', `parent=${below}`];
  const uuid = '11111111-2222-4333-8444-00000000000b';
  return { [`${ETC}storage.nmconnection`]: profile('storage', { uuid, type: 'vlan', more, addresses: V5 }) };
}

function topped(type: string, more: readonly string[], addresses: readonly string[] = []): string {
  return profile('top0', { uuid: TOP_UUID, type, more, addresses });
}

const BOND_DEVICE = {
  [`${ETC}top0.nmconnection`]: topped(
    'bond',
    ['[ethernet]', `cloned-mac-address=${ETH0}`, '', '[bond]', 'mode=active-backup', 'miimon=100'],
    BOND.top0,
  ),
};
function portOf(type: string): string {
  return profile('eth0', { uuid: UUID, connection: [`master=top0`, `slave-type=${type}`] });
}

const KINDS: readonly Kind[] = [
  {
    what: 'a VLAN whose parent is given by the UUID of the profile that eth0 had comes up as before',
    files: { ...WIRED, ...vlan(UUID) },
    before: { ...BEFORE, storage: V5 },
    others: { storage: V5 },
    input: ONE_DEVICE,
    isShort: true,
  },
  {
    what: 'a VLAN whose parent is given by the name of the device comes up as before',
    files: { ...WIRED, ...vlan('eth0') },
    before: { ...BEFORE, storage: V5 },
    others: { storage: V5 },
    input: ONE_DEVICE,
  },
  ...inDevicesByHand(WIRED),
  {
    what: 'a port of a bond is refused, and the answer names the bond',
    files: { ...BOND_DEVICE, [`${ETC}wired.nmconnection`]: portOf('bond') },
    before: BOND,
    input: ONE_DEVICE,
    refuses: ['eth0 is part of top0'],
  },
  {
    what: 'a device of a VRF is refused, and the answer names it',
    files: {
      [`${ETC}top0.nmconnection`]: topped('vrf', ['[vrf]', 'table=10']),
      [`${ETC}wired.nmconnection`]: profile('eth0', {
        uuid: UUID,
        connection: ['master=top0', 'slave-type=vrf'],
        addresses: [RIVAL],
      }),
    },
    before: BEFORE,
    input: ONE_DEVICE,
    refuses: ['eth0 is part of top0'],
  },
  {
    what: 'eth1 beside a VLAN on a bond of eth0 is reset, and they are as before',
    files: {
      ...BOND_DEVICE,
      ...vlan(TOP_UUID),
      [`${ETC}wired.nmconnection`]: portOf('bond'),
      [`${ETC}lan.nmconnection`]: profile('eth1', {
        uuid: '11111111-2222-4333-8444-00000000000c',
        addresses: [RIVAL],
      }),
    },
    before: { ...BOND, storage: V5, eth1: [RIVAL] },
    others: { ...BOND, storage: V5 },
    input: ETH1_ONLY,
  },
];

boots(stackNamed('NetworkManager'), KINDS);
