import { AgentError } from '../api/errors.js';
import type { FileChange } from '../api/host.js';
import { assertAlone } from './alone.js';
import { quietCloudInit } from './cloud-init.js';
import { blockOf } from './formats/block.js';
import { DESCRIPTION } from './formats/description.js';
import { goneAddresses } from './gone.js';
import { decideHostname } from './hostname.js';
import {
  type Action,
  type NetworkFacts,
  type NetworkPlan,
  type Renderer,
  type Standing,
  textOf,
  withChanges,
} from './plan.js';
import { assertBoot } from './proof.js';
import { assertNames } from './renamed.js';
import { decideResolver, unlasting } from './resolvers/index.js';

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

/** The whole change: the renderer's part, and what no renderer keeps (name, resolver, cloud-init), proven to last over a boot. Pure. */
export function decide(facts: NetworkFacts, renderers: readonly Renderer[]): NetworkPlan {
  const [chosen] = rank(facts, renderers);
  if (chosen === undefined) {
    throw new AgentError('GW_NETWORK_UNSUPPORTED', [renderers.map(({ looksFor }) => looksFor).join(', ')]);
  }
  const { renderer } = chosen;
  const rendered = renderer.render(facts);
  // Each looks at what the one before it has left: rc.conf, for one, holds the network and the name.
  const named = decideHostname(withChanges(facts, rendered.files), goneAddresses(facts, rendered.files));
  const feeds = renderer.feeds(facts);
  const resolving = decideResolver(withChanges(facts, rendered.files), feeds);
  const undescribed = withoutDescription(facts, renderer);
  assertNothingForgotten(facts, [...rendered.files, ...undescribed]);
  const spared = (actions: readonly Action[]): readonly Action[] => actions.flatMap((action) => sparing(action, facts));
  const plan = {
    renderer: renderer.name,
    before: spared(rendered.before),
    files: together([...rendered.files, ...named.files, ...resolving.files, ...quietCloudInit(facts), ...undescribed]),
    after: [
      ...named.after,
      ...spared([...forgottenMtus(facts, rendered.files, renderer), ...rendered.after]),
      ...resolving.after,
    ],
    restore: [...named.restore, ...spared(rendered.restore), ...resolving.after],
  };
  assertUnmasked(facts, plan);
  const after = withChanges(facts, plan.files);
  assertBoot(after, renderer);
  assertAlone(after, renderer, renderers);
  assertNames(after);
  const checks = renderer.checks?.(after, plan.files) ?? [];
  const pathsOf = (changes: readonly FileChange[]): readonly string[] => changes.map(({ path }) => path);
  const network = pathsOf(rendered.files);
  const { refresh } = resolving;
  return {
    ...plan,
    checks,
    aside: pathsOf(plan.files).filter((path) => !network.includes(path)),
    naming: { after: named.after, restore: named.restore },
    servers: { paths: pathsOf(resolving.files), refresh, problem: unlasting(after, feeds) },
  };
}

/** Throws GW_NETWORK_IMPOSSIBLE where somebody says by a link to /dev/null that there is to be no file of that name. */
function assertUnmasked({ access }: NetworkFacts, { renderer, files }: Pick<NetworkPlan, 'renderer' | 'files'>): void {
  const masked = files.find(({ type, path }) => type === 'write' && access?.get(path) === 'mask');
  if (masked === undefined) return;
  const why = `writing ${masked.path}, which is masked: it is a link to /dev/null`;
  throw new AgentError('GW_NETWORK_IMPOSSIBLE', [renderer, why]);
}

/** An action without the interfaces that are left alone; none where it was about these only. */
function sparing(action: Action, { interfaces, leftAlone = [] }: NetworkFacts): readonly Action[] {
  const isSpared = (word: string): boolean => leftAlone.some((name) => isAbout(word, name));
  switch (action.type) {
    case 'set-hostname':
      return [action];
    case 'configure':
    case 'mtu':
    case 'ipv6':
      return leftAlone.includes(action.nic) ? [] : [action];
    case 'run': {
      const [program, ...args] = action.argv;
      if (isSpared(program)) return [];
      if (!args.some(isSpared)) return [action];
      const others = args.filter((word) => !isSpared(word));
      const isWanted = others.some((word) => interfaces.some(({ nic }) => isAbout(word, nic.name)));
      return isWanted ? [{ ...action, argv: [program, ...others] }] : [];
    }
  }
}

