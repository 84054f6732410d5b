/** What an entry of the error table is. */
import type { Guest } from './guest.js';

/** An error as whoever met it was told. */
export interface Told {
  readonly code: string;
  readonly returncode: string;
  readonly message: string;
}

/** How a code of the agent is provoked, on a guest of its own with the real agent in it. */
export interface AgentEntry {
  /** What stands for each `%s` of the documented message: text, or a pattern where the guest's paths come in. */
  readonly says: readonly (string | RegExp)[];
  /** `[section]` and keys of the guest's configuration file. */
  readonly config?: string;
  /** Files of the guest, by path below its root, beside those that every guest has; null for one that it lacks. */
  readonly files?: Readonly<Record<string, string | null>>;
  /** Nodes that the host published, below the guest's part of the store. */
  readonly published?: Readonly<Record<string, string>>;
  readonly provoke: (guest: Guest) => Promise<Told>;
}

/** How a code of the addon is provoked: rejects or throws with it. */
export interface AddonEntry {
  readonly says: RegExp;
  readonly provoke: () => unknown;
}
