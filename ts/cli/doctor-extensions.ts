import type { LoadedConfig } from '../daemon/config.js';
import { findPlugins, findScripts } from '../host/index.js';
import { extensionOptions } from './extension-options.js';

/** What can be seen of plugins and scripts without running any; none where there are none. */
export async function describeExtensions(loaded: LoadedConfig, root: string | undefined): Promise<readonly string[]> {
  const { plugins, scripts } = extensionOptions(loaded, { root, plugins: undefined });
  const foundPlugins = await findPlugins(plugins.directory);
  const foundScripts = await findScripts(scripts.directory, root === undefined);
  const tables = plugins.directory === null ? [] : [...plugins.tables];
  return [
    ...foundPlugins.found.map(({ where }) => `${where}: guestwire commands loads it and says what it brings`),
    ...tables.map(
      ([name, { source }]) =>
        `${source}: [plugin.${name}]: guestwire commands says whether a plugin takes these settings`,
    ),
    ...foundScripts.found.map(({ path }) => `${path}: can be run`),
    ...[...foundPlugins.problems, ...foundScripts.problems].map(
      ({ where, reason }) => `${where}: cannot be used: ${reason}`,
    ),
  ];
}
