/** interfaces(5): stanzas of the devices, aliases, logical names, mappings, bridges, in files that `source` lines reach or not. */
import fc from 'fast-check';
import { type Grammar, address, gateway, inFiles, together } from './system.js';

const LOOPBACK = 'auto lo\niface lo inet loopback\n';
const device = fc.constantFrom('eth0', 'eth0', 'eth1');
const up = fc.constantFrom('auto', 'auto', 'allow-hotplug');

const statics = fc
  .record({ name: device, up, own: address, via: fc.option(gateway), form: fc.boolean(), command: fc.boolean() })
  .map(({ name, up: word, own, via, form, command }) => {
    const [bare = '', prefix = ''] = own.split('/');
    const mask = { 24: '255.255.255.0', 28: '255.255.255.240' }[prefix] ?? '';
    return [
      `${word} ${name}`,
      `iface ${name} inet static`,
      ...(form ? [`\taddress ${own}`] : [`    address ${bare}`, `    netmask ${mask}`]),
      ...(via === null ? [] : [`    gateway ${via}`]),
      ...(command ? [`    up ip addr add 198.51.100.77/32 dev $IFACE || true`] : []),
    ].join('\n');
  });
const clients = fc.tuple(up, device).map(([word, name]) => `${word} ${name}\niface ${name} inet dhcp`);
const sixes = fc
  .tuple(device, fc.constantFrom('auto', 'manual', 'static\n    address 2001:db8:9::21/64'))
  .map(([name, method]) => `iface ${name} inet6 ${method}`);
const aliases = fc.tuple(device, fc.constantFrom(':0', ':1', ':web'), address).map(([name, mark, own]) => {
  return `auto ${name}${mark}\niface ${name}${mark} inet static\n    address ${own}`;
});
const logical = fc.tuple(device, fc.constantFrom('office', 'home'), address).map(([name, place, own]) => {
  return `auto ${name}=${place}\niface ${place} inet static\n    address ${own}`;
});
const mappings = fc.constantFrom(
  'mapping eth0\n    script /usr/local/sbin/where\n    map office',
  'mapping eth*\n    script /usr/local/sbin/where',
  'mapping wlan*\n    script /usr/local/sbin/where',
);
const bridges = fc
  .constantFrom('none', 'none', 'eth1', 'eth0', 'all', 'regex eth.*', 'regex veth.*')
  .map((ports) => `auto br0\niface br0 inet manual\n    bridge_ports ${ports}\n    bridge_stp off`);
const vlans = fc
  .tuple(device, address)
  .map(([name, own]) => `auto ${name}.7\niface ${name}.7 inet static\n    address ${own}\n    vlan-raw-device ${name}`);
const foreign = fc.constantFrom(
  '# a remark\n#auto eth0\n#iface eth0 inet dhcp',
  'auto usb0\niface usb0 inet manual',
  'allow-auto eth1',
  'no-auto-down eth0',
  'iface eth0 inet manual',
);

const sources = fc.subarray([
  'source /etc/network/interfaces.d/*',
  'source-directory /etc/network/interfaces.d',
  'source /opt/net/*.conf',
  'source more/*',
]);
const path = fc.constantFrom(
  '/etc/network/interfaces.d/50-cloud-init',
  '/etc/network/interfaces.d/eth0',
  '/etc/network/interfaces.d/eth0.bak',
  '/etc/network/interfaces.d/zz-last',
  '/etc/network/more/one',
  '/opt/net/10-lan.conf',
  '/opt/net/left.over',
);

export const ifupdown: Grammar = {
  renderer: 'ifupdown',
  stack: 'ifupdown',
  present: ['/sbin/ifup', '/etc/systemd/system/multi-user.target.wants/networking.service'],
  systems(runs) {
    const part = fc.oneof(
      { weight: 4, arbitrary: statics },
      { weight: runs ? 0 : 3, arbitrary: clients },
      { weight: 2, arbitrary: sixes },
      { weight: 2, arbitrary: aliases },
      { weight: 1, arbitrary: logical },
      { weight: runs ? 0 : 1, arbitrary: mappings },
      { weight: runs ? 0 : 1, arbitrary: vlans },
      { weight: runs ? 0 : 1, arbitrary: bridges },
      { weight: 2, arbitrary: foreign },
    );
    const main = fc.tuple(sources, fc.array(part, { maxLength: 3 }), fc.boolean()).map(([lines, parts, first]) => {
      const text = [...(first ? lines : []), LOOPBACK, ...parts, ...(first ? [] : lines)].join('\n');
      return { '/etc/network/interfaces': `${text}\n` };
    });
    const texts = fc.array(part, { minLength: 1, maxLength: 2 }).map((parts) => `${parts.join('\n\n')}\n`);
    return together(main, inFiles(texts, path, 3));
  },
};
