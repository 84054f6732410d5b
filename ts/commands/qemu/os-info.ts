import type { ReportedOs } from '../../api/index.js';

/** What `guest-get-osinfo` answers; fields that the system does not tell are left out. */
export function osInfo(os: ReportedOs): Readonly<Record<string, string>> {
  const fields = {
    id: os.id,
    name: os.name,
    'pretty-name': os.prettyName,
    version: os.version,
    'version-id': os.versionId,
    variant: os.variant,
    'variant-id': os.variantId,
    'kernel-release': os.kernel.release,
    'kernel-version': os.kernel.version,
    machine: os.kernel.machine,
  };
  return Object.fromEntries(
    Object.entries(fields).flatMap(([name, value]) => (value === null ? [] : [[name, value] as const])),
  );
}
