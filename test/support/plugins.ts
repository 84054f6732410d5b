import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pino } from 'pino';
import { type Host } from '../../ts/api/index.js';
import { commandOptions } from '../../ts/daemon/command-options.js';
import { DEFAULTS, type PluginTables } from '../../ts/daemon/config.js';
import { Extensions } from '../../ts/daemon/extensions.js';
import { addNativeCommands } from '../../ts/daemon/native-commands.js';
import { Registry } from '../../ts/daemon/registry.js';
import { fakeHost } from '../../ts/testing/index.js';
import { type Scratch, createScratch } from './scratch.js';

export interface Folders extends AsyncDisposable {
  readonly plugins: string;
  readonly scripts: string;
  readonly registry: Registry;
  readonly extensions: Extensions;
  /** What the agent logged, one object a line. */
  readonly log: readonly Readonly<Record<string, unknown>>[];
  /** Writes a file below the folder that holds both, whatever the umask. */
  write(path: string, text: string, mode?: number): Promise<string>;
  /** The problems, by path below that folder. */
  problems(): Readonly<Record<string, string>>;
}

export interface FolderOptions {
  readonly host?: Host;
  readonly loadTimeout?: number;
  readonly commandTimeout?: number;
  readonly scriptTimeout?: number;
  readonly tables?: PluginTables;
}

/** Folders for plugins and scripts, and what the agent makes of them beside its own commands. */
export async function createFolders(options: FolderOptions = {}): Promise<Folders> {
  const scratch: Scratch = await createScratch();
  const {
    host = fakeHost(),
    loadTimeout = 5000,
    commandTimeout = 5000,
    scriptTimeout = 5000,
    tables = new Map(),
  } = options;
  const plugins = join(scratch.directory, 'plugins');
  const scripts = join(scratch.directory, 'commands');
  const log: Record<string, unknown>[] = [];
  const stream = { write: (line: string) => void log.push(JSON.parse(line) as Record<string, unknown>) };
  const registry = new Registry({ allow: ['*'], deny: [] });
  addNativeCommands(registry, host, commandOptions(DEFAULTS));
  const extensions = new Extensions({
    registry,
    host,
    log: pino({ level: 'trace', base: null }, stream),
    ownWires: ['stream'],
    isAgent: true,
    plugins: { directory: plugins, loadTimeout, commandTimeout, tables },
    scripts: { directory: scripts, timeout: scriptTimeout },
  });
  return {
    plugins,
    scripts,
    registry,
    extensions,
    log,
    async write(path, text, mode = 0o644) {
      const real = join(scratch.directory, path);
      await mkdir(dirname(real), { recursive: true });
      await writeFile(real, text);
      await chmod(real, mode);
      return real;
    },
    problems: () =>
      Object.fromEntries(
        extensions.problems.map(({ where, reason }) => [where.slice(scratch.directory.length + 1), reason]),
      ),
    async [Symbol.asyncDispose]() {
      extensions.unload();
      await scratch[Symbol.asyncDispose]();
    },
  };
}

/** A plugin's text: commands by name, each the text of its `handle`. */
export function pluginText(
  name: string,
  handlers: Readonly<Record<string, string>>,
  before = '',
  imported = 'AgentError',
): string {
  const commands = Object.entries(handlers).map(
    ([command, handle]) => `{ name: ${JSON.stringify(command)}, lane: 'serial', handle: ${handle} }`,
  );
  return `import { ${imported}, definePlugin } from 'guestwire';
export default definePlugin({
  name: ${JSON.stringify(name)},
  async setup(host, { signal }) {
    ${before}
    return [{ kind: 'commands', module: { name: ${JSON.stringify(name)}, commands: [${commands.join(', ')}] } }];
  },
});
`;
}

/** The text of a `handle` that answers with this expression. */
export function answers(expression: string): string {
  return `async (value) => ({ returncode: '0', message: String(${expression}) })`;
}
