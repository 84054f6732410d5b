/** What systemd-networkd brings at a boot, by files as people have them; a real one is asked too. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite, test } from 'node:test';
import { withChanges } from '../../../ts/network/plan.js';
import { compareBoot } from '../../../ts/network/proof.js';
import { networkd } from '../../../ts/network/renderers/linux/networkd.js';
import { normal } from '../../netns/kernel.js';
import { Namespace } from '../../netns/namespace.js';
import { suites } from '../../support/debian-root.js';
import { factsOf, planOf } from '../cases.js';
import { ETH0 } from '../inputs.js';
import { keptOf, linesOf } from './boot.js';

const ETC = '/etc/systemd/network/';
const LIB = '/usr/lib/systemd/network/';

interface Example {
  readonly what: string;
  readonly files: Readonly<Record<string, string>>;
  readonly brings: readonly string[];
  /** `ip` tells it in other words. */
  readonly unseen?: true;
}

function one(what: string, text: string, ...brings: readonly string[]): Example {
  return { what, files: { [`${ETC}20-wired.network`]: `[Match]\nName=eth0\n${text}\n` }, brings };
}

/** From systemd.network(5), the wikis of distributions and reports. Those of IPv6 routes need no duplicate detection. */
const EXAMPLES: readonly Example[] = [
  one(
    'a static network',
    '[Network]\nAddress=203.0.113.9/24\nGateway=203.0.113.1',
    '203.0.113.9/24',
    'default via 203.0.113.1',
    'auto6 either',
  ),
  one('what says nothing of IPv6 listens to routers', '[Network]\nDHCP=ipv4', 'dhcp4', 'auto6 either'),
  one(
    'DHCP=yes is both families',
    '[Network]\nDHCP=yes\nIPv6AcceptRA=no\n[DHCPv6]\nWithoutRA=solicit',
    'dhcp4',
    'auto6 dhcp',
  ),
  one('DHCPv6 alone waits for a router', '[Network]\nDHCP=ipv6\nIPv6AcceptRA=no'),
  one('the last DHCP= counts', '[Network]\nDHCP=yes\nDHCP=no\nIPv6AcceptRA=no'),
  one('names of old', '[Network]\nDHCP=both\nIPv6AcceptRouterAdvertisements=false', 'dhcp4'),
  one('a router does not listen', '[Network]\nAddress=203.0.113.9/24\nIPMasquerade=both', '203.0.113.9/24'),
  one('without a link-local address there is no IPv6', '[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=yes'),
  one('advertisements without a client', '[Network]\nIPv6AcceptRA=1\n[IPv6AcceptRA]\nDHCPv6Client=no', 'auto6 ra'),
  one(
    'advertisements without addresses',
    '[Network]\nIPv6AcceptRA=1\n[IPv6AcceptRA]\nUseAutonomousPrefix=off',
    'auto6 dhcp',
  ),
  one(
    'addresses and routes in sections of their own',
    '[Network]\nAddress=203.0.113.9/24\nIPv6AcceptRA=no\n[Address]\nAddress=198.51.100.9/25\nPreferredLifetime=forever\n[Address]\nAddress=2001:db8::9/64\n' +
      '[Route]\nGateway=203.0.113.1\nMetric=50\n[Route]\nDestination=10.0.0.0/8\nGateway=198.51.100.1\n[Route]\nDestination=192.0.2.0/24\nScope=link\n[Route]\nGateway=fe80::1',
    '203.0.113.9/24',
    '198.51.100.9/25',
    '2001:db8::9/64',
    'default via 203.0.113.1 metric 50',
    '10.0.0.0/8 via 198.51.100.1',
    '192.0.2.0/24',
    'default via fe80::1',
  ),
  one(
    'an empty value takes back, in newer releases',
    '[Network]\nAddress=203.0.113.9/24\nGateway=203.0.113.1\nAddress=\nGateway=\nAddress=203.0.113.8/24\nIPv6AcceptRA=no',
    '203.0.113.8/24',
    'or',
    '203.0.113.9/24',
    '203.0.113.8/24',
    'default via 203.0.113.1',
  ),
  one(
    'a gateway on the link',
    '[Network]\nAddress=203.0.113.9/32\nIPv6AcceptRA=no\n[Route]\nGateway=172.31.1.1\nGatewayOnLink=yes',
    '203.0.113.9/32',
    'default via 172.31.1.1',
  ),
  one(
    'a peer has the prefix',
    '[Network]\nIPv6AcceptRA=no\n[Address]\nAddress=203.0.113.9/32\nPeer=203.0.113.1/32',
    '203.0.113.9/32',
  ),
  one(
    'other tables and what leads nowhere do not count',
    '[Network]\nAddress=203.0.113.9/24\nIPv6AcceptRA=no\n[Route]\nGateway=203.0.113.1\nTable=100\n[Route]\nDestination=10.0.0.0/8\nType=blackhole',
    '203.0.113.9/24',
  ),
  {
    unseen: true,
    ...one(
      'several gateways',
      '[Network]\nAddress=203.0.113.9/24\nIPv6AcceptRA=no\n[Route]\nDestination=10.0.0.0/8\nMultiPathRoute=203.0.113.1@eth0 10\nMultiPathRoute=203.0.113.2@eth0',
      '203.0.113.9/24',
      '10.0.0.0/8 via 203.0.113.1',
      '10.0.0.0/8 via 203.0.113.2',
    ),
  },
  one(
    'the device as default route',
    '[Network]\nAddress=203.0.113.9/24\nIPv6AcceptRA=no\nDefaultRouteOnDevice=yes',
    '203.0.113.9/24',
    'default',
  ),
  one(
    'jumbo frames',
    '[Link]\nMTUBytes=9K\n[Network]\nAddress=203.0.113.9/24\nIPv6AcceptRA=no',
    '203.0.113.9/24',
    'mtu 9216',
  ),
  one('unmanaged', '[Link]\nUnmanaged=yes\n[Network]\nAddress=203.0.113.9/24'),
  one('brought up by hand only', '[Link]\nActivationPolicy=manual\n[Network]\nDHCP=yes'),
  {
    what: 'drop-ins of all folders, by name; the main file of the first folder',
    files: {
      [`${ETC}20-wired.network`]:
        '[Match]\nName=eth[0]\n[Network]\nAddress=203.0.113.9/24\nDHCP=yes\nIPv6AcceptRA=no\n',
      [`${LIB}20-wired.network`]: '[Match]\nName=eth0\n[Network]\nAddress=192.0.2.9/24\n',
      [`${LIB}20-wired.network.d/20-b.conf`]: '[Network]\nAddress=198.51.100.9/24\nDHCP=no\n',
      [`${ETC}20-wired.network.d/10-a.conf`]: '[Network]\nDHCP=ipv4\n[Link]\nMTUBytes=1400\n',
      [`${ETC}90-last.network`]: '[Match]\nName=eth0\n[Network]\nAddress=192.0.2.8/24\n',
    },
    brings: ['203.0.113.9/24', '198.51.100.9/24', 'mtu 1400'],
  },
  {
    what: 'a file of another device',
    files: { [`${ETC}20-a.network`]: '[Match]\nName=eth1\n[Network]\nDHCP=yes\n' },
    brings: ['nothing'],
  },
];

