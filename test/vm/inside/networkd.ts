/** VLANs above eth0, and bonds, teams and VRFs that it is in, with the real systemd-networkd. */
import { type Kind, ONE_DEVICE, boots } from '../../netns/boots.js';
import { ETH0 } from '../../netns/namespace.js';
import { stackNamed } from '../../netns/stacks.js';
import { BOND, ETH1_ONLY, RIVAL, V5, inDevicesByHand } from './shared.js';

const ETC = '/etc/systemd/network/';
const BEFORE = { eth0: [RIVAL] };

function network(name: string, ...lines: readonly string[]): Readonly<Record<string, string>> {
  return { [`${ETC}10-${name}.network`]: `[Match]\nName=${name}\n\n[Network]\n${lines.join('\n')}\n` };
}

function netdev(name: string, kind: string, ...more: readonly string[]): Readonly<Record<string, string>> {
  return { [`${ETC}10-${name}.netdev`]: [`[NetDev]`, `Name=${name}`, `Kind=${kind}`, ...more, ''].join('\n') };
}

/** Made because the file of the device below it names it. */
const VLAN = {
  ...netdev('storage', 'vlan', '', '[VLAN]', 'Id=5'),
  ...network('storage', ...V5.map((address) => `Address=${address}`)),
};
const BOND_DEVICE = netdev(
  'top0',
  'bond',
  `MACAddress=${ETH0}`,
  '',
  '[Bond]',
  'Mode=active-backup',
  'MIIMonitorSec=100ms',
);
const BOND_ADDRESS = `Address=${BOND.top0.join()}`;

const KINDS: readonly Kind[] = [
  {
    what: 'a VLAN that the file of eth0 names is there as before',
    files: { ...VLAN, ...network('eth0', 'VLAN=storage', `Address=${RIVAL}`) },
    before: { ...BEFORE, storage: V5 },
    others: { storage: V5 },
    input: ONE_DEVICE,
    isShort: true,
  },
  ...inDevicesByHand(network('eth0', `Address=${RIVAL}`)),
  {
    what: 'a port of a bond is refused, and the answer names the bond',
    files: { ...BOND_DEVICE, ...network('top0', BOND_ADDRESS), ...network('eth0', 'Bond=top0') },
    before: BOND,
    input: ONE_DEVICE,
    refuses: ['eth0 is part of top0'],
  },
  {
    what: 'a device of a VRF is refused, and the answer names it',
    files: {
      ...netdev('top0', 'vrf', '', '[VRF]', 'Table=10'),
      ...network('top0', 'ConfigureWithoutCarrier=yes'),
      ...network('eth0', 'VRF=top0', `Address=${RIVAL}`),
    },
    before: BEFORE,
    input: ONE_DEVICE,
    refuses: ['eth0 is part of top0'],
  },
  {
    what: 'eth1 beside a VLAN on a bond of eth0 is reset, and they are as before',
    files: {
      ...BOND_DEVICE,
      ...VLAN,
      ...network('top0', BOND_ADDRESS, 'VLAN=storage'),
      ...network('eth0', 'Bond=top0'),
      ...network('eth1', `Address=${RIVAL}`),
    },
    before: { ...BOND, storage: V5, eth1: [RIVAL] },
    others: { ...BOND, storage: V5 },
    input: ETH1_ONLY,
  },
];

boots(stackNamed('systemd-networkd'), KINDS);
