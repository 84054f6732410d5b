/**
 * What nova, xapi and Ansible publish for a guest with eth0 and eth1, a line or a few for each kind, and what the kernel is
 * to show then. Beside those of test/network/inputs, which every renderer has golden files for.
 */
import { dottedMask } from '../../ts/network/address.js';
import type { Described } from '../network/describe.js';
import { type Input, inputNames, readInput } from '../network/inputs.js';
import { ETH0, ETH1 } from './namespace.js';

export interface HostNetwork extends Input {
  /** Some records cannot be used: what the answer says of them. */
  readonly unusable?: string;
  /** The devices of these records: they keep what they have. */
  readonly leftAlone?: readonly string[];
}

/** `203.0.113.10/24` as nova writes it: IPv4 with a dotted mask, IPv6 with the length of its prefix. */
function ip(text: string, more: object = {}): object {
  return { ip: text.split('/')[0], netmask: maskOf(text), enabled: '1', gateway: null, ...more };
}

function route(to: string, gateway: string | null, more: object = {}): object {
  return { route: to.split('/')[0], netmask: maskOf(to), gateway, ...more };
}

function maskOf(text: string): string | number {
  const prefix = Number(text.split('/')[1]);
  return text.includes(':') ? prefix : dottedMask(prefix);
}

/** Records as nova names them, by the MAC. */
function eth0(record: object): Record<string, object> {
  return { '525400AA0001': { label: 'public', mac: ETH0.toUpperCase(), ...record } };
}

function eth1(record: object): Record<string, object> {
  return { '525400AA0002': { label: 'private', mac: ETH1.toUpperCase(), ...record } };
}

/** Addresses in one text. */
function shows(addresses: string, ...routes: readonly string[]): Described {
  return { addresses: addresses.split(' '), routes };
}

/** Beside a record that cannot be used. No other entry has its address, which a device that is left alone would keep. */
const GOOD_ADDRESS = '192.0.2.77/26';
const GOOD = { gateway: '192.0.2.65', ips: [ip(GOOD_ADDRESS)] };
const GOOD_SHOWN = shows(GOOD_ADDRESS, 'default via 192.0.2.65');

