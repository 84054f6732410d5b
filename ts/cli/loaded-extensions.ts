/** A system's plugins and scripts, loaded beside the agent's own commands, for the subcommands that tell of them. */
import type { Host } from '../api/host.js';
import { createCommunication } from '../communication/index.js';
import { commandOptions, communicationOptions } from '../daemon/command-options.js';
import { loadConfig } from '../daemon/config.js';
import { Extensions } from '../daemon/extensions.js';
import { createLog } from '../daemon/log.js';
import { addNativeCommands } from '../daemon/native-commands.js';
import { Registry } from '../daemon/registry.js';
import { createEndpoints, openHost } from '../host/index.js';
import { createStoreLine, storeThrough } from '../host/shared/store-line.js';
import { readConfigFiles } from '../host/shared/system.js';
import { PLUGINS_OPTION, extensionOptions, pluginsOverride } from './extension-options.js';
import { systemRoot } from './system-root.js';
import { join } from '../host/shared/runtime/path.js';

export const LOADING_OPTIONS = {
  root: { type: 'string', argument: 'DIR', help: 'look at this copy of a system' },
  config: { type: 'string', argument: 'FILE', help: 'read this configuration file and no other' },
  plugins: PLUGINS_OPTION,
} as const;

export interface LoadedExtensions extends Disposable {
  readonly host: Host;
  readonly registry: Registry;
  readonly extensions: Extensions;
}

/** Disposing of it unloads them. Throws UsageError, and AgentError GW_CONFIG_INVALID. */
export async function loadExtensions(values: {
  readonly root: string | undefined;
  readonly config: string | undefined;
  readonly plugins: string | undefined;
}): Promise<LoadedExtensions> {
  const root = systemRoot(values.root);
  const files = await readConfigFiles(root, values.config ?? null);
  const loaded = await loadConfig(files, pluginsOverride(values.plugins));
  const { config } = loaded;
  const { log } = await createLog({ format: 'json', level: 'silent' });
  // Connects when a plugin reads: most do not, and this machine need not have a XenStore.
  const line = createStoreLine(config.xenstore, log);
  const host = openHost({
    root,
    stateDirectory: join(root, config.state.directory),
    live: values.root === undefined,
    store: storeThrough(line),
  });
  const registry = new Registry(config.commands);
  addNativeCommands(registry, host, commandOptions(config));
  // Made to know their names: none is opened.
  const own = createCommunication({ endpoints: createEndpoints(line), log }, communicationOptions(config, host.live));
  const ownWires = own.map(({ name }) => name);
  const extensions = new Extensions({
    ...{ registry, host, log, ownWires, isAgent: false },
    ...extensionOptions(loaded, values),
  });
  await extensions.load();
  return {
    host,
    registry,
    extensions,
    [Symbol.dispose]() {
      extensions.unload();
      line[Symbol.dispose]();
    },
  };
}
