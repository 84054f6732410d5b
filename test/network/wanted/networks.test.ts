import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Nic } from '../../../ts/api/host.js';
import { type InterfaceConfig, unconfigured } from '../../../ts/network/plan.js';
import { type Wanted, readWanted } from '../../../ts/network/wanted/wanted.js';
import { ETH0, ETH1, publishedBy } from '../inputs.js';

type Values = Readonly<Record<string, string>>;

const { mac } = ETH0;
const STATIC: Values = { mac, type: 'static', ip: '192.0.2.4', prefix: '24' };
const STATIC6: Values = { mac, type6: 'static', ip6: '2001:db8::4/64' };

type Essence = Pick<Wanted, 'interfaces' | 'errors' | 'missing'>;

function essence({ interfaces, errors, missing }: Wanted): Essence {
  return { interfaces, errors, missing };
}

function read(networks: Readonly<Record<string, Values>>, nics: readonly Nic[] = [ETH0, ETH1]): Essence {
  return essence(readWanted(publishedBy({ networks }), nics));
}

const NOTHING = unconfigured(ETH0);
const IPV4 = [{ address: '192.0.2.4', prefix: 24 }];
const IPV6 = [{ address: '2001:db8::4', prefix: 64 }];

const ACCEPTED: readonly (readonly [what: string, values: Values, wanted: Partial<InterfaceConfig>])[] = [
  [
    'static addresses of both families',
    {
      ...STATIC,
      name: 'Pool-wide network',
      gateway: '192.0.2.1',
      type6: 'static',
      ip6: '2001:DB8::4',
      prefix6: '64',
      gateway6: 'fe80::1',
      mtu: '1400',
    },
    { label: 'Pool-wide network', ipv4: IPV4, gateway4: '192.0.2.1', ipv6: IPV6, gateway6: 'fe80::1', mtu: 1400 },
  ],
  ['an address that carries its prefix along', { mac, type: 'static', ip: '192.0.2.4/24' }, { ipv4: IPV4 }],
  [
    'the prefix beside an address, whatever the prefix key says',
    { ...STATIC, ip: '192.0.2.4/24', prefix: '8' },
    { ipv4: IPV4 },
  ],
  ['a netmask instead of a prefix', { mac, type: 'static', ip: '192.0.2.4', netmask: '255.255.255.0' }, { ipv4: IPV4 }],
  ['a prefix rather than a netmask', { ...STATIC, netmask: '255.0.0.0' }, { ipv4: IPV4 }],
  ['an IPv6 address that carries its prefix along', STATIC6, { ipv6: IPV6 }],
  [
    'no type beside an address, which is static',
    { mac, ip: '192.0.2.4/24', ip6: '2001:db8::4/64' },
    { ipv4: IPV4, ipv6: IPV6 },
  ],
  ['an empty type beside an address, which is static', { ...STATIC, type: '', type6: '' }, { ipv4: IPV4 }],
  ['a type in capitals, with a line feed after it', { ...STATIC, type: 'STATIC\n' }, { ipv4: IPV4 }],
  [
    'blanks around every value',
    { mac: ` ${mac} `, type: ' static', ip: ' 192.0.2.4\n', prefix: ' 24 ' },
    { ipv4: IPV4 },
  ],
  ['dhcp', { mac, type: 'dhcp' }, { dhcp4: true }],
  ['dhcp, with static values left over', { ...STATIC, type: 'dhcp', gateway: '192.0.2.1' }, { dhcp4: true }],
  ['dhcp of IPv6', { mac, type: 'none', type6: 'dhcp' }, { auto6: 'dhcp' }],
  ['autoconf', { mac, type: 'none', type6: 'autoconf' }, { auto6: 'ra' }],
  ['dhcp beside autoconf', { mac, type: 'dhcp', type6: 'autoconf' }, { dhcp4: true, auto6: 'ra' }],
  ['none of IPv6 beside a static address', { ...STATIC, type6: 'none', gateway6: 'fe80::1' }, { ipv4: IPV4 }],
  ['none of IPv4 beside a static address of IPv6', { ...STATIC6, type: 'none', gateway: '192.0.2.1' }, { ipv6: IPV6 }],
  ['empty values, which are none', { ...STATIC, gateway: '', mtu: '', name: '', netmask: '' }, { ipv4: IPV4 }],
  ['an MTU of 68 without IPv6', { ...STATIC, mtu: '68' }, { ipv4: IPV4, mtu: 68 }],
  ['an MTU of 1280 with IPv6', { ...STATIC6, mtu: '1280' }, { ipv6: IPV6, mtu: 1280 }],
  ['keys that nobody knows', { ...STATIC, colour: 'blue' }, { ipv4: IPV4 }],
];

