/**
 * What Slackware brings at a boot: rc.inet1.conf(5) of versions 14 and 15, and the `ip` commands of /etc/rc.d/rc.local. Other
 * commands are nobody's to judge.
 */
import type { Nic } from '../../api/host.js';
import { readShellFile } from '../formats/shell-file.js';
import type { Boot } from '../plan.js';
import { KernelBoot } from './listening.js';

/** rc.inet1 looks at so many indexes where the file does not say. */
const USUAL_LIMIT = 6;

/** Null when no index is the device's and no command names it. */
export function readSlackware(
  files: ReadonlyMap<string, string>,
  conf: string,
  local: string,
  { name }: Nic,
): Boot | null {
  const keys = readShellFile(files.get(conf) ?? '');
  const boot = new KernelBoot();
  const by = new Set(boot.obeySysctls(files, name));
  const limit = /^\d+$/.test(keys.get('MAXNICS') ?? '') ? Number(keys.get('MAXNICS')) : USUAL_LIMIT;
  // Of two indexes of one name the lower one counts; one without a name is ethN.
  const names = Array.from({ length: limit }, (_, index) => {
    const told = keys.get(`IFNAME[${index}]`) ?? '';
    return told === '' ? `eth${index}` : told;
  });
  const index = names.indexOf(name);
  const of = (key: string): string => keys.get(`${key}[${index}]`) ?? '';
  const isThere = index >= 0 && [...keys].some(([key, value]) => key.endsWith(`[${index}]`) && value !== '');
  if (isThere) {
    by.add(conf);
    bringUp(keys, of, boot);
  }
  const commands = (files.get(local) ?? '').split('\n').map((line) => line.trim().split(/\s+/));
  for (const command of commands) if (obey(command, name, boot)) by.add(local);
  return by.size === 0 ? null : boot.done([...by].join(', '));
}

function bringUp(keys: ReadonlyMap<string, string>, of: (key: string) => string, boot: KernelBoot): void {
  const isOn = (key: string): boolean => of(key).toLowerCase() === 'yes';
  if (of('MTU') !== '') boot.mtu = Number(of('MTU'));
  boot.dhcp4 = isOn('USE_DHCP');
  if (of('IPADDR') !== '' && !boot.dhcp4)
    boot.addAddress(of('IPADDR'), of('NETMASK') === '' ? undefined : of('NETMASK'));
  for (const address of [of('IPADDRS'), of('IPALIASES')].join(' ').split(/\s+/)) boot.addAddress(address);
  for (const address of of('IP6ADDRS').split(/\s+/)) boot.addAddress(address);
  // rc.inet1 of 15 turns advertisements off itself where they are not wanted; that of 14 knows nothing of IPv6.
  const isOld = ![...keys.keys()].some((key) => /^IP6?ADDRS\[/.test(key));
  if (!isOld) {
    boot.acceptsAdvertisements = isOn('USE_SLAAC') || isOn('USE_RA') || isOn('USE_DHCP6');
    boot.configuresItself = isOn('USE_SLAAC');
    boot.asksDhcp6 = isOn('USE_DHCP6');
  }
  for (const key of ['GATEWAY', 'GATEWAY6']) {
    const gateway = keys.get(key) ?? '';
    // Set without a device: it goes where its network is.
    if (boot.covers(gateway)) boot.addRoute('default', gateway);
  }
}

/** Whether the command is about the device. */
function obey(words: readonly string[], name: string, boot: KernelBoot): boolean {
  const [program = '', ...all] = words;
  if (program === 'echo') {
    const [value, ...target] = all;
    const [device, key] = target.join('').replace(/^>/, '').split('/').slice(-2);
    if (device !== name) return false;
    if (key === 'accept_ra') boot.acceptsAdvertisements = value !== '0';
    if (key === 'autoconf') boot.configuresItself = value !== '0';
    return true;
  }
  return all.includes(name) && boot.obey(words, name);
}
