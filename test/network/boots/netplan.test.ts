/** What netplan brings at a boot, by definitions as people have them; what the real generators make is read too. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { withChanges } from '../../../ts/network/plan.js';
import { compareBoot } from '../../../ts/network/proof.js';
import { netplan } from '../../../ts/network/renderers/linux/netplan.js';
import { networkd } from '../../../ts/network/renderers/linux/networkd.js';
import { networkmanager } from '../../../ts/network/renderers/linux/networkmanager.js';
import { suites } from '../../support/debian-root.js';
import { factsOf, planOf } from '../cases.js';
import { ETH0, nic } from '../inputs.js';
import { generated } from '../netplan-generate.js';
import { linesOf } from './boot.js';

const CLOUD = '/etc/netplan/50-cloud-init.yaml';

type Files = Readonly<Record<string, string>>;

interface Example {
  readonly what: string;
  readonly files: Files;
  readonly brings: readonly string[];
}

/** `body`: of eth0. */
function one(what: string, body: string, ...brings: readonly string[]): Example {
  return { what, files: { [CLOUD]: `network: {version: 2, ethernets: {eth0: {${body}}}}\n` }, brings };
}

function managed({ what, files, brings }: Example): Example {
  const text = (files[CLOUD] ?? '').replace('version: 2', 'version: 2, renderer: NetworkManager');
  return { what: `${what}, by NetworkManager`, files: { [CLOUD]: text }, brings };
}

const ROUTES =
  'routes: [{to: default, via: 192.0.2.1}, {to: "10.0.0.0/8", via: 192.0.2.2, metric: 50}, ' +
  '{to: "10.1.0.0/16", scope: link}, {to: "10.2.0.0/16", via: 192.0.2.3, table: 100}]';
const ROUTED = ['default via 192.0.2.1', '10.0.0.0/8 via 192.0.2.2 metric 50', '10.1.0.0/16'];

/** From the examples of netplan and cloud-init, and from reports. */
const EXAMPLES: readonly Example[] = [
  one('DHCP', 'dhcp4: true', 'dhcp4', 'auto6 either'),
  one('the words of YAML 1.1', 'dhcp4: yes, accept-ra: no', 'dhcp4'),
  one('DHCP of both', 'dhcp4: true, dhcp6: true', 'dhcp4', 'auto6 either'),
  one(
    'a static network',
    'addresses: [192.0.2.9/24, "2001:db8::9/64"], gateway4: 192.0.2.1, accept-ra: false',
    '192.0.2.9/24',
    '2001:db8::9/64',
    'default via 192.0.2.1',
  ),
  one('routes', `addresses: [192.0.2.9/24], accept-ra: false, ${ROUTES}`, '192.0.2.9/24', ...ROUTED),
  one(
    'default routes of IPv6',
    'addresses: ["2001:db8::9/64"], accept-ra: false, routes: [{to: default, via: "fe80::1"}, {to: "2001:db8:5::/48", via: "2001:db8::1"}]',
    '2001:db8::9/64',
    'default via fe80::1',
    '2001:db8:5::/48 via 2001:db8::1',
  ),
  one(
    'an address with options',
    'addresses: [192.0.2.9/24, "192.0.2.8/24": {label: "eth0:x"}], accept-ra: false',
    '192.0.2.9/24',
    '192.0.2.8/24',
  ),
  one('no link-local address, no IPv6', 'dhcp4: true, link-local: []', 'dhcp4'),
  one('an MTU', 'mtu: 9000, accept-ra: false, addresses: [192.0.2.9/24]', '192.0.2.9/24', 'mtu 9000'),
  one('brought up by hand only', 'activation-mode: manual, addresses: [192.0.2.9/24]'),
  managed(one('DHCP', 'dhcp4: true', 'dhcp4', 'auto6 ra')),
  managed(
    one(
      'a static network',
      'addresses: [192.0.2.9/24, "2001:db8::9/64"], gateway4: 192.0.2.1',
      '192.0.2.9/24',
      '2001:db8::9/64',
      'default via 192.0.2.1',
    ),
  ),
  managed(
    one('routes', `addresses: [192.0.2.9/24], dhcp6: true, ${ROUTES}`, '192.0.2.9/24', ...ROUTED, 'auto6 either'),
  ),
  managed(one('accept-ra is not told', 'accept-ra: false, addresses: [192.0.2.9/24]', '192.0.2.9/24', 'auto6 ra')),
  managed(one('an MTU', 'mtu: 1400, dhcp6: true', 'auto6 either', 'mtu 1400')),
  managed(
    one(
      'what is passed through',
      'addresses: [192.0.2.9/24], networkmanager: {passthrough: {ipv6.method: "link-local"}}',
      '192.0.2.9/24',
    ),
  ),
  {
    what: 'definitions of several files are merged, lists joined',
    files: {
      [CLOUD]: 'network: {version: 2, ethernets: {eth0: {dhcp4: true, accept-ra: false, addresses: [192.0.2.9/24]}}}\n',
      '/run/netplan/60-more.yaml': 'network: {version: 2, ethernets: {eth0: {addresses: [192.0.2.8/24], mtu: 1400}}}\n',
      '/lib/netplan/70-last.yaml': 'network: {version: 2, ethernets: {eth0: {dhcp4: false}}}\n',
    },
    brings: ['192.0.2.9/24', '192.0.2.8/24', 'mtu 1400'],
  },
  {
    what: 'the id that comes first takes the device, by a pattern too',
    files: {
      [CLOUD]: 'network: {version: 2, ethernets: {eth0: {addresses: [192.0.2.9/24]}}}\n',
      '/etc/netplan/90-default.yaml':
        'network: {version: 2, ethernets: {all: {match: {name: "e*"}, dhcp4: true, accept-ra: false}}}\n',
    },
    brings: ['dhcp4'],
  },
  {
    what: 'another device',
    files: { [CLOUD]: 'network: {version: 2, ethernets: {eth1: {dhcp4: true}}}\n' },
    brings: ['nothing'],
  },
];

