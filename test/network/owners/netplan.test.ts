/** Who takes a device, by netplan's own rules: the plans are read by the real generators of two releases. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Nic } from '../../../ts/api/host.js';
import { readNetplan } from '../../../ts/network/owners/netplan.js';
import { type NetworkFacts, withChanges } from '../../../ts/network/plan.js';
import { netplan } from '../../../ts/network/renderers/linux/netplan.js';
import { suites } from '../../support/debian-root.js';
import { generated } from '../netplan-generate.js';
import { factsOf, planOf } from '../cases.js';
import { ETH0 } from '../inputs.js';

const ADDRESS = '203.0.113.10';
const DHCP = 'network: {version: 2, ethernets: {eth0: {dhcp4: true';
const NETWORKING = {
  a: { mac: ETH0.mac, dns: ['192.0.2.53'], ips: [{ ip: ADDRESS, netmask: '255.255.255.0', enabled: '1' }] },
};
const STOCK = '/etc/netplan/90-default.yaml';
const CLOUD = '/etc/netplan/50-cloud-init.yaml';
const GLOB = 'network: {version: 2, ethernets: {all-eth: {match: {name: "eth*"}, dhcp4: true}}}\n';
const NAMED = {
  [CLOUD]: `network:
  version: 2
  ethernets:
    frontport: {match: {macaddress: "52:54:00:AA:00:01"}, set-name: eth0, dhcp4: true}
  vlans:
    storage: {id: 40, link: frontport, addresses: [198.51.100.40/24]}
`,
};

function given(files: Readonly<Record<string, string>>, nic: Nic = ETH0): NetworkFacts {
  const present = ['/usr/sbin/netplan'];
  return factsOf({ networking: NETWORKING, nics: [nic], present }, new Map(Object.entries(files)));
}

/** The files after the plan; a second plan changes none of them. */
function after(facts: NetworkFacts): ReadonlyMap<string, string> {
  const done = withChanges(facts, planOf(facts).files);
  assert.deepEqual(planOf(done).files, []);
  return done.files;
}

/** What each release's generator makes, by name. */
function allGenerated(files: ReadonlyMap<string, string>): readonly ReadonlyMap<string, string>[] {
  return suites().map((release) => {
    const made = [...generated(release, files)].map(
      ([path, text]) => [path.slice(path.lastIndexOf('/') + 1), text] as const,
    );
    return new Map(made.sort(([one], [other]) => (one < other ? -1 : 1)));
  });
}

/** The file by which networkd configures eth0: the first whose patterns it meets. */
function winnerOf(made: ReadonlyMap<string, string>): string {
  const found = [...made].find(([name, text]) => {
    return name.endsWith('.network') && /^(Name=eth0|Name=eth\*|Driver=v\*|Name=eth\[01\])$/m.test(text);
  });
  return found?.[1] ?? '';
}

function wins(files: ReadonlyMap<string, string>): void {
  for (const made of allGenerated(files)) {
    const winner = winnerOf(made);
    assert.match(winner, new RegExp(`^Address=${ADDRESS}/24$`, 'm'));
    assert.equal(winner.match(/^Address=/gm)?.length, 1, winner);
    assert.doesNotMatch(winner, /^DHCP=/m);
  }
}

function refuses(files: Readonly<Record<string, string>>, ...words: readonly string[]): void {
  assert.throws(
    () => planOf(given(files)),
    (error: Error & { code?: string }) => {
      assert.equal(error.code, 'GW_NETWORK_IMPOSSIBLE');
      for (const word of words) assert.ok(error.message.includes(word), error.message);
      return true;
    },
  );
}

