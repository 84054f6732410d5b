/** Which file of systemd-networkd takes a device, and what becomes of those who refer to it. */
import assert from 'node:assert/strict';
import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { AgentError } from '../../../ts/api/errors.js';
import { inspect } from '../../../ts/network/act/gather.js';
import { takersOf } from '../../../ts/network/owners/networkd.js';
import type { FileAccess } from '../../../ts/network/plan.js';
import { networkd } from '../../../ts/network/renderers/linux/networkd.js';
import { createScratchHost } from '../../support/scratch-host.js';
import { createScratch } from '../../support/scratch.js';
import { factsOf } from '../cases.js';
import { ETH0 } from '../inputs.js';

const NETWORKING = {
  A: {
    label: 'public',
    mac: ETH0.mac,
    ips: [{ ip: '203.0.113.10', netmask: '255.255.255.0' }],
    gateway: '203.0.113.1',
  },
};
const ETC = '/etc/systemd/network/';
const RUN = '/run/systemd/network/';
const LIB = '/usr/lib/systemd/network/';
const OURS = `${ETC}05-guestwire-eth0.network`;
const MINE = '[Match]\nName=eth0\n\n[Network]\nAddress=203.0.113.9/24\n';

type Files = Readonly<Record<string, string>>;

/** The files of networkd as they are after a plan. */
function after(files: Files): Map<string, string> {
  const now = new Map(Object.entries(files));
  for (const change of networkd.render(factsOf({ networking: NETWORKING, nics: [ETH0] }, now)).files) {
    if (change.type === 'remove') now.delete(change.path);
    else now.set(change.path, Buffer.from(change.content).toString('utf8'));
  }
  return now;
}

function taker(files: ReadonlyMap<string, string>): string | undefined {
  return takersOf(files, ETH0)[0]?.path;
}

function refusal(files: Files): string {
  try {
    after(files);
  } catch (error) {
    assert.ok(error instanceof AgentError);
    assert.equal(error.code, 'GW_NETWORK_IMPOSSIBLE');
    return error.message;
  }
  return 'not refused';
}

suite('which .network file takes a device', () => {
  const takes = (match: string): boolean =>
    takersOf(new Map([[`${ETC}10-a.network`, `[Match]\n${match}\n`]]), ETH0).length > 0;

  test('lists, globs, ! and several keys count as networkd counts them', () => {
    for (const match of [
      'Name=eth*',
      'Name=eth1 eth[0-3]',
      'Name=!eth1 eth2',
      'Name=eth1\nName=eth0',
      'Type=ether',
      'Name=e*\nDriver=v?f',
    ]) {
      assert.ok(takes(match), match);
    }
    for (const match of [
      'Name=eth',
      'Name=!eth0',
      'Name=! eth*',
      'Name=eth0\nType=wlan',
      'Name=eth0\nName=\nType=vlan',
      'Kind=veth',
      '#',
    ]) {
      assert.ok(!takes(match), match);
    }
    assert.ok(takes('MACAddress=52-54-00-AA-00-09 5254.00aa.0001'));
    assert.ok(takes('Name=eth1 \\\n# not in it\n  eth0'));
  });

  test('what files do not tell may match', () => {
    for (const key of [
      'Host=web1',
      'Virtualization=xen',
      'KernelCommandLine=!quiet',
      'Credential=a',
      'Path=pci-*',
      'Name=enX0',
    ]) {
      const files = new Map([[`${ETC}10-a.network`, `[Match]\n${key}\n`]]);
      assert.deepEqual(
        takersOf(files, ETH0).map(({ match }) => match),
        ['maybe'],
        key,
      );
    }
  });

  test('files sort by name over all folders, the highest folder has a name, and an empty file masks it', () => {
    assert.equal(
      taker(
        new Map([
          [`${ETC}20-a.network`, MINE],
          [`${LIB}10-b.network`, MINE],
        ]),
      ),
      `${LIB}10-b.network`,
    );
    assert.equal(
      taker(
        new Map([
          [`${LIB}10-b.network`, MINE],
          [`${RUN}10-b.network`, MINE],
        ]),
      ),
      `${RUN}10-b.network`,
    );
    assert.equal(
      taker(
        new Map([
          [`${ETC}10-b.network`, ''],
          [`${ETC}10-b.network.d/a.conf`, MINE],
          [`${RUN}10-b.network`, MINE],
        ]),
      ),
      undefined,
    );
  });

  test('a link to /dev/null and drop-ins of all folders are seen in the machine', async () => {
    await using scratch = await createScratch();
    await scratch.write(`${LIB}00-a.network`, MINE);
    await scratch.write(`${ETC}keep`, '');
    await symlink('/dev/null', join(scratch.root, `${ETC}00-a.network`));
    await scratch.write(`${LIB}07-b.network`, MINE);
    await scratch.write(`${RUN}07-b.network.d/x.conf`, '[Network]\nVLAN=office\n');
    const host = createScratchHost(scratch);
    const named = { ...host, network: { ...host.network, hostname: () => Promise.resolve('old') } };
    const { files } = await inspect(named, [networkd]);
    const [first] = takersOf(files, ETH0);
    assert.equal(first?.path, `${LIB}07-b.network`);
    assert.ok(first.settings.some(({ key, value }) => key === 'VLAN' && value === 'office'));
  });
});

