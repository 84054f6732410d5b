/** What NetworkManager brings at a boot, by profiles as people have them; its own reader is asked too. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { suite, test } from 'node:test';
import { withChanges } from '../../../ts/network/plan.js';
import { compareBoot } from '../../../ts/network/proof.js';
import { networkmanager } from '../../../ts/network/renderers/linux/networkmanager.js';
import { debianRoot, suites } from '../../support/debian-root.js';
import { factsOf, planOf } from '../cases.js';
import { ETH0 } from '../inputs.js';
import { linesOf } from './boot.js';

const ETC = '/etc/NetworkManager/system-connections/';
const HEAD = '[connection]\nid=one\nuuid=5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03\ntype=ethernet\ninterface-name=eth0\n';
const NO6 = '[ipv6]\nmethod=disabled\n';

/** From nm-settings-keyfile(5), the guides of distributions and reports. */
const EXAMPLES: readonly (readonly [what: string, text: string, ...brings: string[]])[] = [
  ['a profile that says nothing takes all from the network', '', 'dhcp4', 'auto6 either'],
  [
    'a static network',
    `[ipv4]\nmethod=manual\naddress1=192.0.2.9/24,192.0.2.1\n${NO6}`,
    '192.0.2.9/24',
    'default via 192.0.2.1',
  ],
  [
    'a gateway of its own',
    `[ipv4]\nmethod=manual\naddress1=192.0.2.9/24\naddress2=192.0.2.8/25\ngateway=192.0.2.1\n${NO6}`,
    '192.0.2.9/24',
    '192.0.2.8/25',
    'default via 192.0.2.1',
  ],
  [
    'the forms of old',
    `[ipv4]\nmethod=manual\naddresses1=192.0.2.9;24;192.0.2.1;\naddresses2=198.51.100.9/25\nroutes1=10.2.0.0/16;192.0.2.2;7;\n${NO6}`,
    '192.0.2.9/24',
    '198.51.100.9/25',
    'default via 192.0.2.1',
    '10.2.0.0/16 via 192.0.2.2 metric 7',
  ],
  [
    'numbers give the order',
    `[ipv4]\nmethod=manual\naddress10=192.0.2.10/24\naddress2=192.0.2.2/24\n${NO6}`,
    '192.0.2.2/24',
    '192.0.2.10/24',
  ],
  [
    'routes with and without a gateway or a metric',
    `[ipv4]\nmethod=manual\naddress1=192.0.2.9/24\nroute1=10.0.0.0/8,192.0.2.1\nroute2=10.1.0.0/16\nroute3=10.2.0.0/16,0.0.0.0,50\nroute4=10.3.0.0/16,192.0.2.2,60\n${NO6}`,
    '192.0.2.9/24',
    '10.0.0.0/8 via 192.0.2.1',
    '10.1.0.0/16',
    '10.2.0.0/16 metric 50',
    '10.3.0.0/16 via 192.0.2.2 metric 60',
  ],
  [
    'a route of another table does not count',
    `[ipv4]\nmethod=manual\naddress1=192.0.2.9/24\nroute1=0.0.0.0/0,192.0.2.1\nroute1_options=table=100\nroute2=10.0.0.0/8,192.0.2.1\nroute2_options=mtu=1400,onlink=true\n${NO6}`,
    '192.0.2.9/24',
    '10.0.0.0/8 via 192.0.2.1',
  ],
  [
    'addresses beside those of DHCP, and a metric for all',
    `[ipv4]\nmethod=auto\naddress1=192.0.2.9/24\nroute1=10.0.0.0/8,192.0.2.1\nroute-metric=300\n${NO6}`,
    '192.0.2.9/24',
    '10.0.0.0/8 via 192.0.2.1 metric 300',
    'dhcp4',
  ],
  [
    'IPv6 by hand',
    '[ipv4]\nmethod=disabled\n[ipv6]\nmethod=manual\naddr-gen-mode=stable-privacy\naddress1=2001:db8::9/64\ngateway=fe80::1\nroute1=2001:db8:5::/48,2001:db8::1\n',
    '2001:db8::9/64',
    'default via fe80::1',
    '2001:db8:5::/48 via 2001:db8::1',
  ],
  [
    'IPv6 by the router',
    '[ipv4]\nmethod=disabled\n[ipv6]\nmethod=auto\naddress1=2001:db8::9/64\nmay-fail=false\n',
    '2001:db8::9/64',
    'auto6 either',
  ],
  ['DHCPv6 alone', '[ipv4]\nmethod=disabled\n[ipv6]\nmethod=dhcp\n', 'auto6 dhcp'],
  ['IPv6 that is left to the kernel', '[ipv4]\nmethod=link-local\n[ipv6]\nmethod=ignore\n', 'auto6 ra'],
  ['link-local addresses do not count', '[ipv4]\nmethod=link-local\n[ipv6]\nmethod=link-local\n'],
  ['a shared network', `[ipv4]\nmethod=shared\naddress1=192.0.2.1/24\n${NO6}`, '192.0.2.1/24'],
  ['an MTU', `[ethernet]\nmtu=9000\n[ipv4]\nmethod=disabled\n${NO6}`, 'mtu 9000'],
  [
    'an MTU under the old name of its section',
    `[802-3-ethernet]\nmtu=1400\n[ipv4]\nmethod=disabled\n${NO6}`,
    'mtu 1400',
  ],
  ['a family without a method is not loaded', `[ipv4]\naddress1=192.0.2.9/24\n${NO6}`, 'nothing'],
];

