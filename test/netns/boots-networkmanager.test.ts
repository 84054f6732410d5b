/** Which profile the real NetworkManager takes at a boot, and what stands on the device afterwards. */
import { type Kind, ONE_DEVICE, boots, fileIn } from './boots.js';
import { stackNamed } from './stacks.js';

const ETC = '/etc/NetworkManager/system-connections/';
const LIB = '/usr/lib/NetworkManager/system-connections/';
/** Of the stack's own profile, `wired`. */
const UUID = '11111111-2222-4333-8444-555555555555';
const RIVAL = '203.0.113.9/24';
const BEFORE = { eth0: [RIVAL] };
const MV0 = { mv0: ['198.51.100.90/24'] };

interface Profile {
  readonly uuid?: string;
  readonly type?: string;
  /** Of `[connection]`. */
  readonly connection?: readonly string[];
  /** Sections of other names. */
  readonly more?: readonly string[];
  readonly addresses?: readonly string[];
}

function profile(id: string, { uuid = `11111111-2222-4333-8444-${id.padEnd(12, '0')}`, ...rest }: Profile): string {
  const { type = 'ethernet', connection = [], more = [], addresses = [RIVAL] } = rest;
  const ipv4 = addresses.map((address, index) => `address${index + 1}=${address}`);
  return [
    ...['[connection]', `id=${id}`, `uuid=${uuid}`, `type=${type}`, ...connection],
    ...['', ...more, '', '[ipv4]', `method=${addresses.length > 0 ? 'manual' : 'disabled'}`, ...ipv4],
    ...['', '[ipv6]', 'method=disabled', ''],
  ].join('\n');
}

const WIRED = {
  [`${ETC}wired.nmconnection`]: profile('wired', { uuid: UUID, connection: ['interface-name=eth0'] }),
};
/** Its parent is what `below` says. */
function macvlan(below: string): Readonly<Record<string, string>> {
  return {
    [`${ETC}mv0.nmconnection`]: profile('abc0', {
      type: 'macvlan',
      connection: ['interface-name=mv0'],
      more: ['[macvlan]', 'mode=2', `parent=${below}`],
      addresses: MV0.mv0,
    }),
  };
}

