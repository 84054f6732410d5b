import { commit } from '#binding';

/** The commit that the addon was built from, or `unknown`. */
export function buildCommit(): string {
  return commit();
}
