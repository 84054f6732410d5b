import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { test } from 'node:test';
import { networkApply, networkSnapshot } from '#binding';

/** No device has it. */
const NOWHERE = 0x7fff_ffff;

test('the snapshot has what Node tells of this machine', () => {
  const { links, addresses } = networkSnapshot();
  const loopback = links.find(({ name }) => name === 'lo')!;
  assert.deepEqual(
    [loopback.loopback, loopback.ethernet, loopback.mac, loopback.kind],
    [true, false, '00:00:00:00:00:00', null],
  );
  const names = new Map(links.map(({ index, name }) => [index, name]));
  const ours = addresses.map(({ index, address, prefix }) => `${names.get(index) ?? ''} ${address}/${prefix}`);
  for (const [name, entries = []] of Object.entries(networkInterfaces())) {
    for (const { cidr, mac } of entries) {
      assert.ok(ours.includes(`${name} ${cidr ?? ''}`), `${name} ${cidr ?? ''} is missing in ${ours.join(', ')}`);
      assert.equal(links.find((link) => link.name === name)?.mac, mac);
    }
  }
});

test('no changes are none', () => {
  networkApply([]);
});

test('what the kernel refuses has a code and says why', () => {
  assert.throws(
    () => {
      networkApply([{ type: 'up', index: NOWHERE }]);
    },
    { code: 'NETLINK_FAILED', message: `setting device ${NOWHERE} up: ENODEV` },
  );
});

test('nothing is sent when an address is none', () => {
  for (const address of ['', '192.0.2', '192.0.2.1/24', 'fe80::1%eth0', '2001:db8::g']) {
    assert.throws(
      () => {
        networkApply([
          {
            type: 'add-address',
            index: NOWHERE,
            address,
            prefix: 24,
            valid: null,
            preferred: null,
            noPrefixRoute: false,
          },
        ]);
      },
      { code: 'NETLINK_FAILED', message: `${JSON.stringify(address)} is no IP address` },
    );
  }
});

test('removing what is not there is quiet, with and without gateway and metric', () => {
  const route = { type: 'remove-route', index: NOWHERE, network: '203.0.113.0', prefix: 24 } as const;
  networkApply([
    { type: 'remove-address', index: NOWHERE, address: '203.0.113.1', prefix: 24 },
    { ...route, gateway: null, metric: null },
    { ...route, gateway: '203.0.113.1', metric: 4711 },
  ]);
});
