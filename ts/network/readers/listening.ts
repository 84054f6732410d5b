/** What Linux brings on a device whose stack leaves some of it to the kernel: router advertisements, and sysctl.d(5). */
import { type Family, parseAddress } from '../address.js';
import { effectivePaths } from '../formats/folders.js';
import type { Boot } from '../plan.js';
import { BootBuilder } from './boot.js';

/** Of files with one name that in the first folder counts; all are read in the order of their names. */
const FOLDERS = ['/etc', '/run', '/usr/local/lib', '/usr/lib'].map((root) => `${root}/sysctl.d/`);
/** Read after all others. */
const LAST = '/etc/sysctl.conf';
/** For a renderer's `reads`. */
export const SYSCTL_FILES: readonly string[] = [...FOLDERS.map((folder) => `${folder}*.conf`), LAST];

/** What the kernel and the clients do of IPv6 comes of several things. */
export class KernelBoot extends BootBuilder {
  /** The kernel listens to routers where nobody tells it otherwise. */
  acceptsAdvertisements = true;
  configuresItself = true;
  asksDhcp6 = false;
  hasIpv6 = true;
  #isPort = false;

  /** As sysctl.d(5) sets them for the device. Returns the files that do. */
  obeySysctls(files: ReadonlyMap<string, string>, name: string): readonly string[] {
    return this.#obey(files, name, ['accept_ra', 'autoconf', 'disable_ipv6']);
  }

  /** Only whether the device has IPv6 at all. */
  obeyIpv6Switch(files: ReadonlyMap<string, string>, name: string): readonly string[] {
    return this.#obey(files, name, ['disable_ipv6']);
  }

  #obey(files: ReadonlyMap<string, string>, name: string, keys: readonly string[]): readonly string[] {
    return sysctls(files).flatMap(({ path, key, value }) => {
      const [who, what = ''] = [key.slice(0, -1).join('/'), key.at(-1)];
      const isOn = value !== '0';
      // The kernel makes what is told of all the default of new devices, but only in this.
      const isMeant = who === name || (who === 'all' && what === 'disable_ipv6');
      if (!isMeant || !keys.includes(what)) return [];
      if (what === 'accept_ra') this.acceptsAdvertisements = isOn;
      else if (what === 'autoconf') this.configuresItself = isOn;
      else this.hasIpv6 = !isOn;
      return [path];
    });
  }

  /**
   * The arguments of `ip route add`, on the device `name`. `family`: null where the words alone tell it. Routes on another
   * device, and what is no way out (`blackhole`, `unreachable`), do not count.
   */
  addIpRoute(words: readonly string[], name: string, family: Family | null): void {
    const [first = ''] = words;
    const rest = /^(unicast|to)$/.test(first) ? words.slice(1) : words;
    const [target = '', ...options] = rest;
    const after = (...keys: readonly string[]): string | null => {
      const at = options.findIndex((word) => keys.includes(word));
      return at < 0 ? null : (options[at + 1] ?? null);
    };
    if ((after('dev', 'oif') ?? name) !== name || !isMainTable(after('table'))) return;
    const via = after('via');
    const gateway = via === 'inet' || via === 'inet6' ? after(via) : via;
    const metric = after('metric', 'preference');
    const isSix = family === 6 || target.includes(':') || (gateway?.includes(':') ?? false);
    this.addRoute(networkText(target, isSix ? 6 : 4), gateway, metric === null ? null : Number(metric), isSix ? 6 : 4);
  }

  /**
   * A command, wherever its program lies, as far as it is about the device `name`: of iproute2's `ip` addresses, routes, MTU
   * and what the device is a port of, of bridge-utils, Open vSwitch and ifenslave the last, and of `ifconfig` addresses of
   * IPv4. Returns whether it is one
   * of these; another one does nothing.
   */
  obey([path = '', ...words]: readonly string[], name: string): boolean {
    const program = path.slice(path.lastIndexOf('/') + 1);
    // A route without a device is that of whoever has the command.
    if (program !== 'ip' && !words.some((word) => word.split(':', 1)[0] === name)) return false;
    const plain = words.filter((word) => !word.startsWith('-'));
    switch (program) {
      case 'ip':
        this.#obeyIp(words, name);
        return true;
      case 'brctl':
        if (/^(add|del)if$/.test(plain[0] ?? '') && plain.indexOf(name) >= 2) this.#isPort = plain[0] === 'addif';
        return true;
      case 'ovs-vsctl':
        if (plain.some((word, at) => word === name && plain[at - 2] === 'add-port')) this.#isPort = true;
        else if (plain.includes('del-port')) this.#isPort = false;
        return true;
      case 'ifenslave':
        if (plain.indexOf(name) >= 1) this.#isPort = !words.some((word) => word === '-d' || word === '--detach');
        return true;
      case 'ifconfig':
        this.#obeyIfconfig(plain, name);
        return true;
      default:
        return false;
    }
  }

  /** `ifconfig eth0:1 10.0.0.9 netmask 255.255.255.0`, also with the prefix in the address. */
  #obeyIfconfig([device = '', ...words]: readonly string[], name: string): void {
    const isValue = (at: number): boolean =>
      /^(netmask|broadcast|dstaddr|-?pointopoint|del|hw|ether)$/.test(words[at - 1] ?? '');
    const address = words.find((word, at) => !isValue(at) && /^\d+\.\d+\.\d+\.\d+(\/\d+)?$/.test(word));
    const mask = words.includes('netmask') ? words[words.indexOf('netmask') + 1] : undefined;
    // 0.0.0.0 takes addresses away, which netlink's programs would be asked for.
    const isUp = address !== undefined && !address.startsWith('0.');
    if (device.split(':', 1)[0] === name && isUp) this.addAddress(address, mask);
  }

  #obeyIp(words: readonly string[], name: string): void {
    const start = words.findIndex(
      (word, index) => !word.startsWith('-') && !/^-f(amily)?$/.test(words[index - 1] ?? ''),
    );
    const options = words.slice(0, Math.max(start, 0));
    const family = options.some((word) => word === '-6' || word === 'inet6') ? 6 : null;
    const [object = '', verb = '', ...rest] = words.slice(Math.max(start, 0));
    // It takes the beginning of a word for the word.
    const isOneOf = (...verbs: readonly string[]): boolean => verb !== '' && verbs.some((one) => one.startsWith(verb));
    const isAdding = isOneOf('add', 'replace', 'append', 'prepend', 'change', 'chg');
    if (object === '') return;
    if ('address'.startsWith(object)) {
      const { address, device } = ipAddress(rest);
      if (device !== name || address === null) return;
      if (isAdding) this.addAddress(address);
      else if (isOneOf('delete')) this.removeAddress(address);
    } else if ('route'.startsWith(object) && isAdding) this.addIpRoute(rest, name, family);
    else if ('link'.startsWith(object) && isOneOf('set')) this.#setLink(rest, name);
  }

  #setLink(words: readonly string[], name: string): void {
    const after = (key: string): string | undefined =>
      words.includes(key) ? words[words.indexOf(key) + 1] : undefined;
    const device = after('dev') ?? words.find((word) => !/^(up|down)$/.test(word));
    if (device !== name) return;
    const mtu = after('mtu');
    if (mtu !== undefined) this.mtu = Number(mtu);
    // In another network namespace, under another name or in a VRF it is none that the host can mean, either.
    if (['master', 'vrf', 'netns', 'name'].some((key) => after(key) !== undefined)) this.#isPort = true;
    if (words.includes('nomaster')) this.#isPort = false;
  }

  override done(by: string): Boot {
    this.auto6 = this.asksDhcp6 ? 'dhcp' : this.acceptsAdvertisements && this.configuresItself ? 'ra' : null;
    const boot = super.done(by);
    // What stands on a port is no way into the machine.
    if (this.#isPort) return { ...boot, addresses: [], routes: [], dhcp4: false, auto6: null };
    if (this.hasIpv6) return boot;
    const isFour = ({ address }: { readonly address: string }): boolean => !address.includes(':');
    return { ...boot, addresses: boot.addresses.filter(isFour), routes: boot.routes.filter(isFour), auto6: null };
  }
}