suite('netplan: who takes a device', () => {
  test('ours comes before a pattern that takes the device as well, and the pattern stays for the others', () => {
    const files = after(given({ [STOCK]: GLOB }));
    wins(files);
    assert.equal(files.get(STOCK), GLOB);
  });

  test('ours comes before a definition by driver', () => {
    wins(after(given({ [STOCK]: 'network: {version: 2, ethernets: {a: {match: {driver: "v*"}, dhcp4: true}}}\n' })));
  });

  test('all conditions of a match must hold: another MAC under our name is another device', () => {
    const other = 'network: {ethernets: {x: {match: {name: eth0, macaddress: "52:54:00:aa:00:99"}, dhcp4: true}}}\n';
    const files = after(given({ [STOCK]: other }));
    assert.equal(files.get(STOCK), other);
    for (const made of allGenerated(files)) assert.match(made.get('10-netplan-x.network') ?? '', /^DHCP=ipv4$/m);
    assert.match(files.get('/etc/netplan/60-guestwire.yaml') ?? '', /^ {4}"eth0":$/m);
  });

  test('an id that is the name of our device but matches another one stays', () => {
    const other = 'network: {version: 2, ethernets: {eth0: {match: {macaddress: "52:54:00:aa:00:99"}, mtu: 1400}}}\n';
    const files = after(given({ [STOCK]: other }));
    assert.equal(files.get(STOCK), other);
    wins(files);
  });

  test('in a file that loses a definition, what looks like a number is written again as it stands', () => {
    const odd = [
      '0123456789',
      '12345678901234567890',
      '1e10000000',
      '0815',
      '0e1',
      '0x1f',
      '+5',
      '1_000',
      '.5',
      '1500',
    ];
    const points = odd.map((text) => `          ${text}: {password: ${text}}\n`).join('');
    const own = '  ethernets:\n    eth0: {dhcp4: true}\n';
    const text = `network:\n  version: 2\n${own}  wifis:\n    wlan0:\n      access-points:\n${points}`;
    const now = after(given({ [STOCK]: text })).get(STOCK) ?? '';
    assert.doesNotMatch(now, /eth0/);
    const scalars = [...now.matchAll(/^ +"?([^":\s]+)"?: *\{ *password: "?([^"\s}]+)"? *\}$/gm)];
    assert.deepEqual(
      scalars.map(([, name, password]) => [name, password]),
      odd.map((one) => [one, one]),
      now,
    );
  });

  test('an anchor of a definition that goes moves to where it is needed first', () => {
    const shared = `network:
  version: 2
  ethernets:
    eth0: {addresses: [203.0.113.99/24], nameservers: &id001 {addresses: [198.51.100.53]}}
    eth1: {addresses: [198.51.100.10/24], nameservers: *id001}
    eth2: {addresses: [198.51.100.20/24], nameservers: *id001}
`;
    const files = after(given({ [CLOUD]: shared }));
    wins(files);
    for (const made of allGenerated(files)) {
      for (const name of ['eth1', 'eth2']) {
        assert.match(made.get(`10-netplan-${name}.network`) ?? '', /^DNS=198\.51\.100\.53$/m);
      }
    }
  });

  test('an id that a VLAN names stays ours, and the VLAN stays on the device', () => {
    const files = after(given(NAMED));
    wins(files);
    for (const made of allGenerated(files)) assert.match(winnerOf(made), /^VLAN=storage$/m);
  });

  test('on a copy the MAC that gives the device its name stays', () => {
    const text = after(given(NAMED, { ...ETH0, index: 0, driver: null })).get('/etc/netplan/60-guestwire.yaml') ?? '';
    assert.match(text, /"frontport":\n {6}match:\n {8}macaddress: "52:54:00:aa:00:01"\n {6}set-name: "eth0"\n/);
  });

  test('what a VLAN of ours stands on stays defined when the host names the device no more', () => {
    const files = after(given(NAMED));
    const nic = { ...ETH0, name: 'eth5', mac: '52:54:00:aa:00:05', index: 7 };
    const networking = { a: { ...NETWORKING.a, mac: nic.mac } };
    const gone = factsOf({ networking, nics: [nic], present: ['/usr/sbin/netplan'] }, files);
    for (const made of allGenerated(after(gone))) assert.ok(made.has('10-netplan-frontport.network'));
  });

  test('virtual functions of the device stay, and those who are one', () => {
    const card = 'virtual-function-count: 2, embedded-switch-mode: switchdev, delay-virtual-functions-rebind: true';
    const text = `network: {ethernets: {card: {match: {name: eth0}, dhcp4: true, ${card}}, eth7: {link: card, mtu: 1400}}}\n`;
    const files = after(given({ [CLOUD]: text }));
    wins(files);
    const ours = readNetplan(files).definitions.find(({ id }) => id === 'card');
    assert.deepEqual([...(ours?.functions ?? [])].flat().join(' '), card.replaceAll(/[:,]/g, ''));
    assert.deepEqual(ours?.files, ['/etc/netplan/60-guestwire.yaml']);
  });

  test('a device that is a virtual function stays one, wherever its card is defined', () => {
    for (const path of [CLOUD, STOCK]) {
      const files = after(
        given({
          [path]: 'network: {ethernets: {card: {match: {name: eth7}, virtual-function-count: 1}}}\n',
          '/etc/netplan/99-vf.yaml': 'network: {ethernets: {part: {match: {name: eth0}, link: card, dhcp4: true}}}\n',
        }),
      );
      wins(files);
      const ours = readNetplan(files).definitions.find(({ id }) => id === 'eth0');
      assert.equal(ours?.functions.get('link'), 'card', path);
    }
  });

  for (const kind of ['bridges', 'bonds']) {
    test(`a port of ${kind} is refused, with the owner's name`, () => {
      const text = `network: {ethernets: {port: {match: {name: eth0}}}, ${kind}: {top0: {interfaces: [port]}}}\n`;
      refuses({ [CLOUD]: text }, `${kind}.top0`, CLOUD, 'top0');
    });
  }

  test('a VLAN on a pattern that others need too is refused, with its name', () => {
    const text = 'network: {ethernets: {all: {match: {name: "eth*"}}}, vlans: {v9: {id: 9, link: all}}}\n';
    refuses({ [CLOUD]: text }, 'vlans.v9', CLOUD);
  });

  test('files in /lib give way to one of their name in /etc, and files in /run to an id that comes first', () => {
    const text = 'network: {version: 2, ethernets: {eth0: {addresses: [192.0.2.9/24]}, eth7: {dhcp4: true}}}\n';
    for (const folder of ['/lib', '/run']) {
      const files = after(given({ [STOCK]: GLOB, [`${folder}/netplan/10-image.yaml`]: text }));
      wins(files);
      for (const made of allGenerated(files)) assert.ok(made.has('10-netplan-eth7.network'));
    }
  });

  test('the daemon that had the device keeps it', () => {
    const text = 'network: {version: 2, ethernets: {eth0: {renderer: NetworkManager, dhcp4: true}}}\n';
    for (const made of allGenerated(after(given({ [CLOUD]: text })))) {
      assert.match(made.get('netplan-eth0.nmconnection') ?? '', new RegExp(`^address1=${ADDRESS}/24$`, 'm'));
    }
  });

  test('a pattern on NetworkManager, which no name of ours comes before, is refused with its id and file', () => {
    refuses({ [STOCK]: GLOB.replace('version: 2', 'renderer: NetworkManager') }, 'all-eth', STOCK);
  });

  test('a file with an alias of nothing is no YAML: it is refused by its name, and says nothing elsewhere', () => {
    const broken = { '/etc/netplan/x.yaml': 'network:\n  version: 2\n  ethernets:\n    eth0: *nowhere\n' };
    const message = /\/etc\/netplan\/x\.yaml is not YAML: .*nowhere/;
    assert.throws(() => planOf(given(broken)), { code: 'GW_NETWORK_INVALID', message });
    const files = { ...broken, '/etc/network/interfaces': 'auto eth0\niface eth0 inet dhcp\n' };
    const facts = { ...given(files), present: new Set(['/sbin/ifup']) };
    assert.equal(planOf(facts).renderer, 'ifupdown');
  });

  for (const [what, text, isTold] of [
    ['all on one line', 'network: {version: 2, renderer: NetworkManager}', true],
    ['of the definition that has the device', `${DHCP}, renderer: NetworkManager}}}`, true],
    ['of the section', `${DHCP}}, renderer: NetworkManager}}`, true],
    ['of a wireless device alone', `${DHCP}}}, wifis: {wlan0: {\n renderer: NetworkManager}}}`, false],
    ['of what has another device', `${DHCP}}, eth9: {\n renderer: NetworkManager}}}`, false],
  ] as const) {
    test(`NetworkManager is told the servers ${isTold ? 'by' : 'not by'} a renderer ${what}`, () => {
      const feeds = netplan.feeds(given({ [CLOUD]: `${text}\n` }));
      assert.deepEqual(feeds, isTold ? ['resolved', 'networkmanager'] : ['resolved']);
    });
  }
});
