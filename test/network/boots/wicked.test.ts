/** What wicked brings at a boot, by files as people have them. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { wicked } from '../../../ts/network/renderers/linux/wicked.js';
import { type Files, afterwards, brought, refused } from './table.js';

const D = '/etc/sysconfig/network/';
const MACHINE = { present: ['/usr/sbin/wicked'] };
const OFF = 'net.ipv6.conf.eth0.accept_ra = 0\nnet.ipv6.conf.eth0.autoconf = 0\n';

/** Names without a folder are in wicked's. */
function machine(files: Files): Files {
  return Object.fromEntries(
    Object.entries(files).map(([name, text]) => [name.startsWith('/') ? name : D + name, text]),
  );
}

const boot = (files: Files): readonly string[] | null => brought(wicked, machine(files));
/** Without SLAAC, which says nothing of addresses and routes. */
const silent = (text: string, more: Files = {}): readonly string[] | null => {
  return boot({ 'ifcfg-eth0': `STARTMODE='auto'\n${text}`, 'ifsysctl-eth0': OFF, ...more });
};

suite('what wicked brings at a boot', () => {
  test('only a file of the name that starts at boot counts', () => {
    for (const mode of ['auto', 'onboot', 'hotplug', 'nfsroot', 'ifplugd']) {
      assert.deepEqual(boot({ 'ifcfg-eth0': `STARTMODE=${mode}\nIPADDR=192.0.2.4/24\n` }), [
        '192.0.2.4/24',
        'auto6 ra',
      ]);
    }
    for (const line of ["STARTMODE='off'", 'STARTMODE=manual', '']) {
      assert.equal(boot({ 'ifcfg-eth0': `${line}\nIPADDR=192.0.2.4/24\n` }), null, line);
    }
    assert.equal(boot({ 'ifcfg-eth0.bak': 'STARTMODE=auto\n' }), null);
  });

  test('addresses with any suffix, in the order of the lines, with a length, a mask or neither', () => {
    const text = [
      "IPADDR_1='192.0.2.5/26'",
      "IPADDR='192.0.2.4'",
      "NETMASK='255.255.255.0'",
      "IPADDR_home='10.0.0.4'",
      "PREFIXLEN_home='8'",
      "LABEL_home='home'",
      "IPADDR_x='198.51.100.4'",
      "IPADDR_6='2001:db8::4/64'",
      "IPADDR_7=''",
    ];
    assert.deepEqual(silent(`${text.join('\n')}\n`), [
      '192.0.2.5/26',
      '192.0.2.4/24',
      '10.0.0.4/8',
      '198.51.100.4/32',
      '2001:db8::4/64',
    ]);
  });

  test('the clients of BOOTPROTO, beside static addresses; none is none', () => {
    assert.deepEqual(silent("BOOTPROTO='dhcp'\n"), ['dhcp4', 'auto6 either']);
    assert.deepEqual(silent("BOOTPROTO='dhcp4'\nMTU='9000'\n"), ['dhcp4', 'mtu 9000']);
    assert.deepEqual(silent("BOOTPROTO='dhcp4+auto6'\nIPADDR=192.0.2.4/24\n"), ['192.0.2.4/24', 'dhcp4']);
    assert.deepEqual(silent("BOOTPROTO='dhcp6'\nDHCLIENT6_MODE='managed'\n"), ['auto6 dhcp']);
    assert.deepEqual(silent("BOOTPROTO='dhcp6'\n", { dhcp: 'DHCLIENT6_MODE="managed"\n' }), ['auto6 dhcp']);
    assert.deepEqual(boot({ 'ifcfg-eth0': "STARTMODE=auto\nBOOTPROTO='none'\nIPADDR=192.0.2.4/24\n" }), []);
  });

  test('routes of the device, and of all devices by name or by where the gateway is', () => {
    assert.deepEqual(
      silent('IPADDR=192.0.2.4/24\nIPADDR_6=2001:db8::4/64\nGATEWAY=192.0.2.99\n', {
        'ifroute-eth0':
          '# destination gateway netmask interface options\n203.0.113.1/32 - - eth0\n10.0.0.0 192.0.2.1 255.0.0.0 - metric 5\n',
        routes:
          'default 203.0.113.1 - -\ndefault fe80::1 - eth0\n172.16.0.0/12 192.0.2.9\n198.51.100.0/24 192.168.9.1 - -\n2001:db8:9::/48 fe80::2 - -\n10.9.0.0/16 - - eth1\n10.8.0.0/16 192.0.2.1 - eth0 table 7\n10.7.0.0/16 - - eth0 blackhole\n',
      }),
      [
        '192.0.2.4/24',
        '2001:db8::4/64',
        '203.0.113.1/32',
        '10.0.0.0/8 via 192.0.2.1 metric 5',
        'default via 203.0.113.1',
        'default6 via fe80::1',
        '172.16.0.0/12 via 192.0.2.9',
      ],
    );
  });

  test('sysctls: of the device before the defaults, its own file last', () => {
    const eth0 = { 'ifcfg-eth0': 'STARTMODE=auto\nIPADDR_6=2001:db8::4/64\n' };
    assert.deepEqual(boot({ ...eth0, 'ifsysctl-eth0': 'net.ipv6.conf.$INTERFACE.accept_ra = 0\n' }), [
      '2001:db8::4/64',
    ]);
    assert.deepEqual(boot({ ...eth0, '/etc/sysctl.conf': 'net.ipv6.conf.default.autoconf = 0\n' }), ['2001:db8::4/64']);
    assert.deepEqual(
      boot({ ...eth0, '/etc/sysctl.d/1.conf': OFF, 'ifsysctl-eth0': 'net/ipv6/conf/eth0/accept_ra=1\n' }),
      ['2001:db8::4/64'],
    );
    assert.deepEqual(boot({ ...eth0, '/etc/sysctl.d/70-yast.conf': 'net.ipv6.conf.all.disable_ipv6 = 1\n' }), []);
  });

  test('a port has nothing', () => {
    const files = { 'ifcfg-eth0': 'STARTMODE=auto\nIPADDR=192.0.2.4/24\n', 'ifcfg-br0': "BRIDGE_PORTS='eth1 eth0'\n" };
    assert.deepEqual(boot(files), []);
  });
});