const KINDS: readonly Kind[] = [
  {
    what: 'a macvlan whose parent is given by the UUID of the profile that eth0 had comes up as before',
    files: { ...WIRED, ...macvlan(UUID) },
    before: { ...BEFORE, ...MV0 },
    others: MV0,
    isShort: true,
  },
  {
    what: 'a macvlan whose parent is given by the name of the device comes up as before',
    files: { ...WIRED, ...macvlan('eth0') },
    before: { ...BEFORE, ...MV0 },
    others: MV0,
  },
  {
    what: 'a profile of any device with a higher priority than ours has had does not get eth0',
    files: {
      ...WIRED,
      [`${ETC}any.nmconnection`]: profile('abc1', {
        connection: ['autoconnect-priority=500', 'multi-connect=3'],
        addresses: ['198.51.100.91/24'],
      }),
    },
    before: { eth0: ['198.51.100.91/24'], eth1: ['198.51.100.91/24'] },
    isShort: true,
  },
  {
    what: 'a profile of the distribution, with a match instead of a name, does not get eth0',
    files: {
      ...WIRED,
      [`${LIB}match.nmconnection`]: profile('abc2', {
        connection: ['autoconnect-priority=200'],
        more: ['[match]', 'interface-name=eth*;!eth1;'],
        addresses: ['198.51.100.92/24'],
      }),
    },
    before: { eth0: ['198.51.100.92/24'] },
  },
  {
    what: 'of one UUID the profile in /run counts, and does not get eth0',
    files: WIRED,
    boot: `umask 077\n${fileIn(
      '/run/NetworkManager/system-connections/wired.nmconnection',
      profile('wired', { uuid: UUID, connection: ['interface-name=eth0'], addresses: ['203.0.113.8/24'] }),
    )}`,
    before: { eth0: ['203.0.113.8/24'] },
  },
  {
    what: 'a profile for the MAC of eth0, and one that leaves out that of eth1, do not get eth0',
    files: {
      [`${ETC}wired.nmconnection`]: profile('wired', {
        uuid: UUID,
        more: ['[ethernet]', 'mac-address=52:54:00:AA:00:01'],
      }),
      [`${ETC}not-eth1.nmconnection`]: profile('abc3', {
        connection: ['autoconnect-priority=-5'],
        more: ['[ethernet]', 'mac-address-blacklist=52:54:00:AA:00:02;'],
        addresses: ['203.0.113.8/24'],
      }),
    },
    before: BEFORE,
  },
  {
    what: 'second addresses of the old profile are gone, and the profile of another device stays',
    files: {
      [`${ETC}wired.nmconnection`]: profile('wired', {
        uuid: UUID,
        connection: ['interface-name=eth0'],
        addresses: [RIVAL, '203.0.113.11/24'],
      }),
      [`${ETC}other.nmconnection`]: profile('abc4', {
        connection: ['interface-name=eth1'],
        addresses: ['198.51.100.10/24'],
      }),
    },
    before: { eth0: [RIVAL, '203.0.113.11/24'], eth1: ['198.51.100.10/24'] },
    others: { eth1: ['198.51.100.10/24'] },
    input: ONE_DEVICE,
  },
  {
    what: 'a device that a file of the distribution takes from NetworkManager is refused, and the answer names the file',
    files: {
      [`${ETC}wired.nmconnection`]: profile('wired', { uuid: UUID, connection: ['interface-name=eth0'] }),
      '/usr/lib/NetworkManager/conf.d/20-image.conf':
        '[keyfile]\nunmanaged-devices=interface-name:eth*,except:interface-name:eth1\n',
    },
    before: {},
    refuses: ['eth0', '/usr/lib/NetworkManager/conf.d/20-image.conf'],
  },
  {
    what: "a device that interfaces(5) defines stays unmanaged by Debian's plugin, also without ifupdown, and is refused",
    files: {
      ...WIRED,
      '/etc/NetworkManager/NetworkManager.conf': '[main]\nplugins=ifupdown,keyfile\n\n[ifupdown]\nmanaged=false\n',
      '/etc/network/interfaces': 'auto lo\niface lo inet loopback\nallow-hotplug eth0\niface eth0 inet dhcp\n',
    },
    boot: 'rm -f /sbin/ifup /usr/sbin/ifup',
    before: {},
    refuses: ['eth0', '/etc/network/interfaces', 'line 4', 'managed=false'],
    isShort: true,
  },
  {
    what: 'networking that somebody has turned off is refused, and the answer names the file',
    files: { ...WIRED, '/var/lib/NetworkManager/NetworkManager.state': '[main]\nNetworkingEnabled=false\n' },
    boot: 'rm -f /sbin/ifup /usr/sbin/ifup',
    before: {},
    refuses: ['eth0', '/var/lib/NetworkManager/NetworkManager.state'],
  },
  {
    what: 'another table for routes and another MTU, the defaults of its configuration, do not reach our profile',
    files: {
      ...WIRED,
      '/etc/NetworkManager/conf.d/site.conf':
        '[connection]\nipv4.route-table=77\nipv6.route-table=77\nipv4.link-local=3\n\n' +
        '[connection-eth]\nmatch-device=interface-name:eth*\nethernet.mtu=1300\n',
    },
    before: BEFORE,
    isShort: true,
  },
  {
    what: 'a port of a bridge after the next boot is refused, and the answer names the bridge and the file',
    files: WIRED,
    before: BEFORE,
    later: [
      'umask 077',
      fileIn(
        `${ETC}br0.nmconnection`,
        profile('abc5', { type: 'bridge', connection: ['interface-name=br0'], more: ['[bridge]', 'stp=false'] }),
      ),
      fileIn(
        `${ETC}port.nmconnection`,
        profile('abc6', { connection: ['interface-name=eth0', 'master=br0', 'slave-type=bridge'] }),
      ),
    ].join('\n'),
    refuses: ['a port of br0', `${ETC}port.nmconnection`, 'it belongs on br0'],
  },
];

boots(stackNamed('NetworkManager'), KINDS);
