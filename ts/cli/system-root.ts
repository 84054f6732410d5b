/** Which system a subcommand works on, and where its state is kept. What was only mistyped is told, never made. */
import { AgentError } from '../api/errors.js';
import type { LoadedConfig } from '../daemon/config.js';
import { isDirectory } from '../host/shared/system.js';
import { distrustDirectory } from '../host/index.js';
import { UsageError } from './command-line.js';
import { dirname, join, resolve } from '../host/shared/runtime/path.js';

/** `--root DIR` as an absolute path; `/` when it was not given. Throws UsageError unless it is a directory. */
export function systemRoot(root: string | undefined): string {
  if (root === undefined) return '/';
  const path = resolve(root);
  if (!isDirectory(path)) throw new UsageError(`--root: ${path} is not a directory`);
  return path;
}

/**
 * The state directory, which need not be there yet: then it is made with the first file. Throws AgentError
 * GW_CONFIG_INVALID when it is `/`, when something else stands there, when the directory that a configuration wants it in is missing, or
 * when others could change on a live system what the agent keeps there.
 */
export async function stateDirectory(root: string, { config, sources }: LoadedConfig, live: boolean): Promise<string> {
  const { directory } = config.state;
  const source = sources.get('state.directory');
  const path = join(root, directory);
  const complain = (found: string): Error =>
    new AgentError('GW_CONFIG_INVALID', [
      `${source ?? 'default'}: state.directory: found ${JSON.stringify(directory)}, but ${found}`,
    ]);
  if (join('/', directory, '/') === '/') throw complain('the agent wants a directory of its own');
  const there = isDirectory(path);
  if (there === false) throw complain(`${path} is no directory`);
  // A minimal system may lack what the default lies in; of a path that somebody wrote, a missing part is a slip.
  if (there === null && source !== 'default' && isDirectory(dirname(path)) !== true) {
    throw complain(`there is no directory ${dirname(path)} to make it in`);
  }
  const distrust = live ? await distrustDirectory(nearest(path)) : null;
  if (distrust !== null) throw complain(distrust);
  return path;
}

/** The directory itself, or the one that it would be made in. */
function nearest(path: string): string {
  return isDirectory(path) === true ? path : nearest(dirname(path));
}