const REFUSED: readonly (readonly [what: string, values: Values, message: string])[] = [
  ['no MAC', { type: 'dhcp' }, 'No MAC found in config'],
  ['a MAC that is none', { mac: 'eth0', type: 'dhcp' }, "'mac': expected six pairs of hex digits, got 'eth0'"],
  ['a MAC of no device', { mac: '52:54:00:00:00:00', type: 'dhcp' }, 'Unknown interface MAC 52:54:00:00:00:00'],
  ['an unknown type', { mac, type: 'bootp' }, "'type': expected none, static, dhcp, got 'bootp'"],
  ['autoconf of IPv4', { mac, type: 'autoconf' }, "'type': expected none, static, dhcp, got 'autoconf'"],
  ['an unknown type of IPv6', { mac, type6: 'slaac' }, "'type6': expected none, static, dhcp, autoconf, got 'slaac'"],
  ['a static type without address', { mac, type: 'static' }, "Missing 'ip' key for a static address"],
  ['a static type with an empty address', { mac, type: 'static', ip: '' }, "Missing 'ip' key for a static address"],
  ['a static type of IPv6 without address', { mac, type6: 'static' }, "Missing 'ip6' key for a static address"],
  ['an address without prefix', { mac, ip: '192.0.2.4' }, "Missing 'prefix' key for 192.0.2.4"],
  ['an address of IPv6 without prefix', { mac, ip6: '2001:db8::4' }, "Missing 'prefix6' key for 2001:db8::4"],
  ['an IPv6 address as ip', { mac, ip: '2001:db8::4/64' }, "'ip': expected an IPv4 address, got '2001:db8::4'"],
  ['an IPv4 address as ip6', { mac, ip6: '192.0.2.4/24' }, "'ip6': expected an IPv6 address, got '192.0.2.4'"],
  [
    'an address with a command behind it',
    { ...STATIC, ip: '192.0.2.4;reboot' },
    "'ip': expected an IPv4 address, got '192.0.2.4;reboot'",
  ],
  ['a multicast address', { ...STATIC, ip: '224.0.0.1' }, "'ip': expected an IPv4 address, got '224.0.0.1'"],
  [
    'a prefix that is too long',
    { ...STATIC, prefix: '33' },
    "'prefix': expected a mask of IPv4 or a prefix length, got '33'",
  ],
  [
    'such a prefix beside the address',
    { mac, ip: '192.0.2.4/33' },
    "'prefix': expected a mask of IPv4 or a prefix length, got '33'",
  ],
  [
    'a prefix of IPv6 that is too long',
    { ...STATIC6, ip6: '2001:db8::4/129' },
    "'prefix6': expected a mask of IPv6 or a prefix length, got '129'",
  ],
  ['a prefix of 0', { ...STATIC, prefix: '0' }, "'prefix': expected a mask other than 0, got '0' for 192.0.2.4"],
  [
    'a prefix of 0 of IPv6',
    { ...STATIC6, ip6: '2001:db8::4/0' },
    "'prefix6': expected a mask other than 0, got '0' for 2001:db8::4",
  ],
  ["the network's own address", { ...STATIC, ip: '192.0.2.0' }, "192.0.2.0/24 is the network's own address"],
  ['the broadcast address', { ...STATIC, ip: '192.0.2.255/24' }, '192.0.2.255/24 is the broadcast address'],
  [
    'a netmask with a hole',
    { mac, ip: '192.0.2.4', netmask: '255.0.255.0' },
    "'prefix': expected a mask of IPv4 or a prefix length, got '255.0.255.0'",
  ],
  [
    'a gateway that is no address',
    { ...STATIC, gateway: 'router' },
    "'gateway': expected an IPv4 address, got 'router'",
  ],
  [
    'a gateway of the other family',
    { ...STATIC6, gateway6: '192.0.2.1' },
    "'gateway6': expected an IPv6 address, got '192.0.2.1'",
  ],
  ['an MTU that is too small', { ...STATIC, mtu: '67' }, "'mtu': expected 68 to 65535 bytes, got '67'"],
  [
    'an MTU that is too small for IPv6',
    { mac, type6: 'autoconf', mtu: '1279' },
    "'mtu': expected 1280 to 65535 bytes, got '1279'",
  ],
  ['an MTU that is no number', { ...STATIC, mtu: '1500 bytes' }, "'mtu': expected 68 to 65535 bytes, got '1500 bytes'"],
  ['its own gateway', { ...STATIC, gateway: '192.0.2.4' }, '192.0.2.4 is its own gateway'],
  [
    'a gateway at an end of its network',
    { ...STATIC, gateway: '192.0.2.255' },
    '192.0.2.255 cannot be a gateway: it is the first or last address of 192.0.2.0/24',
  ],
];

