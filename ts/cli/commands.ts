import { join } from 'node:path';
import { createCommunication } from '../communication/index.js';
import { commandOptions, communicationOptions } from '../daemon/command-options.js';
import { loadConfig } from '../daemon/config.js';
import { Extensions } from '../daemon/extensions.js';
import { createLog } from '../daemon/log.js';
import { addNativeCommands } from '../daemon/native-commands.js';
import { type ListedCommand, type Origin, Registry } from '../daemon/registry.js';
import { formatDuration } from '../daemon/units.js';
import { createEndpoints } from '../host/endpoints.js';
import { openHost } from '../host/host.js';
import { createStoreLine, storeThrough } from '../host/store-line.js';
import { readConfigFiles } from '../host/system.js';
import { EXIT, noMore, print, subcommand } from './command-line.js';
import { PLUGINS_OPTION, extensionOptions, pluginsOverride } from './extension-options.js';
import { systemRoot } from './system-root.js';

export const commands = subcommand({
  synopsis: ['commands [--json] [--root DIR] [--config FILE] [--plugins DIR]'],
  description:
    'Lists the commands that a host can send, with the lane in which they run, where each comes from and whether the ' +
    'configuration allows it; then the plugins and scripts that cannot be used, and why. It loads the plugins to see ' +
    'what they bring, and fails when there is one that cannot be used.',
  options: {
    json: { type: 'boolean', help: 'print one JSON object' },
    root: { type: 'string', argument: 'DIR', help: 'look at this copy of a system' },
    config: { type: 'string', argument: 'FILE', help: 'read this configuration file and no other' },
    plugins: PLUGINS_OPTION,
  },
  async main(values, positionals) {
    noMore(positionals);
    const root = systemRoot(values.root);
    const files = await readConfigFiles(root, values.config ?? null);
    const loaded = await loadConfig(files, pluginsOverride(values.plugins));
    const { config } = loaded;
    const { log } = await createLog({ format: 'json', level: 'silent' });
    // Connects when a plugin reads: most do not, and this machine need not have a XenStore.
    using line = createStoreLine(config.xenstore, log);
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
      registry,
      host,
      log,
      ownWires,
      isAgent: false,
      ...extensionOptions(loaded, values),
    });
    await extensions.load();
    extensions.unload();
    const { problems, shadowed, unclaimed, broughtWires, tasks } = extensions;
    await registry.load();
    const listed = registry.list();
    if (values.json) {
      print(JSON.stringify({ commands: listed, wires: broughtWires, tasks, shadowed, unclaimed, problems }));
    } else {
      const rows = (own: boolean): readonly Row[] =>
        listed.filter(({ dialect }) => (dialect === null) === own).map(asRow);
      const hidden = shadowed.map(({ name, where, by }) => {
        const whose = by.kind === 'native' ? 'the agent has' : `${by.where} has`;
        return [name, '-', 'not asked', `script ${where}; ${whose} this command`];
      });
      for (const line of table([HEAD, ...rows(true), ...hidden])) print(line);
      print('\nOver a port to QEMU, also:');
      for (const line of table(rows(false))) print(`  ${line}`);
      if (broughtWires.length > 0) print('\nWires of plugins:');
      for (const { name, where } of broughtWires) print(`  ${name}  plugin ${where}`);
      if (tasks.length > 0) print('\nScheduled work of plugins:');
      for (const { name, every, where } of tasks) print(`  ${name}  every ${formatDuration(every)}  plugin ${where}`);
      if (unclaimed.length > 0) print('\nSettings for plugins that are not there:');
      for (const { where, name } of unclaimed) print(`  ${where}: [plugin.${name}]`);
      if (problems.length > 0) print('\nThese cannot be used:');
      for (const { where, reason } of problems) print(`  ${where}: ${reason}`);
    }
    return problems.length === 0 ? EXIT.ok : EXIT.failure;
  },
});

type Row = readonly string[];
const HEAD: Row = ['NAME', 'LANE', 'HOST', 'FROM'];

function asRow({ name, lane, origin, allowed }: ListedCommand): Row {
  return [name, lane ?? '', allowed ? 'allowed' : 'denied', describeOrigin(origin)];
}

function describeOrigin({ kind, where }: Origin): string {
  return kind === 'native' ? 'native' : `${kind} ${where}`;
}

function table(rows: readonly Row[]): readonly string[] {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