function bootOf(files: Files): readonly string[] {
  return linesOf(netplan.boot(factsOf({}, new Map(Object.entries(files))), ETH0));
}

suite('netplan: what a boot brings', () => {
  for (const { what, files, brings } of EXAMPLES) {
    test(what, () => {
      assert.deepEqual(bootOf(files), brings);
    });
  }

  for (const release of suites()) {
    test(`what the generator of ${release} makes says the same`, () => {
      for (const { what, files, brings } of EXAMPLES) {
        const facts = factsOf({}, generated(release, new Map(Object.entries(files))));
        const manager = linesOf(networkmanager.boot(facts, ETH0));
        const lines = manager[0] === 'nothing' ? linesOf(networkd.boot(facts, ETH0)) : manager;
        assert.deepEqual(lines, brings, what);
      }
    });
  }

  test('an id may be another name of the device, by which networkd takes it, too', () => {
    const files = new Map([[CLOUD, 'network: {version: 2, ethernets: {ens3: {dhcp4: true, accept-ra: false}}}\n']]);
    const called = { ...ETH0, alternativeNames: ['enp0s3', 'ens3'] };
    assert.deepEqual(linesOf(netplan.boot(factsOf({}, files), called)), ['dhcp4']);
    assert.deepEqual(linesOf(netplan.boot(factsOf({}, files), ETH0)), ['nothing']);
  });

  test('a file of networkd that comes first has the last word, and so has a drop-in', () => {
    const files = {
      [CLOUD]: 'network: {version: 2, ethernets: {eth0: {addresses: [192.0.2.9/24], accept-ra: false}}}\n',
    };
    const first = {
      '/usr/lib/systemd/network/05-a.network': '[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\n',
    };
    assert.deepEqual(bootOf({ ...files, ...first }), ['dhcp4']);
    const more = { '/etc/systemd/network/10-netplan-eth0.network.d/x.conf': '[Network]\nAddress=192.0.2.8/24\n' };
    assert.deepEqual(bootOf({ ...files, ...more }), ['192.0.2.9/24', '192.0.2.8/24']);
    const stale = { '/run/systemd/network/10-netplan-aa.network': '[Match]\nName=eth0\n[Network]\nDHCP=yes\n' };
    assert.deepEqual(bootOf({ ...files, ...stale }), ['192.0.2.9/24']);
  });
});

suite('netplan: the proof of a boot', () => {
  const networking = { a: { mac: ETH0.mac, ips: [{ ip: '203.0.113.10', netmask: '255.255.255.0' }] } };
  const given = (files: Files): ReturnType<typeof factsOf> => {
    const all = new Map(Object.entries({ [CLOUD]: 'network: {version: 2}\n', ...files }));
    return factsOf({ networking, nics: [nic('eth0', ETH0.mac)], present: ['/usr/sbin/netplan'] }, all);
  };

  for (const [what, files, path] of [
    [
      'a file of networkd that comes first',
      { '/etc/systemd/network/05-a.network': '[Match]\nName=eth*\n[Network]\nDHCP=yes\n' },
      '/etc/systemd/network/05-a.network',
    ],
    [
      'a drop-in for what netplan makes',
      { '/etc/systemd/network/10-netplan-eth0.network.d/x.conf': '[Network]\nAddress=203.0.113.66/24\n' },
      '/etc/systemd/network/10-netplan-eth0.network.d/x.conf',
    ],
    [
      'a drop-in that makes the device a port of a bridge',
      { '/etc/systemd/network/10-netplan-eth0.network.d/x.conf': '[Network]\nBridge=br0\n' },
      '/etc/systemd/network/10-netplan-eth0.network.d/x.conf',
    ],
    [
      'a profile of NetworkManager that goes before',
      {
        [CLOUD]: 'network: {version: 2, renderer: NetworkManager}\n',
        '/etc/NetworkManager/system-connections/office':
          '[connection]\nid=office\ntype=ethernet\nautoconnect-priority=5\n',
      },
      '/etc/NetworkManager/system-connections/office',
    ],
  ] as const) {
    test(`${what} refuses by its path`, () => {
      assert.throws(
        () => planOf(given(files)),
        (error: Error & { code?: string }) => {
          assert.equal(error.code, 'GW_NETWORK_BOOT');
          assert.ok(error.message.includes(path), error.message);
          return true;
        },
      );
    });
  }

  test('with NetworkManager, IPv6 is not left to the kernel, and routers are heard beside static addresses', () => {
    const manager = { [CLOUD]: 'network: {version: 2, renderer: NetworkManager}\n' };
    const facts = given(manager);
    for (const auto6 of [null, 'ra', 'dhcp'] as const) {
      for (const ipv6 of [[], [{ address: '2001:db8::9', prefix: 64 }]]) {
        const interfaces = facts.interfaces.map((config) => ({ ...config, auto6, ipv6 }));
        const wanted = { ...facts, interfaces };
        const done = withChanges(wanted, planOf(wanted).files);
        for (const release of suites()) {
          const made = { ...done, files: generated(release, done.files) };
          assert.equal(compareBoot(made, networkmanager), null, `${String(auto6)} ${ipv6.length} on ${release}`);
        }
      }
    }
  });
});