suite('what networkd may not read', () => {
  const port = '[Match]\nName=eth0\n[Network]\nBridge=br0\n';
  const path = `${ETC}00-a.network`;
  const first = (more: Files, closed: readonly string[], access: FileAccess = { mode: 0o600, uid: 0 }): string => {
    const files = new Map(Object.entries({ [path]: port, [`${LIB}20-b.network`]: MINE, ...more }));
    return takersOf(files, ETH0, new Map(closed.map((one) => [one, access])))[0]?.path ?? 'none';
  };

  test('is passed over, and so is a file with such a drop-in; what it overrides stays overridden', () => {
    assert.equal(first({}, []), path);
    assert.equal(first({}, [path]), `${LIB}20-b.network`);
    assert.equal(first({ [`${LIB}00-a.network`]: MINE }, [path]), `${LIB}20-b.network`);
    const dropIn = `${path}.d/x.conf`;
    assert.equal(first({ [dropIn]: '[Network]\nLLDP=no\n' }, [dropIn]), `${LIB}20-b.network`);
    for (const access of [
      { mode: 0o640, uid: 0 },
      { mode: 0o604, uid: 0 },
      { mode: 0o600, uid: 998 },
    ])
      assert.equal(first({}, [path], access), path);
  });

  test('does not make a port of the device', () => {
    const facts = factsOf({ networking: NETWORKING, nics: [ETH0] }, new Map([[`${LIB}00-a.network`, port]]));
    assert.throws(() => networkd.render(facts), /makes a port of br0/);
    const access = new Map([[`${LIB}00-a.network`, { mode: 0o600, uid: 0 }]]);
    assert.ok(networkd.render({ ...facts, access }).files.length > 0);
  });
});

