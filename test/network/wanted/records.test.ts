import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import type { Nic } from '../../../ts/api/host.js';
import { type Wanted, readWanted } from '../../../ts/network/wanted/wanted.js';
import { nic } from '../inputs.js';

const MAC = 'bc:76:4e:20:5e:b2';
const ETH0 = nic('eth0', MAC);
const VLAN: Nic = { ...ETH0, name: 'eth0.100', physical: false };
const ETH1: Nic = { ...ETH0, name: 'eth1', mac: 'bc:76:4e:20:5e:b3' };
const GOOD = { mac: MAC, ips: [{ ip: '192.0.2.4', netmask: '255.255.255.0', enabled: '1' }] };

function read(record: unknown, nics: readonly Nic[] = [ETH0]): Wanted {
  return readWanted(
    {
      networking: new Map([['BC764E205EB2', typeof record === 'string' ? record : JSON.stringify(record)]]),
      networks: new Map(),
    },
    nics,
  );
}

function accepted(record: unknown): NonNullable<Wanted['interfaces'][0]> {
  const { interfaces, errors } = read(record);
  assert.deepEqual(errors, []);
  return interfaces[0]!;
}

/** What the Unix agent refused as a whole; here the record is refused, with a reason. */
const REFUSED: readonly (readonly [what: string, record: unknown, reason: RegExp])[] = [
  ['an unknown MAC', { ...GOOD, mac: '00:aa:bb:cc:dd:ee' }, /Unknown interface MAC 00:aa:bb:cc:dd:ee/],
  ['no MAC', { ips: GOOD.ips }, /No MAC found in config/],
  ['a MAC that is none', { ...GOOD, mac: 'eth0' }, /'mac': expected six pairs of hex digits, got 'eth0'/],
  ['no addresses', { mac: MAC }, /No IPs found for interface/],
  [
    'a mask with a hole',
    { mac: MAC, ips: [{ ip: '192.0.2.4', netmask: '255.255.0.255' }] },
    /'netmask': .* got '255.255.0.255'/,
  ],
  ['a prefix that is too long', { mac: MAC, ips: [{ ip: '192.0.2.4', netmask: 33 }] }, /'netmask'/],
  ['a netmask of 0', { mac: MAC, ips: [{ ip: '192.0.2.4', netmask: '0.0.0.0' }] }, /'netmask': .* other than 0/],
  ['a prefix of 0', { mac: MAC, ips: [{ ip: '192.0.2.4', netmask: 0 }] }, /'netmask': .* got 0 for 192\.0\.2\.4$/],
  ['a prefix of 0 of IPv6', { mac: MAC, ip6s: [{ ip: '2001:db8::4', netmask: 0 }] }, /'netmask': .* other than 0/],
  ['a mask of 0 of IPv6', { mac: MAC, ip6s: [{ ip: '2001:db8::4', netmask: '::' }] }, /'netmask': .* other than 0/],
  [
    "the subnet's own address",
    { mac: MAC, ips: [{ ip: '192.0.2.64', netmask: '255.255.255.192' }] },
    /: 192\.0\.2\.64\/26 is the network's own address$/,
  ],
  [
    'the broadcast address',
    { mac: MAC, ips: [{ ip: '192.0.2.127', netmask: 26 }] },
    /: 192\.0\.2\.127\/26 is the broadcast address$/,
  ],
  ['no netmask', { mac: MAC, ips: [{ ip: '192.0.2.4' }] }, /Missing 'netmask' key for IPv4 address/],
  ['no ip', { mac: MAC, ips: [{ netmask: '24' }] }, /Missing 'ip' key for IPv4 address/],
  [
    'an address of the other family',
    { mac: MAC, ips: [{ ip: '2001:db8::1', netmask: 64 }] },
    /expected an IPv4 address/,
  ],
  [
    'an enabled that is neither',
    { mac: MAC, ips: [{ ...GOOD.ips[0], enabled: 'yes' }] },
    /Invalid value 'yes' for 'enabled' key/,
  ],
  [
    'a route without gateway',
    { ...GOOD, routes: [{ route: '10.0.0.0', netmask: '255.0.0.0' }] },
    /Missing 'gateway' key for route/,
  ],
  [
    'a metric that is none',
    { ...GOOD, routes: [{ route: '10.0.0.0', netmask: 8, gateway: null, metric: -1 }] },
    /'metric'/,
  ],
  ['a gateway that is no address', { ...GOOD, gateway: '192.0.2.1; reboot' }, /'gateway': expected an IPv4 address/],
  ['a server that is no address', { ...GOOD, dns: ['ns1'] }, /'dns': expected an address/],
  ['text that is not JSON', '{"mac"', /not JSON/],
  ['a list', '[]', /expected an object, got \[\]/],
];

