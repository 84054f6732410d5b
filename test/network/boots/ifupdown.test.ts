/** What ifup brings at a boot by the `ip` commands in stanzas: of the device, and of others. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ifupdown } from '../../../ts/network/renderers/linux/ifupdown.js';
import { brought, refused, decided } from './table.js';

const MAIN = '/etc/network/interfaces';
const OWN = 'auto eth0\niface eth0 inet static\n    address 192.0.2.4/24\n    gateway 192.0.2.1\n';
const own = ['192.0.2.4/24', 'default via 192.0.2.1'];

/** A stanza of another device with a line of its own. */
function other(line: string, device = 'eth1'): string {
  return `auto ${device}\niface ${device} inet manual\n    ${line}\n`;
}

/** Without what the kernel does of itself. */
function boot(text: string): readonly string[] | undefined {
  return brought(ifupdown, { [MAIN]: text })?.filter((one) => one !== 'auto6 ra');
}

suite('Open vSwitch', () => {
  const because = /eth0, which is a port of br0 \(\/etc\/network\/interfaces, line \d\): .*belongs on br0/;
  const bridge = (line: string): string => `auto br0\niface br0 inet manual\n    ovs_type OVSBridge\n    ${line}\n`;
  const machine = { present: ['/sbin/ifup'] };

  test('the port of a bridge or bond of it is refused, with the owner', () => {
    for (const line of ['ovs_ports eth1 eth0', 'ovs-ports eth0', 'ovs_bonds eth0 eth1'])
      assert.match(refused(ifupdown, { [MAIN]: bridge(line) + OWN }, machine), because, line);
    const port = 'allow-br0 eth0\niface eth0 inet manual\n    ovs_type OVSPort\n    ovs_bridge br0\n';
    assert.match(refused(ifupdown, { [MAIN]: port }, machine), because);
    assert.equal(typeof decided(ifupdown, { [MAIN]: bridge('ovs_ports eth1') + OWN }, machine), 'object');
  });
});

suite("Debian's /etc/default/networking", () => {
  const left = (defaults: string, text = OWN): readonly string[] | null =>
    brought(ifupdown, { [MAIN]: text, '/etc/default/networking': defaults }, { present: ['/run/systemd/system'] });

  test('leaves out what a pattern of it meets as a whole, but nothing that hotplug brings', () => {
    for (const list of ['eth0', 'eth*', '"lo eth[01]"', "'eth1 eth0'"])
      assert.deepEqual(left(`EXCLUDE_INTERFACES=${list}\n`), [], list);
    for (const list of ['eth', 'eth1', 'eth0:*', 'eth1,eth0', 'office'])
      assert.deepEqual(left(`EXCLUDE_INTERFACES=${list}\n`)?.slice(0, 2), own, list);
    assert.deepEqual(left('EXCLUDE_INTERFACES=eth0\n', OWN.replace('auto', 'allow-hotplug'))?.slice(0, 2), own);
    const named = OWN.replace('auto eth0', 'auto eth0=office').replace('iface eth0', 'iface office');
    assert.deepEqual(left('EXCLUDE_INTERFACES=eth0\n', named), []);
    const alias = `${OWN}auto eth0:1\niface eth0:1 inet static\n    address 192.0.2.5/24\n`;
    assert.deepEqual(left('EXCLUDE_INTERFACES=eth0\n', alias)?.slice(0, 1), ['192.0.2.5/24']);
  });

  test('refuses with its name, and all of it where CONFIGURE_INTERFACES is read', () => {
    const because = /203\.0\.113\.10\/24 on eth0, got none by \/etc\/default\/networking, which leaves it out/;
    const machine = { present: ['/sbin/ifup'] };
    const excluded = { [MAIN]: OWN, '/etc/default/networking': 'EXCLUDE_INTERFACES="eth*"\n' };
    assert.match(refused(ifupdown, excluded, machine), because);
    const off = { [MAIN]: OWN, '/etc/default/networking': 'CONFIGURE_INTERFACES=no\n' };
    assert.match(refused(ifupdown, off, machine), because);
    // The unit asks no such thing.
    assert.equal(typeof decided(ifupdown, off, { present: ['/sbin/ifup', '/run/systemd/system'] }), 'object');
    const ng = { present: ['/sbin/ifup', '/usr/sbin/ifupdown', '/run/systemd/system'] };
    assert.match(refused(ifupdown, off, ng), because);
    assert.equal(typeof decided(ifupdown, excluded, ng), 'object');
  });
});

