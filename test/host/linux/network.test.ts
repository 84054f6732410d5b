import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Ipv6Settings, Lifetime, Nic } from '../../../ts/api/host.js';
import { createNetwork } from '../../../ts/host/linux/network.js';
import { type Scratch, createScratch } from '../../support/scratch.js';
import type { Outcome, Step } from './network-steps.js';

const MAC = '00:16:3e:01:02:03';
const PROGRAM = fileURLToPath(new URL('network-steps.js', import.meta.url));

/** With the /sys of the new namespace. */
const IN_NAMESPACE = ['--net', '--mount', 'sh', '-c', 'mount -t sysfs sysfs /sys && exec "$@"', 'sh'];

/** Takes the steps in a network namespace that ends with them. */
function inNamespace(...steps: readonly Step[]): Outcome {
  const output = execFileSync('unshare', [...IN_NAMESPACE, process.execPath, PROGRAM, JSON.stringify(steps)]);
  return JSON.parse(output.toString()) as Outcome;
}

/** eth0 with its other end, both up; no addresses but those of the test. */
const PAIR: readonly Step[] = [
  { key: 'net/ipv6/conf/default/addr_gen_mode', value: '1' },
  { ip: `link add eth0 address ${MAC} type veth peer name far` },
  { change: [{ type: 'up', nic: 'far' }] },
];

const named = (nics: readonly Nic[], name: string): Nic => nics.find((nic) => nic.name === name)!;

/** Files of one device in a copy of /sys. */
async function device(scratch: Scratch, name: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [file, text] of Object.entries(files)) await scratch.write(`sys/class/net/${name}/${file}`, `${text}\n`);
}

async function link(scratch: Scratch, path: string, target: string): Promise<void> {
  const real = join(scratch.root, 'sys/class/net', path);
  await mkdir(dirname(real), { recursive: true });
  await symlink(target, real);
}

test("a copy of a system has the devices of its copied /sys, by the devices' names", async () => {
  await using scratch = await createScratch();
  await device(scratch, 'lo', { address: '00:00:00:00:00:00', type: '772' });
  await device(scratch, 'eth1', { address: MAC.toUpperCase(), type: '1', flags: '0x1002', addr_assign_type: '0' });
  await device(scratch, 'eth0', { address: '00:16:3e:0a:0b:0c', flags: '0x1003', ifindex: '2', mtu: '9000' });
  await link(scratch, 'eth0/device/driver', '../../../../bus/xen/drivers/vif');
  await link(scratch, 'eth0/master', '../bridge0');
  await device(scratch, 'tunnel0', { address: '0a:00:00:01', type: '778' });
  await device(scratch, 'empty0', { address: '00:00:00:00:00:00' });
  const common = { kind: null, physical: true };
  assert.deepEqual(await createNetwork(scratch.root, false).nics(), [
    {
      ...common,
      name: 'eth0',
      index: 2,
      mac: '00:16:3e:0a:0b:0c',
      permanentMac: null,
      driver: 'vif',
      master: 'bridge0',
      up: true,
      mtu: 9000,
    },
    {
      ...common,
      name: 'eth1',
      index: 0,
      mac: MAC,
      permanentMac: MAC,
      driver: null,
      master: null,
      up: false,
      mtu: 1500,
    },
  ]);
});

test('devices that stand on others are told by what a copied /sys has of them', async () => {
  await using scratch = await createScratch();
  const kinds = { br0: 'bridge', bond0: 'bond', tap0: 'tun', 'eth0.5': 'vlan', mac0: 'macvlan', wlan0: null };
  for (const name of Object.keys(kinds)) await device(scratch, name, { address: MAC });
  await device(scratch, 'br0', { 'bridge/stp_state': '0' });
  await device(scratch, 'bond0', { 'bonding/mode': 'active-backup 1' });
  await device(scratch, 'tap0', { tun_flags: '0x1002' });
  await device(scratch, 'eth0.5', { uevent: 'DEVTYPE=vlan\nINTERFACE=eth0.5' });
  await device(scratch, 'mac0', { uevent: 'DEVTYPE=macvlan' });
  await device(scratch, 'wlan0', { uevent: 'DEVTYPE=wlan' });
  const nics = await createNetwork(scratch.root, false).nics();
  assert.deepEqual(Object.fromEntries(nics.map(({ name, kind }) => [name, kind])), kinds);
  for (const { name, kind, physical } of nics) assert.equal(physical, kind === null, name);
});