suite('wicked: what a plan makes of files of others', () => {
  test('labelled and numbered addresses and routes of the device are gone after a boot', () => {
    const files = machine({
      'ifcfg-eth0':
        "STARTMODE='auto'\nBOOTPROTO='dhcp'\nIPADDR_1='192.0.2.5/24'\nLABEL_1='1'\nIPADDR_office='192.0.2.6'\nNETMASK_office='255.255.255.0'\n",
      'ifroute-eth0': 'default 192.0.2.1\n',
      routes: 'default 203.0.113.254 - -\n10.0.0.0/8 203.0.113.9\n172.16.0.0/12 192.0.2.1 - eth0\n',
    });
    assert.deepEqual(afterwards(wicked, files, MACHINE), ['203.0.113.10/24', 'default via 203.0.113.1']);
  });

  test('a port refuses with its owner and where the address belongs', () => {
    for (const [owner, text] of [
      ['br0', "BRIDGE='yes'\nBRIDGE_PORTS='eth0 eth1'\n"],
      ['bond0', "BONDING_MASTER='yes'\nBONDING_SLAVE_0='eth0'\n"],
      ['team0', "TEAM_PORT_DEVICE_1='eth0'\n"],
      ['ovs0', "OVS_BRIDGE_PORT_DEVICE_0='eth0'\n"],
    ] as const) {
      const text2 = refused(wicked, machine({ [`ifcfg-${owner}`]: text }), MACHINE);
      assert.match(text2, /^GW_NETWORK_IMPOSSIBLE /);
      assert.ok(text2.includes(`which ${D}ifcfg-${owner} makes a port of ${owner}: it belongs on ${owner}`), text2);
    }
  });

  test('a definition in wicked’s own format refuses with its path', () => {
    const path = '/etc/wicked/ifconfig/eth0.xml';
    assert.match(
      refused(wicked, { [path]: '<interface><name>eth0</name></interface>' }, MACHINE),
      /IMPOSSIBLE.*eth0\.xml/,
    );
  });

  test('a default route of no device that a way of ours would bring to the device does not count any more', () => {
    const routes = [{ address: '10.0.0.0', prefix: 8, gateway: '172.31.0.1', metric: null }];
    const files = machine({ routes: 'default 172.31.0.1 - -\n10.176.0.0/12 10.180.0.9 - -\n' });
    assert.deepEqual(afterwards(wicked, files, { ...MACHINE, wanted: { gateway4: null, routes } }), [
      '203.0.113.10/24',
      '172.31.0.1/32',
      '10.0.0.0/8 via 172.31.0.1',
    ]);
  });

  test('what others say last refuses with their path', () => {
    for (const [path, text] of [
      ['/etc/sysctl.d/70-ra.conf', 'net.ipv6.conf.eth0.accept_ra = 2\nnet.ipv6.conf.eth0.autoconf=1\n'],
      [`${D}ifsysctl`, 'net.ipv6.conf.eth0.accept_ra = 1\nnet.ipv6.conf.eth0.autoconf = 1\n'],
    ] as const) {
      const refusal = refused(wicked, { [path]: text }, MACHINE);
      assert.match(refusal, /^GW_NETWORK_BOOT .*advertisements/);
      assert.ok(refusal.includes(path), refusal);
    }
  });
});