suite('an alternative name of the device', () => {
  const rival = { [`${ETC}00-wan.network`]: '[Match]\nName=wan0\n[Network]\nAddress=203.0.113.8/24\n' };
  const link = (text: string): Files => ({ ...rival, [`${LIB}10-wan.link`]: text });
  const named = `[Match]\nMACAddress=${ETH0.mac}\n[Link]\nAlternativeName=lan0 wan0\n`;

  test('that a .link file gives takes the device, and ours gets a name before that', () => {
    const matches = [
      named,
      `[Match]\nMACAddress=${ETH0.mac}\n[Link]\nAlternativeName=wan0\nAlternativeName=lan0\n`,
      '[Match]\nOriginalName=*\n[Link]\nAlternativeName=wan0\n',
      '[Match]\nDriver=v?f\n[Link]\nAlternativeName=wan0\n',
      '[Match]\nPath=pci-*\n[Link]\nAlternativeName=wan0\n',
    ];
    for (const text of matches) {
      const now = after(link(text));
      assert.ok(now.has(`${ETC}00-guestwire-eth0.network`), text);
      assert.equal(taker(now), `${ETC}00-guestwire-eth0.network`, text);
    }
  });

  test('that another .link, or a drop-in of that file, takes back takes nothing', () => {
    const others: readonly Files[] = [
      { [`${ETC}10-wan.link`]: '' },
      { [`${ETC}00-a.link`]: `[Match]\nMACAddress=${ETH0.mac}\n[Link]\nWakeOnLan=off\n` },
      { [`${ETC}10-wan.link.d/x.conf`]: '[Link]\nAlternativeName=\n' },
      { [`${ETC}10-wan.link.d/x.conf`]: '[Match]\nMACAddress=\nMACAddress=52:54:00:aa:00:99\n' },
    ];
    for (const more of others) assert.ok(after({ ...link(named), ...more }).has(OURS), JSON.stringify(more));
    assert.ok(after({ ...rival }).has(OURS), 'without any');
  });

  test('that the kernel has of it now takes it, too', () => {
    const nic = { ...ETH0, alternativeNames: ['wan0'] };
    assert.equal(takersOf(new Map(Object.entries(rival)), nic)[0]?.path, `${ETC}00-wan.network`);
    assert.deepEqual(takersOf(new Map(Object.entries(rival)), { ...ETH0, alternativeNames: ['lan0'] }), []);
  });

  test('makes a port of it all the same', () => {
    const port = { [`${ETC}00-wan.network`]: '[Match]\nName=wan0\n[Network]\nBridge=br0\n' };
    assert.match(refusal({ ...link(named), ...port }), /00-wan\.network makes a port of br0/);
  });
});

suite('ours wins in the files', () => {
  test('it keeps its name where that sorts first', () => {
    const now = after({ [`${LIB}10-b.network`]: MINE });
    assert.ok(now.has(OURS));
    assert.equal(taker(now), OURS);
  });

  test('before a rival in /run, /usr/lib or with others to serve it takes an earlier name, and the old file goes', () => {
    for (const rival of [`${RUN}00-a.network`, `${LIB}03-a.network`, `${ETC}00-all.network`]) {
      const now = after({ [rival]: '[Match]\nName=eth*\n[Network]\nDHCP=yes\n', [OURS]: MINE });
      assert.match(taker(now) ?? '', /^\/etc\/systemd\/network\/0.*guestwire-eth0\.network$/, rival);
      assert.ok(!now.has(OURS), rival);
      assert.deepEqual(after(Object.fromEntries(now)), now, 'a second plan changes nothing');
    }
  });

  test('before a rival that may match it takes an earlier name, too', () => {
    const now = after({ [`${LIB}00-a.network`]: '[Match]\nVirtualization=xen\n' });
    assert.equal(taker(now), `${ETC}0-guestwire-eth0.network`);
  });

  test('a name of ours that is masked stays masked, and another one is taken', () => {
    const now = after({ [OURS]: '', [`${LIB}10-b.network`]: MINE });
    assert.equal(now.get(OURS), '');
    assert.equal(taker(now), `${ETC}00-guestwire-eth0.network`);
    assert.deepEqual(after(Object.fromEntries(now)), now, 'a second plan changes nothing');
  });

  test('a rival that no name precedes refuses with its file', () => {
    assert.match(
      refusal({ [`${RUN}!a.network`]: MINE }),
      /\/run\/systemd\/network\/!a\.network stands in the way; nothing/,
    );
  });

  test('a file that a drop-in makes another device’s, too, stays', () => {
    for (const more of ['Name=eth1', 'Name=\nName=eth1', 'MACAddress=52:54:00:aa:00:99']) {
      const files = { [`${ETC}00-site.network`]: MINE, [`${ETC}00-site.network.d/x.conf`]: `[Match]\n${more}\n` };
      const now = after(files);
      assert.equal(now.get(`${ETC}00-site.network`), MINE, more);
      assert.ok(
        [...now.keys()].some((path) => path.includes('guestwire')),
        more,
      );
    }
  });

  test('a drop-in of our name that adds an address or takes the device away makes another name', () => {
    for (const text of ['[Network]\nAddress=203.0.113.77/24\n', '[Match]\nHost=other\n', '[Match]\nType=vlan\n']) {
      const now = after({ [`${LIB}05-guestwire-eth0.network.d/a.conf`]: text });
      assert.equal(taker(now), `${ETC}00-guestwire-eth0.network`, text);
    }
  });
});

