/** Which lines of /etc/hosts go with an old address of the machine, and which stay. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { decide } from '../../ts/network/decide.js';
import { foreignLines } from '../../ts/network/hosts.js';
import { type NetworkFacts, withChanges } from '../../ts/network/plan.js';
import { RENDERERS } from '../../ts/network/renderers/index.js';
import { readWanted } from '../../ts/network/wanted/wanted.js';
import { ETH0, ETH1, publishedBy } from './inputs.js';

const OLD = '198.51.100.7';
const NEW = '203.0.113.10';
const STATIC = `auto lo eth0\niface lo inet loopback\niface eth0 inet static\n address ${OLD}/24\n`;
const PROFILE = '/etc/NetworkManager/system-connections/old.nmconnection';

interface Machine extends Partial<Omit<NetworkFacts, 'files' | 'present'>> {
  readonly hosts: string;
  readonly files?: Readonly<Record<string, string>>;
  readonly present?: readonly string[];
  readonly ips?: readonly object[];
  readonly type?: string;
}

const IFUPDOWN = { files: { '/etc/network/interfaces': STATIC }, present: ['/sbin/ifup'] };
/** Nothing in the files says what the address was. */
const BY_DHCP = { ...IFUPDOWN, files: { '/etc/network/interfaces': 'auto eth0\niface eth0 inet dhcp\n' } };

function facts({ hosts, files = {}, present = [], ips, type, ...more }: Machine): NetworkFacts {
  const published =
    type === undefined
      ? { networking: { A: { mac: ETH0.mac, ips: ips ?? [{ ip: NEW, netmask: '255.255.255.0' }] } } }
      : { networks: { A: { mac: ETH0.mac, type } } };
  return {
    interfaces: readWanted(publishedBy(published), [ETH0, ETH1]).interfaces,
    hostname: null,
    currentHostname: 'web1',
    files: new Map(Object.entries({ '/etc/hosts': hosts, '/etc/hostname': 'web1\n', ...files })),
    present: new Set(present),
    resolver: 'other',
    ...more,
  };
}

function hostsAfter(machine: Machine): string | undefined {
  const given = facts(machine);
  return withChanges(given, decide(given, RENDERERS).files).files.get('/etc/hosts');
}

const remembered = readWanted(publishedBy({ networking: { A: { mac: ETH0.mac, ips: [{ ip: OLD, netmask: 24 }] } } }), [
  ETH0,
]).interfaces;
const ON_ETH0 = [{ nic: 'eth0', address: OLD }];

const TAKEN: Readonly<Record<string, readonly [machine: Machine, after: string]>> = {
  'the line of an agent that signs it': [
    { ...IFUPDOWN, hosts: `127.0.0.1 localhost\n${OLD} web1.example.com web1  # Added by Google\n::1 localhost\n` },
    '127.0.0.1 localhost\n127.0.1.1\tweb1.example.com web1\n::1 localhost\n',
  ],
  "the Unix agent's line": [
    { ...IFUPDOWN, hosts: `127.0.0.1\tlocalhost\n${OLD}\tweb1\n` },
    '127.0.0.1\tlocalhost\n127.0.1.1\tweb1\n',
  ],
  'a line beside one of 127.0.1.1': [
    { ...IFUPDOWN, hosts: `127.0.1.1 web1.example.com web1\n${OLD} web1\n# end\n` },
    '127.0.1.1 web1.example.com web1\n# end\n',
  ],
  'a line when the machine gets another name, too': [
    { ...IFUPDOWN, hostname: 'db1', hosts: `127.0.0.1 localhost\n${OLD} web1\n` },
    '127.0.0.1 localhost\n127.0.1.1\tdb1\n',
  ],
  'a line of an address that the agent remembers': [
    { ...BY_DHCP, configured: remembered, hosts: `127.0.0.1 localhost web1\n${OLD} web1\n` },
    '127.0.0.1 localhost web1\n',
  ],
  'a line of an address that the device has until now': [
    { ...BY_DHCP, live: ON_ETH0, hosts: `127.0.0.1 localhost web1\n${OLD} web1\n` },
    '127.0.0.1 localhost web1\n',
  ],
  'a line of an old address of IPv6, however it is written': [
    {
      ...BY_DHCP,
      live: [{ nic: 'eth0', address: '2001:db8::7' }],
      hosts: '127.0.0.1 localhost web1\n2001:DB8:0:0::7 web1\n',
    },
    '127.0.0.1 localhost web1\n',
  ],
  'a line of the address of a profile that is switched off': [
    {
      present: ['/usr/sbin/NetworkManager', '/usr/bin/nmcli'],
      files: { [PROFILE]: `[connection]\nid=old\ntype=ethernet\ninterface-name=eth0\n[ipv4]\naddress1=${OLD}/24\n` },
      hosts: `127.0.0.1 localhost web1\n${OLD} web1\n`,
    },
    '127.0.0.1 localhost web1\n',
  ],
};

