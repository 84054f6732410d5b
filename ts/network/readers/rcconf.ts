/**
 * What FreeBSD makes of rc.conf(5) at a boot: network.subr, rc.d/netif and rc.d/routing. The files are sourced one after
 * another, so the last assignment counts.
 */
import type { Nic } from '../../api/host.js';
import { type Address, contains, familyOf, parseAddress, parsePrefix } from '../address.js';
import { readShellFile } from '../formats/shell-file.js';
import type { Boot } from '../plan.js';
import { BootBuilder, classOf } from './boot.js';

type Files = ReadonlyMap<string, string>;
type Keys = ReadonlyMap<string, string>;

/** The assignment that keeps netif from configuring the device, with its file; null where there is none. */
export function rcconfLeavesOut(files: Files, paths: readonly string[], { name }: Nic): string | null {
  const own = `ifconfig_${name.replace(/[-./+]/g, '_')}`;
  const said = (key: string): { readonly value: string; readonly path: string } | undefined => {
    const path = paths.findLast((one) => readShellFile(files.get(one) ?? '').has(key));
    return path === undefined ? undefined : { path, value: readShellFile(files.get(path) ?? '').get(key) ?? '' };
  };
  const list = said('network_interfaces');
  if (list !== undefined && !wordsOf(list.value).some((word) => word === name || /^auto$/i.test(word))) {
    return `network_interfaces in ${list.path} leaves it out`;
  }
  const other = said(`${own}_name`);
  if (other !== undefined && other.value !== name) {
    return `${own}_name in ${other.path} gives it the name ${other.value}`;
  }
  const main = said(own);
  const isOff = main !== undefined && wordsOf(main.value).some((word) => /^noauto$/i.test(word));
  return isOff ? `${own} in ${main.path} says NOAUTO` : null;
}

/** `paths`: in the order in which they are sourced. Null when nothing brings the device up. */
export function readRcconf(files: Files, paths: readonly string[], { name }: Nic): Boot | null {
  const found = paths.filter((path) => files.has(path));
  const keys = new Map(found.flatMap((path) => [...readShellFile(files.get(path) ?? '')]));
  const of = (key: string): string | undefined => keys.get(key);
  const key = `ifconfig_${name.replace(/[-./+]/g, '_')}`;
  const owner = key.slice('ifconfig_'.length);
  const listed = wordsOf(of('network_interfaces') ?? 'auto');
  if (!listed.includes(name) && !listed.some((word) => /^auto$/i.test(word))) return null;
  // A device that gets another name is configured by that one.
  if ((of(`${key}_name`) ?? name) !== name) return null;
  const isNamed = [...keys.keys()].some((one) => one.startsWith(key) || one === `ipv4_addrs_${owner}`);
  if (!isNamed && of('ifconfig_DEFAULT') === undefined) return null;
  const main = wordsOf(of(key) ?? of('ifconfig_DEFAULT') ?? '');
  if (main.some((word) => /^noauto$/i.test(word))) return null;
  const reading = new Reading(name);
  reading.take(main);
  for (const word of wordsOf(of(`ipv4_addrs_${owner}`) ?? '')) reading.addRange(word);
  for (const one of aliases(keys, key, 4)) reading.take(one);
  // Before FreeBSD 9 advertisements were for all devices.
  if (/^(yes|true|on|1)$/i.test(of('ipv6_enable') ?? '')) reading.boot.auto6 = 'ra';
  reading.take(wordsOf(of(`${key}_ipv6`) ?? of('ifconfig_DEFAULT_ipv6') ?? of('ifconfig_DEFAULT') ?? ''), false);
  for (const word of wordsOf(of(`ipv6_addrs_${owner}`) ?? '')) reading.addRange(word);
  for (const one of [...aliases(keys, key, 6), ...aliases(keys, `ipv6_${key}`, null)]) reading.take(one);
  for (const prefix of ['', 'ipv6_'] as const) addRoutes(keys, prefix, reading);
  return reading.boot.done(found.join(', '));
}

function wordsOf(text: string): readonly string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

/** `KEY_alias0` up to the first gap, and `KEY_aliases`, a list; of one family, or of any. */
function aliases(keys: Keys, key: string, family: 4 | 6 | null): readonly (readonly string[])[] {
  const found: (readonly string[])[] = [];
  if (family === null) found.push(wordsOf(keys.get(key) ?? ''));
  for (let index = 0; keys.has(`${key}_alias${index}`); index++) {
    found.push(wordsOf(keys.get(`${key}_alias${index}`) ?? ''));
  }
  const list = wordsOf(keys.get(`${key}_aliases`) ?? '');
  const starts = list.flatMap((word, index) => (/^inet6?$/.test(word) ? [index] : []));
  for (const [order, start] of starts.entries()) found.push(list.slice(start, starts[order + 1]));
  return found.filter((words) => family === null || words.some((word) => word.includes(':')) === (family === 6));
}