test('a copy of a system has nothing live, and nothing live can be changed', async () => {
  await using scratch = await createScratch();
  await device(scratch, 'eth0', { address: MAC });
  await scratch.write('proc/sys/net/ipv6/conf/eth0/accept_ra', '1\n');
  await scratch.write('etc/hostname', '# a comment\n\nweb1\n');
  const network = createNetwork(scratch.root, false);
  assert.deepEqual(await network.live(), { addresses: [], routes: [] });
  await assert.rejects(network.change([{ type: 'up', nic: 'eth0' }]), /is not running/);
  await assert.rejects(network.setIpv6('eth0', { advertisements: 'ignored' }), /is not running/);
  assert.deepEqual(await network.ipv6Settings('eth0'), { advertisements: 'heard' });
  assert.equal(await network.hostname(), 'web1');
});

test('a root without devices has none', async () => {
  await using scratch = await createScratch();
  assert.deepEqual(await createNetwork(scratch.root, false).nics(), []);
});

test("the running kernel's devices are those that carry Ethernet", () => {
  const { nics, failure } = inNamespace(
    ...PAIR,
    { ip: 'link add br0 type bridge' },
    { ip: 'link set far master br0' },
    { ip: `link set br0 address ${MAC}` },
    { ip: `link add sub link eth0 address ${MAC} type macvlan` },
    { ip: 'tuntap add tun0 mode tun' },
    { ip: 'link property add dev eth0 altname wan0 altname a-name-of-more-than-15-letters' },
    { change: [{ type: 'mtu', nic: 'eth0', mtu: 1400 }] },
  );
  assert.equal(failure, null);
  assert.deepEqual(named(nics, 'eth0').alternativeNames, ['wan0', 'a-name-of-more-than-15-letters']);
  assert.equal(named(nics, 'sub').alternativeNames, undefined);
  const shown = nics.map(({ name, kind, physical, master }) => ({ name, kind, physical, master }));
  assert.deepEqual(shown, [
    { name: 'br0', kind: 'bridge', physical: false, master: null },
    { name: 'eth0', kind: 'veth', physical: true, master: null },
    { name: 'far', kind: 'veth', physical: true, master: 'br0' },
    { name: 'sub', kind: 'macvlan', physical: false, master: null },
  ]);
  const { mac, permanentMac, driver, up, mtu, index } = named(nics, 'eth0');
  assert.deepEqual(
    { mac, permanentMac, driver, up, mtu },
    { mac: MAC, permanentMac: null, driver: null, up: false, mtu: 1400 },
  );
  assert.ok(index > 1);
  assert.equal(named(nics, 'far').up, true);
});

