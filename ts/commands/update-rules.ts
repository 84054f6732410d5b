/** Which of the versions that a trusted key has signed are for this guest, and now. Pure. */
import compare from 'semver/functions/compare.js';
import { isComparable } from './comparable-versions.js';
import type { Manifest } from './update-request.js';
import type { UpdateRecord } from './update-record.js';

const PRODUCT = 'guestwire';

/** What a manifest is held against. */
export interface Situation {
  /** What the clock says, milliseconds since 1970. */
  readonly clock: number;
  /** When the agent was built, milliseconds since 1970: it cannot be earlier, whatever the clock says. */
  readonly builtAt: number;
  readonly record: UpdateRecord;
  /** The highest of the versions that this guest has had; null when none can be compared. */
  readonly highest: string | null;
  /** Versions that may be gone back to: their names, or the beginning and `*`. */
  readonly allowDowngrade: readonly string[];
}

/** Why a manifest is not for this agent on this machine, whatever the time and the version; null when it is. */
export function foreign({ scope }: Manifest, architecture: string): string | null {
  if (scope === null) return null;
  if (scope.product !== PRODUCT) return `the manifest is for the product ${scope.product}, wanted ${PRODUCT}`;
  return scope.architecture === architecture
    ? null
    : `the manifest is for ${scope.architecture}, and this agent is for ${architecture}`;
}

/** Why a manifest that is not {@link foreign} is not taken; null when it is. */
export function refusal({ version, scope }: Manifest, situation: Situation): string | null {
  if (scope === null && situation.record.scopedOnly) {
    return 'the manifest says no product, architecture and expiry, and this guest takes no more of that kind';
  }
  return (scope === null ? null : expiry(scope.expires, situation)) ?? downgrade(version, situation);
}

function expiry(expires: number, { clock, builtAt }: Situation): string | null {
  if (Math.max(clock, builtAt) < expires) return null;
  const then = `the manifest expired at ${timestamp(expires)}`;
  return clock < builtAt
    ? `${then}, before this agent was built at ${timestamp(builtAt)}; the clock says ${timestamp(clock)}`
    : `${then}, and it is ${timestamp(clock)}`;
}

function downgrade(version: string, { highest, allowDowngrade }: Situation): string | null {
  if (!isComparable(version)) return `version ${version} cannot be compared with another, wanted one such as 1.2.3`;
  if (highest === null || compare(version, highest) >= 0) return null;
  return allowDowngrade.some((pattern) => covers(pattern, version))
    ? null
    : `version ${version} is older than ${highest}, the highest that this guest has had, and is not in update.allow-downgrade`;
}

function covers(pattern: string, version: string): boolean {
  return pattern.endsWith('*') ? version.startsWith(pattern.slice(0, -1)) : pattern === version;
}

function timestamp(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(/\.\d+Z$/, 'Z');
}
