/**
 * The machine's name and the servers of names where nothing else is to be done; and the servers read back: what programs
 * find in resolv.conf, or behind a server in it that is the machine's own.
 */
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

/**
 * What is to be done of a plan where addresses and routes are as wanted, and so are their files: nothing (null) where name
 * and servers are, too, or where nothing would help; else no device is taken down for them, unless only the plan's own
 * programs tell its servers.
 */
export async function asideOnly(plan: NetworkPlan, facts: NetworkFacts, host: Host): Promise<NetworkPlan | null> {
  const { files, naming, servers } = plan;
  const areWritten = files.some(({ path }) => servers.paths.includes(path));
  const areDue = areWritten || (servers.problem === null && (await missingNow(facts, host)) !== null);
  if (areDue && servers.refresh === null) return plan;
  const refresh = areDue ? (servers.refresh ?? []) : [];
  if (files.length + naming.after.length + refresh.length === 0) return null;
  return { ...plan, before: [], after: [...naming.after, ...refresh], restore: [...naming.restore, ...refresh] };
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
