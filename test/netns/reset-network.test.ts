import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ETH0, ETH1, NEIGHBOUR, Namespace, type Outcome, type Step } from './namespace.js';

const PUBLIC = {
  label: 'public',
  mac: ETH0.toUpperCase(),
  gateway: '203.0.113.1',
  gateway_v6: 'fe80::1',
  ips: [
    { ip: '203.0.113.10', netmask: '255.255.255.0', enabled: '1', gateway: '203.0.113.1' },
    { ip: '203.0.113.11', netmask: '255.255.255.0', enabled: '1', gateway: '203.0.113.1' },
  ],
  ip6s: [{ ip: '2001:db8:10::10', netmask: 64, enabled: '1', gateway: 'fe80::1' }],
  dns: ['2001:db8:53::53', '192.0.2.53'],
};
const PRIVATE = {
  label: 'private',
  mac: ETH1.toUpperCase(),
  gateway: null,
  ips: [{ ip: '10.180.1.20', netmask: '255.255.224.0', enabled: '1', gateway: null }],
  routes: [{ route: '10.176.0.0', netmask: '255.240.0.0', gateway: '10.180.0.1' }],
};
const FIRST: Step = { records: { '525400AA0001': PUBLIC, '525400AA0002': PRIVATE }, hostname: 'web1' };
const SECOND: Step = {
  records: {
    '525400AA0001': {
      mac: ETH0,
      gateway: '198.51.100.1',
      ips: [{ ip: '198.51.100.7', netmask: '32' }],
    },
  },
  hostname: 'web1',
};
/** An address that the other end of the link has already: duplicate address detection finds out. */
const TAKEN: Step = {
  records: {
    '525400AA0001': {
      mac: ETH0,
      ips: [{ ip: '192.0.2.9', netmask: '24' }],
      ip6s: [{ ip: NEIGHBOUR, netmask: 64 }],
    },
  },
};

function addressesOf({ addresses }: Outcome, name: string): readonly string[] {
  const found = addresses.find(({ ifname }) => ifname === name)?.addr_info ?? [];
  return found.filter(({ scope }) => scope === 'global').map(({ local, prefixlen }) => `${local}/${prefixlen}`);
}

function routesOf({ routes }: Outcome, name: string): readonly string[] {
  return routes
    .filter(({ dev, gateway }) => dev === name && gateway !== undefined)
    .map(({ dst, gateway }) => `${dst} via ${gateway ?? ''}`)
    .sort();
}

function assertFirst(outcome: Outcome): void {
  assert.deepEqual(addressesOf(outcome, 'eth0'), ['203.0.113.10/24', '203.0.113.11/24', '2001:db8:10::10/64']);
  assert.deepEqual(routesOf(outcome, 'eth0'), ['default via 203.0.113.1', 'default via fe80::1']);
  assert.deepEqual(addressesOf(outcome, 'eth1'), ['10.180.1.20/19']);
  assert.deepEqual(routesOf(outcome, 'eth1'), ['10.176.0.0/12 via 10.180.0.1']);
  assert.equal(outcome.hostname, 'web1');
}

/** The same story for every consumer. */
async function story(namespace: Namespace): Promise<void> {
  const first = await namespace.reset(FIRST);
  assert.deepEqual(first.reply, { returncode: '0', message: '' });
  assertFirst(first);

  const again = await namespace.reset(FIRST);
  assert.deepEqual(again.reply, { returncode: '0', message: '' });
  assert.deepEqual(again.programs, [], 'the same data again runs nothing');

  const second = await namespace.reset(SECOND);
  assert.deepEqual(second.reply, { returncode: '0', message: '' });
  assert.deepEqual(addressesOf(second, 'eth0'), ['198.51.100.7/32']);
  assert.deepEqual(routesOf(second, 'eth0'), ['default via 198.51.100.1'], 'a gateway outside the subnet');
  assert.deepEqual(addressesOf(second, 'eth1'), [], 'what the host no longer publishes goes');

  const taken = await namespace.reset(TAKEN);
  assert.equal(taken.reply.returncode, '500');
  assert.match(taken.reply.message, new RegExp(`^Network was put back: wanted ${NEIGHBOUR}/64 on eth0, got `));
  assert.deepEqual(addressesOf(taken, 'eth0'), ['198.51.100.7/32'], 'the old network is back');
  assert.deepEqual(routesOf(taken, 'eth0'), ['default via 198.51.100.1']);

  const back = await namespace.reset(FIRST);
  assert.deepEqual(back.reply, { returncode: '0', message: '' });
  assertFirst(back);
}

suite('resetnetwork by the real consumers, in a network namespace', () => {
  test('ifup and ifdown of ifupdown', { timeout: 300_000 }, async () => {
    await using namespace = new Namespace();
    await namespace.write({
      '/etc/network/interfaces': '# kept\nsource /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n',
      '/etc/network/interfaces.d/50-cloud-init': 'auto eth0\niface eth0 inet dhcp\n',
      '/etc/resolv.conf': 'search example.org\n',
      '/etc/hosts': '127.0.0.1\tlocalhost\n',
    });
    await story(namespace);
  });

  test('netplan apply, with systemd-networkd in a booted systemd', { timeout: 300_000 }, async () => {
    await using namespace = new Namespace();
    await namespace.write(
      {
        '/etc/netplan/50-cloud-init.yaml':
          '# kept\nnetwork:\n  version: 2\n  ethernets:\n    eth0:\n      dhcp4: true\n    other0:\n      optional: true\n',
      },
      0o600,
    );
    await namespace.write({ '/etc/hosts': '127.0.0.1\tlocalhost\n' });
    await namespace.boot();
    await story(namespace);
    const left = namespace.inside('cat', '/etc/netplan/50-cloud-init.yaml');
    assert.equal(left, '# kept\nnetwork:\n  version: 2\n  ethernets:\n    other0:\n      optional: true\n');
  });
});