suite('ip commands in stanzas', () => {
  for (const ip of ['ip', '/sbin/ip', '/usr/sbin/ip', '/bin/ip -4']) {
    test(`${ip} of another stanza gives the device an address`, () => {
      assert.deepEqual(boot(other(`up ${ip} addr add 10.0.0.9/24 dev eth0`, 'lo') + OWN), ['10.0.0.9/24', ...own]);
    });
  }

  for (const [what, command, brings] of [
    ['a label and a broadcast address', 'ip a add 10.0.0.9/24 brd + dev eth0 label eth0:1', ['10.0.0.9/24']],
    ['the device first', 'ip addr add dev eth0 10.0.0.9/24', ['10.0.0.9/24']],
    ['a peer with the network', 'ip addr add local 10.0.0.9 peer 10.0.0.1/24 dev eth0', ['10.0.0.9/24']],
    ['a device of that name as the label only', 'ip addr add 10.0.0.9/24 label eth0 dev eth1', []],
    ['words cut short', 'ip a a 10.0.0.9/24 dev eth0', ['10.0.0.9/24']],
    ['a shell of its own', "sh -c 'ip addr add 10.0.0.9/24 dev eth0'", ['10.0.0.9/24']],
    ['ifconfig for an alias', 'ifconfig eth0:5 10.0.0.9 netmask 255.255.255.0 up', ['10.0.0.9/24']],
    ['ifconfig that sets the mask alone', 'ifconfig eth0 netmask 255.255.255.0', []],
    ['ifconfig with the mask first', 'ifconfig eth0:1 netmask 255.255.255.0 10.0.0.9', ['10.0.0.9/24']],
    ['ifconfig that brings the device up', 'ifconfig eth0 0.0.0.0 up', []],
    ['ifconfig for another device', 'ifconfig eth1:5 10.0.0.9 netmask 255.255.255.0 up', []],
    ['a family in words', 'ip -family inet6 addr add 2001:db8::9/64 dev eth0', ['2001:db8::9/64']],
  ] as const) {
    test(`an address with ${what}`, () => {
      assert.deepEqual(boot(OWN + other(`up ${command}`))?.toSorted(), [...own, ...brings].toSorted());
    });
  }

  test("a route without a device, in the device's own stanza", () => {
    const route = '    up ip route add 10.8.0.0/16 via 203.0.113.1\n';
    assert.deepEqual(boot(OWN + route), [...own, '10.8.0.0/16 via 203.0.113.1']);
  });

  test('a route of another table is none of the main one', () => {
    assert.deepEqual(boot(OWN + other('up ip route add default via 198.51.100.254 dev eth0 table 7')), own);
    assert.deepEqual(boot(OWN + other('up ip route add default via 198.51.100.254 dev eth0 table main')), [
      ...own,
      'default via 198.51.100.254',
    ]);
    assert.deepEqual(boot(OWN + other('up ip route add blackhole 10.0.0.0/8')), own);
  });

  test('a device that another stanza brings up by another definition is refused', () => {
    const text = `${other('up ifup eth0=office', 'lo')}iface office inet static\n    address 10.3.3.3/24\n${OWN}`;
    const because =
      /eth0, which is given another definition by "up ifup eth0=office" \(\/etc\/network\/interfaces, line 3\)/;
    assert.match(refused(ifupdown, { [MAIN]: text }, { present: ['/sbin/ifup'] }), because);
  });

  for (const line of [
    'up ip link set eth0 netns blue',
    'up ip link set dev eth0 name lan0',
    'up ip l set eth0 vrf blue',
  ]) {
    test(`a device that another stanza takes away has no addresses (${line})`, () => {
      assert.deepEqual(boot(OWN + other(line, 'lo')), []);
      assert.match(refused(ifupdown, { [MAIN]: OWN + other(line, 'lo') }, { present: ['/sbin/ifup'] }), /BOOT/);
    });
  }

  for (const line of ['pre-up ip link set eth0 master br0', 'up /sbin/ip link set dev eth0 master $IFACE']) {
    test(`a port has no addresses (${line})`, () => {
      assert.deepEqual(boot(OWN + other(line, 'br0')), []);
      assert.match(refused(ifupdown, { [MAIN]: OWN + other(line, 'br0') }, { present: ['/sbin/ifup'] }), /BOOT/);
    });
  }

  for (const line of [
    'pre-up brctl addif br0 eth0',
    'up /sbin/brctl addif $IFACE eth0',
    'up brctl addif br0 "eth0" || true',
    'up ovs-vsctl -- --may-exist add-port br0 eth0',
    'up ovs-vsctl add-port br0 eth0 -- set interface eth0 ofport_request=1',
    'up ifenslave br0 eth1 eth0',
  ]) {
    test(`a port by another program has none either (${line})`, () => {
      assert.deepEqual(boot(OWN + other(line, 'br0')), []);
      assert.match(refused(ifupdown, { [MAIN]: OWN + other(line, 'br0') }, { present: ['/sbin/ifup'] }), /BOOT/);
    });
  }

  test('other commands of these programs make no port of the device', () => {
    for (const line of ['brctl addif eth0 eth1', 'brctl delif br0 eth0', 'brctl stp eth0 on', 'ifenslave eth0 eth1']) {
      assert.deepEqual(boot(OWN + other(`up ${line}`)), own, line);
    }
    assert.deepEqual(boot(OWN + other('up ovs-vsctl add-port eth0 eth1')), own);
  });

  test('a port of our device, or one that is taken out of its bridge, says nothing of ours', () => {
    assert.deepEqual(boot(OWN + other('up ip link set $IFACE master eth0')), own);
    assert.deepEqual(boot(OWN + other('up ip link set eth1 master eth0 mtu 9000')), own);
    assert.deepEqual(boot(`${OWN}    pre-up ip link set $IFACE master br0\n    up ip link set $IFACE nomaster\n`), own);
  });

  test('a machine without IPv6 by sysctl.d(5) has no address of it, and one that is to have some is refused by the file', () => {
    const six = { ipv4: [], gateway4: null, ipv6: [{ address: '2001:db8::5', prefix: 64 }] };
    const machine = { present: ['/sbin/ifup'], wanted: six };
    const off = (who: string): Record<string, string> => {
      return { [MAIN]: OWN, '/etc/sysctl.d/9.conf': `net.ipv6.conf.${who}.disable_ipv6 = 1\n` };
    };
    for (const who of ['all', 'eth0']) {
      assert.match(refused(ifupdown, off(who), machine), /^GW_NETWORK_BOOT .*2001:db8::5\/64.*9\.conf/);
      assert.equal(typeof decided(ifupdown, off(who), { present: ['/sbin/ifup'] }), 'object');
    }
    assert.equal(typeof decided(ifupdown, off('eth1'), machine), 'object');
  });
});
