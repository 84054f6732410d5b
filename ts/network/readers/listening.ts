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

  /** As sysctl.d(5) sets them for the device. Returns the files that do. */
  obeySysctls(files: ReadonlyMap<string, string>, name: string): readonly string[] {
    return sysctls(files).flatMap(({ path, key, value }) => {
      const [who, what] = [key.slice(0, -1).join('/'), key.at(-1)];
      const isOn = value !== '0';
      if (who === name && what === 'accept_ra') this.acceptsAdvertisements = isOn;
      else if (who === name && what === 'autoconf') this.configuresItself = isOn;
      else if ((who === name || who === 'all') && what === 'disable_ipv6') this.hasIpv6 = !isOn;
      else return [];
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

  override done(by: string): Boot {
    this.auto6 = this.asksDhcp6 ? 'dhcp' : this.acceptsAdvertisements && this.configuresItself ? 'ra' : null;
    const boot = super.done(by);
    if (this.hasIpv6) return boot;
    const isFour = ({ address }: { readonly address: string }): boolean => !address.includes(':');
    return { ...boot, addresses: boot.addresses.filter(isFour), routes: boot.routes.filter(isFour), auto6: null };
  }
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
