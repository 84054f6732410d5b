/** netplan(5): ids, patterns, MACs and drivers in files of three folders, with what stands on them. */
import fc from 'fast-check';
import { type Grammar, MACS, address, gateway, inFiles, together } from './system.js';

/** The body of an ethernet definition: lines, without its indent. */
const body = fc
  .record({
    dhcp4: fc.option(fc.boolean()),
    own: fc.option(address),
    via: fc.option(gateway, { freq: 2 }),
    six: fc.boolean(),
  })
  .map(({ dhcp4, own, via, six }) => [
    ...(dhcp4 === null ? [] : [`dhcp4: ${dhcp4}`]),
    ...(six ? ['accept-ra: false'] : []),
    ...(own === null ? [] : [`addresses: [${own}]`]),
    ...(own === null || via === null ? [] : [`routes: [{to: 10.0.0.0/8, via: ${via}}]`]),
    'optional: true',
  ]);
const match = fc.constantFrom<readonly [id: string, lines: readonly string[]]>(
  ['eth0', []],
  ['eth0', []],
  ['eth1', []],
  ['lan', ['match: {name: eth0}']],
  ['all-en', ['match: {name: "en*"}']],
  ['all-eth', ['match: {name: "eth*"}']],
  ['pair', ['match: {name: "eth[01]"}']],
  ['by-mac', [`match: {macaddress: "${MACS.eth0}"}`]],
  ['upper', [`match: {macaddress: "${MACS.eth1.toUpperCase()}"}`]],
  ['elsewhere', [`match: {macaddress: "${MACS.other}"}`]],
  ['wan', [`match: {macaddress: "${MACS.eth0}"}`, 'set-name: eth0']],
);
const ethernets = fc.tuple(match, body).map(([[id, lines], more]) => {
  const all = [...lines, ...more].map((line) => `      ${line}\n`);
  return `  ethernets:\n    ${id}:\n${all.join('')}`;
});
const anchored = fc.tuple(body, address).map(([lines, own]) => {
  const all = lines.map((line) => `      ${line}\n`).join('');
  return `  ethernets:\n    eth1: &usual\n${all}    eth0:\n      <<: *usual\n      addresses: [${own}]\n`;
});
const bridges = fc.tuple(fc.constantFrom('[]', '[]', '[eth1]', '[eth0]'), address).map(([ports, own]) => {
  return `  ethernets:\n    eth0: {}\n    eth1: {}\n  bridges:\n    br0:\n      interfaces: ${ports}\n      addresses: [${own}]\n`;
});
const vlans = address.map((own) => {
  return `  ethernets:\n    eth0: {dhcp4: true}\n  vlans:\n    storage:\n      id: 7\n      link: eth0\n      addresses: [${own}]\n`;
});
const renderers = fc.constantFrom('', '', '  renderer: networkd\n');
const path = fc
  .tuple(
    fc.constantFrom('/etc/netplan/', '/etc/netplan/', '/etc/netplan/', '/run/netplan/', '/lib/netplan/'),
    fc.constantFrom('00-installer', '01-netcfg', '50-cloud-init', '90-site', '99-last', 'zz'),
  )
  .map(([folder, name]) => `${folder}${name}.yaml`);

export const netplan: Grammar = {
  renderer: 'netplan',
  stack: 'netplan with systemd-networkd',
  present: ['/usr/sbin/netplan'],
  systems(runs) {
    const part = fc.oneof(
      { weight: 5, arbitrary: ethernets },
      { weight: 1, arbitrary: anchored },
      { weight: 1, arbitrary: bridges },
      { weight: runs ? 0 : 1, arbitrary: vlans },
    );
    const text = fc
      .tuple(renderers, part)
      .map(([renderer, network]) => `network:\n  version: 2\n${renderer}${network}`);
    const first = text.map((file) => ({ '/etc/netplan/50-cloud-init.yaml': file }));
    return together(first, inFiles(text, path, 3));
  },
};
