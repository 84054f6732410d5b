/** What the makers of `/etc/resolv.conf` have in common. */
import type { FileChange } from '../../api/host.js';
import { parseAddress } from '../address.js';
import type { Action, NetworkFacts } from '../plan.js';

export const RESOLV_CONF = '/etc/resolv.conf';
/** glibc's MAXNS, resolv.conf(5): further servers are never asked. */
export const LIMIT = 3;

/** By the files alone: the servers, or why they cannot be told, as words that go after `because`. */
export type Expected = { readonly servers: readonly string[] } | { readonly unknown: string };

/** What is on disk. */
export type OnDisk = Pick<NetworkFacts, 'files' | 'present'>;

/** One maker of resolv.conf, as pure functions. */
export interface Maker {
  /** As a renderer's. */
  readonly reads: readonly string[];
  readonly asks: readonly string[];
  /** The files by which it has `servers` at every boot. Without servers: what an earlier plan wrote is taken away. */
  tell(facts: NetworkFacts, servers: readonly string[]): readonly FileChange[];
  /** Makes it read these files now. */
  readonly refresh: readonly Action[];
  /** What resolv.conf comes to at the next boot. `told`: servers that the renderer's own files have it told. */
  afterBoot(facts: NetworkFacts, told: readonly string[]): Expected;
}

/** The servers in the text of a resolv.conf, as they are asked: a line that is indented does not count. */
export function serversIn(text: string): readonly string[] {
  return [...text.matchAll(/^nameserver[ \t]+(\S+)/gm)].map(([, server = '']) => parseAddress(server) ?? server);
}

/** A file that is there goes; of one that is not, nothing is said. */
export function withoutFile({ files }: NetworkFacts, path: string): readonly FileChange[] {
  return files.has(path) ? [{ type: 'remove', path }] : [];
}