function bootOf(files: ReadonlyMap<string, string>): readonly string[] {
  return linesOf(networkd.boot(factsOf({}, files), ETH0));
}

suite('systemd-networkd: what a boot brings', () => {
  for (const { what, files, brings } of EXAMPLES) {
    test(what, () => {
      assert.deepEqual(bootOf(new Map(Object.entries(files))), brings);
    });
  }

  test('a file that may take the device, and the one that does otherwise', () => {
    const text = (match: string, host: number): string => {
      return `[Match]\n${match}\n[Network]\nAddress=203.0.113.${host}/24\nIPv6AcceptRA=no\n`;
    };
    const files = new Map([
      [`${ETC}10-a.network`, text('Virtualization=xen', 8)],
      [`${ETC}20-b.network`, text('Name=eth0', 9)],
    ]);
    assert.deepEqual(bootOf(files), ['203.0.113.8/24', 'or', '203.0.113.9/24']);
  });

  test('the files are named', () => {
    const files = new Map([
      [`${ETC}a.network`, '[Match]\nName=eth0\n'],
      [`${LIB}a.network.d/x.conf`, '[Network]\nDHCP=yes\n'],
    ]);
    assert.equal(networkd.boot(factsOf({}, files), ETH0)?.by, `${ETC}a.network, ${LIB}a.network.d/x.conf`);
  });
});

