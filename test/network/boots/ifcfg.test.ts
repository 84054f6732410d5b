/** What the initscripts bring at a boot, by files as people have them. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ifcfg } from '../../../ts/network/renderers/linux/ifcfg.js';
import { afterwards, brought, refused } from './table.js';

const D = '/etc/sysconfig/network-scripts/';
const GLOBAL = '/etc/sysconfig/network';
const SCRIPT = `${D}ifup-eth`;
const MACHINE = { present: [SCRIPT] };
const WANTED = ['203.0.113.10/24', 'default via 203.0.113.1'];

type Files = Readonly<Record<string, string>>;

/** Names without a folder are in that of the scripts. */
function machine(files: Files, global = 'NETWORKING=yes\n'): Files {
  const own = Object.entries(files).map(([name, text]) => [name.startsWith('/') ? name : D + name, text]);
  return { [GLOBAL]: global, ...(Object.fromEntries(own) as Files) };
}

const boot = (files: Files, global?: string): readonly string[] | null => brought(ifcfg, machine(files, global));
const ETH0 = 'DEVICE=eth0\nONBOOT=yes\nBOOTPROTO=none\nIPV6_AUTOCONF=no\n';

suite('what the initscripts bring at a boot', () => {
  test('DHCP, and SLAAC where the file says nothing of IPv6', () => {
    assert.deepEqual(boot({ 'ifcfg-eth0': 'DEVICE="eth0"\nBOOTPROTO="dhcp"\nONBOOT="yes"\nIPV6INIT="no"\n' }), [
      'dhcp4',
      'auto6 ra',
    ]);
    assert.deepEqual(boot({ 'ifcfg-eth0': 'DEVICE=eth0\nBOOTPROTO=dhcp\nDHCPV6C=yes\nMTU=9001\n' }), [
      'dhcp4',
      'auto6 dhcp',
      'mtu 9001',
    ]);
  });

  test('a file that is off, of another MAC or without a device, and NETWORKING=no, bring nothing', () => {
    for (const text of [
      'DEVICE=eth0\nONBOOT=no\nIPADDR=192.0.2.4\n',
      'DEVICE=eth0\nHWADDR=00:16:3E:00:00:99\nIPADDR=192.0.2.4\n',
      'ONBOOT=yes\nIPADDR=192.0.2.4\n',
      'DEVICE=eth1\nIPADDR=192.0.2.4\n',
    ]) {
      assert.equal(boot({ 'ifcfg-eth0': text }), null, text);
    }
    assert.equal(boot({ 'ifcfg-eth0': ETH0 }, 'NETWORKING=no\n'), null);
    assert.equal(boot({ 'ifcfg-eth0.rpmsave': ETH0 }), null);
  });

  test('a file that has no device is found by its MAC, in any case', () => {
    const text = 'HWADDR=52:54:00:AA:00:01\nNAME="System eth0"\nIPADDR=192.0.2.4\nNETMASK=255.255.255.0\n';
    assert.deepEqual(boot({ 'ifcfg-System_eth0': text }), ['192.0.2.4/24', 'auto6 ra']);
  });

  test('numbered addresses end at the first gap from 2 on; a mask is of the class where none is told', () => {
    const numbered = [
      'IPADDR0=192.0.2.4',
      'PREFIX0=26',
      'IPADDR1=10.1.2.3',
      'IPADDR2=172.16.0.4',
      'NETMASK2=255.255.240.0',
      'IPADDR4=192.0.2.9',
    ];
    assert.deepEqual(boot({ 'ifcfg-eth0': `${ETH0}${numbered.join('\n')}\n` }), [
      '192.0.2.4/26',
      '10.1.2.3/8',
      '172.16.0.4/20',
    ]);
  });

  test('a gateway counts inside the network of the first address only, where nothing says otherwise', () => {
    const address = `${ETH0}IPADDR=192.0.2.4\nPREFIX=24\n`;
    const route = (more: string, global?: string): string | undefined => {
      return boot({ 'ifcfg-eth0': address + more }, global)?.find((line) => line.startsWith('default'));
    };
    assert.equal(route('GATEWAY=192.0.2.1\n'), 'default via 192.0.2.1');
    assert.equal(route('GATEWAY=192.0.2.1\nMETRIC=100\n'), 'default via 192.0.2.1 metric 100');
    assert.equal(route('', 'NETWORKING=yes\nGATEWAY=192.0.2.254\n'), 'default via 192.0.2.254');
    assert.equal(route('GATEWAYDEV=eth0\n'), 'default');
    assert.equal(route('GATEWAY=198.51.100.1\n'), undefined);
    assert.equal(route('GATEWAY=192.0.2.1\nDEFROUTE=no\n'), undefined);
    assert.equal(route('GATEWAY=192.0.2.1\n', 'NETWORKING=yes\nGATEWAYDEV=eth1\n'), undefined);
  });

  test('aliases and ranges come with their device; an alias may stay behind', () => {
    assert.deepEqual(
      boot({
        'ifcfg-eth0': `${ETH0}IPADDR=192.0.2.4\nPREFIX=24\n`,
        'ifcfg-eth0:1': 'DEVICE=eth0:1\nIPADDR=192.0.2.5\nNETMASK=255.255.255.0\n',
        'ifcfg-eth0:2': 'DEVICE=eth0:2\nIPADDR=192.0.2.6\nONPARENT=no\n',
        'ifcfg-eth0-range0': 'IPADDR_START=192.0.2.20\nIPADDR_END=192.0.2.22\nCLONENUM_START=10\n',
      }),
      ['192.0.2.4/24', '192.0.2.5/24', '192.0.2.20/24', '192.0.2.21/24', '192.0.2.22/24', 'auto6 ra'],
    );
  });

  test('IPv6: secondary addresses, 64 bits by default, and a default only of this device', () => {
    const text = `${ETH0}IPV6INIT=yes\nIPV6ADDR=2001:db8::4\nIPV6ADDR_SECONDARIES="2001:db8::5/64 2001:db8:1::4/56"\n`;
    const addresses = ['2001:db8::4/64', '2001:db8::5/64', '2001:db8:1::4/56'];
    assert.deepEqual(boot({ 'ifcfg-eth0': `${text}IPV6_DEFAULTGW=fe80::1%eth0\n` }), [
      ...addresses,
      'default6 via fe80::1',
    ]);
    assert.deepEqual(boot({ 'ifcfg-eth0': `${text}IPV6_DEFAULTGW=2001:db8::1\n` }), [
      ...addresses,
      'default6 via 2001:db8::1',
    ]);
    assert.deepEqual(boot({ 'ifcfg-eth0': text }, 'NETWORKING=yes\nIPV6_DEFAULTGW=fe80::1%eth1\n'), addresses);
    assert.deepEqual(boot({ 'ifcfg-eth0': text }, 'NETWORKING=yes\nIPV6_DEFAULTGW=fe80::1\n'), addresses);
  });

  test('sysctl.d has the last word on advertisements and on IPv6 itself', () => {
    const files = { 'ifcfg-eth0': `${ETH0}IPV6ADDR=2001:db8::4/64\n` };
    const off = { '/etc/sysctl.d/99-no-ipv6.conf': 'net.ipv6.conf.all.disable_ipv6 = 1\n' };
    const on = { '/etc/sysctl.conf': 'net/ipv6/conf/eth0/accept_ra=1\nnet.ipv6.conf.eth0.autoconf=1\n' };
    assert.deepEqual(boot({ ...files, ...off }), []);
    assert.deepEqual(boot({ ...files, ...on }), ['2001:db8::4/64', 'auto6 ra']);
  });

  test('routes in both forms, of the device and of the name of its file; another device does not count', () => {
    const files = {
      'ifcfg-lan': `${ETH0}IPADDR=192.0.2.4\nPREFIX=24\n`,
      'route-eth0':
        '# static\n10.0.0.0/8 via 192.0.2.1 dev eth0\n10.9/16 via 192.0.2.9 metric 50\ndefault via 192.0.2.1\n',
      'route6-eth0': '2001:db8:9::/48 via fe80::1 dev eth0\n10.1.1.0/24 dev eth1\nblackhole 10.2.0.0/16\n',
      'route-lan':
        'ADDRESS0=172.16.0.0\nNETMASK0=255.240.0.0\nGATEWAY0=192.0.2.2\nMETRIC0=9\nADDRESS2=172.31.0.0\nNETMASK2=255.255.0.0\n',
      '/etc/sysconfig/static-routes':
        'any net 198.51.100.0 netmask 255.255.255.0 gw 192.0.2.3\nany host 198.51.100.9 gw 192.168.9.1\n',
    };
    assert.deepEqual(boot(files), [
      '192.0.2.4/24',
      '10.0.0.0/8 via 192.0.2.1',
      '10.9.0.0/16 via 192.0.2.9 metric 50',
      'default via 192.0.2.1',
      '2001:db8:9::/48 via fe80::1',
      '172.16.0.0/12 via 192.0.2.2',
      '198.51.100.0/24 via 192.0.2.3',
    ]);
    assert.deepEqual(boot({ ...files, 'ifcfg-lan': `${files['ifcfg-lan']}NOROUTESET=yes\n` }), [
      '192.0.2.4/24',
      '198.51.100.0/24 via 192.0.2.3',
    ]);
  });

  test('two files of one device: both are started, and a port of a bridge or bond has no address', () => {
    const two = { 'ifcfg-eth0': `${ETH0}IPADDR=192.0.2.4\nPREFIX=24\n`, 'ifcfg-office': `${ETH0}IPADDR=10.0.0.4\n` };
    assert.deepEqual(boot(two), ['192.0.2.4/24', '10.0.0.4/8']);
    assert.deepEqual(boot({ 'ifcfg-eth0': `${ETH0}BRIDGE=br0\nIPADDR=192.0.2.4\n` }), []);
  });
});