suite('who refers to the old definition', () => {
  test('VLANs, macvlans, tunnels and the VRF of the file and its drop-ins go on, and a second plan changes nothing', () => {
    const files = {
      [`${ETC}07-eth0.network`]: `${MINE}MACVLAN=mv0\nVLAN=v1\nVLAN=v2\nVRF=red\n`,
      [`${RUN}07-eth0.network.d/a.conf`]: '[Network]\nTunnel=t0\nVRF=blue\n',
    };
    const now = after(files);
    const text = now.get(OURS) ?? '';
    for (const line of ['MACVLAN=mv0', 'VLAN=v1', 'VLAN=v2', 'Tunnel=t0', 'VRF=blue'])
      assert.ok(text.includes(`${line}\n`), text);
    assert.ok(!text.includes('VRF=red') && !text.includes('203.0.113.9/'), text);
    assert.equal(after(Object.fromEntries(now)).get(OURS), text);
  });

  test('what a drop-in of ours says already is not said twice', () => {
    const files = { [OURS]: MINE, [`${OURS}.d/a.conf`]: '[Network]\nVLAN=v1\n' };
    const text = after(files).get(OURS) ?? '';
    assert.ok(text.includes('Address=203.0.113.10/24') && !text.includes('VLAN='), text);
  });

  test('what others need to reach the network or to get an address goes on, and a second plan changes nothing', () => {
    const server = 'DHCPServer=yes\n[DHCPServer]\nPoolSize=5\nDNS=192.0.2.53\n';
    const lease = '[DHCPServerStaticLease]\nMACAddress=52:54:00:aa:00:77\nAddress=203.0.113.77\n';
    const files = { [`${ETC}10-eth0.network`]: `${MINE}IPForward=ipv4\nIPMasquerade=both\n${server}${lease}` };
    const now = after(files);
    const text = now.get(OURS) ?? '';
    for (const line of ['IPForward=ipv4', 'IPMasquerade=both', 'DHCPServer=yes']) {
      assert.match(text, new RegExp(`\\[Network\\]\\n(?:[^\\[]+\\n)*${line}\\n`));
    }
    assert.ok(text.includes('[DHCPServer]\nPoolSize=5\nDNS=192.0.2.53\n') && text.endsWith(lease), text);
    assert.equal(after(Object.fromEntries(now)).get(OURS), text);
    const off = after({ [`${ETC}10-eth0.network`]: `${MINE}[DHCPServer]\nPoolSize=5\n` }).get(OURS) ?? '';
    assert.ok(!off.includes('DHCPServer'), off);
  });

  test('a DHCP server that would bring an address of its own, or has none to serve from, refuses with its file', () => {
    const path = `${ETC}10-eth0.network`;
    const serving = (more: string): Files => ({ [path]: `${MINE}DHCPServer=yes\n[DHCPServer]\n${more}\n` });
    assert.match(
      refusal(serving('ServerAddress=10.0.0.1/24')),
      new RegExp(`10\\.0\\.0\\.1/24 .*on eth0, as ${path} has`),
    );
    assert.equal(refusal(serving('ServerAddress=203.0.113.10/24')), 'not refused');
    const prefix = `${MINE}IPv6SendRA=yes\n[IPv6Prefix]\nPrefix=2001:db8::/64\n`;
    assert.match(
      after({ [path]: prefix }).get(OURS) ?? '',
      /^IPv6SendRA=yes$[^]*^\[IPv6Prefix\]\nPrefix=2001:db8::\/64$/m,
    );
    assert.match(refusal({ [path]: `${prefix}Assign=yes\n` }), /an announced prefix \(Assign=\) on eth0/);
  });

  test('a port of a bridge or bond refuses with its owner and file', () => {
    for (const key of ['Bridge', 'Bond', 'BatmanAdvanced']) {
      const message = refusal({ [`${LIB}10-a.network`]: `[Match]\nName=eth*\n[Network]\n${key}=top0\n` });
      assert.match(
        message,
        /eth0, which \/usr\/lib\/systemd\/network\/10-a\.network makes a port of top0 .*it belongs on top0/,
      );
    }
  });
});