suite('systemd-networkd: the proof of a boot', () => {
  const networking = {
    a: { mac: ETH0.mac, ips: [{ ip: '203.0.113.10', netmask: '255.255.255.0' }], gateway: '203.0.113.1' },
  };
  const facts = factsOf(
    { networking, nics: [ETH0], present: ['/etc/systemd/system/multi-user.target.wants/systemd-networkd.service'] },
    new Map(),
  );
  const done = withChanges(facts, planOf(facts).files);

  test('holds of our own file', () => {
    assert.equal(compareBoot(done, networkd), null);
  });

  const SAME = '[Network]\nAddress=203.0.113.10/24\nGateway=203.0.113.1\n';
  for (const [path, text, got] of [
    [`${ETC}00-hook.network`, '[Match]\nName=eth0\n[Network]\nAddress=203.0.113.66/24\n', '203.0.113.66/24'],
    [`${LIB}00-maybe.network`, `[Match]\nHost=web1\n${SAME}DHCP=ipv4\nIPv6AcceptRA=no\n`, 'DHCP'],
    [`${ETC}05-guestwire-eth0.network.d/x.conf`, '[Network]\nAddress=203.0.113.66/24\n', '203.0.113.66/24'],
    [`${ETC}05-guestwire-eth0.network.d/x.conf`, '[Route]\nGateway=203.0.113.2\n', 'default via 203.0.113.2'],
    [`${ETC}05-guestwire-eth0.network.d/x.conf`, '[Match]\nHost=web1\n', 'none that counts'],
  ] as const) {
    test(`fails by ${path} with ${got}`, () => {
      const mismatch = compareBoot({ ...done, files: new Map(done.files).set(path, text) }, networkd);
      assert.ok(mismatch?.got.startsWith(got), JSON.stringify(mismatch));
      if (got !== 'none that counts') assert.ok(mismatch?.got.includes(path), mismatch?.got);
    });
  }
});

suite('systemd-networkd: the real one brings what the reader says', () => {
  for (const release of suites()) {
    test(`of ${release}`, async () => {
      await using namespace = new Namespace(release);
      await namespace.start();
      for (const { what, files } of EXAMPLES.filter(({ unseen }) => unseen !== true)) {
        const boot = networkd.boot(factsOf({}, new Map(Object.entries(files))), ETH0);
        const [sure, other] = [boot, boot?.or].map((one) => ({ eth0: keptOf(one ?? null) }));
        await bring(namespace, files);
        const isOther = boot?.or !== undefined && namespace.kernel().shows(other!);
        const wanted = isOther ? other! : sure!;
        const kernel = await namespace.settles(wanted, 30_000);
        assert.deepEqual(kernel.inWordsOf(wanted), normal(wanted), what);
        namespace.script('kill $(cat /tmp/pid); while readlink /proc/$(cat /tmp/pid)/exe; do sleep 0.05; done');
      }
    });
  }
});

/** Starts networkd with these files alone, and waits until it has dealt with eth0: with a client it never ends. */
async function bring(namespace: Namespace, files: Example['files']): Promise<void> {
  namespace.script(`rm -rf ${ETC} ${LIB} /run/systemd/netif; mkdir -p ${ETC} ${LIB} /run/systemd/netif/links`);
  for (const [path, text] of Object.entries(files)) {
    namespace.script(`mkdir -p $(dirname ${path}); printf '%s' '${text}' > ${path}`);
  }
  namespace.script('chown -R systemd-network /run/systemd');
  namespace.strip();
  namespace.script('/usr/lib/systemd/systemd-networkd >/tmp/log 2>&1 & echo $! >/tmp/pid');
  const state = 'cat /run/systemd/netif/links/$(cat /sys/class/net/eth0/ifindex) 2>/dev/null || true';
  for (let looks = 0; looks < 300; looks += 1) {
    await sleep(100);
    if (/ADMIN_STATE=(configur|unmanaged)/.test(namespace.script(state))) break;
  }
  // Where nothing is to come, it would be too early now.
  await sleep(700);
}