suite('records of vm-data/networks', () => {
  for (const [what, values, wanted] of ACCEPTED) {
    test(`accepted: ${what}`, () => {
      const { interfaces, errors } = read({ 0: values });
      assert.deepEqual(errors, []);
      assert.deepEqual(interfaces, [{ ...NOTHING, ...wanted }]);
    });
  }

  for (const [what, values, message] of REFUSED) {
    test(`refused: ${what}`, () => {
      assert.deepEqual(
        { ...read({ 0: values }), missing: [] },
        { interfaces: [], errors: [`networks/0: ${message}`], missing: [] },
      );
    });
  }

  for (const values of [{ mac, type: 'none', type6: 'none' }, { mac }, { mac, type: 'none', ip: '192.0.2.4/24' }]) {
    test(`${JSON.stringify(values)} leaves the VIF alone`, () => {
      assert.deepEqual(read({ 0: values, 1: { mac: ETH1.mac, type: 'dhcp' } }), {
        interfaces: [{ ...NOTHING, nic: ETH1, dhcp4: true }],
        errors: [],
        missing: [],
      });
    });
  }

  test('a VIF that is left alone needs no device', () => {
    assert.deepEqual(read({ 0: { mac, type: 'none' } }, []), { interfaces: [], errors: [], missing: [] });
  });

  test('one bad record does not lose the good ones', () => {
    const { interfaces, errors } = read({ 0: { mac, type: 'bootp' }, 1: { mac: ETH1.mac, type: 'dhcp' } });
    assert.deepEqual(
      interfaces.map(({ nic }) => nic.name),
      ['eth1'],
    );
    assert.equal(errors.length, 1);
  });

  test('a record in vm-data/networking for the same MAC wins, without a word', () => {
    const networking = { A: { mac: mac.toUpperCase(), ips: [{ ip: '198.51.100.4', netmask: 24 }] } };
    const networks = { 0: { ...STATIC, type6: 'autoconf' }, 1: { mac: ETH1.mac, type: 'dhcp' } };
    assert.deepEqual(essence(readWanted(publishedBy({ networking, networks }), [ETH0, ETH1])), {
      interfaces: [
        { ...NOTHING, ipv4: [{ address: '198.51.100.4', prefix: 24 }] },
        { ...NOTHING, nic: ETH1, dhcp4: true },
      ],
      errors: [],
      missing: [],
    });
  });
});
