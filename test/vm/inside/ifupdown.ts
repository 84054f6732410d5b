/** VLANs above eth0, and bonds, teams and VRFs that it is in, with the real ifup of ifupdown and ifupdown-ng. */
import { type Kind, ONE_DEVICE, boots } from '../../netns/boots.js';
import { stackNamed } from '../../netns/stacks.js';
import { BOND, ETH1_ONLY, RIVAL, V5, inDevicesByHand } from './shared.js';

const MAIN = '/etc/network/interfaces';
const LO = 'auto lo\niface lo inet loopback\n\n';
/** Of the stack's own files, the one that defines eth0. */
const NO_CLOUD = { '/etc/network/interfaces.d/50-cloud-init': '' };
const BEFORE = { eth0: [RIVAL] };

function stanza(name: string, address: string, ...more: readonly string[]): string {
  const family = address.includes(':') ? 'inet6' : 'inet';
  return [`iface ${name} ${family} static`, `address ${address}`, ...more].join('\n    ').concat('\n\n');
}

function vlan(name: string, ...more: readonly string[]): string {
  const [address = '', address6 = ''] = V5;
  return `auto ${name}\n${stanza(name, address, ...more)}${stanza(name, address6)}`;
}

const ETH0 = `${LO}auto eth0\n${stanza('eth0', RIVAL)}`;

const BOTH: readonly Kind[] = [
  {
    what: 'a VLAN by its name is there as before',
    files: { ...NO_CLOUD, [MAIN]: `${ETH0}${vlan('eth0.5')}` },
    before: { ...BEFORE, 'eth0.5': V5 },
    others: { 'eth0.5': V5 },
    input: ONE_DEVICE,
    isShort: true,
  },
  ...inDevicesByHand({ ...NO_CLOUD, [MAIN]: ETH0 }),
  {
    what: 'eth1 beside a VLAN on a bond of eth0 is reset, and they are as before',
    files: {
      ...NO_CLOUD,
      [MAIN]:
        `${LO}auto top0\n` +
        stanza(
          'top0',
          BOND.top0.join(),
          'pre-up ip link add top0 type bond mode active-backup miimon 100',
          'pre-up ip link set eth0 down',
          'pre-up ip link set eth0 master top0',
          'post-down ip link delete top0',
        ) +
        `${vlan('top0.5')}auto eth1\n${stanza('eth1', RIVAL)}`,
    },
    before: { ...BOND, 'top0.5': V5, eth1: [RIVAL] },
    others: { ...BOND, 'top0.5': V5 },
    input: ETH1_ONLY,
  },
];

const NG: readonly Kind[] = [
  {
    what: 'a VLAN with a name of its own is there as before',
    files: { [MAIN]: `${ETH0}${vlan('storage', 'vlan-raw-device eth0', 'vlan-id 5')}` },
    before: { ...BEFORE, storage: V5 },
    others: { storage: V5 },
    input: ONE_DEVICE,
  },
];

boots(stackNamed('ifupdown'), BOTH);
boots(stackNamed('ifupdown-ng'), [...BOTH, ...NG]);
