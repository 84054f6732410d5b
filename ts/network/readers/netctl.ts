/**
 * What netctl makes of the profiles that start at boot: netctl.profile(5), and its lib/network, lib/ip and lib/globals. A
 * profile is sourced after `hooks/*` and before `interfaces/IF`.
 */
import type { Nic } from '../../api/host.js';
import { readShellFile } from '../formats/shell-file.js';
import type { Boot } from '../plan.js';
import { KernelBoot } from './listening.js';

const DIRECTORY = '/etc/netctl/';
const HOOKS = `${DIRECTORY}hooks/`;
const INTERFACES = `${DIRECTORY}interfaces/`;
/** For a renderer's `reads`. */
export const NETCTL_SOURCED: readonly string[] = [`${HOOKS}*`, `${INTERFACES}*`];

type Files = ReadonlyMap<string, string>;
type Keys = ReadonlyMap<string, string>;

/** `started`: names of the profiles that start at boot. Null when none of them is for the device. */
export function readNetctl(files: Files, started: readonly string[], { name }: Nic): Boot | null {
  const boot = new KernelBoot();
  const by = new Set<string>();
  const hooks = [...files.keys()].filter((path) => path.startsWith(HOOKS)).sort();
  const sourced = (path: string): Keys => readShellFile(files.get(path) ?? '');
  let isFound = false;
  for (const profile of started.map((one) => DIRECTORY + one)) {
    const keys = new Map([...hooks, profile].flatMap((path) => [...sourced(path)]));
    if (keys.get('Interface') !== name) continue;
    if (!isFound) for (const path of boot.obeySysctls(files, name)) by.add(path);
    isFound = true;
    by.add(profile);
    const last = INTERFACES + name;
    if (files.has(last)) by.add(last);
    setUp(new Map([...keys, ...sourced(last)]), name, boot);
  }
  return isFound ? boot.done([...by].join(', ')) : null;
}

function setUp(keys: Keys, name: string, boot: KernelBoot): void {
  const [ip, ip6] = [keys.get('IP') ?? '', keys.get('IP6') ?? ''];
  const list = (key: string): readonly string[] => (keys.get(key) ?? '').split('\n').filter((one) => one.trim() !== '');
  const routes = (key: string, family: 4 | 6): void => {
    for (const route of list(key)) boot.addIpRoute(route.trim().split(/\s+/), name, family);
  };
  if (ip === 'dhcp') boot.dhcp4 = true;
  if (ip === 'static') for (const address of list('Address')) boot.addAddress(address.trim());
  if (ip === 'static' || ip === 'dhcp') routes('Routes', 4);
  const gateway = keys.get('Gateway') ?? '';
  if (ip === 'static' && gateway !== '') boot.addRoute('default', gateway);
  listen(ip6, boot);
  if (ip6 !== '' && ip6 !== 'no') {
    const isStatic = ip6 === 'static' || ip6 === 'stateless';
    if (isStatic) for (const address of list('Address6')) boot.addAddress(address.trim().split(/\s+/)[0] ?? '');
    routes('Routes6', 6);
    const gateway6 = keys.get('Gateway6') ?? '';
    if (isStatic && gateway6 !== '') boot.addRoute('default', gateway6);
  }
  for (const command of list('IPCustom')) boot.obey(['ip', ...command.trim().split(/\s+/)], name);
  for (const command of (keys.get('ExecUpPost') ?? '').split(/\s*(?:&&|\|\||;|\n)\s*/)) {
    const words = command.trim().split(/\s+/);
    boot.obey(
      words.map((word) => (/^"?\$\{?Interface\}?"?$/.test(word) ? name : word)),
      name,
    );
  }
}

/** Without a word on IPv6, the kernel does what it does. */
function listen(ip6: string, boot: KernelBoot): void {
  if (ip6 === '') return;
  boot.hasIpv6 = ip6 !== 'no';
  boot.acceptsAdvertisements = ip6 !== 'static' && ip6 !== 'no';
  boot.asksDhcp6 = ip6 === 'dhcp';
}
