/** Versions by the rules of semver.org. */
import compare from 'semver/functions/compare.js';
import parse from 'semver/functions/parse.js';

/** The highest of these by the rules of semver.org; null when none of them is a version by those rules. */
export function highestOf(versions: readonly (string | null)[]): string | null {
  return versions
    .filter((version) => version !== null)
    .filter(isComparable)
    .reduce<string | null>((best, version) => (best !== null && compare(best, version) >= 0 ? best : version), null);
}

/** Whether it is a version by the rules of semver.org. The library takes `v1.2.3` as well, the name of another directory. */
export function isComparable(version: string): boolean {
  return /^\d/.test(version) && parse(version) !== null;
}
