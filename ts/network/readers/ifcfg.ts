/**
 * What the initscripts' service `network` makes of `/etc/sysconfig/network-scripts`: sysconfig.txt, and the scripts
 * themselves (init.d/network, ifup, ifup-eth, ifup-aliases, ifup-ipv6, ifup-routes).
 *
 * Each file is sourced after `/etc/sysconfig/network`. Aliases (`ifcfg-eth0:1`) and ranges (`ifcfg-eth0-range0`) are not
 * started themselves: the file of their device brings them. Every file of a device is started, so what two of them say
 * is there together.
 */
import type { Nic } from '../../api/host.js';
import { type Address, type Family, networkOf, parseAddress, parsePrefix } from '../address.js';
import { readShellFile } from '../formats/shell-file.js';
import { type Ifcfg, ifcfgFiles } from '../formats/sysconfig.js';
import { IFCFG_DIRECTORY, portOwner } from '../owners/ifcfg.js';
import type { Boot } from '../plan.js';
import { classOf } from './boot.js';
import { KernelBoot } from './listening.js';

const GLOBAL = '/etc/sysconfig/network';
const STATIC_ROUTES = '/etc/sysconfig/static-routes';
/** For a renderer's `reads`. */
export const IFCFG_ROUTES: readonly string[] = [STATIC_ROUTES, `${STATIC_ROUTES}-ipv6`];

type Files = ReadonlyMap<string, string>;
type Keys = ReadonlyMap<string, string>;

/** Null when nothing brings the device up. */
export function readIfcfg(files: Files, nic: Nic): Boot | null {
  const shared = files.get(GLOBAL);
  const globals = readShellFile(shared ?? '');
  if (shared === undefined || isNo(globals, 'NETWORKING')) return null;
  const all = ifcfgFiles({ files }, IFCFG_DIRECTORY);
  const started = all
    .filter(({ name }) => name !== 'lo' && !name.includes(':') && !name.includes('-range'))
    .sort(inOrderOfStart)
    .map((file) => ({ ...file, keys: new Map([...globals, ...file.keys]) }))
    .filter((file) => !isNo(file.keys, 'ONBOOT') && takes(file, nic));
  const ports = started.filter(({ keys }) => portOwner(keys) !== null);
  const own = ports.length > 0 ? ports : started;
  const boot = new KernelBoot();
  // For every device, before any is started.
  const forwards = isYes(globals, 'IPV6FORWARDING');
  if (!isNo(globals, 'IPV6_SET_SYSCTLS')) {
    boot.acceptsAdvertisements = !forwards && !isNo(globals, 'IPV6_AUTOCONF');
  }
  const by = new Set<string>();
  for (const file of own) {
    by.add(file.path);
    if (ports.length > 0) continue;
    bringUp(file, files, nic, boot, by);
    if (device(file.keys) === nic.name) bringAliases(file, all, globals, files, boot, by);
  }
  if (own.length === 0) return null;
  addStaticRoutes(files, nic, boot, by);
  for (const path of boot.obeySysctls(files, nic.name)) by.add(path);
  const made = boot.done([...by].join(', '));
  return ports.length > 0 ? { ...made, auto6: null } : made;
}

function inOrderOfStart(a: Ifcfg, b: Ifcfg): number {
  const [keyA, keyB] = [a, b].map(({ name }) => /^([^\d]*)(\d*)/.exec(name) ?? []);
  const [textA = '', textB = ''] = [keyA?.[1], keyB?.[1]];
  return textA === textB ? Number(keyA?.[2] ?? 0) - Number(keyB?.[2] ?? 0) : textA < textB ? -1 : 1;
}

/** With an alias's number, where it has one. */
function device(keys: Keys): string {
  return keys.get('DEVICE') ?? '';
}

function takes({ keys }: Ifcfg, { name, mac, permanentMac }: Nic): boolean {
  const own = (key: string): string => (keys.get(key) ?? '').toLowerCase();
  const isOwnMac = own('HWADDR') === mac || own('HWADDR') === permanentMac;
  const named = device(keys) === '' ? (isOwnMac ? name : '') : device(keys);
  if (named.split(':')[0] !== name) return false;
  // ifup-eth gives up on a device with another MAC.
  return own('HWADDR') === '' || isOwnMac || own('MACADDR') === mac;
}

function bringUp({ keys, name }: Ifcfg, files: Files, nic: Nic, boot: KernelBoot, by: Set<string>): void {
  const mtu = keys.get('MTU') ?? '';
  if (mtu !== '') boot.mtu = Number(mtu);
  if (/^(bootp|dhcp)$/.test(keys.get('BOOTPROTO') ?? '')) boot.dhcp4 = true;
  else addAddresses(keys, nic.name, boot);
  addIpv6(keys, nic.name, boot);
  if (isYes(keys, 'DHCPV6C')) boot.asksDhcp6 = true;
  if (!isYes(keys, 'NOROUTESET')) addRoutes(files, [nic.name, name], nic.name, boot, by);
}

