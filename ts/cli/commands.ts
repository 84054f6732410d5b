import type { ListedCommand, Origin } from '../daemon/registry.js';
import { formatDuration } from '../daemon/units.js';
import { EXIT, noMore, print, subcommand } from './command-line.js';
import { LOADING_OPTIONS, loadExtensions } from './loaded-extensions.js';

export const commands = subcommand({
  synopsis: ['commands [--json] [--root DIR] [--config FILE] [--plugins DIR]'],
  description:
    'Lists the commands that a host can send, with the lane in which they run, where each comes from and whether the ' +
    'configuration allows it; then the plugins and scripts that cannot be used, and why. It loads the plugins to see ' +
    'what they bring, and fails when there is one that cannot be used.',
  options: {
    json: { type: 'boolean', help: 'print one JSON object' },
    ...LOADING_OPTIONS,
  },
  async main(values, positionals) {
    noMore(positionals);
    using loaded = await loadExtensions(values);
    const { registry, extensions } = loaded;
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