/** Keys of `ip address add` that a value follows; one alone is a flag, or the address. */
const WITH_VALUE = /^(label|brd|broadcast|scope|anycast|any|valid_lft|preferred_lft|metric|priority|preference|proto)$/;

/** Of the arguments of `ip address add`: the address with its network, which is the peer's where it has one, and the device. */
function ipAddress(words: readonly string[]): { readonly address: string | null; readonly device: string | null } {
  let address: string | null = null;
  let peer: string | null = null;
  let device: string | null = null;
  for (let index = 0; index < words.length; index += 1) {
    const [word = '', next = null] = words.slice(index, index + 2);
    if (word === 'dev') device = next;
    else if (word === 'local') address = next;
    else if (word === 'peer' || word === 'remote') peer = next;
    else if (!WITH_VALUE.test(word)) {
      if (/[.:]/.test(word)) address = word;
      continue;
    }
    index += 1;
  }
  const length = peer?.split('/')[1];
  return { address: length === undefined ? address : `${address?.split('/')[0] ?? ''}/${length}`, device };
}

/** Of routes in another table nobody knows without the rules. */
export function isMainTable(table: string | null): boolean {
  return table === null || table === 'main' || table === '254';
}

/** iproute2 takes `0/0` for the default and `10/8` for 10.0.0.0/8, and a default with a length. */
function networkText(target: string, family: Family): string {
  const [bare = '', length] = target.split('/');
  if (/^(default|any|all)$/.test(bare) || (/^(0|::|0\.0\.0\.0)$/.test(bare) && length === '0')) return 'default';
  if (family === 6 || parseAddress(bare) !== null || !/^\d+(\.\d+)*$/.test(bare)) return target;
  const parts = bare.split('.');
  const full = [...parts, '0', '0', '0'].slice(0, 4).join('.');
  return `${full}/${length ?? parts.length * 8}`;
}

export interface Sysctl {
  readonly path: string;
  /** Below `net.ipv6.conf`. */
  readonly key: readonly string[];
  readonly value: string;
}

/** Those of IPv6's devices, in the order in which they are set; those of `more`, other such files, come last. */
export function sysctls(files: ReadonlyMap<string, string>, more: readonly string[] = []): readonly Sysctl[] {
  const paths = effectivePaths(files, FOLDERS, '.conf');
  return [...paths, LAST, ...more].flatMap((path) =>
    (files.get(path) ?? '').split('\n').flatMap((line) => {
      const [, left = '', value = ''] = /^\s*-?([^#;=\s]+)\s*=\s*(\S+)/.exec(line) ?? [];
      const [net, ip, conf, ...key] = sysctlKey(left);
      return [net, ip, conf].join('/') === 'net/ipv6/conf' ? [{ path, key, value }] : [];
    }),
  );
}

/** sysctl.d(5): where a dot comes first, dots separate, and a slash in a part is a dot. */
function sysctlKey(text: string): readonly string[] {
  if (/^[^.]*\//.test(text)) return text.replace(/^\//, '').split('/');
  return text.split('.').map((part) => part.replaceAll('/', '.'));
}
