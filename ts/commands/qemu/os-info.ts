import type { Kernel } from '../../api/index.js';

/** Fields of os-release(5), by the names that QEMU's guest agent answers them under. */
const FIELDS = {
  ID: 'id',
  NAME: 'name',
  PRETTY_NAME: 'pretty-name',
  VERSION: 'version',
  VERSION_ID: 'version-id',
  VARIANT: 'variant',
  VARIANT_ID: 'variant-id',
} as const;

/** What `guest-get-osinfo` answers; fields that the system does not tell are left out. */
export function osInfo(kernel: Kernel, osRelease: string | null): Readonly<Record<string, string>> {
  const known = parseOsRelease(osRelease ?? '');
  const told = Object.entries(FIELDS).flatMap(([field, name]) => {
    const value = known.get(field);
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    ...Object.fromEntries(told),
    'kernel-release': kernel.release,
    'kernel-version': kernel.version,
    machine: kernel.machine,
  };
}

/** Assignments as a shell would read them, without expansions. */
function parseOsRelease(text: string): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, name, quoted] = /^([A-Z][A-Z0-9_]*)=(.*)$/.exec(line.trim()) ?? [];
    if (name !== undefined && quoted !== undefined) values.set(name, unquote(quoted));
  }
  return values;
}

function unquote(text: string): string {
  if (/^'.*'$/.test(text)) return text.slice(1, -1);
  return (/^".*"$/.test(text) ? text.slice(1, -1) : text).replaceAll(/\\(.)/g, '$1');
}
