/**
 * Services that configure network devices of their own accord, beside any stack: DHCP clients, ConnMan, and those of
 * netctl that follow a plug. Pure.
 */
import type { Nic } from '../../api/host.js';
import { fnmatch } from '../formats/glob.js';
import { readSettings } from '../formats/ini-file.js';
import type { NetworkFacts } from '../plan.js';
import { mayStart, startFiles, startedInstances } from '../units.js';

type Files = ReadonlyMap<string, string>;

interface Service {
  readonly unit: string;
  /** Its names with OpenRC and runit. */
  readonly names: readonly string[];
  /** Whether it is told to leave the device alone. */
  readonly spares: (files: Files, nic: Nic) => boolean;
}

const DHCPCD = '/etc/dhcpcd.conf';
const WRAPPER = '/usr/lib/dhcpcd5/dhcpcd';
const CONNMAN = '/etc/connman/main.conf';
/** Of every device. */
const SERVICES: readonly Service[] = [
  { unit: 'dhcpcd.service', names: ['dhcpcd'], spares: dhcpcdSpares },
  { unit: 'connman.service', names: ['connman', 'connmand'], spares: connmanSpares },
];
/** Of the device that their instance names. */
const TEMPLATES = ['dhcpcd', 'dhclient', 'netctl-ifplugd', 'netctl-auto'] as const;

const levelsOf = (names: readonly string[]): readonly string[] =>
  names.flatMap((name) => [
    ...['sysinit', 'boot', 'default'].map((level) => `/etc/runlevels/${level}/${name}`),
    `/etc/runit/runsvdir/default/${name}`,
  ]);

/** By patterns. */
export const SERVICE_FILES: readonly string[] = [
  DHCPCD,
  CONNMAN,
  ...SERVICES.flatMap(({ unit }) => startFiles(unit)),
  ...TEMPLATES.flatMap((template) => startFiles(`${template}@*.service`)),
];
/** Paths of which only the existence counts. */
export const SERVICE_ASKS: readonly string[] = [WRAPPER, ...SERVICES.flatMap(({ names }) => levelsOf(names))];

/** The service, by the name of its init, that configures the device at a boot, whatever the stacks do; null when none does. */
export function serviceTaking(facts: NetworkFacts, nic: Nic, chosen: string): string | null {
  for (const { unit, names, spares } of SERVICES) {
    const level = levelsOf(names).find((path) => facts.present.has(path));
    const isStarted = level !== undefined || mayStart(facts, unit, []) === true;
    // Debian's wrapper of dhcpcd5 starts nothing beside a stanza of ifupdown that says static or dhcp, as ours does.
    const isWrapped = unit === 'dhcpcd.service' && chosen === 'ifupdown' && facts.present.has(WRAPPER);
    if (isStarted && !isWrapped && !spares(facts.files, nic)) return level ?? unit;
  }
  const instances = TEMPLATES.filter((template) => !(chosen === 'netctl' && template.startsWith('netctl'))).flatMap(
    (template) => startedInstances(facts, template),
  );
  return instances.find(({ instance }) => instance === nic.name)?.unit ?? null;
}

/** dhcpcd.conf(5): what is denied is denied, and where some are allowed, the others are not. */
function dhcpcdSpares(files: Files, { name }: Nic): boolean {
  const words = (files.get(DHCPCD) ?? '').split('\n').map((line) => line.trim().split(/[\s,]+/));
  const named = (key: string): readonly string[] => words.flatMap(([first, ...rest]) => (first === key ? rest : []));
  const isIn = (patterns: readonly string[]): boolean => patterns.some((pattern) => fnmatch(pattern, name));
  const allowed = named('allowinterfaces');
  return isIn(named('denyinterfaces')) || (allowed.length > 0 && !isIn(allowed));
}

/** connman.conf(5): a list of beginnings of names. */
function connmanSpares(files: Files, { name }: Nic): boolean {
  const list = readSettings(files.get(CONNMAN) ?? '').findLast(({ key }) => key === 'NetworkInterfaceBlacklist');
  return (list?.value ?? '').split(/[,;\s]+/).some((start) => start !== '' && name.startsWith(start));
}
