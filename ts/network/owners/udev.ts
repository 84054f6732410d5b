/**
 * Properties that udev's rules give a network device at a boot: udev(7), as far as files alone tell. A rule with a condition
 * that cannot be judged here counts as not met.
 */
import type { Nic } from '../../api/host.js';
import { effectivePaths } from '../formats/folders.js';
import { fnmatch } from '../formats/glob.js';

/** Of files with one name that in the first folder counts. What is in /run is gone at a boot. */
const FOLDERS = ['/etc', '/usr/local/lib', '/usr/lib'].map((root) => `${root}/udev/rules.d/`);
/** For a renderer's `reads`. */
export const UDEV_FILES: readonly string[] = FOLDERS.map((folder) => `${folder}*.rules`);

interface Part {
  readonly key: string;
  readonly operator: string;
  readonly value: string;
}

/** The property of the device and the file that gave it last; null where no rule does for certain. */
export function propertyOf(
  files: ReadonlyMap<string, string>,
  nic: Nic,
  property: string,
): { readonly value: string; readonly path: string } | null {
  const known = new Map<string, { readonly value: string; readonly path: string }>();
  const name = `ENV{${property}}`;
  for (const path of effectivePaths(files, FOLDERS, '.rules')) {
    const text = files.get(path) ?? '';
    // Most have nothing to do with it.
    if (!text.includes(property)) continue;
    let label: string | null = null;
    for (const parts of rulesOf(text)) {
      if (label !== null) {
        if (parts.some(({ key, value }) => key === 'LABEL' && value === label)) label = null;
        continue;
      }
      const conditions = parts.filter(isCondition);
      const met = conditions.map((part) => isMet(part, nic, known));
      const leads = parts.find(({ key }) => key === 'GOTO');
      if (met.includes(false)) continue;
      // Of one that may lead away it is not known what comes next.
      if (leads !== undefined) label = leads.value;
      if (met.includes(null)) continue;
      for (const { key, operator, value } of parts) {
        if (key.startsWith('ENV{') && /^:?=$/.test(operator)) known.set(key, { value, path });
      }
    }
  }
  return known.get(name) ?? null;
}

function rulesOf(text: string): readonly (readonly Part[])[] {
  const lines = text.replaceAll(/\\\n/g, ' ').split('\n');
  return lines
    .filter((line) => !line.trimStart().startsWith('#'))
    .map((line) =>
      [...line.matchAll(/([A-Z_]+(?:\{[^}]*\})?)\s*([=!]=|[+:-]?=)\s*[ei]?"((?:\\.|[^"\\])*)"/g)].map(
        ([, key = '', operator = '', value = '']) => ({ key, operator, value }),
      ),
    );
}

function isCondition({ key, operator }: Part): boolean {
  return /^[=!]=$/.test(operator) || /^(?:IMPORT|PROGRAM|TEST)\b/.test(key);
}

/** null where the files do not tell. */
function isMet(
  { key, operator, value }: Part,
  nic: Nic,
  known: ReadonlyMap<string, { readonly value: string }>,
): boolean | null {
  const is = known.get(key)?.value ?? valueOf(key, nic);
  if (is === null || !/^[=!]=$/.test(operator)) return null;
  // A MAC has small letters in the kernel: a rule with capitals matches nothing, here as there.
  const matches = value.split('|').some((pattern) => fnmatch(pattern, is));
  // These look at the devices above it, too.
  if (/^(?:DRIVERS|KERNELS|ATTRS\b.*)$/.test(key)) return matches && operator === '==' ? true : null;
  return matches === (operator === '==');
}

function valueOf(key: string, { name, mac, driver }: Nic): string | null {
  switch (key) {
    case 'SUBSYSTEM':
    case 'ENV{SUBSYSTEM}':
      return 'net';
    case 'ACTION':
    case 'ENV{ACTION}':
      return 'add';
    case 'KERNEL':
    case 'NAME':
    case 'ENV{INTERFACE}':
      return name;
    case 'ATTR{address}':
    case 'ATTRS{address}':
      return mac;
    case 'ATTR{type}':
      return '1';
    case 'ENV{DEVTYPE}':
      return '';
    case 'DRIVERS':
    case 'ENV{ID_NET_DRIVER}':
      return driver;
    default:
      return null;
  }
}