function addAddresses(keys: Keys, name: string, boot: KernelBoot): void {
  const addresses = numbered(keys);
  for (const { address, prefix } of addresses) boot.addAddress(`${address}/${prefix}`);
  const [first] = addresses;
  const value = (key: string): string => keys.get(key) ?? '';
  const isForAnother = value('GATEWAYDEV') !== '' && value('GATEWAYDEV') !== name;
  if (first === undefined || isNo(keys, 'DEFROUTE') || isForAnother) return;
  const gateway = parseAddress(value('GATEWAY'));
  const network = value('NETWORK') === '' ? networkOf(first) : value('NETWORK');
  const metric = value('METRIC') === '' ? null : Number(value('METRIC'));
  if (gateway !== null && networkOf({ address: gateway, prefix: first.prefix }) === network) {
    boot.addRoute('default', gateway, metric);
  } else if (value('GATEWAYDEV') === name) {
    boot.addRoute('default', null, metric);
  }
}

/** expand_config: without a number, 0, 1, and from 2 on up to the first gap. Without any of the first four, none. */
function numbered(keys: Keys): readonly Address[] {
  const of = (key: string): string => keys.get(key) ?? '';
  if (['', '0', '1', '2'].every((suffix) => of(`IPADDR${suffix}`) === '')) return [];
  const found: Address[] = [];
  for (const suffix of ['', ...Array.from({ length: 256 }, (_, index) => String(index))]) {
    const text = of(`IPADDR${suffix}`);
    if (text === '' && Number(suffix) >= 2) break;
    const address = addressOf(text, of(`PREFIX${suffix}`), of(`NETMASK${suffix}`));
    if (address !== null) found.push(address);
  }
  return found;
}

/** Without a mask it is that of the address's class, as ipcalc(1) has it. */
function addressOf(text: string, length: string, mask: string): Address | null {
  const address = parseAddress(text);
  if (address === null || address.includes(':')) return null;
  const told = length === '' ? mask : length;
  const prefix = told === '' ? classOf(address) : parsePrefix(told, 4);
  return prefix === null ? null : { address, prefix };
}

/** ifup-ipv6. */
function addIpv6(keys: Keys, name: string, boot: KernelBoot): void {
  if (isNo(keys, 'IPV6INIT')) return;
  const of = (key: string): string => keys.get(key) ?? '';
  for (const text of [of('IPV6ADDR'), ...of('IPV6ADDR_SECONDARIES').split(/\s+/)]) {
    if (text.includes(':')) boot.addAddress(text, '64');
  }
  if (!isNo(keys, 'IPV6_SET_SYSCTLS')) {
    const forwards = isYes(keys, 'IPV6FORWARDING');
    const configures = forwards ? isYes(keys, 'IPV6_AUTOCONF') : !isNo(keys, 'IPV6_AUTOCONF');
    boot.configuresItself = configures;
    boot.acceptsAdvertisements = configures || (!forwards && isYes(keys, 'IPV6_FORCE_ACCEPT_RA'));
  }
  const [gateway = '', scope = ''] = of('IPV6_DEFAULTGW').split('%');
  const on = scope === '' ? of('IPV6_DEFAULTDEV') : scope;
  if (on !== '' && on !== name) return;
  const isTold = gateway !== '' && gateway !== '::';
  // A gateway without a device is looked for in the networks that are there.
  if (isTold && (on !== '' || boot.covers(gateway))) boot.addRoute('default', gateway);
  else if (!isTold && on !== '') boot.addRoute('default', null, null, 6);
}

/** Their own keys stand on those of the device's file, and on what the alias before them has left. */
function bringAliases(
  parent: Ifcfg,
  all: readonly Ifcfg[],
  globals: Keys,
  files: Files,
  boot: KernelBoot,
  by: Set<string>,
): void {
  const name = device(parent.keys);
  const inherited = ['PREFIX', 'NETMASK', 'GATEWAY', 'NO_ALIASROUTING'].flatMap((key) => {
    const value = parent.keys.get(key);
    return value === undefined ? [] : [[key, value] as const];
  });
  for (const alias of all.filter((file) => file.name.startsWith(`${name}:`))) {
    const keys = new Map([...inherited, ...alias.keys]);
    if (isNo(keys, 'ONPARENT')) continue;
    by.add(alias.path);
    addAlias(keys, keys.get('IPADDR') ?? '', globals, boot);
    // That script reads the file again by itself.
    addIpv6(new Map([...globals, ...alias.keys]), name, boot);
    if (!isYes(keys, 'NO_ALIASROUTING')) addRoutes(files, [keys.get('DEVICE') ?? alias.name], name, boot, by);
  }
  for (const range of all.filter((file) => file.name.startsWith(`${name}-range`))) {
    const keys = new Map([...inherited, ...range.keys]);
    const [from, to] = ['IPADDR_START', 'IPADDR_END'].map((key) => parseAddress(keys.get(key))?.split('.') ?? []);
    if (from === undefined || to === undefined || isNo(keys, 'ONPARENT')) continue;
    const start = from.slice(0, 3).join('.');
    if (from.length !== 4 || start !== to.slice(0, 3).join('.')) continue;
    by.add(range.path);
    for (let last = Number(from[3]); last <= Number(to[3]); last++) addAlias(keys, `${start}.${last}`, globals, boot);
  }
}

