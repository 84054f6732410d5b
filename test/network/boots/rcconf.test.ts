/** What FreeBSD brings at a boot, by rc.conf as people have it. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { rcconf } from '../../../ts/network/renderers/freebsd/rcconf.js';
import { nic } from '../inputs.js';
import { type Files, afterwards, brought, refused } from './table.js';

const MAIN = '/etc/rc.conf';
const MACHINE = { present: ['/bin/freebsd-version'], nic: nic('xn0', '52:54:00:aa:00:01') };

const boot = (text: string, more: Files = {}): readonly string[] | null => {
  return brought(rcconf, { [MAIN]: text, ...more }, MACHINE);
};

suite('what FreeBSD brings at a boot', () => {
  test('DHCP by any of its words, and the default where the device has no line of its own', () => {
    for (const word of ['DHCP', 'SYNCDHCP', 'dhcp']) assert.deepEqual(boot(`ifconfig_xn0="${word}"\n`), ['dhcp4']);
    const fallback = 'ifconfig_DEFAULT="SYNCDHCP accept_rtadv"\n';
    assert.deepEqual(boot(fallback), ['dhcp4', 'auto6 ra']);
    assert.deepEqual(boot(`${fallback}ifconfig_xn0="inet 192.0.2.4/24"\nifconfig_xn0_ipv6=""\n`), ['192.0.2.4/24']);
    assert.equal(boot('ifconfig_xn0="DHCP NOAUTO"\n'), null);
    assert.equal(boot('ifconfig_xn0="DHCP"\nnetwork_interfaces="lo0 xn1"\n'), null);
    assert.equal(boot('ifconfig_xn0="DHCP"\nifconfig_xn0_name="lan0"\n'), null);
    assert.equal(boot('hostname="a"\n'), null);
  });

  test('addresses with a length, a mask or a hexadecimal one, ranges and aliases up to the first gap', () => {
    const text = [
      'ifconfig_xn0="inet 192.0.2.4 netmask 0xffffff00 mtu 9000 -tso"',
      'ifconfig_xn0_alias0="inet 192.0.2.5/32"',
      'ifconfig_xn0_alias1="inet 10.0.0.4 netmask 255.255.0.0"',
      'ifconfig_xn0_alias3="inet 192.0.2.99/32"',
      'ifconfig_xn0_aliases="inet 192.0.2.50/32 inet6 2001:db8::9/64"',
      'ipv4_addrs_xn0="198.51.100.1-3/28"',
      'ifconfig_xn0_ipv6="inet6 2001:db8::4 prefixlen 64"',
    ];
    assert.deepEqual(boot(`${text.join('\n')}\n`), [
      '192.0.2.4/24',
      '198.51.100.1/28',
      '198.51.100.2/28',
      '198.51.100.3/28',
      '192.0.2.5/24',
      '10.0.0.4/16',
      '192.0.2.50/24',
      '2001:db8::4/64',
      '2001:db8::9/64',
      'mtu 9000',
    ]);
  });

  test('routes by name, in all forms, of this device; the default by where its router is', () => {
    const text = [
      'ifconfig_xn0="inet 192.0.2.4/24"',
      'ifconfig_xn0_ipv6="inet6 2001:db8::4/64 accept_rtadv"',
      'static_routes="a b:xn0 c d:xn1 e"',
      'route_a="-net 10.0.0.0/8 192.0.2.1"',
      'route_b="-host 203.0.113.1 -interface xn0"',
      'route_c="-net 172.16.0.0 -netmask 255.240.0.0 192.0.2.2"',
      'route_d="-net 10.9.0.0/16 -interface xn1"',
      'route_e="-net 10.8.0.0/16 198.51.100.1"',
      'defaultrouter="203.0.113.1"',
      'ipv6_static_routes="six"',
      'ipv6_route_six="2001:db8:9:: -prefixlen 48 2001:db8::1"',
      'ipv6_defaultrouter="fe80::1%xn0"',
    ];
    assert.deepEqual(boot(`${text.join('\n')}\n`), [
      '192.0.2.4/24',
      '2001:db8::4/64',
      '10.0.0.0/8 via 192.0.2.1',
      '203.0.113.1/32',
      '172.16.0.0/12 via 192.0.2.2',
      'default via 203.0.113.1',
      '2001:db8:9::/48 via 2001:db8::1',
      'default6 via fe80::1',
      'auto6 ra',
    ]);
    assert.deepEqual(boot('ifconfig_xn0="inet 192.0.2.4/24"\ndefaultrouter="NO"\n'), ['192.0.2.4/24']);
  });

  test('the file that is sourced last counts', () => {
    const more = { '/etc/rc.conf.d/network': 'ifconfig_xn0="DHCP"\n' };
    assert.deepEqual(boot('ifconfig_xn0="inet 192.0.2.4/24"\n', more), ['dhcp4']);
  });
});

suite('FreeBSD: what a plan makes of files of others', () => {
  test('aliases, ranges and other files’ lines of the device are gone after a boot', () => {
    const files = {
      [MAIN]: 'ifconfig_xn0="DHCP"\nifconfig_xn0_alias0="inet 192.0.2.5/32"\nipv4_addrs_xn0="192.0.2.9/24"\n',
      '/etc/rc.conf.local': 'ifconfig_xn0="inet 192.0.2.4/24"\nifconfig_xn0_aliases="inet 192.0.2.6/32"\n',
    };
    assert.deepEqual(afterwards(rcconf, files, MACHINE), ['203.0.113.10/24', 'default via 203.0.113.1']);
  });

  test('a port of a bridge or lagg refuses with its owner; a bridge of others does not', () => {
    for (const line of [
      'cloned_interfaces="bridge0"\nifconfig_bridge0="addm xn1 addm xn0 up"\n',
      'ifconfig_bridge0="laggproto lacp laggport xn0"\n',
      'autobridge_interfaces="bridge0"\nautobridge_bridge0="tap* xn*"\n',
    ]) {
      const refusal = refused(rcconf, { [MAIN]: line }, MACHINE);
      assert.match(
        refusal,
        /^GW_NETWORK_IMPOSSIBLE .*which \/etc\/rc\.conf makes a port of bridge0: it belongs on bridge0/,
      );
    }
    assert.notEqual(afterwards(rcconf, { [MAIN]: 'ifconfig_bridge0="addm xn1 up"\n' }, MACHINE), null);
  });

  test('a list of devices without ours is not for us to change, and refuses', () => {
    const refusal = refused(rcconf, { [MAIN]: 'network_interfaces="lo0 xn1"\n' }, MACHINE);
    assert.match(refusal, /^GW_NETWORK_BOOT /);
  });
});
