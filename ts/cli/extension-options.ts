/** Where plugins and scripts are, for the subcommands that look at them. */
import type { LoadedConfig, Override } from '../daemon/config.js';
import type { ExtensionOptions } from '../daemon/extensions.js';
import { isDirectory } from '../host/shared/system.js';
import { type Option, UsageError } from './command-line.js';
import { join, resolve } from '../host/shared/runtime/path.js';

export const PLUGINS_OPTION = {
  type: 'string',
  argument: 'DIR',
  help: 'load the plugins in this folder; with --root there are no others',
} as const satisfies Option;

/** `--plugins DIR` as a key of the configuration. Throws UsageError when it is no folder: a slip would go unnoticed. */
export function pluginsOverride(directory: string | undefined): readonly Override[] {
  if (directory === undefined) return [];
  const path = resolve(directory);
  if (isDirectory(path) !== true) throw new UsageError(`--plugins: ${path} is not a directory`);
  return [['plugins', 'directory', path, '--plugins']];
}

/**
 * Whoever works on a copy of a system does not mean to run what lies in it: there only plugins that the command line
 * names are loaded, and no scripts are run.
 */
export function extensionOptions(
  { config: { plugins, scripts }, plugins: tables }: LoadedConfig,
  { root, plugins: named }: { readonly root: string | undefined; readonly plugins: string | undefined },
): Pick<ExtensionOptions, 'plugins' | 'scripts'> {
  return {
    plugins: {
      directory: root === undefined || named !== undefined ? plugins.directory : null,
      loadTimeout: plugins['load-timeout'],
      commandTimeout: plugins['command-timeout'],
      tables,
    },
    scripts: { directory: join(resolve(root ?? '/'), scripts.directory), timeout: scripts.timeout },
  };
}
