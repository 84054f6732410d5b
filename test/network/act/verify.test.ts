import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { LiveAddress, LiveRoute, Nic } from '../../../ts/api/host.js';
import type { InterfaceConfig } from '../../../ts/network/plan.js';
import { type KernelState, compare } from '../../../ts/network/act/verify.js';
import type { Mismatch } from '../../../ts/network/mismatch.js';
import { ETH0, ETH1 } from '../inputs.js';

const CONFIG: InterfaceConfig = {
  nic: ETH0,
  label: null,
  ipv4: [
    { address: '192.0.2.4', prefix: 24 },
    { address: '192.0.2.5', prefix: 24 },
  ],
  ipv6: [{ address: '2001:db8::4', prefix: 64 }],
  gateway4: '192.0.2.1',
  gateway6: 'fe80::1',
  routes: [
    { address: '10.0.0.0', prefix: 8, gateway: '192.0.2.9', metric: 100 },
    { address: '172.16.0.0', prefix: 12, gateway: null, metric: null },
  ],
  dns: [],
  dhcp4: false,
  auto6: null,
  mtu: 1400,
};

function live(text: string, more: Partial<LiveAddress> = {}): LiveAddress {
  const [address = '', prefix = ''] = text.split('/');
  return { nic: 'eth0', address, prefix: Number(prefix), unusable: false, dynamic: false, ...more };
}

function route(text: string, gateway: string | null, more: Partial<LiveRoute> = {}): LiveRoute {
  const [network = '', prefix = ''] = text.split('/');
  return { nic: 'eth0', network, prefix: Number(prefix), gateway, metric: 0, onLink: false, setBy: 'static', ...more };
}

const DEFAULT4 = route('0.0.0.0/0', '192.0.2.1');
const DEFAULT6 = route('::/0', 'fe80::1', { metric: 1024 });
const TEN = route('10.0.0.0/8', '192.0.2.9', { metric: 100 });
const LINK = route('172.16.0.0/12', null);
const BY_KERNEL = [
  route('192.0.2.0/24', null, { setBy: 'kernel' }),
  route('2001:db8::/64', null, { setBy: 'kernel', metric: 256 }),
];
const GOOD: KernelState = {
  nics: [{ ...ETH0, mtu: 1400 }, ETH1],
  addresses: [live('192.0.2.4/24'), live('192.0.2.5/24'), live('2001:db8::4/64'), live('fe80::5/64')],
  routes: [DEFAULT4, DEFAULT6, TEN, LINK, ...BY_KERNEL],
};

const DHCP: InterfaceConfig = { ...CONFIG, ipv4: [], gateway4: null, routes: [], mtu: null, dhcp4: true };
const LEASED: KernelState = {
  nics: [ETH0],
  addresses: [live('198.51.100.9/24', { dynamic: true }), live('2001:db8::4/64')],
  routes: [route('0.0.0.0/0', '198.51.100.1', { setBy: 'dhcp' }), DEFAULT6],
};
const AUTO: InterfaceConfig = { ...CONFIG, ipv6: [], gateway6: null, auto6: 'ra' };
const ADVERTISED: KernelState = {
  ...GOOD,
  addresses: [live('192.0.2.4/24'), live('192.0.2.5/24'), live('2001:db8:a::9/64', { dynamic: true })],
  routes: [DEFAULT4, TEN, LINK, route('::/0', 'fe80::9', { setBy: 'advertisement' })],
};

interface Row {
  readonly what: string;
  readonly config?: InterfaceConfig;
  readonly state: Partial<KernelState>;
  /** null: nothing is wrong. */
  readonly mismatch: readonly [wanted: string, got: string] | null;
}

function nicsWith(more: Partial<Nic>): Partial<KernelState> {
  return { nics: [{ ...ETH0, mtu: 1400, ...more }] };
}

function addresses(...list: readonly LiveAddress[]): Partial<KernelState> {
  return { addresses: list };
}

function routes(...list: readonly LiveRoute[]): Partial<KernelState> {
  return { routes: list };
}

const [FIRST, SECOND, THIRD] = [live('192.0.2.4/24'), live('192.0.2.5/24'), live('2001:db8::4/64')];

