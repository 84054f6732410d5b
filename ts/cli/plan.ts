import { createTwoFilesPatch } from 'diff';
import type { FileChange, Ipv6Settings } from '../api/host.js';
import { decide } from '../network/decide.js';
import { due } from '../network/act/apply.js';
import { gather } from '../network/act/gather.js';
import { kernelState } from '../network/act/perform.js';
import { withoutStrays } from '../network/act/reset.js';
import { foresee } from '../network/act/validate.js';
import { type Action, type NetworkPlan, textOf } from '../network/plan.js';
import { RENDERERS } from '../network/renderers/index.js';
import { EXIT, UsageError, print, subcommand } from './command-line.js';
import { FACTS_FORM, NETWORK_OPTIONS, openNetworkHost } from './network-host.js';

const NOTHING: Pick<NetworkPlan, 'checks' | 'before' | 'files' | 'after'> = {
  checks: [],
  before: [],
  files: [],
  after: [],
};

export const plan = subcommand({
  synopsis: ['plan network [--store PATH] [--domain N] [--root DIR]', 'plan network --facts FILE [--root DIR]'],
  description:
    'Shows what resetnetwork would do with what the host published: the files as a unified diff, and the ' +
    `programs in the order in which they run. Changes nothing; fails when resetnetwork would. ${FACTS_FORM}`,
  options: NETWORK_OPTIONS,
  async main(values, positionals) {
    onlyNetwork('plan', positionals);
    using opened = await openNetworkHost(values);
    const { facts, recordErrors } = await gather(
      opened.host,
      RENDERERS,
      opened.loaded.config.network['device-timeout'],
    );
    const plan = decide(facts, RENDERERS);
    const { renderer, servers } = plan;
    const { host } = opened;
    const left = host.live ? await due(plan, await withoutStrays(facts, host), host, await kernelState(host)) : plan;
    const { checks, before, files, after } = left ?? NOTHING;
    const unchecked = left === null ? [] : await foresee(left, host, opened.loaded.config.network['program-timeout']);
    print(`# ${renderer}`);
    if (left === null) print('# the network is already as wanted: there is nothing to do');
    for (const reason of unchecked) print(`# ${reason}`);
    const leftAlone = servers.problem === null ? recordErrors : [...recordErrors, servers.problem];
    for (const error of leftAlone) print(`# not as wanted: ${error}`);
    for (const { argv, path } of checks) print(`check: ${argv.join(' ')}${path === undefined ? '' : ` < ${path}`}`);
    for (const action of before) print(`run: ${describe(action)}`);
    for (const change of files) print(difference(change, facts.files));
    for (const action of after) print(`run: ${describe(action)}`);
    return leftAlone.length === 0 ? EXIT.ok : EXIT.failure;
  },
});

export function onlyNetwork(subcommandName: string, [subject, ...more]: readonly string[]): void {
  if (subject === 'network' && more.length === 0) return;
  if (subject === undefined) throw new UsageError(`${subcommandName}: 'network' is missing`);
  throw new UsageError(`${subcommandName}: expected 'network', got '${[subject, ...more].join(' ')}'`);
}

function difference(change: FileChange, files: ReadonlyMap<string, string>): string {
  const { path } = change;
  const text = change.type === 'write' ? textOf(change) : '';
  const old = files.get(path);
  return createTwoFilesPatch(old === undefined ? '/dev/null' : path, path, old ?? '', text)
    .split('\n')
    .slice(1, -1)
    .join('\n');
}

function ipv6Text(settings: Partial<Ipv6Settings>): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name} ${typeof value === 'boolean' ? (value ? 'on' : 'off') : value}`)
    .join(', ');
}

function describe(action: Action): string {
  switch (action.type) {
    case 'run':
      return action.argv.join(' ') + (action.stdin === undefined ? '' : ` <<< ${JSON.stringify(action.stdin)}`);
    case 'set-hostname':
      return `sethostname ${action.hostname}`;
    case 'ipv6':
      return `set IPv6 of ${action.nic}: ${ipv6Text(action.settings)}`;
    case 'mtu':
      return `set the MTU of ${action.nic} to ${action.mtu}`;
    case 'configure':
      return `set addresses and routes of ${action.nic} by netlink`;
  }
}