test('addresses and routes of both families are set, read back and taken away', () => {
  const nic = 'eth0';
  const route = { nic, metric: null, onLink: false };
  const add: Step = {
    change: [
      { type: 'up', nic },
      { type: 'add-address', nic, address: '192.0.2.10', prefix: 24 },
      { type: 'add-address', nic, address: '2001:db8:0:0:0::10', prefix: 64 },
      { ...route, type: 'add-route', network: '0.0.0.0', prefix: 0, gateway: '192.0.2.1', metric: 50 },
      { ...route, type: 'add-route', network: '::', prefix: 0, gateway: 'fe80::1' },
      { ...route, type: 'add-route', network: '198.51.100.1', prefix: 32, gateway: null },
      { ...route, type: 'add-route', network: '198.51.101.0', prefix: 24, gateway: '172.31.1.1', onLink: true },
      { ...route, type: 'add-route', network: '198.51.102.0', prefix: 24, gateway: 'fe80::2' },
    ],
  };
  const before = inNamespace({ ip: 'link set lo up' }, ...PAIR, add, add);
  assert.equal(before.failure, null);
  assert.deepEqual(
    before.addresses.map((address) => ({ ...address, unusable: null })),
    [
      { nic, address: '192.0.2.10', prefix: 24, unusable: null, dynamic: false },
      { nic, address: '2001:db8::10', prefix: 64, unusable: null, dynamic: false },
    ],
  );
  const ours = before.routes.filter(({ setBy }) => setBy === 'static');
  const common = { nic, onLink: false, setBy: 'static' };
  assert.deepEqual(ours, [
    { ...common, network: '0.0.0.0', prefix: 0, gateway: '192.0.2.1', metric: 50 },
    { ...common, network: '198.51.100.1', prefix: 32, gateway: null, metric: 0 },
    { ...common, network: '198.51.101.0', prefix: 24, gateway: '172.31.1.1', metric: 0, onLink: true },
    { ...common, network: '198.51.102.0', prefix: 24, gateway: 'fe80::2', metric: 0 },
    { ...common, network: '::', prefix: 0, gateway: 'fe80::1', metric: 1024 },
  ]);
  const kernels = before.routes.filter(({ setBy }) => setBy === 'kernel').map(({ network }) => network);
  assert.deepEqual(kernels, ['192.0.2.0', '2001:db8::']);

  const remove: Step = {
    change: [
      ...ours.map((entry) => ({ type: 'remove-route' as const, ...entry })),
      { type: 'remove-address', nic, address: '192.0.2.10', prefix: 24 },
      { type: 'remove-address', nic, address: '2001:db8::10', prefix: 64 },
      { type: 'remove-address', nic: 'gone0', address: '192.0.2.10', prefix: 24 },
    ],
  };
  const after = inNamespace(...PAIR, add, remove, remove);
  assert.deepEqual([after.failure, after.addresses, after.routes], [null, [], []]);
});

test('what has a lifetime is set for the rest of that, and what has none left is not set', () => {
  const nic = 'eth0';
  const now = Date.now();
  const until = (seconds: number): Lifetime => ({
    validUntil: now + seconds * 1000,
    preferredUntil: now + seconds * 500,
  });
  const address = { type: 'add-address', nic, prefix: 24 } as const;
  const route = { type: 'add-route', nic, prefix: 48, gateway: 'fe80::1', metric: null, onLink: false } as const;
  const { failure, addresses, routes } = inNamespace(...PAIR, {
    change: [
      { type: 'up', nic },
      { ...address, address: '192.0.2.10', lifetime: until(3600) },
      { ...address, address: '2001:db8::10', lifetime: until(3600), noPrefixRoute: true },
      { ...address, address: '192.0.2.11', lifetime: until(-1) },
      { ...route, network: '2001:db8:1::', setBy: 'dhcp', expires: now + 3600_000 },
      { ...route, network: '2001:db8:2::', setBy: 'dhcp', expires: now - 1 },
    ],
  });
  assert.equal(failure, null);
  const near = (time: number | null | undefined, wanted: number): boolean =>
    typeof time === 'number' && Math.abs(time - wanted) <= 2000;
  assert.deepEqual(
    addresses.map(({ address, dynamic, lifetime, noPrefixRoute = false }) => [
      address,
      dynamic && near(lifetime?.validUntil, now + 3600_000) && near(lifetime?.preferredUntil, now + 1800_000),
      noPrefixRoute,
    ]),
    [
      ['192.0.2.10', true, false],
      ['2001:db8::10', true, true],
    ],
  );
  const ours = routes.filter(({ setBy }) => setBy === 'dhcp');
  assert.deepEqual(
    ours.map(({ network, expires }) => [network, near(expires, now + 3600_000)]),
    [['2001:db8:1::', true]],
  );
});

