import type { ReportedOs } from '../api/report.js';

/** Where os-release(5) stands, the administrator's before the distribution's. */
export const OS_RELEASES = ['/etc/os-release', '/usr/lib/os-release'] as const;

/** What the file tells; each field null where it does not, and all where there is no file. */
export function readOsRelease(text: string | null): Omit<ReportedOs, 'hostname' | 'kernel'> {
  const known = assignments(text ?? '');
  const field = (name: string): string | null => known.get(name) ?? null;
  return {
    id: field('ID'),
    name: field('NAME'),
    prettyName: field('PRETTY_NAME'),
    version: field('VERSION'),
    versionId: field('VERSION_ID'),
    variant: field('VARIANT'),
    variantId: field('VARIANT_ID'),
  };
}

/** As a shell would read them, without expansions. */
function assignments(text: string): ReadonlyMap<string, string> {
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
