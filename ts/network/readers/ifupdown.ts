/**
 * What `ifup -a` makes of interfaces(5): the stanzas of the device, of its aliases and of its logical names, in the order
 * of the files, with the `ip` commands in them. Other commands are nobody's to judge.
 */
import type { Nic } from '../../api/host.js';
import { DEFAULTS, deviceOf, isUp, logicalLines } from '../owners/ifupdown.js';
import type { Boot } from '../plan.js';
import { KernelBoot } from './listening.js';

/**
 * `read`: paths of the files that ifup reads, in its order. `isExcluded`: words of `auto` that a boot passes over. Null when
 * nothing brings the device up.
 */
export function readIfupdown(
  files: ReadonlyMap<string, string>,
  read: readonly string[],
  nic: Nic,
  isExcluded: (word: string) => boolean,
): Boot | null {
  const texts = read.map((path) => [path, files.get(path) ?? ''] as const);
  const lines = texts.flatMap(([path, text]) => [...logicalLines(text)].map(({ words }) => ({ path, words })));
  const named = lines.flatMap(({ words: [word = '', ...rest] }) =>
    isUp(word) ? rest.map((one) => ({ word, one })) : [],
  );
  const left = named.filter(({ word, one }) => /^(allow-)?auto$/.test(word) && isExcluded(one));
  const brought = named.filter((one) => !left.includes(one)).map(({ one }) => one);
  const stanzasOf = (words: readonly string[]): ReadonlySet<string> => {
    return new Set(words.map((word) => word.split('=')[1] ?? word));
  };
  const own = stanzasOf(brought.filter((word) => deviceOf(word) === nic.name));
  const all = stanzasOf(brought);
  const boot = new KernelBoot();
  const by = new Set<string>();
  let stanza: Stanza | null = null;
  for (const { path, words } of lines) {
    const [word = '', name = '', family = '', method = ''] = words;
    if (word === 'iface' || word === 'interface') {
      finish(stanza, nic.name, boot);
      const isOwn = own.has(name);
      const device = isOwn ? nic.name : deviceOf(name);
      stanza = all.has(name) ? { device, isOwn, family, method, address: null, netmask: null, up: [] } : null;
      if (isOwn) by.add(path);
      if (stanza !== null) begin(stanza, boot);
    } else if (/^(auto|allow-.*|mapping|template|source.*|no-auto-down|no-scripts|rename)$/.test(word)) {
      finish(stanza, nic.name, boot);
      stanza = null;
    } else if (stanza !== null) {
      take(stanza, words, nic.name, boot);
    }
  }
  finish(stanza, nic.name, boot);
  if (by.size === 0) {
    const isLeft = left.some(({ one }) => deviceOf(one) === nic.name);
    return isLeft ? { ...boot.done(`${DEFAULTS}, which leaves it out`), auto6: null } : null;
  }
  for (const path of boot.obeyIpv6Switch(files, nic.name)) if (!boot.hasIpv6) by.add(path);
  return boot.done([...by].join(', '));
}

interface Stanza {
  /** Such as `eth0`, also of its aliases and logical names. */
  readonly device: string;
  /** Otherwise only those of its commands count that name the device. */
  readonly isOwn: boolean;
  readonly family: string;
  readonly method: string;
  address: string | null;
  netmask: string | null;
  /** Run once the address is there. */
  readonly up: (readonly string[])[];
}

function begin({ isOwn, family, method }: Stanza, boot: KernelBoot): void {
  if (!isOwn) return;
  if (method === 'dhcp' && family === 'inet') boot.dhcp4 = true;
  if (method === 'dhcp' && family === 'inet6') boot.asksDhcp6 = true;
}

/** Address and netmask are set together, once all of the stanza is known. */
function finish(stanza: Stanza | null, name: string, boot: KernelBoot): void {
  if (stanza === null) return;
  setAddress(stanza, boot);
  for (const command of stanza.up) obey(command, stanza, name, boot);
}

function setAddress({ method, address, netmask }: Stanza, boot: KernelBoot): void {
  if (address !== null && method !== 'dhcp') boot.addAddress(address, netmask ?? undefined);
}

function take(stanza: Stanza, words: readonly string[], name: string, boot: KernelBoot): void {
  const [word = '', ...rest] = words;
  const [first = ''] = rest;
  if (!stanza.isOwn) {
    if (/^(up|post-up|pre-up)$/.test(word)) {
      const isAbout = (one: string): boolean => one.split(':', 1)[0] === name;
      stanza.up.push(...commandsOf(rest).filter((command) => command.some(isAbout)));
    }
    return;
  }
  switch (word) {
    case 'address':
      // ifupdown-ng takes several.
      setAddress(stanza, boot);
      stanza.address = first;
      return;
    case 'netmask':
      stanza.netmask = first;
      return;
    case 'gateway':
      for (const gateway of rest) boot.addRoute('default', gateway);
      return;
    case 'mtu':
      boot.mtu = Number(first);
      return;
    case 'accept_ra':
      boot.acceptsAdvertisements = first !== '0';
      return;
    case 'autoconf':
      boot.configuresItself = first !== '0';
      return;
    case 'up':
    case 'post-up':
      stanza.up.push(...commandsOf(rest));
      return;
    case 'pre-up':
      for (const command of commandsOf(rest)) obey(command, stanza, name, boot);
      return;
    default:
  }
}

/** The simple commands of a line of shell, without what only silences or forgives them. */
function commandsOf(words: readonly string[]): readonly (readonly string[])[] {
  return words
    .join(' ')
    .replace(/^(?:\/bin\/)?(?:ba|da)?sh -c (["'])(.*)\1$/, '$2')
    .split(/\s*(?:&&|\|\||;)\s*/)
    .map((command) => command.split(/\s+/).filter((word) => word !== ''))
    .map((command) => command.map((word) => word.replace(/^(["'])([\w.:/-]+)\1$/, '$2')));
}

/** `device`: what `$IFACE` stands for. */
function obey(command: readonly string[], { device }: Stanza, name: string, boot: KernelBoot): void {
  const words = command.map((word) => (/^"?\$\{?IFACE\}?"?$/.test(word) ? device : word));
  const [program, ...rest] = words;
  if (program === 'echo') listen(rest, name, boot);
  boot.obey(words, name);
}

/** Of `echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_ra`. */
function listen(words: readonly string[], name: string, boot: KernelBoot): void {
  const [value = '', ...target] = words;
  const key = target.join('').replace(/^>/, '').split('/').slice(-2);
  if (key[0] !== name) return;
  if (key[1] === 'accept_ra') boot.acceptsAdvertisements = value !== '0';
  if (key[1] === 'autoconf') boot.configuresItself = value !== '0';
}