const ROWS: readonly Row[] = [
  { what: 'all is as wanted', state: {}, mismatch: null },
  { what: 'no device', state: { nics: [ETH1] }, mismatch: ['a device eth0', 'none'] },
  { what: 'the device down', state: nicsWith({ up: false }), mismatch: ['eth0 up', 'it down'] },
  { what: 'another MTU', state: nicsWith({ mtu: 1500 }), mismatch: ['an MTU of 1400 on eth0', '1500'] },
  {
    what: 'any MTU, when none was asked for',
    config: { ...CONFIG, mtu: null },
    state: nicsWith({ mtu: 9000 }),
    mismatch: null,
  },

  { what: 'an address is missing', state: addresses(FIRST, THIRD), mismatch: ['192.0.2.5/24 on eth0', '192.0.2.4/24'] },
  {
    what: 'all IPv4 addresses are missing',
    state: addresses(THIRD),
    mismatch: ['192.0.2.4/24 on eth0', 'none'],
  },
  {
    what: 'an address has another prefix',
    state: addresses(live('192.0.2.4/32'), SECOND, THIRD),
    mismatch: ['192.0.2.4/24 on eth0', '192.0.2.4/32 192.0.2.5/24'],
  },
  {
    what: 'an IPv6 address is missing; those of IPv4 do not count',
    state: addresses(FIRST, SECOND),
    mismatch: ['2001:db8::4/64 on eth0', 'none'],
  },
  {
    what: 'an address stands on another device',
    state: addresses(FIRST, SECOND, { ...THIRD, nic: 'eth1' }),
    mismatch: ['2001:db8::4/64 on eth0', 'none'],
  },
  {
    what: 'duplicate address detection runs or has failed',
    state: addresses(FIRST, SECOND, { ...THIRD, unusable: true }),
    mismatch: ['2001:db8::4/64 on eth0', 'it marked tentative or as a duplicate'],
  },
  {
    what: 'an address too many',
    state: addresses(FIRST, SECOND, THIRD, live('192.0.2.99/24')),
    mismatch: ['only its own addresses on eth0', '192.0.2.99/24 too'],
  },
  {
    what: 'an IPv6 address too many, which nobody asked a router for',
    state: addresses(FIRST, SECOND, THIRD, live('2001:db8::99/64', { dynamic: true })),
    mismatch: ['only its own addresses on eth0', '2001:db8::99/64 too'],
  },
  {
    what: "another device's addresses",
    state: addresses(FIRST, SECOND, THIRD, live('198.51.100.1/24', { nic: 'eth1' })),
    mismatch: null,
  },
  {
    what: 'link-local ones besides',
    state: addresses(FIRST, SECOND, THIRD, live('fe80::9/64'), live('169.254.7.7/16')),
    mismatch: null,
  },
  {
    what: 'the wrong primary address',
    state: addresses(SECOND, FIRST, THIRD),
    mismatch: ['192.0.2.4 as the first address of eth0', '192.0.2.5'],
  },
  {
    what: 'a link-local address that was asked for',
    config: { ...CONFIG, ipv4: [{ address: '169.254.0.9', prefix: 16 }] },
    state: addresses(live('169.254.0.9/16'), THIRD),
    mismatch: null,
  },
  {
    what: 'a link-local address that was asked for and is missing',
    config: { ...CONFIG, ipv4: [{ address: '169.254.0.9', prefix: 16 }] },
    state: addresses(live('169.254.0.8/16'), THIRD),
    mismatch: ['169.254.0.9/16 on eth0', 'none'],
  },

  { what: 'no default', state: routes(DEFAULT6, TEN, LINK), mismatch: ['default via 192.0.2.1 on eth0', 'none'] },
  {
    what: 'a default via another gateway',
    state: routes({ ...DEFAULT4, gateway: '192.0.2.254' }, DEFAULT6, TEN, LINK),
    mismatch: ['default via 192.0.2.1 on eth0', '192.0.2.254'],
  },
  {
    what: 'a default on the link',
    state: routes({ ...DEFAULT4, gateway: null }, DEFAULT6, TEN, LINK),
    mismatch: ['default via 192.0.2.1 on eth0', 'on-link'],
  },
  {
    what: 'the default of the other family alone',
    state: routes(DEFAULT4, TEN, LINK),
    mismatch: ['default via fe80::1 on eth0', 'none'],
  },
  {
    what: 'a default too many',
    state: routes(DEFAULT4, { ...DEFAULT4, gateway: '192.0.2.254', metric: 5 }, DEFAULT6, TEN, LINK),
    mismatch: ['default via 192.0.2.1 on eth0', '192.0.2.1 192.0.2.254'],
  },
  {
    what: 'an IPv6 default too many, from an advertisement',
    state: routes(DEFAULT4, DEFAULT6, { ...DEFAULT6, gateway: 'fe80::9', setBy: 'advertisement' }, TEN, LINK),
    mismatch: ['default via fe80::1 on eth0', 'fe80::1 fe80::9'],
  },
  {
    what: 'a default where none is wanted',
    config: { ...CONFIG, gateway4: null },
    state: {},
    mismatch: ['default via nothing on eth0', '192.0.2.1'],
  },
  {
    what: "another device's default",
    state: routes(DEFAULT4, DEFAULT6, TEN, LINK, { ...DEFAULT4, nic: 'eth1', gateway: '198.51.100.1' }),
    mismatch: null,
  },
  {
    what: 'the default on another device',
    state: routes({ ...DEFAULT4, nic: 'eth1' }, DEFAULT6, TEN, LINK),
    mismatch: ['default via 192.0.2.1 on eth0', 'none'],
  },
  {
    what: 'a default with any metric',
    state: routes({ ...DEFAULT4, metric: 100 }, { ...DEFAULT6, metric: 1 }, TEN, LINK),
    mismatch: null,
  },
  {
    what: 'a route is missing',
    state: routes(DEFAULT4, DEFAULT6, LINK),
    mismatch: ['10.0.0.0/8 via 192.0.2.9 on eth0', 'no such route'],
  },
  {
    what: 'a route via another gateway',
    state: routes(DEFAULT4, DEFAULT6, LINK, { ...TEN, gateway: '192.0.2.8' }),
    mismatch: ['10.0.0.0/8 via 192.0.2.9 on eth0', 'no such route'],
  },
  {
    what: 'a route with another metric than the one asked for',
    state: routes(DEFAULT4, DEFAULT6, LINK, { ...TEN, metric: 0 }),
    mismatch: ['10.0.0.0/8 via 192.0.2.9 on eth0', 'no such route'],
  },
  {
    what: 'a route on the link is missing',
    state: routes(DEFAULT4, DEFAULT6, TEN),
    mismatch: ['172.16.0.0/12 via the link on eth0', 'no such route'],
  },
  {
    what: 'a route on the link goes via a gateway',
    state: routes(DEFAULT4, DEFAULT6, TEN, { ...LINK, gateway: '192.0.2.9' }),
    mismatch: ['172.16.0.0/12 via the link on eth0', 'no such route'],
  },
  {
    what: 'a route on the link with any metric',
    state: routes(DEFAULT4, DEFAULT6, TEN, { ...LINK, metric: 1024 }),
    mismatch: null,
  },
  {
    what: 'routes of others to elsewhere',
    state: routes(DEFAULT4, DEFAULT6, TEN, LINK, route('10.9.0.0/16', '192.0.2.7')),
    mismatch: null,
  },

  { what: 'DHCP has given an address and a default', config: DHCP, state: LEASED, mismatch: null },
  {
    what: 'DHCP has given none yet',
    config: DHCP,
    state: { ...LEASED, ...addresses(THIRD) },
    mismatch: ['an IPv4 address from the network on eth0', 'none'],
  },
  {
    what: 'a link-local address is none that DHCP has given',
    config: DHCP,
    state: { ...LEASED, ...addresses(THIRD, live('169.254.7.7/16')) },
    mismatch: ['an IPv4 address from the network on eth0', 'none'],
  },
  {
    what: 'the address of DHCP is a duplicate',
    config: DHCP,
    state: { ...LEASED, ...addresses(live('198.51.100.9/24', { unusable: true }), THIRD) },
    mismatch: ['an IPv4 address from the network on eth0', '198.51.100.9/24'],
  },
  {
    what: 'DHCP beside an address: that is not the one of DHCP',
    config: { ...DHCP, ipv4: [FIRST] },
    state: { ...LEASED, ...addresses(FIRST, THIRD) },
    mismatch: ['an IPv4 address from the network on eth0', '192.0.2.4/24'],
  },
  {
    what: 'DHCP of IPv4 does not excuse an IPv6 address too many',
    config: DHCP,
    state: { ...LEASED, addresses: [...LEASED.addresses, live('2001:db8::99/64', { dynamic: true })] },
    mismatch: ['only its own addresses on eth0', '2001:db8::99/64 too'],
  },
  { what: 'a router has given an address and a default', config: AUTO, state: ADVERTISED, mismatch: null },
  {
    what: 'a router has given none yet',
    config: AUTO,
    state: { ...ADVERTISED, ...addresses(FIRST, SECOND, live('fe80::5/64')) },
    mismatch: ['an IPv6 address from the network on eth0', 'none'],
  },
  {
    what: 'the address by advertisement is still tentative',
    config: AUTO,
    state: { ...ADVERTISED, ...addresses(FIRST, SECOND, live('2001:db8:a::9/64', { unusable: true })) },
    mismatch: ['an IPv6 address from the network on eth0', '2001:db8:a::9/64'],
  },
  {
    what: 'advertisements do not excuse an IPv4 default too many',
    config: { ...AUTO, gateway4: null },
    state: ADVERTISED,
    mismatch: ['default via nothing on eth0', '192.0.2.1'],
  },
  { what: 'DHCPv6 has given an address', config: { ...AUTO, auto6: 'dhcp' }, state: ADVERTISED, mismatch: null },
];

suite('what the kernel has against what was wanted', () => {
  for (const { what, config = CONFIG, state, mismatch } of ROWS) {
    test(what, () => {
      const [wanted, got] = mismatch ?? [];
      const found: Mismatch | null = compare([config], { ...GOOD, ...state });
      assert.deepEqual(found, mismatch === null ? null : { wanted, got });
    });
  }

  test('the first interface that is wrong is told, and the later ones are looked at', () => {
    const second: InterfaceConfig = { ...DHCP, nic: ETH1, dhcp4: false, ipv6: [], gateway6: null, ipv4: [FIRST] };
    assert.deepEqual(compare([CONFIG, second], GOOD), { wanted: '192.0.2.4/24 on eth1', got: 'none' });
    assert.deepEqual(compare([second, CONFIG], { ...GOOD, routes: [] }), {
      wanted: '192.0.2.4/24 on eth1',
      got: 'none',
    });
  });

  test('a network is compared by its own address, whatever the host wrote', () => {
    const routes = [{ address: '10.1.2.3', prefix: 8, gateway: '192.0.2.9', metric: null }];
    assert.equal(compare([{ ...CONFIG, routes }], GOOD), null);
  });
});
