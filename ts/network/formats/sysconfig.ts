/**
 * What the ifcfg files of Red Hat and of SUSE have in common: one file of shell assignments an interface, in which some
 * keys are ours and the others (a firewall's zone, options of the driver) belong to whoever made the file.
 */
import type { FileChange } from '../../api/host.js';
import { type InterfaceConfig, type NetworkFacts, commentText } from '../plan.js';
import { type Quote, quoted, readShellFile, removeShellKeys, setShellKey } from './shell-file.js';

/** Names that both readers of such files pass over. */
const IGNORED = /(~|\.(bak|old|orig|rpmnew|rpmorig|rpmsave|scpmbackup))$/;
/** Of a file in which nothing was anybody else's. */
const WRITTEN = '# Written by guestwire; changes are lost.\n';
/** Of a file that was there: when its interface is no longer ours, the rest of it stays. */
const EDITED = '# Edited by guestwire: what it does not set stays.\n';
const HEADER = /^# (?:Written|Edited) by guestwire.*\n(?:# Label .*\n)?/;

export interface Ifcfg {
  readonly path: string;
  /** What follows `ifcfg-`. */
  readonly name: string;
  readonly text: string;
  readonly keys: ReadonlyMap<string, string>;
}

export function ifcfgFiles({ files }: Pick<NetworkFacts, 'files'>, directory: string): readonly Ifcfg[] {
  const start = `${directory}ifcfg-`;
  return [...files]
    .filter(([path]) => path.startsWith(start) && !IGNORED.test(path))
    .map(([path, text]) => ({ path, name: path.slice(start.length), text, keys: readShellFile(text) }));
}

/** Whether an earlier plan wrote the file or set keys in it. */
export function isMarked(text: string): boolean {
  return HEADER.test(text);
}

/** A file that is ours as a whole. */
export function ownFile(lines: readonly string[]): string {
  return `${WRITTEN}${lines.map((line) => `${line}\n`).join('')}`;
}

/** Which keys are ours, and how a value is written. */
export interface Keys {
  readonly owned: (key: string) => boolean;
  readonly quote: (value: string) => Quote;
}

/**
 * The file with our keys, in the order of `values`, which is what wicked takes addresses in. They stand before everything
 * else: a shell reads some of these files, and `ETHTOOL_OPTS="-K ${DEVICE} gso off"` is common.
 */
export function withKeys(
  before: string | undefined,
  label: InterfaceConfig['label'],
  values: ReadonlyMap<string, string>,
  { owned, quote }: Keys,
): string {
  const comment = commentText(label ?? '');
  const head = before === undefined || before.startsWith(WRITTEN) ? WRITTEN : EDITED;
  const ours = [...values].map(([key, value]) => `${key}=${quoted(value, quote(value))}\n`);
  const foreign = removeShellKeys((before ?? '').replace(HEADER, ''), owned);
  return `${head}${comment === '' ? '' : `# Label ${comment}\n`}${ours.join('')}${foreign}`;
}

/** Gives a marked file up: it goes, or, where it was somebody's, loses our keys and is not started at boot. */
export function released({ path, text }: Ifcfg, { owned, quote }: Keys, off: readonly [string, string]): FileChange {
  if (text.startsWith(WRITTEN)) return { type: 'remove', path };
  const [key, value] = off;
  const content = setShellKey(removeShellKeys(text.replace(HEADER, ''), owned), key, value, quote(value));
  return { type: 'write', path, content, mode: 0o644 };
}
