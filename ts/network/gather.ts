import { AgentError } from '../api/errors.js';
import type { Host } from '../api/host.js';
import { hostnameProblem } from './hostname.js';
import type { NetworkFacts, Renderer } from './plan.js';
import { readRecords } from './records.js';

const RECORDS = 'vm-data/networking';
const HOSTNAME = 'vm-data/hostname';

/** Files that every plan may change, whatever the renderer. */
const COMMON_FILES = ['/etc/hostname', '/etc/hosts'] as const;
const RESOLV_CONF = '/etc/resolv.conf';
const RESOLVCONF_PROGRAMS = ['/sbin/resolvconf', '/usr/sbin/resolvconf'] as const;

export interface Gathered {
  readonly facts: NetworkFacts;
  /** What is wrong with records that cannot be used, a sentence each. */
  readonly recordErrors: readonly string[];
}

/**
 * Reads what the host wants and what the machine is like. Changes nothing.
 * Throws GW_NETWORK_EMPTY when the host published nothing, GW_NETWORK_INVALID when nothing of it can be used.
 */
export async function gather(host: Host, renderers: readonly Renderer[]): Promise<Gathered> {
  const records = new Map<string, string>();
  for (const id of await host.store.list(RECORDS)) {
    const text = await host.store.read(`${RECORDS}/${id}`);
    if (text !== null) records.set(id, text);
  }
  if (records.size === 0) throw new AgentError('GW_NETWORK_EMPTY', [RECORDS]);
  const { interfaces, errors } = readRecords(records, await host.network.nics());
  if (interfaces.length === 0) throw new AgentError('GW_NETWORK_INVALID', [errors.join('; ')]);

  const hostname = (await host.store.read(HOSTNAME))?.trim() ?? null;
  const problem = hostname === null ? null : hostnameProblem(hostname);
  if (problem !== null) throw new AgentError('GW_NETWORK_INVALID', [`${HOSTNAME}: ${problem}`]);

  const files = new Map<string, string>();
  for (const pattern of [...COMMON_FILES, ...renderers.flatMap(({ reads }) => reads)]) {
    for (const path of await expand(host, pattern)) {
      const text = await host.files.readText(path);
      if (text !== null) files.set(path, text);
    }
  }
  // A link belongs to whoever made what it points to; only a plain file is anybody's.
  if ((await host.files.status(RESOLV_CONF))?.type === 'file') {
    files.set(RESOLV_CONF, (await host.files.readText(RESOLV_CONF)) ?? '');
  }
  const programs = new Set<string>();
  for (const path of [...RESOLVCONF_PROGRAMS, ...renderers.flatMap((renderer) => renderer.programs)]) {
    const target = await host.files.resolve(path);
    if (target !== null) programs.add(path).add(target);
  }
  return {
    facts: { interfaces, hostname, currentHostname: await host.network.hostname(), files, programs },
    recordErrors: errors,
  };
}

/** Whether a program of this machine makes resolv.conf out of what interfaces bring along. */
export function hasResolvconf({ programs }: NetworkFacts): boolean {
  return RESOLVCONF_PROGRAMS.some((path) => programs.has(path));
}

/** `/dir/*` and `/dir/*.suffix`; names that start with a dot and backups do not count. */
async function expand(host: Host, pattern: string): Promise<readonly string[]> {
  const star = pattern.indexOf('*');
  if (star < 0) return [pattern];
  const [directory, suffix] = [pattern.slice(0, star), pattern.slice(star + 1)];
  const names = await host.files.list(directory);
  return names
    .filter((name) => name.endsWith(suffix) && !name.startsWith('.') && !name.endsWith('~'))
    .map((name) => directory + name);
}
