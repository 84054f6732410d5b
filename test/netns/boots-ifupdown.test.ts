/** Which stanzas the real ifup takes at a boot, of ifupdown and ifupdown-ng, and what is on the device afterwards. */
import { type Kind, ONE_DEVICE, boots, fileIn } from './boots.js';
import { stackNamed } from './stacks.js';

const MAIN = '/etc/network/interfaces';
const RIVAL = '203.0.113.9/24';
const BEFORE = { eth0: [RIVAL] };
const MV0 = { mv0: ['198.51.100.90/24'] };
const ETH1 = { eth1: ['198.51.100.10/24'] } as const;
const LO = 'auto lo\niface lo inet loopback\n\n';
/** Of the stack's own files, the one that defines eth0. */
const NO_CLOUD = { '/etc/network/interfaces.d/50-cloud-init': '' };

function stanza(name: string, address: string, ...more: readonly string[]): string {
  return [`iface ${name} inet static`, `address ${address}`, ...more].join('\n    ').concat('\n\n');
}

/** Its maker is no part of ifupdown. */
const MACVLAN =
  'auto mv0\n' +
  stanza('mv0', MV0.mv0.join(), 'pre-up ip link add link eth0 name mv0 type macvlan', 'post-down ip link delete mv0');
const OFFICE = { [MAIN]: `${LO}auto eth0=office\n${stanza('office', RIVAL)}`, ...NO_CLOUD };

const WHERE = { '/etc/network/where': '#!/bin/sh\necho office\n' };
const CAN_RUN = 'chmod 755 /etc/network/where';

const CLASSIC: readonly Kind[] = [
  {
    what: 'aliases, one more stanza and addresses by hand are gone',
    files: {
      ...NO_CLOUD,
      [MAIN]:
        `${LO}source interfaces.d/*\n\nauto eth0 eth0:1\n` +
        stanza('eth0', RIVAL, 'up ip address add 203.0.113.13/24 dev eth0') +
        stanza('eth0:1', '203.0.113.11/24'),
      '/etc/network/interfaces.d/more': `auto eth0:2\n${stanza('eth0:2', '203.0.113.12/24')}${stanza('eth0', '203.0.113.14/24')}`,
    },
    before: { eth0: ['203.0.113.12/24', '203.0.113.14/24', RIVAL, '203.0.113.13/24', '203.0.113.11/24'] },
    isShort: true,
  },
  {
    what: 'the helper of cloud images writes nothing for eth0',
    files: {
      ...NO_CLOUD,
      [MAIN]: `source-directory /etc/network/interfaces.d\nsource-directory /run/network/interfaces.d\n${LO}`,
    },
    // As the udev helper of Debian's images does it.
    boot: `for name in eth0 eth1; do ifup --no-act $name 2>/dev/null || {\n${fileIn('/run/network/interfaces.d/$name', '$STANZA')}\n}; done`
      .replace("<<'END'", '<<END')
      .replace('$STANZA', `auto $name\nallow-hotplug $name\n\n${stanza('$name', RIVAL)}`),
    before: { ...BEFORE, eth1: [RIVAL] },
    isShort: true,
  },
  {
    what: 'a device that needs eth0 to be up comes up behind it, as before',
    files: {
      ...NO_CLOUD,
      [MAIN]:
        `${LO}auto eth0\n${stanza('eth0', RIVAL)}auto eth1\n` +
        stanza('eth1', ...ETH1.eth1, 'pre-up ip -4 addr show dev eth0 | grep -q inet'),
    },
    before: { ...BEFORE, ...ETH1 },
    others: ETH1,
    input: ONE_DEVICE,
    isShort: true,
  },
  {
    what: 'a mapping gives eth0 no other stanza',
    files: {
      ...NO_CLOUD,
      [MAIN]: `${LO}auto eth0\nmapping eth0\n    script /etc/network/where\n    map office\n\n${stanza('office', RIVAL)}`,
      ...WHERE,
    },
    boot: CAN_RUN,
    before: BEFORE,
  },
  {
    what: 'a logical name gives eth0 no other stanza',
    files: OFFICE,
    before: BEFORE,
  },
  {
    what: 'a macvlan that a stanza of its own makes on eth0 is there as before',
    files: { ...NO_CLOUD, [MAIN]: `${LO}auto eth0\n${stanza('eth0', RIVAL)}${MACVLAN}` },
    before: { ...BEFORE, ...MV0 },
    others: MV0,
  },
  {
    what: 'stanzas in files that lead from one to the other are gone',
    files: {
      ...NO_CLOUD,
      [MAIN]: `${LO}source /srv/net-[0-9]/*.conf\n`,
      '/srv/net-1/a.conf': 'source-directory ../more\n',
      '/srv/more/eth': `allow-hotplug eth0\nauto eth0 eth1\n${stanza('eth0', RIVAL)}${stanza('eth1', '198.51.100.10/24')}`,
    },
    before: { ...BEFORE, eth1: ['198.51.100.10/24'] },
    others: { eth1: ['198.51.100.10/24'] },
    input: ONE_DEVICE,
  },
  {
    what: 'a pattern that maps eth0 to another stanza is refused, and the answer names the line',
    files: {
      ...NO_CLOUD,
      [MAIN]: `${LO}auto eth0\nmapping eth*\n    script /etc/network/where\n\n${stanza('office', RIVAL)}`,
      ...WHERE,
    },
    boot: CAN_RUN,
    before: BEFORE,
    refuses: ['given another name by "mapping eth*"', `(${MAIN}, line 5)`],
  },
  {
    what: 'a MAC that stands for another stanza is refused, and the answer names the line',
    files: { ...NO_CLOUD, [MAIN]: `${LO}auto mac/52:54:00:aa:00:01=office\n${stanza('office', RIVAL)}` },
    before: BEFORE,
    refuses: ['given another name by "auto mac/52:54:00:aa:00:01=office"', `(${MAIN}, line 4)`],
  },
  {
    what: 'a port of a bridge after the next boot is refused, and the answer names the bridge and the file',
    files: OFFICE,
    before: BEFORE,
    later: fileIn(
      '/etc/network/interfaces.d/br0',
      `auto br0\n${stanza('br0', RIVAL, 'bridge_ports regex eth[0-3] noregex')}`,
    ).concat(`\necho 'source interfaces.d/*' >> ${MAIN}`),
    refuses: ['a port of br0', '(/etc/network/interfaces.d/br0, line 4)', 'it belongs on br0'],
  },
];

