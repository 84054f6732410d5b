import type { Config } from '../daemon/config.js';
import { findPlugins, findScripts } from '../host/index.js';
import { extensionOptions } from './extension-options.js';

/** What can be seen of plugins and scripts without running any; none where there are none. */
export async function describeExtensions(config: Config, root: string | undefined): Promise<readonly string[]> {
  const { plugins, scripts } = extensionOptions(config, { root, plugins: undefined });
  const foundPlugins = await findPlugins(plugins.directory);
  const foundScripts = await findScripts(scripts.directory, root === undefined);
  return [
    ...foundPlugins.found.map(({ where }) => `${where}: guestwire commands loads it and says what it brings`),
    ...foundScripts.found.map(({ path }) => `${path}: can be run`),
    ...[...foundPlugins.problems, ...foundScripts.problems].map(
      ({ where, reason }) => `${where}: cannot be used: ${reason}`,
    ),
  ];
}