/**
 * As an argument or a program: the interface's name, or a service or profile of its own, such as `net.eth0`,
 * `netctl@eth0.service`, `guestwire-eth0.nmconnection` or Slackware's `eth0_start`.
 */
function isAbout(word: string, name: string): boolean {
  const bare = word.replace(/\.(service|nmconnection)$/, '').replace(/_(start|stop|restart|up|down)$/, '');
  return bare === name || ['.', '@', 'guestwire-'].some((mark) => bare.endsWith(mark + name));
}

/**
 * Of a device whose record cannot be used and of which nothing is remembered, files of ours would lose what they have.
 * Throws GW_NETWORK_INVALID then.
 */
function assertNothingForgotten({ files, unknown = [] }: NetworkFacts, changes: readonly FileChange[]): void {
  for (const name of unknown) {
    const names = new RegExp(`(?<!\\w)${name.replaceAll(/\W/g, String.raw`\$&`)}(?!\\w)`);
    const loses = changes.find((change) => {
      const { path } = change;
      const before = files.get(path) ?? '';
      const now = change.type === 'write' ? textOf(change) : null;
      // What others wrote beside a block of ours, comments as well, says nothing of what is ours.
      if (blockOf(before) !== '') return names.test(blockOf(before)) && !names.test(blockOf(now ?? ''));
      const isNamed = (text: string): boolean => names.test(`${path}\n${text}`);
      return `${path}\n${before}`.includes('guestwire') && isNamed(before) && (now === null || !isNamed(now));
    });
    if (loses === undefined) continue;
    const reason = `the record of ${name} cannot be used, and without it ${loses.path} would lose the interface`;
    throw new AgentError('GW_NETWORK_INVALID', [reason]);
  }
}

/** Of a time when nothing else was there: each start of the agent would set it once more, whatever the stack has set. */
function withoutDescription({ files }: NetworkFacts, { reads }: Renderer): readonly FileChange[] {
  return reads.includes(DESCRIPTION) || !files.has(DESCRIPTION) ? [] : [{ type: 'remove', path: DESCRIPTION }];
}

/**
 * An MTU that the host does not name goes with the definition that has it, as a boot has it then. No stack undoes it when its
 * key is gone from the file: the device would keep it until that.
 */
function forgottenMtus(facts: NetworkFacts, changes: readonly FileChange[], renderer: Renderer): readonly Action[] {
  const { interfaces, files, configured = [], live = [] } = facts;
  const changed = interfaces
    .filter(({ mtu, nic }) => mtu === null && nic.mtu !== ETHERNET_MTU)
    .filter(({ nic }) => {
      if (configured.some((old) => old.nic.mac === nic.mac && old.mtu === nic.mtu)) return true;
      if (renderer.boot(withChanges(facts, changes), nic)?.mtu === nic.mtu) return false;
      if (renderer.boot(facts, nic)?.mtu === nic.mtu) return true;
      const names = new RegExp(`mtu.{0,12}\\b${nic.mtu}\\b`, 'i');
      return changes.some((change) => {
        const now = change.type === 'write' ? textOf(change) : '';
        return names.test(files.get(change.path) ?? '') && !names.test(now);
      });
    });
  // One that is taken down and is still there: then it has the addresses that the agent has set.
  const gone = configured.filter(({ mtu, nic: { name } }) => {
    const isThere = live.some(({ nic }) => nic === name) && !interfaces.some(({ nic }) => nic.name === name);
    return mtu !== null && isThere;
  });
  return [...changed, ...gone].map(({ nic }) => ({ type: 'mtu', nic: nic.name, mtu: ETHERNET_MTU }));
}

/** Of two changes to one file the later one counts: it was made of the earlier one. */
function together(changes: readonly FileChange[]): readonly FileChange[] {
  return [...new Map(changes.map((change) => [change.path, change])).values()];
}
