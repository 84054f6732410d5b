/** Names that devices of ours get at the next boot, where files say so for certain: systemd.link(5), and udev's rules. Pure. */
import { AgentError } from '../api/errors.js';
import type { Nic } from '../api/host.js';
import { effectivePaths } from './formats/folders.js';
import { fnmatch } from './formats/glob.js';
import type { Setting } from './formats/ini-file.js';
import { LINK_FILES, definitions } from './owners/networkd.js';
import type { NetworkFacts } from './plan.js';

/** Written by udev itself until 2014, and by hand and by cloud-init since. */
const RULES = '/etc/udev/rules.d/';
/** What tells a name. */
export const NAME_FILES: readonly string[] = [...LINK_FILES, `${RULES}*.rules`];

type Files = ReadonlyMap<string, string>;

/**
 * Throws GW_NETWORK_BOOT where a device of ours will have another name: what is written for the one that it has now would
 * be for nobody, or for another device.
 */
export function assertNames({ files, interfaces, leftAlone = [] }: NetworkFacts): void {
  for (const { nic } of interfaces) {
    const found = leftAlone.includes(nic.name) ? null : (byRule(files, nic) ?? byLink(files, nic));
    if (found === null || found.name === nic.name) continue;
    throw new AgentError('GW_NETWORK_BOOT', [`${nic.mac} to be called ${nic.name}`, `${found.name} by ${found.path}`]);
  }
}

interface Naming {
  readonly name: string;
  readonly path: string;
}

/**
 * udev(7): of several the last one counts, and all before a `.link`. A kernel's own name is told by nobody; but what is
 * called so now was called so by the kernel, unless a rule names it so.
 */
function byRule(files: Files, { mac, name: now }: Nic): Naming | null {
  const paths = effectivePaths(files, [RULES], '.rules');
  const joined = (path: string): string => (files.get(path) ?? '').replaceAll('\\\n', ' ');
  const rules = paths
    .flatMap((path) =>
      joined(path)
        .split('\n')
        .map((line) => ({ path, line, name: nameIn(line) })),
    )
    .filter(({ name }) => name !== null);
  const isKernels = !rules.some(({ name }) => name === now);
  const naming = rules.findLast(({ line }) => {
    const address = /^[^#]*ATTRS?\{address\}=="([^"]*)"/.exec(line)?.[1];
    return address === undefined ? isKernels && isByKernelAlone(line, now) : address.toLowerCase() === mac;
  });
  // `%k` and the like stand for what udev only then knows.
  const name = naming?.name ?? '%k';
  return naming === undefined || /[%$]/.test(name) ? null : { name, path: naming.path };
}

function nameIn(line: string): string | null {
  return /^[^#]*[\s,]NAME[:+]?="([^"]*)"/.exec(line)?.[1] ?? null;
}

/** Whether the rule asks for nothing but a network device of the kernel's name. */
function isByKernelAlone(line: string, name: string): boolean {
  const conditions = [...line.matchAll(/([A-Z]+(?:\{[^}]*\})?)\s*([=!]=)\s*"([^"]*)"/g)];
  const told = new Map(conditions.map(([, key = '', operator, value = '']) => [key, operator === '==' ? value : null]));
  const isKnown = [...told].every(([key, value]) => {
    return /^(?:ACTION|SUBSYSTEM|KERNEL|ATTR\{type\})$/.test(key) && value !== null;
  });
  const kernel = told.get('KERNEL') ?? '';
  return isKnown && told.get('SUBSYSTEM') === 'net' && kernel !== '' && fnmatch(kernel, name);
}

/** The first file that matches is the only one. None where that depends on more than a MAC, or a policy may tell the name. */
function byLink(files: Files, nic: Nic): Naming | null {
  for (const { path, settings } of definitions(files, '.link')) {
    const match = settings.filter(({ section }) => section === 'Match');
    if (match.length === 0 || match.some((setting) => isOther(setting, nic))) continue;
    if (!match.every(({ key }) => isMac(key))) return null;
    const told = (key: string): string => {
      return settings.findLast((one) => one.section === 'Link' && one.key === key)?.value ?? '';
    };
    const name = told('Name');
    return name === '' || told('NamePolicy') !== '' ? null : { name, path };
  }
  return null;
}

function isMac(key: string): boolean {
  return key === 'MACAddress' || key === 'PermanentMACAddress';
}

function isOther({ key, value }: Setting, { mac }: Nic): boolean {
  const plain = (text: string): string => text.toLowerCase().replaceAll(/[^0-9a-f]/g, '');
  return isMac(key) && !value.split(/\s+/).map(plain).includes(plain(mac));
}
