/** nm-settings-keyfile(5): profiles of three folders, by name, MAC or match, with priorities and what stands on them. */
import fc from 'fast-check';
import { type Grammar, MACS, address, gateway, inFiles, together } from './system.js';

const uuid = fc
  .integer({ min: 0, max: 40 })
  .map((number) => `11111111-2222-4333-8444-${String(number).padStart(12, '0')}`);
const identity = fc.constantFrom('interface-name=eth0\n', 'interface-name=eth0\n', 'interface-name=eth1\n', '', '');
const more = fc.constantFrom(
  '',
  '',
  `[ethernet]\nmac-address=${MACS.eth0}\n\n`,
  `[ethernet]\nmac-address=${MACS.other}\n\n`,
  `[ethernet]\nmac-address-blacklist=${MACS.eth0};\n\n`,
  '[match]\ninterface-name=eth*;!eth1;\n\n',
  '[match]\ninterface-name=en*;\n\n',
);
const four = fc.record({ own: fc.option(address), via: fc.option(gateway, { freq: 2 }) }).map(({ own, via }) => {
  if (own === null) return '[ipv4]\nmethod=disabled\n\n';
  return `[ipv4]\nmethod=manual\naddress1=${own}${via === null ? '' : `,${via}`}\n\n`;
});
const profiles = fc
  .record({
    uuid,
    identity,
    priority: fc.constantFrom(
      '',
      '',
      'autoconnect-priority=10\n',
      'autoconnect-priority=500\n',
      'autoconnect-priority=999\n',
    ),
    auto: fc.constantFrom('', '', 'autoconnect=false\n'),
    more,
    four,
  })
  .map(({ uuid: id, identity: name, priority, auto, more: keys, four: ipv4 }) => {
    return `[connection]\nid=made ${id.slice(-2)}\nuuid=${id}\ntype=ethernet\n${name}${priority}${auto}\n${keys}${ipv4}[ipv6]\nmethod=disabled\n`;
  });
const ports = fc.tuple(uuid, fc.constantFrom('eth0', 'eth1')).map(([id, name]) => {
  return `[connection]\nid=port\nuuid=${id}\ntype=ethernet\ninterface-name=${name}\nmaster=br0\nslave-type=bridge\n`;
});
const macvlans = fc.tuple(uuid, uuid, address).map(([id, parent, own]) => {
  return (
    `[connection]\nid=mv0\nuuid=${id}\ntype=macvlan\ninterface-name=mv0\nautoconnect=false\n\n[macvlan]\nmode=2\nparent=${parent}\n\n` +
    `[ipv4]\nmethod=manual\naddress1=${own}\n\n[ipv6]\nmethod=disabled\n`
  );
});
const path = fc
  .tuple(
    fc.constantFrom('/etc', '/etc', '/etc', '/run', '/usr/lib'),
    fc.constantFrom('wired', 'any', 'office', 'Wired connection 1', 'eth0', 'zz'),
  )
  .map(([root, name]) => `${root}/NetworkManager/system-connections/${name}.nmconnection`);

export const networkmanager: Grammar = {
  renderer: 'networkmanager',
  stack: 'NetworkManager',
  present: ['/usr/sbin/NetworkManager', '/etc/systemd/system/multi-user.target.wants/NetworkManager.service'],
  systems() {
    const part = fc.oneof(
      { weight: 8, arbitrary: profiles },
      { weight: 1, arbitrary: ports },
      { weight: 1, arbitrary: macvlans },
    );
    return together(inFiles(part, path, 5));
  },
};
