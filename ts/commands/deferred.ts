/** Modules that are loaded at the first of their requests: most guests see few of them, and each costs memory. */
import type { AgentCommand, AgentModule } from '../agent/command.js';

/** What has to be known of a command before its module is loaded. All else, its lane above all, the module says. */
export type Named = Omit<AgentCommand, 'lane' | 'handle'>;

/** A command whose module is loaded when it is first asked for. */
export interface DeferredCommand extends Named, Pick<AgentCommand, 'handle'> {
  /** Not known yet. */
  readonly lane: null;
  /** The command itself, once its module is loaded. */
  readonly loaded: AgentCommand | null;
  load(): Promise<AgentCommand>;
}

/** A `AgentModule` that may not be loaded yet. */
export interface ListedModule {
  readonly name: string;
  readonly commands: readonly (AgentCommand | DeferredCommand)[];
}

interface DeferredModule extends ListedModule {
  readonly commands: readonly DeferredCommand[];
}

/** `named`: every command of the module that `load` gives, and no other; it cannot be loaded otherwise. */
export function deferred(name: string, named: readonly Named[], load: () => Promise<AgentModule>): DeferredModule {
  let loading: Promise<ReadonlyMap<string, AgentCommand>> | null = null;
  let loaded: ReadonlyMap<string, AgentCommand> | null = null;
  const loadModule = async (): Promise<ReadonlyMap<string, AgentCommand>> => {
    const { commands } = await load();
    loaded = new Map(
      commands.map((command) => {
        const known = named.find((candidate) => candidate.name === command.name);
        if (known === undefined) throw new Error(`module ${name} has a command ${command.name} that is not named`);
        return [command.name, { ...command, ...known }];
      }),
    );
    return loaded;
  };
  const commands = named.map((known): DeferredCommand => {
    const loadCommand = async (): Promise<AgentCommand> => {
      // One that cannot be loaded now, for want of memory or descriptors, can be later.
      loading ??= loadModule().catch((error: unknown) => {
        loading = null;
        throw error;
      });
      const command = (await loading).get(known.name);
      if (command === undefined) throw new Error(`module ${name} has no command ${known.name}`);
      return command;
    };
    return {
      ...known,
      lane: null,
      get loaded() {
        return loaded?.get(known.name) ?? null;
      },
      load: loadCommand,
      handle: async (value, context) => (await loadCommand()).handle(value, context),
    };
  });
  return { name, commands };
}