test('a change that fails is named, with its device and the error of the kernel', () => {
  const nic = 'eth0';
  const unreachable = inNamespace(...PAIR, {
    change: [
      { type: 'up', nic },
      { type: 'add-route', nic, network: '0.0.0.0', prefix: 0, gateway: '203.0.113.1', metric: null, onLink: false },
    ],
  });
  assert.match(unreachable.failure!, /^adding the route 0\.0\.0\.0\/0 via 203\.0\.113\.1 on eth0: ENETUNREACH/);
  assert.equal(named(unreachable.nics, nic).up, true);
  const missing = inNamespace({ change: [{ type: 'up', nic: 'eth9' }] });
  assert.equal(missing.failure, 'there is no device eth9');
});

test("the kernel's settings of IPv6 are set; a device that it does not have is passed over", () => {
  const { failure, nics } = inNamespace(
    ...PAIR,
    { nic: 'eth0', ipv6: { advertisements: 'ignored' } },
    { nic: 'eth9', ipv6: { advertisements: 'ignored' } },
    { key: 'net/ipv6/conf/eth0/mtu', value: '1300' },
    { nic: 'eth0', ipv6: { enabled: false } },
    { change: [{ type: 'add-address', nic: 'eth0', address: '2001:db8::1', prefix: 64 }] },
  );
  assert.match(failure!, /^adding 2001:db8::1\/64 to eth0: EACCES/);
  assert.equal(named(nics, 'eth0').mtu, 1500);
});

test("the kernel's settings of IPv6 are read as they were set, and by the values that it has itself", () => {
  const all: readonly Ipv6Settings[] = [
    {
      ...{ enabled: true, forwarding: true, autoconfiguration: false },
      ...{ temporaryAddresses: 'preferred', advertisements: 'always' },
    },
    {
      ...{ enabled: true, forwarding: false, autoconfiguration: true },
      ...{ temporaryAddresses: 'made', advertisements: 'heard' },
    },
    {
      ...{ enabled: false, forwarding: false, autoconfiguration: false },
      ...{ temporaryAddresses: 'none', advertisements: 'ignored' },
    },
  ];
  for (const ipv6 of all) assert.deepEqual(inNamespace(...PAIR, { nic: 'eth0', ipv6 }).ipv6, ipv6);
  const values = { accept_ra: '2', autoconf: '0', disable_ipv6: '0', forwarding: '1', use_tempaddr: '-1' };
  const steps = Object.entries(values).map(([key, value]) => ({ key: `net/ipv6/conf/eth0/${key}`, value }));
  assert.deepEqual(inNamespace(...PAIR, ...steps).ipv6, { ...all[0], temporaryAddresses: 'none' });
});

test('a setting of IPv6 that there is not is an error, and the others are set', async () => {
  await using scratch = await createScratch();
  for (const key of ['forwarding', 'accept_ra']) await scratch.write(`proc/sys/net/ipv6/conf/eth0/${key}`, '0\n');
  const network = createNetwork(scratch.root, true);
  const settings = { forwarding: 'yes', advertisements: 'heard' } as unknown as Ipv6Settings;
  await assert.rejects(network.setIpv6('eth0', settings), { message: 'forwarding: wanted false or true, got "yes"' });
  assert.deepEqual(await network.ipv6Settings('eth0'), { forwarding: false, advertisements: 'heard' });
});

test('a route that a routing daemon has set is told as that, and can be set again as that', () => {
  const nic = 'eth0';
  const steps: readonly Step[] = [
    { change: [{ type: 'up', nic }] },
    { ip: 'route add 198.51.100.0/24 dev eth0 proto 186' },
  ];
  const [route] = inNamespace(...PAIR, ...steps).routes.filter(({ network }) => network === '198.51.100.0');
  assert.equal(route!.setBy, 'other 186');
  const again = inNamespace(...PAIR, {
    change: [
      { type: 'up', nic },
      { type: 'add-route', ...route! },
    ],
  });
  assert.deepEqual(
    again.routes.filter(({ network }) => network === '198.51.100.0'),
    [route],
  );
});
