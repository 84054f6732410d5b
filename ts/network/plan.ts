import type { Argv, FileChange, Nic } from '../api/host.js';
import type { Address } from './address.js';

export interface Route extends Address {
  /** null: the network is on the link itself. */
  readonly gateway: string | null;
  /** null: whatever the stack gives. */
  readonly metric: number | null;
}

/** What one interface is to be. Both lists keep the host's order: the first address of a family is the primary one. */
export interface InterfaceConfig {
  readonly nic: Nic;
  readonly label: string | null;
  readonly ipv4: readonly Address[];
  readonly ipv6: readonly Address[];
  readonly gateway4: string | null;
  readonly gateway6: string | null;
  readonly routes: readonly Route[];
  readonly dns: readonly string[];
}

/** Everything that a decision may rest on. Gathered once; nothing is looked at while rendering. */
export interface NetworkFacts {
  /** In the order of the interfaces' names. */
  readonly interfaces: readonly InterfaceConfig[];
  /** null: to be left as it is. */
  readonly hostname: string | null;
  readonly currentHostname: string;
  /** Text of the files named by the renderers' `reads`; a path that is absent on disk is absent here. */
  readonly files: ReadonlyMap<string, string>;
  /** Of the programs that any renderer asked about, the paths of those there are, and of what they are links to. */
  readonly programs: ReadonlySet<string>;
}

export type Action =
  | { readonly type: 'set-hostname'; readonly hostname: string }
  | { readonly type: 'run'; readonly argv: Argv; readonly onFailure: 'ignore' | 'report' };

/** Everything that is to happen, in the order it happens. Plain data: print it, compare it, or apply it. */
export interface NetworkPlan {
  /** The back end that made it. */
  readonly renderer: string;
  /** Run on the old files. */
  readonly before: readonly Action[];
  /** Only what differs from what is there. */
  readonly files: readonly FileChange[];
  readonly after: readonly Action[];
  /** Run instead of `after` when the change failed and the old files stand there again. */
  readonly restore: readonly Action[];
}

/** One way in which systems configure their networks, as pure functions. */
export interface Renderer {
  readonly name: string;
  /** For people whose system was not recognised. */
  readonly looksFor: string;
  /** Files whose text `render` needs; `*` stands for any name at the end of a path, as in `/etc/netplan/*.yaml`. */
  readonly reads: readonly string[];
  /** Programs that `detect` or `render` ask about, as absolute paths. */
  readonly programs: readonly string[];
  /** `owner`: it holds one of the interfaces now. `present`: it is installed and configured. */
  detect(facts: NetworkFacts): 'owner' | 'present' | null;
  render(facts: NetworkFacts): Omit<NetworkPlan, 'renderer'>;
}

/** A write of `text`, unless that is what stands there already. */
export function writeIfChanged(facts: NetworkFacts, path: string, text: string, mode: number): readonly FileChange[] {
  return facts.files.get(path) === text ? [] : [{ type: 'write', path, content: text, mode }];
}

/** A label as it may stand in a comment: one line, printable, short. The host chooses labels; files are sourced. */
export function commentText(label: string): string {
  return label
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim()
    .slice(0, 80);
}
