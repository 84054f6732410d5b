import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import type { Nic } from '../../../ts/api/host.js';
import { type Wanted, readWanted } from '../../../ts/network/wanted/wanted.js';
import { ETH0, ETH1, nic, publishedBy } from '../inputs.js';

interface Row {
  readonly mac: string;
  readonly label?: string;
  readonly address?: string;
  readonly gateway?: string;
  readonly address6?: string;
  readonly gateway6?: string;
}

function record({ mac, label, address, gateway, address6, gateway6 }: Row): unknown {
  return {
    mac,
    label,
    gateway,
    gateway_v6: gateway6,
    ...(address === undefined ? {} : { ips: [{ ip: address, netmask: 24, enabled: '1' }] }),
    ...(address6 === undefined ? {} : { ip6s: [{ ip: address6, netmask: 64, enabled: '1' }] }),
  };
}

/** The records are named `0`, `1` and so on. */
function read(rows: readonly Row[], nics: readonly Nic[] = [ETH0, ETH1]): Wanted {
  return readWanted(publishedBy({ networking: Object.fromEntries(rows.map(record).entries()) }), nics);
}

function gateways({ interfaces }: Wanted): readonly unknown[] {
  return interfaces.map(({ nic: { name }, gateway4, gateway6 }) => [name, gateway4, gateway6]);
}

const ON_0: Row = { mac: ETH0.mac, address: '192.0.2.4', address6: '2001:db8::4' };
const ON_1: Row = { mac: ETH1.mac, address: '198.51.100.4', address6: '2001:db8:1::4' };
const GATEWAYS_0 = { gateway: '192.0.2.1', gateway6: 'fe80::1' };
const GATEWAYS_1 = { gateway: '198.51.100.1', gateway6: 'fe80::2' };

suite('one default a family', () => {
  test('the first interface with a gateway has it', () => {
    assert.deepEqual(
      gateways(
        read([
          { ...ON_0, ...GATEWAYS_0 },
          { ...ON_1, ...GATEWAYS_1 },
        ]),
      ),
      [
        ['eth0', '192.0.2.1', 'fe80::1'],
        ['eth1', null, null],
      ],
    );
    assert.deepEqual(gateways(read([ON_0, { ...ON_1, ...GATEWAYS_1 }])), [
      ['eth0', null, null],
      ['eth1', '198.51.100.1', 'fe80::2'],
    ]);
  });

  for (const label of ['public', 'Public', 'PUBLIC']) {
    test(`the one labelled ${label} comes before all others`, () => {
      assert.deepEqual(
        gateways(
          read([
            { ...ON_0, ...GATEWAYS_0 },
            { ...ON_1, ...GATEWAYS_1, label },
          ]),
        ),
        [
          ['eth0', null, null],
          ['eth1', '198.51.100.1', 'fe80::2'],
        ],
      );
    });
  }

  test('the public one takes only what it has itself', () => {
    const rows = [
      { ...ON_0, ...GATEWAYS_0, label: 'private' },
      { ...ON_1, gateway: '198.51.100.1', label: 'public' },
    ];
    assert.deepEqual(gateways(read(rows)), [
      ['eth0', null, 'fe80::1'],
      ['eth1', '198.51.100.1', null],
    ]);
  });

  test('routes via the gateway that lost stay', () => {
    const routes = [{ route: '10.0.0.0', netmask: '255.0.0.0', gateway: '198.51.100.1' }];
    const networking = {
      0: record({ ...ON_0, ...GATEWAYS_0 }),
      1: { ...(record({ ...ON_1, ...GATEWAYS_1 }) as object), routes },
    };
    const [, second] = readWanted(publishedBy({ networking }), [ETH0, ETH1]).interfaces;
    assert.equal(second?.gateway4, null);
    assert.deepEqual(second.routes, [{ address: '10.0.0.0', prefix: 8, gateway: '198.51.100.1', metric: null }]);
  });
});