class Reading {
  readonly boot = new BootBuilder();
  readonly #networks: Address[] = [];
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  /** The arguments of ifconfig(8), and the words of rc.conf(5) among them. */
  take(words: readonly string[], isForFour = true): void {
    const { boot } = this;
    const after = (key: string): string | undefined => words[words.indexOf(key) + 1 || words.length];
    if (isForFour && words.some((word) => /^(sync|nosync)?dhcp$/i.test(word))) boot.dhcp4 = true;
    if (words.includes('accept_rtadv')) boot.auto6 = 'ra';
    if (words.includes('-accept_rtadv')) boot.auto6 = null;
    const mtu = after('mtu');
    if (mtu !== undefined) boot.mtu = Number(mtu);
    const mask = after('netmask') ?? after('prefixlen');
    const address = after('inet') ?? after('inet6') ?? words.find((word) => parseAddress(word.split('/')[0]) !== null);
    if (address !== undefined && (isForFour || address.includes(':'))) this.addRange(address, mask);
  }

  /** `192.0.2.5-9/28`: the first one has the network, the others are in it. */
  addRange(text: string, mask?: string): void {
    const [range = '', length = mask] = text.split('/');
    const [, start = '', first = '', last = first] = /^(.*[.:])([\da-f]+)-([\da-f]+)$/i.exec(range) ?? [];
    const base = range.includes(':') ? 16 : 10;
    if (start === '') this.#add(range, length);
    else
      for (let at = parseInt(first, base); at <= parseInt(last, base); at++)
        this.#add(start + at.toString(base), length);
  }

  #add(text: string, length: string | undefined): void {
    const address = parseAddress(text);
    if (address === null) return;
    const family = familyOf(address);
    const hex = /^0x([\da-f]{8})$/i.exec(length ?? '')?.[1];
    const told = hex === undefined ? length : hex.replace(/../g, (byte) => `.${parseInt(byte, 16)}`).slice(1);
    const usual = family === 6 ? 64 : classOf(address);
    const prefix = told === undefined ? usual : (parsePrefix(told, family) ?? usual);
    // A further address in a network has a mask of all bits, and counts as one in that network.
    const network = prefix === 32 && family === 4 ? this.#networks.find((one) => contains(one, address)) : undefined;
    const own = { address, prefix: network?.prefix ?? prefix };
    this.#networks.push(own);
    this.boot.addAddress(`${own.address}/${own.prefix}`);
  }

  /** A route whose gateway is on this device, in its networks or by a route before it. `on`: told by a name, or null. */
  addRoute(to: string, target: readonly string[], on: string | null): void {
    const isLink = target[0] === '-interface' || target[0] === '-iface';
    const [gateway = '', zone = null] = isLink ? [] : (target[0] ?? '').split('%');
    const device = isLink ? (target[1] ?? '') : (zone ?? on);
    const address = parseAddress(gateway);
    const isHere = device === null ? address !== null && this.#reaches(address) : device === this.#name;
    if (!isHere || (!isLink && address === null)) return;
    this.boot.addRoute(to, isLink ? null : address, null, to.includes(':') ? 6 : 4);
    const [network = '', length = ''] = to.split('/');
    if (isLink && to !== 'default') this.#networks.push({ address: network, prefix: Number(length) });
  }

  #reaches(address: string): boolean {
    return this.#networks.some((one) => contains(one, address));
  }
}

/** rc.d/routing: the static ones, by their names, then the default. A name may tell its device, as in `lan:em1`. */
function addRoutes(keys: Keys, prefix: '' | 'ipv6_', reading: Reading): void {
  const bits = prefix === '' ? 32 : 128;
  for (const word of wordsOf(keys.get(`${prefix}static_routes`) ?? '')) {
    const [name = '', on = null] = word.split(':');
    const all = wordsOf(keys.get(`${prefix}route_${name}`) ?? '');
    const isHost = all[0] === '-host';
    const words = /^-(host|net|inet6?)$/.test(all[0] ?? '') ? all.slice(1) : all;
    const [destination = '', ...rest] = words;
    const at = rest.findIndex((one) => one === '-netmask' || one === '-prefixlen');
    const mask = at < 0 ? (parseAddress(rest[1]) !== null ? rest[1] : undefined) : rest[at + 1];
    const target = at < 0 ? rest : rest.filter((_, index) => index !== at && index !== at + 1);
    const [address = '', length] = destination.split('/');
    const told = mask === undefined ? null : parsePrefix(mask, prefix === '' ? 4 : 6);
    const to = destination === 'default' ? destination : `${address}/${length ?? (isHost ? bits : (told ?? bits))}`;
    reading.addRoute(to, target, on);
  }
  const router = keys.get(`${prefix}defaultrouter`) ?? '';
  if (router === '' || /^none?$/i.test(router)) return;
  reading.addRoute(prefix === '' ? '0.0.0.0/0' : '::/0', wordsOf(router), null);
}
