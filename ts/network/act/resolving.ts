/** The servers of names, read back: what programs find in resolv.conf, or behind a server in it that is the machine's own. */
import type { Host } from '../../api/host.js';
import type { NetworkFacts, NetworkPlan } from '../plan.js';
import { askedServers, hasAll, missing } from '../resolvers/index.js';
import { RESOLV_CONF, serversIn } from '../resolvers/maker.js';
import { BEHIND_MANAGER } from '../resolvers/networkmanager.js';
import { isLocal } from '../resolvers/resolvconf.js';
import { BEHIND_STUB, STUBS } from '../resolvers/resolved.js';
import { until } from './perform.js';

interface Seen {
  /** Null: only a server of the machine's own, and whom that asks does not show. */
  readonly servers: readonly string[] | null;
  /** Where they stand. */
  readonly path: string;
}

async function seenBy({ files }: Host): Promise<Seen> {
  const read = async (path: string): Promise<readonly string[] | null> => {
    const text = await files.readText(path);
    return text === null ? null : serversIn(text);
  };
  const servers = (await read(RESOLV_CONF)) ?? [];
  const [first = ''] = servers;
  if (STUBS.includes(first)) return { servers: (await read(BEHIND_STUB)) ?? [], path: BEHIND_STUB };
  if (servers.length === 0 || !servers.every(isLocal)) {
    return { servers, path: RESOLV_CONF };
  }
  return { servers: await read(BEHIND_MANAGER), path: BEHIND_MANAGER };
}

/** What is missing, for people; null when all is there, or cannot be seen. */
async function missingNow(facts: NetworkFacts, host: Host): Promise<string | null> {
  const wanted = askedServers(facts);
  const { servers, path } = await seenBy(host);
  return servers === null || hasAll(servers, wanted) ? null : missing(path, wanted, servers);
}

/** Whether the plan would change nothing but servers of names, as far as files tell. */
export function isAboutServers({ files, after, servers }: NetworkPlan): boolean {
  return files.every(({ path }) => servers.paths.includes(path)) && !after.some(({ type }) => type === 'set-hostname');
}

/**
 * What is to be done of a plan where the network is as wanted: nothing (null) where the servers are, too, or where
 * nothing would help; else no device is taken down for them, unless only its own programs tell its servers.
 */
export async function withServersOnly(plan: NetworkPlan, facts: NetworkFacts, host: Host): Promise<NetworkPlan | null> {
  const { refresh, problem } = plan.servers;
  if (plan.files.length === 0 && (problem !== null || (await missingNow(facts, host)) === null)) return null;
  if (refresh === null) return plan;
  if (plan.files.length === 0 && refresh.length === 0) return null;
  return { ...plan, before: [], after: refresh, restore: refresh };
}

/**
 * Why the servers are not as wanted, or not for good; null when they are. They may come late: they are waited for, up to
 * `limitMs`, milliseconds.
 */
export async function serversProblem(
  { servers: { problem } }: NetworkPlan,
  facts: NetworkFacts,
  host: Host,
  limitMs: number,
): Promise<string | null> {
  if (problem !== null || !host.live) return problem;
  let found: string | null = null;
  await until(limitMs, async () => {
    found = await missingNow(facts, host);
    return found === null;
  });
  return found;
}
