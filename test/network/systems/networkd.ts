/** systemd.network(5): files of four folders that match by names, MACs, drivers and types, with drop-ins and masks. */
import fc from 'fast-check';
import { type Grammar, MACS, address, gateway, inFiles, together } from './system.js';

const match = fc.constantFrom(
  'Name=eth0',
  'Name=eth0',
  'Name=eth1',
  'Name=eth*',
  'Name=en* eth*',
  'Name=!eth0 lo',
  'Name=eth[1-9]',
  `MACAddress=${MACS.eth0}`,
  `MACAddress=${MACS.eth0.toUpperCase().replaceAll(':', '-')}`,
  `MACAddress=${MACS.other}`,
  'Type=ether',
  'Type=ether\nName=eth0',
  'Driver=veth\nName=eth*',
  'Name=*\nType=!loopback',
  'Host=nobody\nName=eth0',
);
/** Of several devices the first one that comes up would get the macvlan. */
const isEth0 = (keys: string): boolean =>
  /^(?:Type=ether\n)?(?:Name|MACAddress)=(?:eth0|52:54:00:aa:00:01)$/.test(keys);
const network = fc
  .record({
    dhcp: fc.constantFrom('', 'DHCP=yes\n', 'DHCP=ipv4\n'),
    own: fc.option(address),
    via: fc.option(gateway, { freq: 2 }),
    server: fc.constantFrom('', 'DNS=203.0.113.53\n'),
  })
  .map(({ dhcp, own, via, server }) => {
    const static4 = own === null ? '' : `Address=${own}\n`;
    const route =
      own === null || via === null ? '' : `\n[Route]\nDestination=10.0.0.0/8\nGateway=${via}\nGatewayOnLink=yes\n`;
    return `IPv6AcceptRA=no\n${dhcp}${static4}${server}${route}`;
  });
const files = fc.tuple(match, fc.constantFrom('', '', '', 'MACVLAN=mv0\n'), network).map(([keys, child, rest]) => {
  return `[Match]\n${keys}\n\n[Link]\nRequiredForOnline=no\n\n[Network]\n${isEth0(keys) ? child : ''}${rest}`;
});
const ports = fc.constantFrom('eth0', 'eth1').map((name) => `[Match]\nName=${name}\n\n[Network]\nBridge=br0\n`);
const folder = fc.constantFrom('/etc', '/etc', '/run', '/usr/lib').map((root) => `${root}/systemd/network/`);
const stem = fc.constantFrom('00-first', '05-early', '10-lan', '20-wired', '50-site', '99-default', 'eth0');
const path = fc.tuple(folder, stem).map(([where, name]) => `${where}${name}.network`);
const dropIns = fc
  .tuple(folder, stem, fc.constantFrom('a', 'z'))
  .map(([where, name, part]) => `${where}${name}.network.d/${part}.conf`);
const dropIn = fc.oneof(
  address.map((own) => `[Network]\nAddress=${own}\n`),
  fc.constantFrom('[Match]\nName=eth0\n', '[Network]\nDNS=203.0.113.54\n', ''),
);
const NETDEV = { '/etc/systemd/network/mv0.netdev': '[NetDev]\nName=mv0\nKind=macvlan\n\n[MACVLAN]\nMode=bridge\n' };
const BRIDGE = { '/etc/systemd/network/br0.netdev': '[NetDev]\nName=br0\nKind=bridge\n' };

export const networkd: Grammar = {
  renderer: 'networkd',
  stack: 'systemd-networkd',
  present: ['/etc/systemd/system/multi-user.target.wants/systemd-networkd.service'],
  systems() {
    const part = fc.oneof(
      { weight: 8, arbitrary: files },
      { weight: 1, arbitrary: ports },
      { weight: 1, arbitrary: fc.constant('') },
    );
    return together(
      fc.constant({ ...NETDEV, ...BRIDGE }),
      files.map((text) => ({ '/etc/systemd/network/20-wired.network': text })),
      inFiles(part, path, 4),
      inFiles(dropIn, dropIns, 2),
    );
  },
};