suite('what no network could work with', () => {
  test('a route of IPv4 by two gateways, unless metrics tell which', () => {
    const of = (...more: readonly object[]): readonly string[] => {
      const route = { route: '10.0.0.0', netmask: '255.255.0.0' };
      const routes = more.map((one) => ({ ...route, ...one }));
      return readWanted(publishedBy({ networking: { 0: { ...(record(ON_0) as object), routes } } }), [ETH0]).errors;
    };
    assert.deepEqual(of({ gateway: '192.0.2.1' }, { route: '10.0.0.9', gateway: '192.0.2.2' }), [
      '0: the route to 10.0.0.0/16 has two gateways, 192.0.2.1 and 192.0.2.2, and no metrics that tell which',
    ]);
    assert.deepEqual(of({ gateway: '192.0.2.1' }, { gateway: '192.0.2.2', metric: 200 }), []);
    assert.deepEqual(of({ gateway: '192.0.2.1' }, { gateway: '192.0.2.1' }), []);
  });

  test('an address of IPv4 in the form of one of IPv6', () => {
    const networking = { 0: { mac: ETH0.mac, ip6s: [{ ip: '::ffff:192.0.2.7', netmask: 96 }] } };
    const { errors } = readWanted(publishedBy({ networking }), [ETH0]);
    assert.deepEqual(errors, ["0: 'ip': expected an IPv6 address, got '::ffff:192.0.2.7'"]);
  });

  test('an address of two interfaces stays with the first record', () => {
    const wanted = read([ON_0, { ...ON_1, address: '192.0.2.4' }]);
    assert.deepEqual(gateways(wanted), [['eth0', null, null]]);
    assert.deepEqual(wanted.errors, [`1: 192.0.2.4 belongs to ${ETH0.mac} already`]);
  });

  test('so does one of IPv6, however it is written', () => {
    const { errors } = read([ON_0, { ...ON_1, address6: '2001:DB8:0::0:4' }]);
    assert.deepEqual(errors, [`1: 2001:db8::4 belongs to ${ETH0.mac} already`]);
  });

  test('an address of two interfaces is seen across both kinds of records', () => {
    const networking = { A: record(ON_0) };
    const networks = { 0: { mac: ETH1.mac, ip: '192.0.2.4/24' } };
    const { interfaces, errors } = readWanted(publishedBy({ networking, networks }), [ETH0, ETH1]);
    assert.equal(interfaces.length, 1);
    assert.deepEqual(errors, [`networks/0: 192.0.2.4 belongs to ${ETH0.mac} already`]);
  });

  test('an address twice in one record counts once', () => {
    const ips = [
      { ip: '192.0.2.4', netmask: 24 },
      { ip: '192.0.2.5', netmask: 24 },
      { ip: '192.0.2.4', netmask: 24 },
    ];
    const { interfaces } = readWanted(publishedBy({ networking: { A: { mac: ETH0.mac, ips } } }), [ETH0]);
    assert.deepEqual(
      interfaces[0]?.ipv4.map(({ address }) => address),
      ['192.0.2.4', '192.0.2.5'],
    );
  });

  for (const own of [{ gateway: '192.0.2.4' }, { gateway6: '2001:db8::4' }]) {
    test(`a machine is not its own gateway: ${Object.keys(own).join('')}`, () => {
      const { interfaces, errors } = read([{ ...ON_0, ...own }, ON_1]);
      assert.deepEqual(errors, [`0: ${Object.values(own).join('')} is its own gateway`]);
      assert.deepEqual(
        interfaces.map(({ nic: { name } }) => name),
        ['eth1'],
      );
    });
  }

  test('the gateway may be the address of another record', () => {
    assert.deepEqual(
      read([
        { ...ON_0, gateway: '192.0.2.1' },
        { ...ON_1, address: '192.0.2.1' },
      ]).errors,
      [],
    );
  });
});

