/** VLANs above eth0, and bonds, teams and VRFs that it is in, with the real netplan and systemd-networkd. */
import { type Kind, ONE_DEVICE, boots } from '../../netns/boots.js';
import { ETH0 } from '../../netns/namespace.js';
import { stackNamed } from '../../netns/stacks.js';
import { BOND, ETH1_ONLY, RIVAL, V5, inDevicesByHand } from './shared.js';

const CLOUD = '/etc/netplan/50-cloud-init.yaml';
const BEFORE = { eth0: [RIVAL] };

function yaml(...lines: readonly string[]): Readonly<Record<string, string>> {
  return { [CLOUD]: ['network:', '  version: 2', ...lines.map((line) => `  ${line}`), ''].join('\n') };
}

function vlan(name: string, link: string): readonly string[] {
  return ['vlans:', `  ${name}: {id: 5, link: ${link}, addresses: ["${V5.join('", "')}"]}`];
}

const BOND_OF = (port: string): readonly string[] => [
  'bonds:',
  `  top0: {interfaces: [${port}], parameters: {mode: active-backup}, macaddress: "${ETH0}", addresses: [${BOND.top0.join()}]}`,
];

const KINDS: readonly Kind[] = [
  {
    what: 'a VLAN that names the id of eth0 is there as before, and eth1, too',
    files: yaml(
      'ethernets:',
      `  frontport: {match: {name: eth0}, addresses: [${RIVAL}]}`,
      '  lanport: {match: {name: eth1}, addresses: [198.51.100.10/24]}',
      ...vlan('storage', 'frontport'),
    ),
    before: { ...BEFORE, eth1: ['198.51.100.10/24'], storage: V5 },
    others: { eth1: ['198.51.100.10/24'], storage: V5 },
    input: ONE_DEVICE,
    isShort: true,
  },
  ...inDevicesByHand(yaml('ethernets:', `  eth0: {addresses: [${RIVAL}]}`)),
  {
    what: 'a port of a bond is refused, and the answer names the bond',
    files: yaml('ethernets:', '  frontport: {match: {name: eth0}}', ...BOND_OF('frontport')),
    before: BOND,
    input: ONE_DEVICE,
    refuses: ['eth0 is part of top0'],
  },
  {
    what: 'a device of a VRF is refused, and the answer names it',
    files: yaml('ethernets:', `  eth0: {addresses: [${RIVAL}]}`, 'vrfs:', '  top0: {table: 10, interfaces: [eth0]}'),
    before: BEFORE,
    input: ONE_DEVICE,
    refuses: ['eth0 is part of top0'],
  },
  {
    what: 'eth1 beside a VLAN on a bond of eth0 is reset, and they are as before',
    files: yaml(
      'ethernets:',
      '  eth0: {}',
      `  eth1: {addresses: [${RIVAL}]}`,
      ...BOND_OF('eth0'),
      ...vlan('storage', 'top0'),
    ),
    before: { ...BOND, storage: V5, eth1: [RIVAL] },
    others: { ...BOND, storage: V5 },
    input: ETH1_ONLY,
  },
];

boots(stackNamed('netplan with systemd-networkd'), KINDS);
