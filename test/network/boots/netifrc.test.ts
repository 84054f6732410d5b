/** What netifrc brings at a boot, by conf.d/net as people have it. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { netifrc } from '../../../ts/network/renderers/linux/netifrc.js';
import { type Files, brought, decided, refused } from './table.js';

const MAIN = '/etc/conf.d/net';
const LEVEL = '/etc/runlevels/default/net.eth0';
const MACHINE = { present: ['/lib/netifrc', '/etc/init.d/net.lo', LEVEL] };
const OFF = { '/etc/sysctl.conf': 'net.ipv6.conf.eth0.accept_ra = 0\n' };

/** Without SLAAC, which says nothing of addresses and routes. */
const boot = (text: string, more: Files = OFF): readonly string[] | null => {
  return brought(netifrc, { [MAIN]: text, ...more }, MACHINE);
};

suite('what netifrc brings at a boot', () => {
  test('a service without a configuration gives DHCP, and dhcpcd SLAAC; without a service there is nothing', () => {
    assert.deepEqual(brought(netifrc, {}, MACHINE), ['dhcp4', 'auto6 ra']);
    assert.equal(brought(netifrc, { [MAIN]: 'config_eth1="dhcp"\n' }), null);
    assert.deepEqual(boot('config_eth0="dhcp"\ndhcpcd_eth0="-4 -t 10"\n'), ['dhcp4']);
    assert.deepEqual(boot('config_eth0="dhcp"\nmodules="dhclient"\n'), ['dhcp4']);
    assert.deepEqual(boot('config_eth0="dhcp"\n'), ['dhcp4', 'auto6 ra']);
  });

  test('addresses, one a line or all on one, with a mask or a length', () => {
    assert.deepEqual(boot('config_eth0="192.0.2.4 netmask 255.255.255.0 brd 192.0.2.255\n10.0.0.4/8 brd +"\n'), [
      '192.0.2.4/24',
      '10.0.0.4/8',
    ]);
    assert.deepEqual(boot('config_eth0="192.0.2.4/24 192.0.2.5/24 2001:db8::4/64"\n'), [
      '192.0.2.4/24',
      '192.0.2.5/24',
      '2001:db8::4/64',
    ]);
    assert.deepEqual(boot('config_eth0=( "192.0.2.4/24"\n "192.0.2.5" )\n'), ['192.0.2.4/24', '192.0.2.5/32']);
    assert.deepEqual(boot('config_eth0="null"\nmtu_eth0="9000"\n'), ['mtu 9000']);
    assert.deepEqual(boot('config_eth0="dhcpv6\n192.0.2.4/24"\n'), ['192.0.2.4/24', 'auto6 dhcp']);
  });

  test('routes in the forms of ip and of route; a metric stays until another comes', () => {
    const routes = [
      'default via 192.0.2.1',
      '10.0.0.0/8 via 192.0.2.9 metric 5',
      '172.16.0.0 netmask 255.240.0.0 gw 192.0.2.9',
      '-6 default via fe80::1',
      'blackhole 10.9.0.0/16',
    ];
    assert.deepEqual(boot(`config_eth0="192.0.2.4/24"\nroutes_eth0="${routes.join('\n')}"\n`), [
      '192.0.2.4/24',
      'default via 192.0.2.1 metric 2',
      '10.0.0.0/8 via 192.0.2.9 metric 5',
      '172.16.0.0/12 via 192.0.2.9 metric 5',
      'default6 via fe80::1 metric 5',
    ]);
    assert.deepEqual(boot('config_eth0="192.0.2.4/24"\nmetric_eth0="7"\nroutes_eth0="default via 192.0.2.1"\n'), [
      '192.0.2.4/24',
      'default via 192.0.2.1 metric 7',
    ]);
  });

  test('the file of the device counts after the main one, and what is told of the MAC before both', () => {
    const own = { [`${MAIN}.eth0`]: 'config_eth0="192.0.2.5/24"\n', ...OFF };
    assert.deepEqual(boot('config_eth0="192.0.2.4/24"\n', own), ['192.0.2.5/24']);
    assert.deepEqual(boot('config_525400AA0001="192.0.2.6/24"\n', own), ['192.0.2.6/24']);
  });
});

suite('netifrc: what a plan makes of files of others', () => {
  test('a port refuses with its owner and where the address belongs', () => {
    for (const text of ['bridge_br0="eth1 eth0"\n', 'bridge_add_eth0="br0"\n']) {
      assert.match(
        refused(netifrc, { [MAIN]: text }, MACHINE),
        /^GW_NETWORK_IMPOSSIBLE .*which \/etc\/conf\.d\/net makes a port of br0: it belongs on br0/,
      );
    }
    assert.match(refused(netifrc, { [MAIN]: 'slaves_bond0="eth0 eth1"\n' }, MACHINE), /a port of bond0/);
    assert.notEqual(typeof decided(netifrc, { [MAIN]: 'vlans_eth0="7"\nbridge_br0="eth1"\n' }, MACHINE), 'string');
  });

  test('a sysctl of others that counts last refuses with its path', () => {
    const path = '/etc/sysctl.d/90-ra.conf';
    const refusal = refused(
      netifrc,
      { [path]: 'net.ipv6.conf.eth0.accept_ra=1\nnet.ipv6.conf.eth0.autoconf=1\n' },
      MACHINE,
    );
    assert.match(refusal, /^GW_NETWORK_BOOT .*90-ra\.conf/);
  });
});