const KEPT: Readonly<Record<string, Machine>> = {
  'with other names on it': { ...IFUPDOWN, hosts: `127.0.0.1 localhost\n${OLD} web1 intranet\n` },
  "with somebody's note on it": { ...IFUPDOWN, hosts: `127.0.0.1 localhost\n${OLD} web1 # for the backup\n` },
  'of another machine': { ...IFUPDOWN, hosts: `127.0.0.1 localhost\n${OLD} web10 web1-old\n` },
  'of an address that was never ours': {
    ...IFUPDOWN,
    hosts: '127.0.0.1 localhost\n192.0.2.99 web1.example.com web1\n',
  },
  'of an address that stays': {
    ...IFUPDOWN,
    ips: [NEW, OLD].map((ip) => ({ ip, netmask: 24 })),
    hosts: `127.0.0.1 localhost\n${OLD} web1\n`,
  },
  'of an address that another device has': {
    ...BY_DHCP,
    configured: remembered,
    live: [{ nic: 'eth1', address: OLD }],
    hosts: `127.0.0.1 localhost\n${OLD} web1\n`,
  },
  'of an address that DHCP gives': {
    ...BY_DHCP,
    type: 'dhcp',
    live: ON_ETH0,
    hosts: `127.0.0.1 localhost\n${OLD} web1\n`,
  },
  'that is commented out': { ...IFUPDOWN, hosts: `127.0.0.1 localhost\n# ${OLD} web1\n` },
};

suite('of the addresses that the machine no longer has, /etc/hosts loses', () => {
  for (const [what, [machine, after]] of Object.entries(TAKEN)) {
    test(what, () => {
      assert.equal(hostsAfter(machine), after);
      assert.equal(hostsAfter({ ...machine, hosts: after }), after, 'a second time nothing changes');
    });
  }
});

suite('/etc/hosts keeps a line', () => {
  for (const [what, machine] of Object.entries(KEPT)) {
    test(what, () => {
      assert.equal(hostsAfter(machine), machine.hosts);
    });
  }
});

test('a machine without /etc/hosts gets none when the host names no name', () => {
  const given = facts({ ...IFUPDOWN, hosts: '' });
  const files = new Map([...given.files].filter(([path]) => path !== '/etc/hosts'));
  assert.ok(!decide({ ...given, files }, RENDERERS).files.some(({ path }) => path === '/etc/hosts'));
});

test('lines that name the machine by an address of others are told apart from all the rest', () => {
  const text = `127.0.1.1 web1\n${NEW} web1\n  ${OLD} web1.example.com db # x\n${OLD} web10\n# ${OLD} web1\n::1 web1\n`;
  assert.deepEqual(foreignLines(text, 'web1.example.org', new Set([NEW])), [
    { line: `${OLD} web1.example.com db # x`, address: OLD },
  ]);
});
