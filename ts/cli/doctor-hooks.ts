import type { Host } from '../api/host.js';
import { commandOptions } from '../daemon/command-options.js';
import type { Config } from '../daemon/config.js';
import { FOR_ALL, type Hook, STAGES, findHooks, hookFolders } from '../daemon/hook-files.js';
import { addNativeCommands } from '../daemon/native-commands.js';
import { Registry } from '../daemon/registry.js';
import { HEAD_BYTES, whyNotRunnable } from '../host/index.js';

export interface HookLine {
  readonly text: string;
  /** A reset of the network would be refused because of it. */
  readonly refusesReset: boolean;
}

/** What stands around commands, folder by folder; none where there are no hooks. */
export async function describeHooks(host: Host, config: Config): Promise<readonly HookLine[]> {
  const { directory } = config.hooks;
  const registry = new Registry(config.commands);
  addNativeCommands(registry, host, commandOptions(config));
  const known = new Set([FOR_ALL, ...registry.list().map(({ name }) => name)]);
  const lines: HookLine[] = [];
  for (const stage of STAGES) {
    for (const folder of await hookFolders(host.files, directory, stage)) {
      const hooks = await findHooks(host.files, directory, stage, [folder]);
      for (const hook of hooks) {
        const unfit = hook.executable ? (hook.unfit ?? (await unrunnable(host, hook))) : null;
        const refuses = stage === 'before' && unfit !== null;
        const refusesReset = refuses && [FOR_ALL, 'resetnetwork'].includes(folder);
        lines.push({ text: `${hook.name}: ${verdict(hook, unfit, refuses)}`, refusesReset });
      }
      if (known.has(folder)) continue;
      lines.push({ text: `${stage}/${folder}: no command of the agent has this name`, refusesReset: false });
    }
  }
  return lines;
}

/** Why it could not be started, which the agent finds out only when it tries. Without `#!` a shell has it. */
async function unrunnable({ files, live }: Host, { path }: Hook): Promise<string | null> {
  const head = await files.readPart(path, 0, HEAD_BYTES);
  return head?.toString('latin1', 0, 2) === '#!' ? whyNotRunnable(head, live) : null;
}

function verdict({ executable }: Hook, unfit: string | null, refuses: boolean): string {
  if (!executable) return 'switched off: it is not executable';
  if (unfit === null) return 'runs';
  return `does not run, because ${unfit}${refuses ? '; the command is refused' : ''}`;
}
