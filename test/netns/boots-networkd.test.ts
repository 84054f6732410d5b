/** Which `.network` file the real systemd-networkd takes at a boot, and what stands on the device afterwards. */
import { type Kind, boots, fileIn } from './boots.js';
import { stackNamed } from './stacks.js';

const ETC = '/etc/systemd/network/';
const LIB = '/usr/lib/systemd/network/';
const RIVAL = '203.0.113.9/24';
const BEFORE = { eth0: [RIVAL] };

function file(match: string, network = `Address=${RIVAL}`): string {
  return `[Match]\n${match}\n\n[Network]\n${network}\n`;
}

/** A macvlan is there only because the file of the device below it names it. */
const MACVLAN = {
  [`${ETC}10-mv0.netdev`]: '[NetDev]\nName=mv0\nKind=macvlan\n\n[MACVLAN]\nMode=bridge\n',
  [`${ETC}10-mv0.network`]: file('Name=mv0', 'Address=198.51.100.207/24'),
};
const MV0 = { mv0: ['198.51.100.207/24'] };

const BRIDGE = {
  [`${ETC}10-br0.netdev`]: '[NetDev]\nName=br0\nKind=bridge\n',
  [`${ETC}10-br0.network`]: file('Name=br0', 'Address=203.0.113.10/24\nConfigureWithoutCarrier=yes'),
};

const KINDS: readonly Kind[] = [
  {
    what: 'a macvlan that the file of eth0 names is there as before',
    files: { ...MACVLAN, [`${ETC}07-eth0.network`]: file('Name=eth0', `MACVLAN=mv0\nAddress=${RIVAL}`) },
    before: { ...BEFORE, ...MV0 },
    others: MV0,
    isShort: true,
  },
  {
    what: 'a device that forwards and serves DHCP, and a macvlan beside that, is configured with it',
    files: {
      ...MACVLAN,
      [`${ETC}10-eth0.network`]:
        file('Name=eth0', `MACVLAN=mv0\nIPForward=ipv4\nDHCPServer=yes\nAddress=${RIVAL}`) +
        '[DHCPServer]\nPoolSize=5\nPoolOffset=20\nDNS=192.0.2.53\n\n' +
        '[DHCPServerStaticLease]\nMACAddress=52:54:00:aa:00:77\nAddress=203.0.113.77\n',
    },
    before: { ...BEFORE, ...MV0 },
    others: MV0,
  },
  {
    what: 'a macvlan that a drop-in of the distribution names is there as before',
    files: {
      ...MACVLAN,
      [`${LIB}00-all.network`]: file('Name=eth[0-9]\nName=!eth1'),
      [`${LIB}00-all.network.d/10-mv0.conf`]: '[Network]\nMACVLAN=mv0\n',
    },
    before: { ...BEFORE, ...MV0 },
    others: MV0,
  },
  {
    what: 'a file of the distribution that sorts first does not get eth0',
    files: { [`${LIB}00-rival.network`]: file('Name=eth*\nMACAddress=52:54:00:aa:00:01') },
    before: BEFORE,
  },
  {
    what: 'a file that another program writes to /run at each boot does not get eth0',
    files: {},
    boot: fileIn('/run/systemd/network/00-rival.network', file('Driver=ve*\nName=!eth1')),
    before: BEFORE,
    isShort: true,
  },
  {
    what: 'a file of the administrator for all kinds of Ethernet gets others, not eth0',
    files: { [`${ETC}00-rival.network`]: file('Type=ether\nName=!lo', `Address=${RIVAL}`) },
    before: { ...BEFORE, eth1: [RIVAL] },
  },
  {
    what: 'a file for whatever a driver runs does not get eth0, nor does one with the name of the kind',
    files: {
      [`${ETC}00-rival.network`]: file('Driver=veth\nMACAddress=52:54:00:aa:00:01'),
      [`${ETC}01-rival.network`]: file('Kind=veth\nMACAddress=52:54:00:aa:00:01', 'Address=203.0.113.8/24'),
    },
    before: BEFORE,
  },
  {
    what: 'a file that goes by the name of the host or the kind of the machine does not get eth0',
    files: {
      [`${LIB}00-rival.network`]: file('Virtualization=container\nMACAddress=52:54:00:aa:00:01'),
    },
    before: BEFORE,
  },
  {
    what: 'a file for a MAC that no device has of its own takes nothing',
    files: {
      [`${LIB}00-rival.network`]: file('PermanentMACAddress=52:54:00:aa:00:01', 'Address=203.0.113.8/24'),
      [`${ETC}10-eth0.network`]: file('Name=eth0'),
    },
    before: BEFORE,
  },
  {
    what: 'a mask takes the name of a file, and the next one counts',
    files: {
      [`${LIB}00-rival.network`]: file('Name=eth0', 'Address=203.0.113.8/24'),
      [`${LIB}00-rival.network.d/more.conf`]: file('Name=eth0', 'Address=203.0.113.7/24'),
      [`${ETC}07-eth0.network`]: file('Name=eth0'),
    },
    links: { [`${ETC}00-rival.network`]: '/dev/null' },
    before: BEFORE,
  },
  {
    what: 'the name of our own file may be masked',
    files: { [`${ETC}07-eth0.network`]: file('Name=eth0') },
    links: { [`${ETC}05-guestwire-eth0.network`]: '/dev/null' },
    before: BEFORE,
  },
  {
    what: 'a drop-in for our own file adds no address',
    files: {
      [`${LIB}05-guestwire-eth0.network.d/more.conf`]: '[Network]\nAddress=203.0.113.77/24\n',
      [`${ETC}07-eth0.network`]: file('Name=eth0'),
    },
    before: BEFORE,
  },
  {
    what: 'second addresses of the file and of its drop-ins are gone',
    files: {
      [`${ETC}07-eth0.network`]: `${file('Name=eth0')}\n[Address]\nAddress=203.0.113.12/24\nLabel=eth0:1\n`,
      [`${ETC}07-eth0.network.d/more.conf`]: '[Network]\nAddress=203.0.113.13/24\n',
    },
    before: { eth0: [RIVAL, '203.0.113.12/24', '203.0.113.13/24'] },
  },
  {
    what: 'a port of a bridge is refused, and the answer names the bridge',
    files: {
      ...BRIDGE,
      [`${LIB}10-port.network`]: file('Name=eth*', 'Bridge=br0'),
    },
    before: { br0: ['203.0.113.10/24'] },
    refuses: ['eth0 is part of br0', 'eth1 is part of br0'],
  },
  {
    what: 'a port of a bridge after the next boot is refused, and the answer names the bridge and the file',
    files: BRIDGE,
    before: { br0: ['203.0.113.10/24'] },
    later: fileIn('/usr/lib/systemd/network/10-port.network', file('Name=eth*\nDriver=!tun', 'Bridge=br0')),
    refuses: ['port of br0', '/usr/lib/systemd/network/10-port.network'],
    isShort: true,
  },
];

boots(stackNamed('systemd-networkd'), KINDS);