suite('the initscripts: what a plan makes of files of others', () => {
  test('twins, aliases, ranges and routes of the device are gone after a boot', () => {
    const files = machine({
      'ifcfg-eth0': `${ETH0}IPADDR=192.0.2.4\nPREFIX=24\nIPADDR1=192.0.2.44\nPREFIX1=24\n`,
      'ifcfg-System_eth0': 'HWADDR=52:54:00:aa:00:01\nTYPE=Ethernet\nIPADDR=192.0.2.7\nNETMASK=255.255.255.0\n',
      'ifcfg-office': 'DEVICE=eth0\nBOOTPROTO=dhcp\n',
      'ifcfg-eth0:1': 'DEVICE=eth0:1\nIPADDR=192.0.2.5\nNETMASK=255.255.255.0\n',
      'ifcfg-more': 'DEVICE=eth0:7\nIPADDR=192.0.2.8\nNETMASK=255.255.255.0\n',
      'ifcfg-eth0-range0': 'IPADDR_START=192.0.2.20\nIPADDR_END=192.0.2.22\nCLONENUM_START=10\n',
      'route-office': 'default via 192.0.2.1\n',
    });
    assert.deepEqual(afterwards(ifcfg, files, MACHINE), WANTED);
  });

  test('a port refuses with its owner and where the address belongs', () => {
    for (const [key, owner] of [
      ['BRIDGE', 'br0'],
      ['MASTER', 'bond0'],
      ['TEAM_MASTER', 'team0'],
      ['OVS_BRIDGE', 'ovsbr0'],
    ] as const) {
      for (const name of ['ifcfg-eth0', 'ifcfg-System_eth0']) {
        const files = machine({ [name]: `DEVICE=eth0\nONBOOT=yes\nSLAVE=yes\n${key}=${owner}\n` });
        const text = refused(ifcfg, files, MACHINE);
        assert.match(text, /^GW_NETWORK_IMPOSSIBLE /);
        assert.ok(text.includes(`which ${D}${name} makes a port of ${owner}: it belongs on ${owner}`), text);
      }
    }
    const ovs = machine({ 'ifcfg-bond0': 'DEVICE=bond0\nTYPE=OVSBond\nBOND_IFACES="eth0 eth1"\n' });
    assert.match(refused(ifcfg, ovs, MACHINE), /ifcfg-bond0 makes a port of bond0/);
  });

  test('what others say last refuses with their path', () => {
    for (const [path, text, wanted] of [
      ['/etc/sysctl.d/99-ra.conf', 'net.ipv6.conf.eth0.accept_ra=2\nnet.ipv6.conf.eth0.autoconf=1\n', 'advertisements'],
      ['/etc/sysconfig/static-routes', 'any net default gw 203.0.113.9\n', 'default route'],
    ] as const) {
      const refusal = refused(ifcfg, machine({ [path]: text }), MACHINE);
      assert.match(refusal, /^GW_NETWORK_BOOT /);
      assert.ok(refusal.includes(path) && refusal.includes(wanted), refusal);
    }
  });
});
