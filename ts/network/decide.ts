import { AgentError } from '../api/errors.js';
import type { FileChange } from '../api/host.js';
import { quietCloudInit } from './cloud-init.js';
import { decideHostname } from './hostname.js';
import { type Action, type NetworkFacts, type NetworkPlan, type Renderer, type Standing, withChanges } from './plan.js';
import { decideResolver } from './resolv.js';

/** RFC 894. */
const ETHERNET_MTU = 1500;
const RANKS: readonly Standing['rank'][] = ['owner', 'enabled', 'present'];

/** What each renderer says of this machine, the one that is to be used first. Pure. */
export function rank(
  facts: NetworkFacts,
  renderers: readonly Renderer[],
): readonly { readonly renderer: Renderer; readonly standing: Standing }[] {
  return renderers
    .flatMap((renderer) => {
      const standing = renderer.detect(facts);
      return standing === null ? [] : [{ renderer, standing }];
    })
    .sort((a, b) => RANKS.indexOf(a.standing.rank) - RANKS.indexOf(b.standing.rank));
}

/** The whole change: the renderer's part, and what no renderer keeps (name, resolver, cloud-init). Pure. */
export function decide(facts: NetworkFacts, renderers: readonly Renderer[]): NetworkPlan {
  const [chosen] = rank(facts, renderers);
  if (chosen === undefined) {
    throw new AgentError('GW_NETWORK_UNSUPPORTED', [renderers.map(({ looksFor }) => looksFor).join(', ')]);
  }
  const { renderer } = chosen;
  const rendered = renderer.render(facts);
  // Each looks at what the one before it has left: rc.conf, for one, holds the network and the name.
  const named = decideHostname(withChanges(facts, rendered.files));
  const resolving = decideResolver(facts, renderer.feeds);
  return {
    renderer: renderer.name,
    before: rendered.before,
    files: together([...rendered.files, ...named.files, ...resolving.files, ...quietCloudInit(facts)]),
    after: [...named.after, ...forgottenMtus(facts, rendered.files), ...rendered.after, ...resolving.after],
    restore: [...named.restore, ...rendered.restore, ...resolving.after],
  };
}

/** No stack undoes an MTU when its key is gone from the file: the device would keep it until the next boot. */
function forgottenMtus(facts: NetworkFacts, changes: readonly FileChange[]): readonly Action[] {
  return facts.interfaces
    .filter(({ mtu, nic }) => mtu === null && nic.mtu !== ETHERNET_MTU)
    .filter(({ nic }) => {
      const names = new RegExp(`mtu.{0,12}\\b${nic.mtu}\\b`, 'i');
      return changes.some((change) => {
        const now = change.type === 'write' ? Buffer.from(change.content).toString('utf8') : '';
        return names.test(facts.files.get(change.path) ?? '') && !names.test(now);
      });
    })
    .map(({ nic }) => ({ type: 'mtu', nic: nic.name, mtu: ETHERNET_MTU }));
}

/** Of two changes to one file the later one counts: it was made of the earlier one. */
function together(changes: readonly FileChange[]): readonly FileChange[] {
  return [...new Map(changes.map((change) => [change.path, change])).values()];
}