suite('which device a MAC means', () => {
  const like = (more: Partial<Nic>): Nic => ({ ...ETH0, index: 9, ...more });

  test('an enslaved device is left to whoever made its master, by the name of that', () => {
    const nics = [like({ master: 'bond0' }), like({ name: 'bond0', physical: false, kind: 'bond' }), ETH1];
    const { interfaces, errors, missing } = read([ON_0, ON_1], nics);
    assert.deepEqual(errors, ['0: eth0 is part of bond0: whoever made bond0 sets its addresses']);
    const inVrf = [like({ master: 'blue' }), like({ name: 'blue', physical: false, kind: 'vrf' }), ETH1];
    assert.deepEqual(read([ON_0, ON_1], inVrf).errors, ['0: eth0 is part of blue: guestwire sets no routes in a VRF']);
    assert.deepEqual(missing, []);
    assert.deepEqual(
      interfaces.map(({ nic: { name } }) => name),
      ['eth1'],
    );
  });

  test('a port of a bond that has the MAC of the bond now is found by the one burnt in', () => {
    const nics = [
      like({ permanentMac: ETH0.mac, master: 'bond0' }),
      { ...ETH1, mac: ETH0.mac, permanentMac: ETH1.mac, master: 'bond0' },
      like({ name: 'bond0', physical: false, kind: 'bond' }),
    ];
    for (const all of [nics, nics.toReversed()]) {
      const { errors, missing } = read([ON_0, ON_1], all);
      const why = 'whoever made bond0 sets its addresses';
      assert.deepEqual(errors, [`0: eth0 is part of bond0: ${why}`, `1: eth1 is part of bond0: ${why}`]);
      assert.deepEqual(missing, []);
    }
  });

  for (const kind of ['vlan', 'bridge', 'bond', 'macvlan']) {
    test(`not a ${kind} with the same MAC, whatever the order`, () => {
      const borrowed = like({ name: 'a0', kind, physical: false });
      for (const nics of [
        [borrowed, ETH0],
        [ETH0, borrowed],
      ]) {
        assert.equal(read([ON_0], nics).interfaces[0]?.nic.name, 'eth0');
      }
      assert.deepEqual(read([ON_0], [borrowed]).missing, [ETH0.mac]);
    });
  }

  test('the paravirtual twin of an emulated device, whatever the order', () => {
    const emulated = like({ name: 'ens4', driver: '8139cp' });
    for (const nics of [
      [emulated, ETH0],
      [ETH0, emulated],
    ]) {
      assert.equal(read([ON_0], nics).interfaces[0]?.nic.name, 'eth0');
    }
    assert.equal(read([ON_0], [emulated]).interfaces[0]?.nic.name, 'ens4');
  });

  for (const [what, driver, paravirtual] of [
    ["Xen's", 'mlx5_core', 'vif'],
    ["KVM's", 'ixgbevf', 'virtio_net'],
    ["VMware's", 'iavf', 'vmxnet3'],
    ["Hyper-V's", 'mlx5_core', 'hv_netvsc'],
  ] as const) {
    test(`the paravirtual twin of a virtual function, ${what}, whatever the order`, () => {
      // Joined by the driver, as netvsc does it, or not.
      for (const master of ['eth0', null]) {
        const vf = like({ name: 'enp3s0v0', driver, master });
        const twin = like({ driver: paravirtual });
        for (const nics of [
          [vf, twin],
          [twin, vf],
        ]) {
          const { interfaces, errors } = read([ON_0], nics);
          assert.deepEqual([interfaces.map(({ nic: { name } }) => name), errors], [['eth0'], []]);
        }
      }
    });
  }

  for (const [what, drivers] of [
    ['neither is paravirtual', ['e1000', 'mlx5_core']],
    ['both are paravirtual', ['virtio_net', 'virtio_net']],
    ['no driver is known, as on a copy of a system', [null, null]],
  ] as const) {
    test(`of two devices with one MAC none is guessed where ${what}; the answer names both`, () => {
      const nics = drivers.map((driver, index) => like({ name: `ens${index}`, driver }));
      const { interfaces, errors } = read([ON_0, ON_1], [...nics, ETH1]);
      const [a, b] = drivers.map((driver, index) => `ens${index} (driver ${driver ?? 'unknown'})`);
      assert.deepEqual(errors, [`0: ${a} and ${b} have the same MAC, and nothing shows which one is paravirtual`]);
      assert.deepEqual(
        interfaces.map(({ nic: { name } }) => name),
        ['eth1'],
      );
    });
  }

  test('one without a device is missing, and the others are not lost', () => {
    const mac = '52:54:00:00:00:07';
    const { interfaces, errors, missing } = read([{ ...ON_0, mac: mac.toUpperCase() }, ON_1]);
    assert.deepEqual(missing, [mac]);
    assert.deepEqual(errors, [`0: Unknown interface MAC ${mac}`]);
    assert.deepEqual(
      interfaces.map(({ nic: { name } }) => name),
      ['eth1'],
    );
  });
});

suite('the order of the interfaces', () => {
  const NICS = ['eth2', 'eth10', 'eth1', 'enX0', 'enp0s3'].map((name, index) => nic(name, `52:54:00:aa:01:0${index}`));
  const ROWS = NICS.map(({ mac }, index): readonly [string, unknown] => [
    mac.replaceAll(':', ''),
    record({ mac, address: `192.0.${index}.4`, gateway: `192.0.${index}.1` }),
  ]);

  test('is that of their names, numbers as numbers', () => {
    const { interfaces } = readWanted(publishedBy({ networking: Object.fromEntries(ROWS) }), NICS);
    assert.deepEqual(
      interfaces.map(({ nic: { name } }) => name),
      ['enp0s3', 'enX0', 'eth1', 'eth2', 'eth10'],
    );
  });

  test('does not depend on that of the records and devices, nor does the default', () => {
    const all = { minLength: NICS.length };
    const first = readWanted(publishedBy({ networking: Object.fromEntries(ROWS) }), NICS);
    fc.assert(
      fc.property(fc.shuffledSubarray([...ROWS], all), fc.shuffledSubarray(NICS, all), (rows, nics) => {
        assert.deepEqual(readWanted(publishedBy({ networking: Object.fromEntries(rows) }), nics), first);
      }),
    );
  });

  test('two records for one MAC: the first by name counts, whatever the order', () => {
    const rows = [
      ['b', record(ON_0)],
      ['a', record({ ...ON_0, address: '192.0.2.9' })],
    ] as const;
    for (const networking of [rows, rows.toReversed()].map((list) => Object.fromEntries(list))) {
      const { interfaces, errors } = readWanted(publishedBy({ networking }), [ETH0]);
      assert.equal(interfaces[0]?.ipv4[0]?.address, '192.0.2.9');
      assert.deepEqual(errors, [`b: a second record for ${ETH0.mac}`]);
    }
  });

  test('two records that say the same are no contradiction, though they ask for what cannot be had', () => {
    const one = record({ mac: ETH0.mac, address: '192.0.2.4', gateway6: 'fe80::1' });
    const { interfaces: configured } = readWanted(publishedBy({ networking: { a: one } }), [ETH0]);
    const again = readWanted(publishedBy({ networking: { a: one, b: one } }), [ETH0], configured);
    assert.deepEqual(again.interfaces, configured);
    assert.deepEqual(again.leftAlone, []);
  });
});