type Files = ReadonlyMap<string, string>;

function bootOf(files: Files): readonly string[] {
  return linesOf(networkmanager.boot(factsOf({}, files), ETH0));
}

function profileOf(text: string): Files {
  return new Map([[`${ETC}one.nmconnection`, HEAD + text]]);
}

suite('NetworkManager: what a boot brings', () => {
  for (const [what, text, ...brings] of EXAMPLES) {
    test(what, () => {
      assert.deepEqual(bootOf(profileOf(text)), brings);
    });
  }

  const named = (priority: number, host: number, more = ''): string => {
    const head = HEAD.replace('id=one', `id=p${host}`).replace('d6edd65f3e03', `d6edd65f3e${host}`);
    return `${head}autoconnect-priority=${priority}\n${more}[ipv4]\nmethod=manual\naddress1=192.0.2.${host}/24\n${NO6}`;
  };

  test('the highest priority wins; those that do not start by themselves do not count', () => {
    const files = new Map([
      [`${ETC}a`, named(5, 11)],
      [`/usr/lib/NetworkManager/system-connections/b.nmconnection`, named(7, 12)],
      [`${ETC}c`, named(9, 13, 'autoconnect=false\n')],
    ]);
    assert.deepEqual(bootOf(files), ['192.0.2.12/24']);
  });

  test('among equals, and where a condition cannot be told, each may win', () => {
    const files = new Map([
      [`${ETC}a`, named(5, 11)],
      [`${ETC}b`, named(7, 12, '[match]\nkernel-command-line=rescue;\n')],
      [`${ETC}c`, named(5, 13)],
      [`${ETC}d`, named(1, 14)],
    ]);
    assert.deepEqual(bootOf(files), ['192.0.2.12/24', 'or', '192.0.2.11/24', 'or', '192.0.2.13/24']);
  });

  test('no profile is nothing that counts, and a port has no addresses', () => {
    assert.deepEqual(bootOf(new Map()), ['nothing']);
    const port = HEAD + 'controller=br0\nport-type=bridge\n[ipv4]\nmethod=manual\naddress1=192.0.2.9/24\n';
    assert.deepEqual(bootOf(new Map([[`${ETC}a`, port]])), []);
  });
});

suite('NetworkManager: its own reader says the same', () => {
  for (const release of suites()) {
    test(`of ${release}`, () => {
      for (const [what, text, ...brings] of EXAMPLES) {
        const nmcli = ['nmcli', '--offline', 'connection', 'modify', 'connection.id', 'one'];
        const { status, stdout, stderr } = spawnSync('chroot', [debianRoot(release), ...nmcli], {
          input: HEAD + text,
          encoding: 'utf8',
        });
        // It ends with 0 where it does not load a profile, and prints none.
        const normal: Files = stdout === '' ? new Map() : new Map([[`${ETC}one.nmconnection`, stdout]]);
        assert.deepEqual(bootOf(normal), brings, `${what}\n${stderr}`);
        assert.ok(status === 0 || brings[0] === 'nothing', stderr);
      }
    });
  }
});

suite('NetworkManager: the proof of a boot', () => {
  const networking = {
    a: { mac: ETH0.mac, ips: [{ ip: '203.0.113.10', netmask: '255.255.255.0' }], gateway: '203.0.113.1' },
  };
  const facts = factsOf({ networking, nics: [ETH0], present: ['/usr/sbin/NetworkManager'] }, new Map());
  const done = withChanges(facts, planOf(facts).files);

  test('holds of our own profile', () => {
    assert.equal(compareBoot(done, networkmanager), null);
  });

  test('fails by a profile that a hook has put above ours, and names it', () => {
    const path = '/run/NetworkManager/system-connections/hook.nmconnection';
    const text = `${HEAD}autoconnect-priority=500\n[ipv4]\nmethod=auto\n${NO6}`;
    const mismatch = compareBoot({ ...done, files: new Map(done.files).set(path, text) }, networkmanager);
    assert.deepEqual(mismatch, { wanted: '203.0.113.10/24 on eth0', got: `none by ${path}` });
  });
});
