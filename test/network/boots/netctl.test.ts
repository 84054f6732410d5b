/** What netctl brings at a boot, by profiles as people have them. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { netctl } from '../../../ts/network/renderers/linux/netctl.js';
import { type Files, afterwards, brought, refused } from './table.js';

const D = '/etc/netctl/';
const MACHINE = { present: ['/usr/bin/netctl'] };
const WANTED = '/etc/systemd/system/multi-user.target.wants/netctl@';
const HEAD = 'Interface=eth0\nConnection=ethernet\n';

/** Profiles by name, which start at boot. */
function enabled(profiles: Files): Files {
  const names = Object.keys(profiles);
  return Object.fromEntries([
    ...names.map((name) => [D + name, profiles[name] ?? '']),
    ...names.map((name) => [`${WANTED}${name}.service`, '[Unit]\n']),
  ]) as Files;
}

const boot = (text: string, more: Files = {}): readonly string[] | null => {
  return brought(netctl, { ...enabled({ office: HEAD + text }), ...more });
};

suite('what netctl brings at a boot', () => {
  test('only a profile that is enabled, of the device', () => {
    assert.equal(brought(netctl, { [`${D}office`]: `${HEAD}IP=dhcp\n` }), null);
    assert.equal(brought(netctl, enabled({ office: 'Interface=eth1\nConnection=ethernet\nIP=dhcp\n' })), null);
    assert.deepEqual(boot('IP=dhcp\n'), ['dhcp4', 'auto6 ra']);
  });

  test('static addresses, routes and gateways of both families', () => {
    const text = [
      'IP=static',
      'Address=(\'192.0.2.4/24\' "10.0.0.4/8")',
      "Routes=('172.16.0.0/12 via 192.0.2.9 metric 5' 'default via 203.0.113.1 onlink')",
      "Gateway='192.0.2.1'",
      'IP6=static',
      "Address6=('2001:db8::4/64 nodad')",
      "Routes6=('2001:db8:9::/48 via fe80::9')",
      "Gateway6='fe80::1'",
    ];
    assert.deepEqual(boot(`${text.join('\n')}\n`), [
      '192.0.2.4/24',
      '10.0.0.4/8',
      '2001:db8::4/64',
      '172.16.0.0/12 via 192.0.2.9 metric 5',
      'default via 203.0.113.1',
      'default via 192.0.2.1',
      '2001:db8:9::/48 via fe80::9',
      'default6 via fe80::1',
    ]);
  });

  test('each kind of IPv6', () => {
    assert.deepEqual(boot('IP6=stateless\n'), ['auto6 ra']);
    assert.deepEqual(boot('IP6=dhcp\n'), ['auto6 dhcp']);
    assert.deepEqual(boot('IP6=dhcp-noaddr\n'), ['auto6 ra']);
    assert.deepEqual(boot("IP6=static\nAddress6=('2001:db8::4/64')\n"), ['2001:db8::4/64']);
    assert.deepEqual(boot("IP6=no\nAddress6=('2001:db8::4/64')\n"), []);
    const off = { '/etc/sysctl.d/9.conf': 'net.ipv6.conf.eth0.accept_ra = 0\n' };
    assert.deepEqual(boot('IP=no\n', off), []);
    assert.deepEqual(boot('IP6=stateless\n', off), ['auto6 ra']);
  });

  test('keys beside DHCP do not count, commands do', () => {
    const text = [
      "IP=dhcp\nAddress=('192.0.2.4/24')\nGateway=192.0.2.1\nIP6=static",
      "IPCustom=('addr add 192.0.2.5/24 dev eth0' 'route add 10.0.0.0/8 via 192.0.2.9 dev eth0' '-6 addr add 2001:db8::7/64 dev eth0')",
      'ExecUpPost=\'ip link set dev "$Interface" mtu 9000 || true; ip addr del 192.0.2.5/24 dev eth0\'',
    ];
    assert.deepEqual(boot(`${text.join('\n')}\n`), ['2001:db8::7/64', '10.0.0.0/8 via 192.0.2.9', 'dhcp4', 'mtu 9000']);
  });

  test('ip counts by any path, and its routes by their table', () => {
    const custom = "IPCustom=('route add default via 192.0.2.9 dev eth0 table 7')\n";
    const text = `IP=no\nIP6=no\n${custom}ExecUpPost='/usr/bin/ip addr add 192.0.2.5/24 dev eth0'\n`;
    assert.deepEqual(boot(text), ['192.0.2.5/24']);
    assert.deepEqual(boot(`IP=static\nIP6=no\nAddress=192.0.2.5/24\nExecUpPost='ip link set eth0 master br0'\n`), []);
  });

  test('hooks come before a profile, and the file of its interface after it', () => {
    const more = { [`${D}hooks/a`]: 'IP=dhcp\nIP6=no\n', [`${D}interfaces/eth0`]: "Address=('192.0.2.9/24')\n" };
    assert.deepEqual(boot("IP=static\nAddress=('192.0.2.4/24')\n", more), ['192.0.2.9/24']);
  });
});

suite('netctl: what a plan makes of files of others', () => {
  test('other profiles of the device do not start at the next boot, on a copy as well', () => {
    const files = enabled({ office: `${HEAD}IP=dhcp\n`, home: `${HEAD}IP=static\nAddress=('192.0.2.4/24')\n` });
    assert.deepEqual(afterwards(netctl, files, MACHINE), ['203.0.113.10/24', 'default via 203.0.113.1']);
  });

  test('a port of a bridge or bond that starts at boot refuses with its owner; a VLAN does not', () => {
    for (const connection of ['bridge', 'bond', 'openvswitch']) {
      const top = `Interface=top0\nConnection=${connection}\nBindsToInterfaces=(eth0 eth1)\nIP=dhcp\n`;
      assert.match(
        refused(netctl, enabled({ top }), MACHINE),
        /^GW_NETWORK_IMPOSSIBLE .*which \/etc\/netctl\/top makes a port of top0: it belongs on top0/,
      );
    }
    const vlan = 'Interface=eth0.7\nConnection=vlan\nBindsToInterfaces=eth0\nVLANID=7\nIP=no\n';
    assert.notEqual(afterwards(netctl, enabled({ vlan }), MACHINE), null);
  });

  test('a file of the interface that has the last word refuses with its path', () => {
    const files = { [`${D}interfaces/eth0`]: 'IP=dhcp\n' };
    assert.match(refused(netctl, files, MACHINE), /^GW_NETWORK_BOOT .*\/etc\/netctl\/interfaces\/eth0/);
  });
});