const MORE: readonly HostNetwork[] = [
  // Addresses.
  {
    what: 'IPv4 leads out by the first interface, IPv6 by the second.',
    networking: {
      ...eth0({ gateway: '203.0.113.1', ips: [ip('203.0.113.20/24')], ip6s: [ip('2001:db8:20::20/64')] }),
      ...eth1({ gateway_v6: '2001:db8:21::1', ips: [ip('10.20.0.4/16')], ip6s: [ip('2001:db8:21::20/64')] }),
    },
    wanted: {
      eth0: shows('203.0.113.20/24 2001:db8:20::20/64', 'default via 203.0.113.1'),
      eth1: shows('10.20.0.4/16 2001:db8:21::20/64', 'default via 2001:db8:21::1'),
    },
  },
  {
    what: 'IPv6 alone on both interfaces; the public one is the second.',
    networking: {
      ...eth0({ label: 'storage', gateway_v6: 'fe80::1', ip6s: [ip('fd12:3456:789a:1::4/64')] }),
      ...eth1({ label: 'public', gateway_v6: 'fe80::1', ip6s: [ip('2001:db8:22::4/64')] }),
    },
    wanted: { eth0: shows('fd12:3456:789a:1::4/64'), eth1: shows('2001:db8:22::4/64', 'default via fe80::1') },
  },
  {
    what: 'IPv6 alone on the first interface, IPv4 alone on the second.',
    networking: {
      ...eth0({ gateway_v6: '2001:db8:23::1', ip6s: [ip('2001:db8:23::4/64')], ips: [] }),
      ...eth1({ gateway: '100.64.0.1', ips: [ip('100.64.12.4/10')], ip6s: null }),
    },
    wanted: {
      eth0: shows('2001:db8:23::4/64', 'default via 2001:db8:23::1'),
      eth1: shows('100.64.12.4/10', 'default via 100.64.0.1'),
    },
  },
  {
    what: 'Of the second interface alone.',
    networking: eth1({ gateway: '10.24.0.1', ips: [ip('10.24.3.4/17')], dns: ['10.24.0.2'] }),
    wanted: { eth1: shows('10.24.3.4/17', 'default via 10.24.0.1') },
  },
  {
    what: 'Two subnets of each family on one interface, each address with the gateway of its subnet.',
    networking: eth0({
      gateway: '203.0.113.1',
      gateway_v6: '2001:db8:25::1',
      broadcast: '203.0.113.127',
      ips: [ip('203.0.113.25/25', { gateway: '203.0.113.1' }), ip('198.51.100.25/25', { gateway: '198.51.100.1' })],
      ip6s: [ip('2001:db8:25::4/64', { gateway: '2001:db8:25::1' }), ip('2001:db8:26::4/64', { gateway: 'fe80::1' })],
      dns: ['192.0.2.53', '192.0.2.54', '2001:db8:53::53'],
    }),
    wanted: {
      eth0: shows(
        '203.0.113.25/25 198.51.100.25/25 2001:db8:25::4/64 2001:db8:26::4/64',
        'default via 203.0.113.1',
        'default via 2001:db8:25::1',
      ),
    },
  },
  {
    what: 'A dozen addresses of each family.',
    networking: eth0({
      gateway: '203.0.113.1',
      ips: dozen((number) => ip(`203.0.113.${50 + number}/24`)),
      ip6s: dozen((number) => ip(`2001:db8:27::${50 + number}/64`)),
    }),
    wanted: {
      eth0: shows(
        [
          ...dozen((number) => `203.0.113.${50 + number}/24`),
          ...dozen((number) => `2001:db8:27::${50 + number}/64`),
        ].join(' '),
        'default via 203.0.113.1',
      ),
    },
  },
  {
    what: 'Networks inside one another, and an alias of /32 inside the subnet.',
    networking: eth0({
      gateway: '10.1.2.1',
      ips: ['10.1.2.5/24', '10.1.7.5/16', '10.9.7.5/8', '10.1.2.99/32'].map((text) => ip(text)),
    }),
    wanted: { eth0: shows('10.1.2.5/24 10.1.7.5/16 10.9.7.5/8 10.1.2.99/32', 'default via 10.1.2.1') },
  },
  {
    what: 'The primary address is a /32 of another network than the gateway.',
    networking: eth0({ gateway: '198.51.100.1', ips: [ip('203.0.113.29/32'), ip('198.51.100.29/24')] }),
    wanted: { eth0: shows('203.0.113.29/32 198.51.100.29/24', 'default via 198.51.100.1') },
  },
  {
    what: 'Both interfaces in one subnet of each family.',
    networking: {
      ...eth0({ gateway: '203.0.113.1', ips: [ip('203.0.113.30/24')], ip6s: [ip('2001:db8:30::30/64')] }),
      ...eth1({ ips: [ip('203.0.113.31/24')], ip6s: [ip('2001:db8:30::31/64')] }),
    },
    wanted: {
      eth0: shows('203.0.113.30/24 2001:db8:30::30/64', 'default via 203.0.113.1'),
      eth1: shows('203.0.113.31/24 2001:db8:30::31/64'),
    },
  },
  {
    what: 'A /30 on both interfaces, each with the other end as its gateway; none is public, so the first leads out.',
    networking: {
      ...eth0({ label: 'transfer1', gateway: '192.0.2.33', ips: [ip('192.0.2.34/30')] }),
      ...eth1({ label: 'transfer2', gateway: '192.0.2.37', ips: [ip('192.0.2.38/30')] }),
    },
    wanted: { eth0: shows('192.0.2.34/30', 'default via 192.0.2.33'), eth1: shows('192.0.2.38/30') },
  },
  {
    what: 'A /31 and a /127 on the second interface, with routes by the other end.',
    networking: {
      ...eth0({ gateway: '203.0.113.1', ips: [ip('203.0.113.32/24')], broadcast: '203.0.113.255' }),
      ...eth1({
        broadcast: 'None',
        ips: [ip('10.32.0.1/31')],
        ip6s: [ip('2001:db8:32::/127')],
        routes: [route('10.33.0.0/16', '10.32.0.0'), route('2001:db8:3300::/40', '2001:db8:32::1')],
      }),
    },
    wanted: {
      eth0: shows('203.0.113.32/24', 'default via 203.0.113.1'),
      eth1: shows(
        '10.32.0.1/31 2001:db8:32::/127',
        '10.33.0.0/16 via 10.32.0.0',
        '2001:db8:3300::/40 via 2001:db8:32::1',
      ),
    },
  },
  {
    what: 'A /32 and a /128 without any gateway.',
    networking: eth0({ broadcast: 'None', ips: [ip('203.0.113.33/32')], ip6s: [ip('2001:db8:33::1/128')] }),
    wanted: { eth0: shows('203.0.113.33/32 2001:db8:33::1/128') },
  },
  {
    what: 'A /128 behind a link-local gateway.',
    networking: eth0({ gateway_v6: 'fe80::1', ip6s: [ip('2001:db8:34::1/128')] }),
    wanted: { eth0: shows('2001:db8:34::1/128', 'default via fe80::1') },
  },
  {
    what: 'Prefixes of odd lengths.',
    networking: eth0({
      gateway: '10.127.255.254',
      gateway_v6: '2001:db8:35::3',
      ips: [ip('10.100.0.1/9'), ip('198.51.100.201/29'), ip('172.20.3.255/21')],
      ip6s: [ip('2001:db8:35::2/126'), ip('2001:db8:3500:ff80::1/57'), ip('2001:db8:36:0:8000::1/65')],
    }),
    wanted: {
      eth0: shows(
        '10.100.0.1/9 198.51.100.201/29 172.20.3.255/21 2001:db8:35::2/126 2001:db8:3500:ff80::1/57 2001:db8:36:0:8000::1/65',
        'default via 10.127.255.254',
        'default via 2001:db8:35::3',
      ),
    },
  },
  {
    what: 'IPv6 in capitals and at length, an address twice, a mask of IPv6, numbers as texts.',
    networking: eth0({
      gateway: '203.0.113.1',
      gateway_v6: 'FE80:0:0:0:0:0:0:1',
      ips: [ip('203.0.113.36/24', { netmask: '24' }), ip('203.0.113.36/32')],
      ip6s: [
        ip('2001:0DB8:0036:0000:0000:0000:0000:0004/64', { netmask: '64' }),
        { address: '2001:db8:37::4', netmask: 'ffff:ffff:ffff::' },
      ],
      routes: [route('10.36.0.0/16', '203.0.113.2', { netmask: '16', metric: '77' })],
      mtu: '1480',
    }),
    wanted: {
      eth0: {
        ...shows(
          '203.0.113.36/24 2001:db8:36::4/64 2001:db8:37::4/48',
          'default via 203.0.113.1',
          'default via fe80::1',
          '10.36.0.0/16 via 203.0.113.2 metric 77',
        ),
        mtu: 1480,
      },
    },
  },

  // Gateways.
  {
    what: 'Both interfaces have link-local gateways of the same name, by the older key.',
    networking: {
      ...eth0({ gateway6: 'fe80::1', ip6s: [ip('2001:db8:40::4/64')] }),
      ...eth1({ gateway6: 'fe80::1', ip6s: [ip('2001:db8:41::4/64')] }),
    },
    wanted: { eth0: shows('2001:db8:40::4/64', 'default via fe80::1'), eth1: shows('2001:db8:41::4/64') },
  },
  {
    what: 'Gateways beside the addresses alone, on both; the second is PUBLIC.',
    networking: {
      ...eth0({ label: 'lan', ips: [ip('10.42.0.4/24', { gateway: '10.42.0.1' })] }),
      ...eth1({ label: 'PUBLIC', ips: [ip('203.0.113.42/24', { gateway: '203.0.113.1' })] }),
    },
    wanted: { eth0: shows('10.42.0.4/24'), eth1: shows('203.0.113.42/24', 'default via 203.0.113.1') },
  },
  {
    what: 'The second interface leads out by gateways outside of its subnets; the first has none.',
    networking: {
      ...eth0({ label: 'backup', gateway: '', ips: [ip('10.43.0.4/16')], dns: [], routes: [] }),
      ...eth1({
        gateway: '10.255.255.1',
        gateway_v6: '2001:db8:ffff::1',
        ips: [ip('203.0.113.43/32')],
        ip6s: [ip('2001:db8:43::4/64')],
        routes: [route('10.44.0.0/16', '10.255.255.1'), route('10.45.0.0/16', '10.255.255.2')],
      }),
    },
    wanted: {
      eth0: shows('10.43.0.4/16'),
      eth1: shows(
        '203.0.113.43/32 2001:db8:43::4/64',
        'default via 10.255.255.1',
        'default via 2001:db8:ffff::1',
        '10.44.0.0/16 via 10.255.255.1',
        '10.45.0.0/16 via 10.255.255.2',
      ),
    },
  },

  // Routes.
  {
    what: 'The routes of a cloud: to its metadata, and to its service network on the second interface.',
    networking: {
      ...eth0({
        gateway: '203.0.113.1',
        ips: [ip('203.0.113.50/24')],
        routes: [route('169.254.169.254/32', '203.0.113.2')],
      }),
      ...eth1({
        ips: [ip('10.181.3.4/17')],
        routes: [route('10.208.0.0/12', '10.181.0.1'), route('10.191.192.0/18', '10.181.0.1')],
        dns: ['10.181.0.2', '10.181.0.3'],
      }),
    },
    wanted: {
      eth0: shows('203.0.113.50/24', 'default via 203.0.113.1', '169.254.169.254/32 via 203.0.113.2'),
      eth1: shows('10.181.3.4/17', '10.208.0.0/12 via 10.181.0.1', '10.191.192.0/18 via 10.181.0.1'),
    },
  },
  {
    what: 'One network by both interfaces, told apart by metrics, of both families.',
    networking: {
      ...eth0({
        ips: [ip('10.51.0.4/24')],
        ip6s: [ip('2001:db8:51::4/64')],
        routes: [
          route('10.99.0.0/16', '10.51.0.1', { metric: 10 }),
          route('2001:db8:9900::/40', 'fe80::1', { metric: 10 }),
        ],
      }),
      ...eth1({
        ips: [ip('10.52.0.4/24')],
        ip6s: [ip('2001:db8:52::4/64')],
        routes: [
          route('10.99.0.0/16', '10.52.0.1', { metric: 20 }),
          route('2001:db8:9900::/40', '2001:db8:52::1', { metric: '2147483647' }),
        ],
      }),
    },
    wanted: {
      eth0: shows(
        '10.51.0.4/24 2001:db8:51::4/64',
        '10.99.0.0/16 via 10.51.0.1 metric 10',
        '2001:db8:9900::/40 via fe80::1 metric 10',
      ),
      eth1: shows(
        '10.52.0.4/24 2001:db8:52::4/64',
        '10.99.0.0/16 via 10.52.0.1 metric 20',
        '2001:db8:9900::/40 via 2001:db8:52::1 metric 2147483647',
      ),
    },
  },
  {
    what: 'Routes inside one another, one that both subnets name, one of a family without addresses.',
    networking: eth0({
      gateway: '203.0.113.1',
      ips: [ip('203.0.113.53/25'), ip('203.0.113.153/25')],
      routes: [
        route('10.0.0.0/8', '203.0.113.2'),
        route('10.53.0.0/16', '203.0.113.3'),
        route('10.53.1.1/32', '203.0.113.130'),
        route('10.0.0.0/8', '203.0.113.2'),
        route('2001:db8:53::/48', '2001:db8::1'),
      ],
    }),
    wanted: {
      eth0: shows(
        '203.0.113.53/25 203.0.113.153/25',
        'default via 203.0.113.1',
        '10.0.0.0/8 via 203.0.113.2',
        '10.53.0.0/16 via 203.0.113.3',
        '10.53.1.1/32 via 203.0.113.130',
      ),
    },
  },
  {
    what: 'Networks of both families on the link, with metrics and without, and a metric of 0.',
    networking: eth1({
      ips: [ip('10.54.0.4/24')],
      ip6s: [ip('2001:db8:54::4/64')],
      routes: [
        route('198.51.100.0/24', null, { metric: 300 }),
        route('192.0.2.0/24', ''),
        route('2001:db8:5400::/40', null),
        route('10.55.0.0/16', '10.54.0.1', { metric: 0 }),
      ],
    }),
    wanted: {
      eth1: shows(
        '10.54.0.4/24 2001:db8:54::4/64',
        '198.51.100.0/24 metric 300',
        '192.0.2.0/24',
        '2001:db8:5400::/40',
        '10.55.0.0/16 via 10.54.0.1',
      ),
    },
  },
  {
    what: 'Default routes of both families as routes of the second interface, beside a gateway of the first, public one.',
    networking: {
      ...eth0({ gateway: '203.0.113.1', ips: [ip('203.0.113.56/24')] }),
      ...eth1({
        ips: [ip('10.56.0.4/24')],
        ip6s: [ip('2001:db8:56::4/64')],
        routes: [route('0.0.0.0/0', '10.56.0.1'), route('::/0', '2001:db8:56::1'), route('10.0.0.0/8', '10.56.0.1')],
      }),
    },
    wanted: {
      eth0: shows('203.0.113.56/24', 'default via 203.0.113.1'),
      eth1: shows('10.56.0.4/24 2001:db8:56::4/64', 'default via 2001:db8:56::1', '10.0.0.0/8 via 10.56.0.1'),
    },
  },

  // MTU.
  {
    what: 'Jumbo frames on the second interface, the least of IPv6 on the first.',
    networking: {
      ...eth0({ mtu: 1280, gateway_v6: 'fe80::1', ips: [ip('203.0.113.60/24')], ip6s: [ip('2001:db8:60::4/64')] }),
      ...eth1({ mtu: 9216, ips: [ip('10.60.0.4/24')] }),
    },
    wanted: {
      eth0: { ...shows('203.0.113.60/24 2001:db8:60::4/64', 'default via fe80::1'), mtu: 1280 },
      eth1: { ...shows('10.60.0.4/24'), mtu: 9216 },
    },
  },
  {
    what: 'An MTU too small for IPv6, on an interface without; the largest on the other.',
    networking: {
      ...eth0({ mtu: '576', gateway: '203.0.113.1', ips: [ip('203.0.113.61/24')] }),
      ...eth1({ mtu: 65535, ips: [ip('10.61.0.4/24')], ip6s: [ip('2001:db8:61::4/64')] }),
    },
    wanted: {
      eth0: { ...shows('203.0.113.61/24', 'default via 203.0.113.1'), mtu: 576 },
      eth1: { ...shows('10.61.0.4/24 2001:db8:61::4/64'), mtu: 65535 },
    },
  },

  // Switched off.
  {
    what: 'Addresses switched on and off in every way that a host writes it.',
    networking: eth0({
      gateway: '203.0.113.1',
      ips: ['0', 0, false, '1', 1, true].map((enabled, index) => ip(`203.0.113.${70 + index}/24`, { enabled })),
      ip6s: ['1', '0', 0, false].map((enabled, index) => ip(`2001:db8:70::${index + 1}/64`, { enabled })),
    }),
    wanted: {
      eth0: shows('203.0.113.73/24 203.0.113.74/24 203.0.113.75/24 2001:db8:70::1/64', 'default via 203.0.113.1'),
    },
  },
  {
    what: 'All of IPv4 is switched off, and its gateway and routes with it.',
    networking: eth0({
      gateway: '203.0.113.1',
      gateway_v6: '2001:db8:71::1',
      ips: [ip('203.0.113.76/24', { enabled: '0' })],
      ip6s: [ip('2001:db8:71::4/64')],
      routes: [route('10.71.0.0/16', '203.0.113.2'), route('2001:db8:7100::/40', '2001:db8:71::2')],
    }),
    wanted: {
      eth0: shows('2001:db8:71::4/64', 'default via 2001:db8:71::1', '2001:db8:7100::/40 via 2001:db8:71::2'),
    },
  },
  {
    what: 'The second interface is switched off.',
    networking: {
      ...eth0({ gateway: '203.0.113.1', ips: [ip('203.0.113.77/24')] }),
      ...eth1({ gateway: '10.72.0.1', ips: [ip('10.72.0.4/24', { enabled: '0' })] }),
    },
    wanted: { eth0: shows('203.0.113.77/24', 'default via 203.0.113.1') },
  },
  {
    what: 'The first interface is switched off, and the second leads out.',
    networking: {
      ...eth0({ gateway: '203.0.113.1', ips: [ip('203.0.113.78/24', { enabled: '0' })] }),
      ...eth1({ gateway: '10.73.0.1', ips: [ip('10.73.0.4/24')], ip6s: [ip('2001:db8:73::4/64')] }),
    },
    wanted: { eth1: shows('10.73.0.4/24 2001:db8:73::4/64', 'default via 10.73.0.1') },
  },

  // Names.
  {
    what: 'MACs with hyphens and without anything, below the UUIDs of the VIFs.',
    networking: {
      '6cf1b3c5-7f4b-4c0e-9a47-2d0f6f7c1f10': {
        mac: '52-54-00-aa-00-01',
        label: null,
        gateway: '203.0.113.1',
        ips: [ip('203.0.113.80/24')],
      },
      '0b7ac7ae-9c1c-4f43-8d8c-7a5d2f3f7f11': { mac: '525400AA0002', ips: [ip('10.80.0.4/24')] },
    },
    hostname: 'db80',
    wanted: { eth0: shows('203.0.113.80/24', 'default via 203.0.113.1'), eth1: shows('10.80.0.4/24') },
  },
  {
    what: 'A host name in capitals with its domain, and name servers of both families on both interfaces.',
    networking: {
      ...eth0({
        gateway: '203.0.113.1',
        ips: [ip('203.0.113.81/24')],
        dns: ['2001:db8:53::1', '192.0.2.1', '192.0.2.2'],
      }),
      ...eth1({ ips: [ip('10.81.0.4/24')], dns: ['192.0.2.3', '192.0.2.1', '2001:db8:53::2'] }),
    },
    hostname: 'WEB-81.Example.ORG',
    wanted: { eth0: shows('203.0.113.81/24', 'default via 203.0.113.1'), eth1: shows('10.81.0.4/24') },
  },
  {
    what: 'A host name of the longest label, and name servers of IPv6 alone.',
    networking: eth0({ gateway_v6: 'fe80::1', ip6s: [ip('2001:db8:82::4/64')], dns: ['2001:db8:53::3', 'fd00::53'] }),
    hostname: `x${'-82'.repeat(20)}xx`,
    wanted: { eth0: shows('2001:db8:82::4/64', 'default via fe80::1') },
  },
  {
    what: 'Labels with what specifiers, sections, keys and continued lines are made of.',
    networking: {
      ...eth0({
        label: '%H %i 100%\n[Match]\r\nName=*; # \u2028net\\',
        gateway: '203.0.113.1',
        ips: [ip('203.0.113.83/24')],
      }),
      ...eth1({ label: `${'ä漢😀'.repeat(80)}\\`, ips: [ip('10.83.0.4/24')] }),
    },
    wanted: { eth0: shows('203.0.113.83/24', 'default via 203.0.113.1'), eth1: shows('10.83.0.4/24') },
  },
  {
    what: 'Keys that nobody knows, and labels that are no texts.',
    networking: {
      ...eth0({
        label: 84,
        gateway: '203.0.113.1',
        broadcast: '203.0.113.84',
        ips: [ip('203.0.113.84/24', { broadcast: '203.0.113.63', meta: { floating: [] } })],
        vlan: 84,
        dhcp_server: '203.0.113.2',
      }),
      ...eth1({ label: ['a'], ips: [ip('10.84.0.4/24')], routes: null, dns: null, mtu: null }),
    },
    wanted: { eth0: shows('203.0.113.84/24', 'default via 203.0.113.1'), eth1: shows('10.84.0.4/24') },
  },

  // As Ansible writes them.
  {
    what: 'Ansible: both families of two interfaces, the second with the label public.',
    networks: {
      '0': {
        name: 'storage',
        mac: ETH0,
        type: 'static',
        ip: '10.90.0.4',
        prefix: '16',
        gateway: '10.90.0.1',
        type6: 'none',
      },
      '1': {
        name: 'public',
        mac: ETH1.toUpperCase(),
        type: 'static',
        ip: '203.0.113.90',
        netmask: '255.255.255.0',
        gateway: '203.0.113.1',
        type6: 'static',
        ip6: '2001:db8:90::4',
        prefix6: '64',
        gateway6: 'fe80::1',
      },
    },
    hostname: 'ansible-90',
    wanted: {
      eth0: shows('10.90.0.4/16'),
      eth1: shows('203.0.113.90/24 2001:db8:90::4/64', 'default via 203.0.113.1', 'default via fe80::1'),
    },
  },
  {
    what: 'Ansible: no types, prefixes at the addresses, line ends behind the values, an MTU.',
    networks: {
      '0': {
        mac: `${ETH0}\n`,
        ip: '203.0.113.91/25\n',
        gateway: '203.0.113.1\n',
        ip6: '2001:db8:91::4/56\n',
        gateway6: '\n',
        mtu: '1400\n',
      },
    },
    wanted: { eth0: { ...shows('203.0.113.91/25 2001:db8:91::4/56', 'default via 203.0.113.1'), mtu: 1400 } },
  },
  {
    what: 'Ansible: IPv6 alone, in capitals; the other interface is left to the guest.',
    networks: {
      '0': {
        name: 'six',
        mac: ETH0,
        type: 'NONE',
        type6: 'Static',
        ip6: '2001:DB8:92::4',
        prefix6: '64',
        gateway6: 'FE80::1',
      },
      '1': { name: 'own', mac: ETH1, type: 'none', type6: 'none' },
    },
    wanted: { eth0: shows('2001:db8:92::4/64', 'default via fe80::1') },
  },
  {
    what: 'nova speaks of the first interface, Ansible of both: nova counts where it speaks.',
    networking: eth0({ gateway: '203.0.113.1', ips: [ip('203.0.113.93/24')] }),
    networks: {
      '0': { mac: ETH0, type: 'static', ip: '203.0.113.94', prefix: '24', gateway: '203.0.113.254' },
      '1': { mac: ETH1, type: 'static', ip: '10.93.0.4', prefix: '24', gateway: '10.93.0.1', type6: 'none' },
    },
    wanted: { eth0: shows('203.0.113.93/24', 'default via 203.0.113.1'), eth1: shows('10.93.0.4/24') },
  },

  // One of the records cannot be used.
  {
    what: 'A mask with a hole for the second interface.',
    networking: { ...eth0(GOOD), ...eth1({ ips: [ip('10.100.0.4/24', { netmask: '255.0.255.0' })] }) },
    unusable: "525400AA0002: 'netmask': expected a mask of IPv4 or a prefix length, got '255.0.255.0'",
    leftAlone: ['eth1'],
    wanted: { eth0: GOOD_SHOWN },
  },
  {
    what: 'Quotes in the label of the second interface that lost their escapes.',
    networking: { ...eth0(GOOD), '525400AA0002': `{"label": "my "own" net", "mac": "${ETH1}", "ips": []}` },
    unusable: '525400AA0002: not JSON',
    leftAlone: ['eth1'],
    wanted: { eth0: GOOD_SHOWN },
  },
  {
    what: 'The address of the network itself for the second interface, from Ansible.',
    networking: eth0(GOOD),
    networks: { '1': { mac: ETH1, type: 'static', ip: '10.101.0.0', prefix: '24', type6: 'none' } },
    unusable: "networks/1: 10.101.0.0/24 is the network's own address",
    leftAlone: ['eth1'],
    wanted: { eth0: GOOD_SHOWN },
  },
  {
    what: 'The second interface is to have the address of the first.',
    networking: { ...eth0(GOOD), ...eth1({ ips: [ip(GOOD_ADDRESS)] }) },
    unusable: `525400AA0002: 192.0.2.77 belongs to ${ETH0} already`,
    leftAlone: ['eth1'],
    wanted: { eth0: GOOD_SHOWN },
  },
  {
    what: 'No addresses at all for the first interface; the second would lead out.',
    networking: {
      ...eth0({ gateway: '203.0.113.1' }),
      ...eth1({ gateway: '192.0.2.129', ips: [ip('192.0.2.144/26')] }),
    },
    unusable: "525400AA0001: No IPs found for interface: expected 'ips' or 'ip6s'",
    leftAlone: ['eth0'],
    wanted: { eth1: shows('192.0.2.144/26', 'default via 192.0.2.129') },
  },
  {
    what: 'The same record twice.',
    networking: { ...eth0(GOOD), copy: Object.values(eth0(GOOD))[0] },
    unusable: `copy: a second record for ${ETH0}`,
    wanted: { eth0: GOOD_SHOWN },
  },
  {
    what: 'A record of an interface that is not there.',
    networking: { ...eth0(GOOD), '525400AA0003': { mac: '52:54:00:AA:00:03', ips: [ip('10.103.0.4/24')] } },
    unusable: '525400AA0003: Unknown interface MAC 52:54:00:aa:00:03',
    wanted: { eth0: GOOD_SHOWN },
  },
];

function dozen<T>(make: (number: number) => T): readonly T[] {
  return Array.from({ length: 12 }, (_, index) => make(index));
}

export const NETWORKS_OF_HOSTS: readonly HostNetwork[] = [...inputNames().map(readInput), ...MORE];