suite('records of vm-data/networking', () => {
  for (const [what, record, reason] of REFUSED) {
    test(`${what} is refused with the reason`, () => {
      const { interfaces, errors } = read(record);
      assert.deepEqual(interfaces, []);
      assert.match(errors[0] ?? '', reason);
    });
  }

  test('nothing but disabled addresses switches the interface off, which is no error', () => {
    const { interfaces, errors, disabled } = read({ mac: MAC, ips: [{ ...GOOD.ips[0], enabled: '0' }] });
    assert.deepEqual([interfaces, errors], [[], []]);
    assert.deepEqual(disabled, ['BC764E205EB2: all its addresses are disabled']);
    assert.deepEqual(read({ ...GOOD, enabled: '0' }), { ...read({ ...GOOD, ips: [] }), errors: [] });
  });

  test('one bad record does not lose the good ones', () => {
    const records = new Map([
      ['1', JSON.stringify(GOOD)],
      ['2', '{'],
    ]);
    const { interfaces, errors } = readWanted({ networking: records, networks: new Map() }, [ETH0]);
    assert.equal(interfaces.length, 1);
    assert.deepEqual(errors, ['2: not JSON']);
  });

  test('two records for one MAC: the first is taken, the second reported', () => {
    const records = new Map([
      ['1', JSON.stringify(GOOD)],
      ['2', JSON.stringify({ ...GOOD, label: 'second' })],
    ]);
    const { interfaces, errors } = readWanted({ networking: records, networks: new Map() }, [ETH0]);
    assert.equal(interfaces[0]?.label, null);
    assert.match(errors[0] ?? '', /^2: a second record for /);
  });

  for (const netmask of ['255.255.255.0', '24', 24]) {
    test(`an IPv4 netmask may be ${typeof netmask} ${netmask}`, () => {
      assert.deepEqual(accepted({ mac: MAC, ips: [{ ip: '192.0.2.4', netmask }] }).ipv4, [
        { address: '192.0.2.4', prefix: 24 },
      ]);
    });
  }

  for (const [ip, prefix] of [
    ['192.0.2.4', 31],
    ['192.0.2.5', 31],
    ['192.0.2.4', 32],
    ['192.0.2.0', 31],
    ['192.0.2.64', 25],
    ['192.0.3.0', 23],
    ['192.0.2.255', 23],
  ] as const) {
    test(`a machine may have ${ip}/${prefix}`, () => {
      assert.deepEqual(accepted({ mac: MAC, ips: [{ ip, netmask: prefix }] }).ipv4, [{ address: ip, prefix }]);
    });
  }

  for (const [ip, prefix] of [
    ['2001:db8::', 127],
    ['2001:db8::1', 127],
    ['2001:db8::', 128],
    // The anycast address of the subnet's routers, RFC 4291 section 2.6.1.
    ['2001:db8::', 64],
    ['2001:db8::ffff:ffff:ffff:ffff', 64],
  ] as const) {
    test(`a machine may have ${ip}/${prefix}`, () => {
      assert.deepEqual(accepted({ mac: MAC, ip6s: [{ ip, netmask: prefix }] }).ipv6, [{ address: ip, prefix }]);
    });
  }

  for (const netmask of [64, '64', 'ffff:ffff:ffff:ffff::']) {
    test(`an IPv6 netmask may be ${typeof netmask} ${netmask}`, () => {
      const { ipv6 } = accepted({ mac: MAC, ip6s: [{ address: '2001:DB8::0:1', netmask }] });
      assert.deepEqual(ipv6, [{ address: '2001:db8::1', prefix: 64 }]);
    });
  }

  for (const enabled of ['1', 1, true, undefined]) {
    test(`enabled ${JSON.stringify(enabled)} is on`, () => {
      assert.equal(accepted({ mac: MAC, ips: [{ ip: '192.0.2.4', netmask: 24, enabled }] }).ipv4.length, 1);
    });
  }

  test('gateways come from the record, its other spelling, the address or a default route', () => {
    const ip6s = [{ ip: '2001:db8::4', netmask: 64, gateway: '2001:db8::1' }];
    assert.equal(accepted({ ...GOOD, ip6s, gateway_v6: 'fe80::1' }).gateway6, 'fe80::1');
    assert.equal(accepted({ ...GOOD, ip6s, gateway6: 'fe80::2' }).gateway6, 'fe80::2');
    assert.equal(accepted({ ...GOOD, ip6s, gateway_v6: null }).gateway6, '2001:db8::1');
    const routes = [{ route: '0.0.0.0', netmask: '0.0.0.0', gateway: '192.0.2.9' }];
    assert.equal(accepted({ ...GOOD, routes }).gateway4, '192.0.2.9');
    assert.deepEqual(accepted({ ...GOOD, routes }).routes, []);
  });

  test('routes of IPv6 have a mask of IPv6, as nova writes it', () => {
    const routes = [{ route: '2001:db8:1::', netmask: 'ffff:ffff:ffff::', gateway: 'fe80::1' }];
    const ip6s = [{ ip: '2001:db8::4', netmask: 64 }];
    assert.deepEqual(accepted({ ...GOOD, ip6s, routes }).routes, [
      { address: '2001:db8:1::', prefix: 48, gateway: 'fe80::1', metric: null },
    ]);
  });

  for (const metric of [0, '0', null]) {
    test(`a metric of ${JSON.stringify(metric)} is none`, () => {
      const routes = [{ route: '10.0.0.0', netmask: 8, gateway: '192.0.2.1', metric }];
      assert.equal(accepted({ ...GOOD, routes }).routes[0]?.metric, null);
    });
  }

  test('null lists are empty lists', () => {
    const { dns, routes, ipv6 } = accepted({ ...GOOD, dns: null, routes: null, ip6s: null });
    assert.deepEqual([dns, routes, ipv6], [[], [], []]);
  });

  test('servers are sorted by family and deduplicated, so that a second run sees no difference', () => {
    const servers = ['2001:db8::53', '192.0.2.54', '192.0.2.53', '192.0.2.54'];
    fc.assert(
      fc.property(fc.shuffledSubarray(servers, { minLength: 4 }), (dns) => {
        assert.deepEqual(accepted({ ...GOOD, dns }).dns, ['192.0.2.53', '192.0.2.54', '2001:db8::53']);
      }),
    );
  });

  test('a MAC in capitals, and one that a VLAN shares, mean the VIF', () => {
    const { interfaces } = read({ ...GOOD, mac: MAC.toUpperCase() }, [VLAN, ETH0]);
    assert.equal(interfaces[0]?.nic.name, 'eth0');
    assert.match(read(GOOD, [VLAN]).errors[0] ?? '', /Unknown interface MAC/);
  });

  test('of two default routes of one family the first interface keeps its own', () => {
    const records = new Map([
      ['b', JSON.stringify({ ...GOOD, gateway: '192.0.2.1' })],
      ['a', JSON.stringify({ mac: ETH1.mac, gateway: '198.51.100.1', ips: [{ ip: '198.51.100.4', netmask: 24 }] })],
    ]);
    const { interfaces } = readWanted({ networking: records, networks: new Map() }, [ETH1, ETH0]);
    assert.deepEqual(
      interfaces.map(({ nic, gateway4 }) => [nic.name, gateway4]),
      [
        ['eth0', '192.0.2.1'],
        ['eth1', null],
      ],
    );
  });

  test('raw control characters in a label are what dom0 makes of an escape', () => {
    assert.equal(
      accepted(`{"label": "a\nb", "mac": "${MAC}", "ips": [{"ip": "192.0.2.4", "netmask": 24}]}`).label,
      'a\nb',
    );
  });
});
