/** Which definition the real netplan takes at a boot, with systemd-networkd, and what stands on the device afterwards. */
import { type Kind, ONE_DEVICE, boots, fileIn } from './boots.js';
import { stackNamed } from './stacks.js';

const ETC = '/etc/netplan/';
const LIB = '/usr/lib/netplan/';
const CLOUD = `${ETC}50-cloud-init.yaml`;
const RIVAL = '203.0.113.9/24';
const BEFORE = { eth0: [RIVAL] };
const ETH1 = { eth1: ['198.51.100.10/24'] };
const VX0 = { vx0: ['198.51.100.40/24'] };
const NOTHING = 'network: {version: 2}\n';

function yaml(...lines: readonly string[]): string {
  return ['network:', '  version: 2', ...lines.map((line) => `  ${line}`), ''].join('\n');
}

/** Of a VXLAN, the kind of device on top that the kernel of the tests has. */
function vxlan(link: string): readonly string[] {
  return [
    'tunnels:',
    `  vx0: {mode: vxlan, id: 7, link: ${link}, remote: 203.0.113.77, addresses: [${VX0.vx0.join()}]}`,
  ];
}

const KINDS: readonly Kind[] = [
  {
    what: 'the patterns of an image, whose files sort first, do not get eth0',
    files: {
      [CLOUD]: NOTHING,
      [`${ETC}90-default.yaml`]: yaml(
        'ethernets:',
        `  all-en: {match: {name: "en*"}, addresses: [${RIVAL}]}`,
        `  all-eth: {match: {name: "eth*"}, addresses: [${RIVAL}]}`,
      ),
    },
    before: { ...BEFORE, eth1: [RIVAL] },
    isShort: true,
  },
  {
    what: 'name servers that have an anchor in the definition of eth0 stay those of eth1',
    files: {
      [CLOUD]: yaml(
        'ethernets:',
        `  eth0: {addresses: [${RIVAL}], nameservers: &id001 {addresses: [198.51.100.53], search: [example.net]}}`,
        `  eth1: {addresses: &id002 [${ETH1.eth1.join()}], nameservers: *id001}`,
        '  eth2: {addresses: *id002, nameservers: *id001}',
      ),
    },
    before: { ...BEFORE, ...ETH1 },
    others: ETH1,
    input: ONE_DEVICE,
  },
  {
    what: 'a VXLAN that names the id of eth0 is there as before, and eth1, too',
    files: {
      [CLOUD]: yaml(
        'ethernets:',
        `  frontport: {match: {name: eth0}, addresses: [${RIVAL}]}`,
        `  lanport: {match: {name: eth1}, addresses: [${ETH1.eth1.join()}]}`,
        ...vxlan('frontport'),
      ),
    },
    before: { ...BEFORE, ...ETH1, ...VX0 },
    others: { ...ETH1, ...VX0 },
    input: ONE_DEVICE,
    isShort: true,
  },
  {
    what: 'a VXLAN of a file of its own is there as before, whatever the order of the files',
    files: {
      [`${ETC}40-eth.yaml`]: yaml('ethernets:', `  a: {match: {driver: [veth], name: eth0}, addresses: [${RIVAL}]}`),
      [CLOUD]: NOTHING,
      [`${ETC}70-vx.yaml`]: yaml(...vxlan('a')),
    },
    before: { ...BEFORE, ...VX0 },
    others: VX0,
  },
  {
    what: 'a definition by driver in the folder of the distribution does not get eth0',
    files: {
      [CLOUD]: NOTHING,
      [`${LIB}10-image.yaml`]: yaml('ethernets:', `  00-image: {match: {driver: "v*"}, addresses: [${RIVAL}]}`),
    },
    before: { ...BEFORE, eth1: [RIVAL] },
  },
  {
    what: 'a definition that another program writes to /run at each boot does not get eth0',
    files: { [CLOUD]: NOTHING },
    boot: fileIn(
      '/run/netplan/90-image.yaml',
      yaml('ethernets:', `  all: {match: {name: "e*"}, addresses: [${RIVAL}]}`),
    ),
    before: { ...BEFORE, eth1: [RIVAL] },
  },
  {
    what: 'addresses of all the files that define eth0 are gone',
    files: {
      [CLOUD]: yaml('ethernets:', `  eth0: {addresses: [${RIVAL}]}`),
      [`${ETC}70-more.yaml`]: yaml('ethernets:', '  eth0: {addresses: [203.0.113.12/24]}'),
      [`${LIB}99-image.yaml`]: yaml('ethernets:', '  eth0: {addresses: [203.0.113.13/24: {label: "eth0:1"}]}'),
    },
    before: { eth0: [RIVAL, '203.0.113.12/24', '203.0.113.13/24'] },
  },
  {
    what: 'a port of a bridge after the next boot is refused, and the answer names the bridge and the file',
    files: { [CLOUD]: yaml('ethernets:', `  frontport: {match: {name: "eth0"}, addresses: [${RIVAL}]}`) },
    before: BEFORE,
    later: fileIn(`${ETC}99-bridge.yaml`, yaml('bridges:', '  br0: {interfaces: [frontport]}')),
    refuses: ['eth0 is a port of bridges.br0 in /etc/netplan/99-bridge.yaml', 'they belong on br0'],
  },
];

boots(stackNamed('netplan with systemd-networkd'), KINDS);
