/** What Slackware brings at a boot, by rc.inet1.conf as people have it. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { slackware } from '../../../ts/network/renderers/linux/slackware.js';
import { brought, decided, refused } from './table.js';

const CONF = '/etc/rc.d/rc.inet1.conf';
const MACHINE = { present: ['/etc/rc.d/rc.inet1'] };
const LOCAL = '/etc/rc.d/rc.local';
const boot = (text: string, local = ''): readonly string[] | null =>
  brought(slackware, { [CONF]: text, [LOCAL]: local });

suite('what Slackware brings at a boot', () => {
  test('version 15: lists of addresses, aliases, and clients by their keys', () => {
    const text = 'IPADDRS[0]="192.0.2.4/24 10.0.0.4/8"\nIPALIASES[0]="192.0.2.5/24"\nIP6ADDRS[0]="2001:db8::4/64"\n';
    assert.deepEqual(boot(`${text}GATEWAY="192.0.2.1"\nGATEWAY6="2001:db8::1"\n`), [
      '192.0.2.4/24',
      '10.0.0.4/8',
      '192.0.2.5/24',
      '2001:db8::4/64',
      'default via 192.0.2.1',
      'default6 via 2001:db8::1',
    ]);
    assert.deepEqual(boot('IPADDRS[0]=""\nUSE_DHCP[0]="yes"\nUSE_SLAAC[0]="yes"\nMTU[0]="9000"\n'), [
      'dhcp4',
      'auto6 ra',
      'mtu 9000',
    ]);
  });

  test('version 14: one address, and the kernel’s SLAAC', () => {
    const text = 'IPADDR[0]="192.0.2.4"\nNETMASK[0]="255.255.255.0"\nGATEWAY="203.0.113.1"\n';
    assert.deepEqual(boot(text), ['192.0.2.4/24', 'auto6 ra']);
  });

  test('an index of another name, or beyond the limit, is not the device’s', () => {
    assert.equal(boot('IFNAME[0]="eth7"\nIPADDRS[0]="192.0.2.4/24"\n'), null);
    assert.equal(boot('IFNAME[6]="eth0"\nIFNAME[0]="eth6"\nIPADDRS[6]="192.0.2.4/24"\n'), null);
    const far = 'IFNAME[0]="eth6"\nIFNAME[6]="eth0"\nIPADDRS[6]="192.0.2.4/24"\nMAXNICS="7"\n';
    assert.deepEqual(boot(far), ['192.0.2.4/24']);
  });

  test('commands of rc.local about the device come last', () => {
    const local = [
      '#!/bin/sh',
      '/sbin/ip -4 addr add 192.0.2.9/24 dev eth0',
      'ip route add default via 192.0.2.1 dev eth0 metric 5',
      'ip route add 10.0.0.0/8 via 192.0.2.1 dev eth1',
      'ip route add default via 192.0.2.9 dev eth0 table 7',
      'ip link set eth1 master eth0 mtu 9000',
      'echo 1 > /proc/sys/net/ipv6/conf/eth1/accept_ra',
    ];
    assert.deepEqual(boot('IPADDRS[0]="192.0.2.4/24"\n', `${local.join('\n')}\n`), [
      '192.0.2.4/24',
      '192.0.2.9/24',
      'default via 192.0.2.1 metric 5',
    ]);
  });
});

suite('Slackware: what a plan makes of files of others', () => {
  test('a port of a bridge or bond refuses with its owner and where the address belongs', () => {
    for (const key of ['BRNICS', 'BONDNICS']) {
      const text = `IFNAME[1]="lan"\n${key}[1]="eth1 eth0"\n`;
      assert.match(
        refused(slackware, { [CONF]: text }, MACHINE),
        /^GW_NETWORK_IMPOSSIBLE .*rc\.inet1\.conf makes a port of lan: it belongs on lan/,
      );
    }
    const others = 'IFNAME[1]="lan"\nBRNICS[1]="eth1"\n';
    assert.notEqual(typeof decided(slackware, { [CONF]: others }, MACHINE), 'string');
  });
});
