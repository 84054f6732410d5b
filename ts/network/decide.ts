import { AgentError } from '../api/errors.js';
import type { FileChange } from '../api/host.js';
import { hasResolvconf } from './gather.js';
import { hostnameFile, liveHostname } from './hostname.js';
import { hostsFile } from './hosts.js';
import { type Action, type NetworkFacts, type NetworkPlan, type Renderer, writeIfChanged } from './plan.js';
import { resolvFile } from './resolv.js';

/** The whole change: the renderer's part, and the host's name, which no renderer keeps. Pure. */
export function decide(facts: NetworkFacts, renderers: readonly Renderer[]): NetworkPlan {
  const found = renderers.map((renderer) => ({ renderer, standing: renderer.detect(facts) }));
  const chosen =
    found.find(({ standing }) => standing === 'owner') ?? found.find(({ standing }) => standing === 'present');
  if (chosen === undefined) {
    throw new AgentError('GW_NETWORK_UNSUPPORTED', [renderers.map(({ looksFor }) => looksFor).join(', ')]);
  }
  const { before, files, after, restore } = chosen.renderer.render(facts);
  const naming = decideHostname(facts);
  return {
    renderer: chosen.renderer.name,
    before,
    files: [...naming.files, ...files, ...decideResolvConf(facts)],
    after: [...naming.actions, ...after],
    restore: [...naming.actions.map((action) => ({ ...action, hostname: facts.currentHostname })), ...restore],
  };
}

function decideHostname(facts: NetworkFacts): {
  files: readonly FileChange[];
  actions: readonly Extract<Action, { type: 'set-hostname' }>[];
} {
  const { hostname, currentHostname, files } = facts;
  if (hostname === null) return { files: [], actions: [] };
  const live = liveHostname(hostname);
  return {
    files: [
      ...writeIfChanged(facts, '/etc/hostname', hostnameFile(files.get('/etc/hostname'), hostname), 0o644),
      ...writeIfChanged(
        facts,
        '/etc/hosts',
        hostsFile(files.get('/etc/hosts') ?? '', hostname, currentHostname),
        0o644,
      ),
    ],
    actions: live === currentHostname ? [] : [{ type: 'set-hostname', hostname: live }],
  };
}

/** Nothing reads `dns-nameservers` where there is no resolvconf, so a plain file is written as well. */
function decideResolvConf(facts: NetworkFacts): readonly FileChange[] {
  const path = '/etc/resolv.conf';
  const text = facts.files.get(path);
  const servers = [...new Set(facts.interfaces.flatMap(({ dns }) => dns))];
  if (text === undefined || servers.length === 0 || hasResolvconf(facts)) return [];
  const wanted = resolvFile(text, servers);
  return wanted === null ? [] : writeIfChanged(facts, path, wanted, 0o644);
}
