/** Which units systemd starts at a boot. */
import type { NetworkFacts } from './plan.js';

/** Whether systemd starts the unit at a boot: null when it does, or why not. An empty file stands for a mask. */
export function notStarted(
  { files, present }: Pick<NetworkFacts, 'files' | 'present'>,
  unit: string,
  links: readonly string[],
): string | null {
  if (files.get(maskOf(unit)) === '') return `${unit} is masked`;
  return links.some((path) => present.has(path) || files.has(path)) ? null : `${unit} does not start at a boot`;
}

/** The same where other inits may start it, too: false where it is masked, null where no link is known. */
export function mayStart(
  facts: Pick<NetworkFacts, 'files' | 'present'>,
  unit: string,
  links: readonly string[],
): boolean | null {
  if (notStarted(facts, unit, links) === null) return true;
  return facts.files.get(maskOf(unit)) === '' ? false : null;
}

/** A link to /dev/null there masks the unit. For `reads`. */
export function maskOf(unit: string): string {
  return `/etc/systemd/system/${unit}`;
}
