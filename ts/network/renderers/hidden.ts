import { AgentError } from '../../api/errors.js';
import { hiddenSetting } from '../formats/shell-file.js';

/**
 * Refuses files of shell assignments in which a command sets a key of ours: nobody can say without a shell whether that
 * is run, and ours beside it would not count for sure.
 */
export function refuseHidden(
  stack: string,
  files: Iterable<readonly [path: string, text: string]>,
  isOurs: (key: string) => boolean,
  sources: 'sources' | 'follows' = 'follows',
): void {
  for (const [path, text] of files) {
    const hidden = hiddenSetting(text, isOurs, sources === 'sources');
    if (hidden === null) continue;
    const why = `settings that a command may change: "${hidden.command}" (${path}, line ${hidden.line})`;
    throw new AgentError('GW_NETWORK_IMPOSSIBLE', [stack, why]);
  }
}