const NG: readonly Kind[] = [
  {
    what: 'all addresses of all the stanzas are gone',
    files: {
      [MAIN]: `${LO}source /etc/network/more\n\nauto eth0\n${stanza('eth0', RIVAL, 'address 203.0.113.11/24')}`,
      '/etc/network/more': stanza('eth0', '203.0.113.12/24'),
    },
    before: { eth0: ['203.0.113.12/24', RIVAL, '203.0.113.11/24'] },
    isShort: true,
  },
  {
    what: 'what a template gives to eth0 is gone',
    files: { [MAIN]: `${LO}template office\n    address ${RIVAL}\n\nauto eth0\niface eth0\n    inherit office\n` },
    before: BEFORE,
  },
  {
    what: 'a macvlan that a stanza of its own makes on eth0 is there as before',
    files: { [MAIN]: `${LO}auto eth0\n${stanza('eth0', RIVAL)}${MACVLAN}` },
    before: { ...BEFORE, ...MV0 },
    others: MV0,
  },
  {
    what: 'stanzas in files that lead from one to the other are gone',
    files: {
      [MAIN]: `${LO}source-directory /srv/net\n`,
      '/srv/net/a': 'source /srv/more/eth.conf\n',
      '/srv/more/eth.conf': `auto eth0\nauto eth1\n${stanza('eth0', RIVAL)}${stanza('eth1', '198.51.100.10/24')}`,
    },
    before: { ...BEFORE, eth1: ['198.51.100.10/24'] },
    others: { eth1: ['198.51.100.10/24'] },
    input: ONE_DEVICE,
  },
  {
    what: 'a port of a bridge after the next boot is refused, and the answer names the bridge and the file',
    files: { [MAIN]: `${LO}auto eth0\n${stanza('eth0', RIVAL)}` },
    before: BEFORE,
    later: fileIn('/etc/network/br0', 'auto br0\niface br0\n    bridge-ports eth0\n').concat(
      `\necho 'source /etc/network/br0' >> ${MAIN}`,
    ),
    refuses: ['a port of br0', '(/etc/network/br0, line 3)', 'it belongs on br0'],
  },
];

boots(stackNamed('ifupdown'), CLASSIC);
boots(stackNamed('ifupdown-ng'), NG);
