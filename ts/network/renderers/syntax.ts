import type { FileChange } from '../../api/host.js';
import { type Check, textOf } from '../plan.js';

/** Whether the shell that sources files of a stack can read those of `changes` that `sources` names. */
export function syntaxChecks(
  shell: '/bin/sh' | '/bin/bash',
  changes: readonly FileChange[],
  sources: (path: string) => boolean,
): readonly Check[] {
  return changes.flatMap((change) => {
    if (change.type === 'remove' || !sources(change.path)) return [];
    return [{ argv: [shell, '-n'], stdin: textOf(change), path: change.path }];
  });
}
