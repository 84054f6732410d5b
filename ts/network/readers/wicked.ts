/**
 * What wicked makes of `/etc/sysconfig/network` at a boot: ifcfg(5), ifroute(5), ifsysctl(5), and its
 * client/suse/compat-suse.c. A file is found by the name of its device alone.
 */
import type { Nic } from '../../api/host.js';
import { isLinkLocal, parseAddress } from '../address.js';
import { readShellFile } from '../formats/shell-file.js';
import { type Ifcfg, ifcfgFiles } from '../formats/sysconfig.js';
import { ownerOf } from '../owners/wicked.js';
import type { Boot } from '../plan.js';
import { KernelBoot, isMainTable, sysctls } from './listening.js';

const DIRECTORY = '/etc/sysconfig/network/';
const ROUTES = `${DIRECTORY}routes`;
/** Of DHCP clients, for all devices. */
export const DHCP_DEFAULTS = `${DIRECTORY}dhcp`;
/** For all devices, beside `ifsysctl-eth0`. */
export const GLOBAL_SYSCTLS = `${DIRECTORY}ifsysctl`;

type Files = ReadonlyMap<string, string>;

/** Null when nothing brings the device up. */
export function readWicked(files: Files, { name }: Nic): Boot | null {
  const all = ifcfgFiles({ files }, DIRECTORY);
  const file = all.find((one) => one.name === name);
  const owner = ownerOf(all, name);
  const boot = new KernelBoot();
  if (owner !== undefined) return { ...boot.done(owner.path), auto6: null };
  // `manual` is what a file means that says nothing.
  if (file === undefined || !/^(auto|boot|onboot|on|nfsroot|hotplug|ifplugd)$/.test(startmode(file))) return null;
  const by = new Set([file.path]);
  const mtu = file.keys.get('MTU') ?? '';
  if (mtu !== '') boot.mtu = Number(mtu);
  const protocols = (file.keys.get('BOOTPROTO') ?? 'static').toLowerCase().split('+');
  if (protocols[0] === 'none') return { ...boot.done(file.path), auto6: null };
  addAddresses(file, boot);
  addRoutes(files, name, boot, by);
  listen(files, name, boot, by);
  boot.dhcp4 = protocols.includes('dhcp') || protocols.includes('dhcp4');
  const made = boot.done([...by].join(', '));
  if (!boot.hasIpv6 || !(protocols.includes('dhcp') || protocols.includes('dhcp6'))) return made;
  // By itself the client does what the router says.
  const modes = [file.keys, readShellFile(files.get(DHCP_DEFAULTS) ?? '')].map((keys) => keys.get('DHCLIENT6_MODE'));
  const mode = modes.find((one) => one !== undefined && one !== '') ?? 'auto';
  return { ...made, auto6: mode === 'managed' ? 'dhcp' : 'either' };
}

function startmode({ keys }: Ifcfg): string {
  return keys.get('STARTMODE') ?? '';
}

/** `IPADDR` with any suffix, in the order of the lines. */
function addAddresses({ keys }: Ifcfg, boot: KernelBoot): void {
  for (const [key, value] of keys) {
    if (!key.startsWith('IPADDR')) continue;
    const of = (name: string): string => keys.get(name + key.slice('IPADDR'.length)) ?? '';
    const mask = of('PREFIXLEN') === '' ? of('NETMASK') : of('PREFIXLEN');
    boot.addAddress(value.trim(), mask === '' ? undefined : mask);
  }
}

/** Destination, gateway, netmask, interface, options. Lines of `routes` without a name go where their gateway is. */
function addRoutes(files: Files, name: string, boot: KernelBoot, by: Set<string>): void {
  const own = `${DIRECTORY}ifroute-${name}`;
  const hops: string[] = [];
  for (const path of [own, ROUTES]) {
    for (const [target = '', via = '-', mask = '-', device = '-', ...options] of lines(files.get(path) ?? '')) {
      const gateway = via === '-' ? null : via;
      const isReached = gateway !== null && !isLinkLocal(parseAddress(gateway) ?? '::') && reaches(gateway, boot, hops);
      if (path === ROUTES && device !== name && !(device === '-' && isReached)) continue;
      by.add(path);
      const after = (...keys: readonly string[]): string | null => {
        const at = options.findIndex((word) => keys.includes(word));
        return at < 0 ? null : (options[at + 1] ?? null);
      };
      if (!/^(unicast)?$/.test(after('type') ?? '') || !isMainTable(after('table'))) continue;
      if (options.some((word) => /^(blackhole|unreachable|prohibit|throw)$/.test(word))) continue;
      const metric = after('metric', 'priority', 'preference');
      const network = target === 'default' || target.includes('/') || mask === '-' ? target : `${target}/${mask}`;
      const text = target === 'default' && gateway === null ? '0.0.0.0/0' : asPrefix(network);
      boot.addRoute(text, gateway, metric === null ? null : Number(metric));
      if (gateway === null) hops.push(target);
    }
  }
}

/** With the length of a mask: `10.0.0.0/255.0.0.0`. */
function asPrefix(network: string): string {
  const [address = '', mask = ''] = network.split('/');
  const bits = parseAddress(mask)
    ?.split('.')
    .map((part) => Number(part).toString(2).replaceAll('0', '').length)
    .reduce((sum, count) => sum + count, 0);
  return bits === undefined ? network : `${address}/${bits}`;
}

function reaches(gateway: string, boot: KernelBoot, hops: readonly string[]): boolean {
  return boot.covers(gateway) || hops.some((hop) => hop.split('/')[0] === gateway);
}

function lines(text: string): readonly (readonly string[])[] {
  return text
    .replaceAll('\\\n', ' ')
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '')
    .map((line) => line.split(/\s+/));
}

/** Of several lines of a key the last one counts; what is told for the device before what is told for all. */
function listen(files: Files, name: string, boot: KernelBoot, by: Set<string>): void {
  const told = sysctls(files, [GLOBAL_SYSCTLS, `${DIRECTORY}ifsysctl-${name}`]).map(({ path, key, value }) => {
    const who = key.slice(0, -1).join('/');
    // What is told of a variable in place of the name is the default.
    return { path, who: /^\$\{?(INTERFACE|SYSCTL_IF)\}?$/.test(who) ? 'default' : who, what: key.at(-1), value };
  });
  const isOn = (what: string, otherwise: boolean): boolean => {
    for (const who of [name, 'default', 'all']) {
      const found = told.findLast((one) => one.who === who && one.what === what);
      if (found === undefined) continue;
      by.add(found.path);
      return found.value !== '0';
    }
    return otherwise;
  };
  boot.hasIpv6 = !isOn('disable_ipv6', false);
  boot.acceptsAdvertisements = isOn('accept_ra', true);
  boot.configuresItself = isOn('autoconf', true);
}