function addAlias(keys: Keys, text: string, globals: Keys, boot: KernelBoot): void {
  const address = addressOf(text, keys.get('PREFIX') ?? '', keys.get('NETMASK') ?? '');
  if (address === null) return;
  boot.addAddress(`${address.address}/${address.prefix}`);
  const gateway = keys.get('GATEWAY') ?? globals.get('GATEWAY') ?? '';
  // The parent's own one is there already; another is set if it can be reached.
  if (isYes(keys, 'NO_ALIASROUTING') || (globals.get('GATEWAYDEV') ?? '') !== '' || !boot.covers(gateway)) return;
  boot.addRoute('default', gateway);
}

/** `route-NAME` and `route6-NAME` in both forms, and the one of old, `NAME.route`. */
function addRoutes(files: Files, names: readonly string[], name: string, boot: KernelBoot, by: Set<string>): void {
  const own = [...new Set(names)];
  const paths = own.flatMap((one) => [`route-${one}`, `route6-${one}`]);
  for (const path of [...paths, `${own.at(-1)}.route`].map((file) => IFCFG_DIRECTORY + file)) {
    const text = files.get(path);
    if (text === undefined) continue;
    by.add(path);
    const isNumbered = path.endsWith('.route') || /^\s*ADDRESS\d+=/m.test(text);
    if (isNumbered) addNumberedRoutes(readShellFile(text), boot);
    else addLines(text, path.startsWith(`${IFCFG_DIRECTORY}route6-`) ? 6 : 4, name, boot);
  }
}

function addLines(text: string, family: Family, name: string, boot: KernelBoot): void {
  for (const line of text.split('\n')) {
    if (!/^\s*(#.*)?$/.test(line)) boot.addIpRoute(line.trim().split(/\s+/), name, family);
  }
}

/** From 0 on up to the first gap; metrics are not looked at. */
function addNumberedRoutes(keys: Keys, boot: KernelBoot): void {
  for (let index = 0; ; index++) {
    const of = (key: string): string => keys.get(`${key}${index}`) ?? '';
    if (of('ADDRESS') === '') return;
    const to = addressOf(of('ADDRESS'), '', of('NETMASK'));
    const gateway = of('GATEWAY');
    if (to !== null) boot.addRoute(`${to.address}/${to.prefix}`, gateway === '' ? null : gateway);
  }
}

/** Of no device: `any net 10.0.0.0 netmask 255.0.0.0 gw 192.0.2.1`, and of IPv6, whose lines begin with one. */
function addStaticRoutes(files: Files, { name }: Nic, boot: KernelBoot, by: Set<string>): void {
  const lines = (path: string): readonly (readonly string[])[] => {
    return (files.get(path) ?? '').split('\n').map((line) => line.trim().split(/\s+/));
  };
  for (const [who, kind, ...words] of lines(STATIC_ROUTES)) {
    if (who !== 'any') continue;
    const after = (key: string): string => words[words.indexOf(key) + 1 || words.length] ?? '';
    const [target = ''] = words;
    const mask = kind === 'host' ? '32' : after('netmask');
    const [on, gateway] = [after('dev'), after('gw')];
    if (on === '' ? !boot.covers(gateway) : on !== name) continue;
    const to = /^(default|0\.0\.0\.0)$/.test(target) ? 'default' : target.includes('/') ? target : null;
    const own = addressOf(target, '', mask);
    const network = to ?? (own === null ? '' : `${own.address}/${own.prefix}`);
    boot.addRoute(network, gateway === '' ? null : gateway);
    by.add(STATIC_ROUTES);
  }
  for (const [who, to = '', gateway] of lines(`${STATIC_ROUTES}-ipv6`)) {
    if (who !== name) continue;
    boot.addRoute(to, gateway ?? null, null, 6);
    by.add(`${STATIC_ROUTES}-ipv6`);
  }
}

function isNo(keys: Keys, key: string): boolean {
  return /^(no|n|false|f|off|0)$/i.test(keys.get(key) ?? '');
}

function isYes(keys: Keys, key: string): boolean {
  return /^(yes|y|true|t|on|1)$/i.test(keys.get(key) ?? '');
}
