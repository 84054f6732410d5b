import type { Log } from '../api/log.js';
import type { Bytes, Signal, Url } from '../api/platform.js';

/** How far a transfer may go. */
export interface TransferLimits {
  /** Bytes. */
  readonly maxSize: number;
  /** Whether http:// is taken; never after https:// in a chain of redirects. */
  readonly insecure: boolean;
  /** Ends the transfer when it aborts. */
  readonly signal: Signal;
}

export type Digest = 'md5' | 'sha256';

export interface Downloaded {
  /** Bytes. */
  readonly size: number;
  /** In lower-case hexadecimal: those that were asked for. */
  readonly digests: Readonly<Partial<Record<Digest, string>>>;
}

/** Without user, password and query: those may be secrets. */
export function printableUrl(url: Url): string {
  return `${url.origin}${url.pathname}`;
}

/** The version that runs, and where the others lie. */
export interface Installed {
  /** Name of the directory that it was started from, which is its version. */
  readonly running: string;
  /** What its native part is for, as Node names system and processor: `linux-x64`. */
  readonly architecture: string;
  /** When it was built, or what it was built of: milliseconds since 1970; 0 when nobody knows. */
  readonly builtAt: number;
}

/**
 * The agent's own program: versions that lie beside one another, and a link to the one that the service manager starts.
 * One update at a time; what it has under way is gone after `clean`. Errors are AgentErrors GW_UPDATE_*, and name a URL
 * without its user, password and query.
 */
export interface Updates {
  /** Throws GW_UPDATE_REFUSED when the agent was not started from the directory of versions. */
  installed(): Promise<Installed>;
  /** The bytes at `url`, or null when the server has no such thing (404, 410). */
  fetch(url: Url, limits: TransferLimits): Promise<Bytes | null>;
  /** Brings the archive at `url` here and computes these digests on the way; the log says how far it is. */
  download(url: Url, digests: readonly Digest[], limits: TransferLimits, log: Log): Promise<Downloaded>;
  /** Unpacks what was downloaded, at most `maxSize` bytes, and gives the version that its package.json tells. */
  unpack(maxSize: number): Promise<string>;
  /**
   * Starts what was unpacked as a program of its own, asks it for its version over the store as the host would, and
   * ends it. Throws GW_UPDATE_TRIAL when it gives another answer than `version`, or none within `timeout` milliseconds.
   */
  try(version: string, timeout: number, signal: Signal, log: Log): Promise<void>;
  /** Puts what was unpacked among the versions. Throws for the running one. */
  install(version: string): Promise<void>;
  /** Makes `version` the one that is started from now on. */
  link(version: string): Promise<void>;
  /** Removes all versions but these. */
  prune(keep: readonly string[]): Promise<void>;
  /** Removes what an update left that did not come to its end: the archive, what was unpacked, the trial. */
  clean(): Promise<void>;
  /** Puts the linked version in the place of this process. Returns only by throwing. */
  restart(): Promise<never>;
}
