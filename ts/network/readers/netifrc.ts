/**
 * What netifrc makes of `/etc/conf.d/net` for a device: doc/net.example, and its init.d/net.lo, net/iproute2.sh and
 * net/macnet.sh. `conf.d/net.IF` is sourced after it; what is told of a MAC counts before what is told of a name.
 */
import type { Nic } from '../../api/host.js';
import { parsePrefix } from '../address.js';
import { readShellFile } from '../formats/shell-file.js';
import type { Boot } from '../plan.js';
import { KernelBoot } from './listening.js';

const MAIN = '/etc/conf.d/net';

type Files = ReadonlyMap<string, string>;

/** `isStarted`: a runlevel has the device's service, which gives it DHCP where no file says anything. Null when nothing does. */
export function readNetifrc(files: Files, isStarted: boolean, nic: Nic): Boot | null {
  const { name } = nic;
  const paths = [MAIN, `${MAIN}.${name}`].filter((path) => files.has(path));
  const keys = new Map(paths.flatMap((path) => [...readShellFile(files.get(path) ?? '')]));
  const owner = name.replace(/[^A-Za-z0-9]/g, '_');
  const mac = nic.mac.replaceAll(':', '').toUpperCase();
  const of = (variable: string): string => {
    // Of these alone the module macnet knows.
    const byMac = /^(config|metric|routes)$/.test(variable) ? (keys.get(`${variable}_${mac}`) ?? '') : '';
    return byMac === '' ? (keys.get(`${variable}_${owner}`) ?? '') : byMac;
  };
  const config = of('config');
  if (config.trim() === '' && !isStarted) return null;
  const boot = new KernelBoot();
  const by = new Set(paths);
  for (const path of boot.obeySysctls(files, name)) by.add(path);
  const mtu = of('mtu').trim();
  if (mtu !== '') boot.mtu = Number(mtu);
  for (const command of commandsOf(config)) take(command, boot);
  // dhcpcd does IPv6 too, and SLAAC by itself, unless it is told not to.
  const modules = keys.get(`modules_${owner}`) ?? keys.get('modules') ?? '';
  const isDhcpcd = !/(^|\s)(dhclient|udhcpc|pump|!dhcpcd)(\s|$)/.test(modules);
  const options = of('dhcpcd') === '' ? (keys.get('dhcpcd') ?? '') : of('dhcpcd');
  const isFourOnly = /(^|\s|:-|")(-4|--ipv4only|--noipv6)(\s|"|$)/.test(options);
  if (boot.dhcp4 && isDhcpcd && !isFourOnly) boot.acceptsAdvertisements = boot.configuresItself = true;
  addRoutes(of('routes'), of('metric').trim() === '' ? nic.index : Number(of('metric')), name, boot);
  return boot.done(by.size === 0 ? `/etc/init.d/net.${name}` : [...by].join(', '));
}

/** One a line; a single line of several addresses is several commands. */
function commandsOf(config: string): readonly (readonly string[])[] {
  const lines = config
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([word]) => word !== '');
  if (lines.length === 0) return [['dhcp']];
  const [only = []] = lines;
  const isList = lines.length === 1 && /[.:]/.test(only[1] ?? '');
  return isList ? only.map((word) => [word]) : lines;
}

function take([word = '', ...options]: readonly string[], boot: KernelBoot): void {
  if (/^(dhcp|dhcpcd|dhclient|udhcpc|pump)$/.test(word)) boot.dhcp4 = true;
  else if (/^(dhcpv6|dhclientv6)$/.test(word)) boot.asksDhcp6 = true;
  else if (/^\d|:/.test(word))
    boot.addAddress(word, options[options.findIndex((one) => one.startsWith('ne')) + 1 || -1]);
}

/** A metric, once given, is also that of the routes below; without one it is the number of the device. */
function addRoutes(routes: string, metric: number, name: string, boot: KernelBoot): void {
  let current = metric;
  for (const line of routes.split('\n')) {
    const words = line.trim().split(/\s+/);
    if (words[0] === '') continue;
    const family = words[0] === '-6' ? 6 : 4;
    const plain = asIproute2(words.filter((word) => !/^-(4|6|net|host)$/.test(word)));
    const told = plain.indexOf('metric');
    if (told >= 0) current = Number(plain[told + 1]);
    boot.addIpRoute(told >= 0 ? plain : [...plain, 'metric', String(current)], name, family);
  }
}

/** `10.0.0.0 netmask 255.0.0.0 gw 192.0.2.1` is understood, too. */
function asIproute2(words: readonly string[]): readonly string[] {
  const at = words.indexOf('netmask');
  const prefix = at < 0 ? null : parsePrefix(words[at + 1], 4);
  const plain = words.filter((_, index) => at < 0 || (index !== at && index !== at + 1));
  const [target = '', ...rest] = plain.map((word) => (word === 'gw' ? 'via' : word));
  return [prefix === null ? target : `${target}/${prefix}`, ...rest];
}
