import type { AgentCommand } from '../agent/command.js';
import { AgentError } from '../api/errors.js';
import type { DeferredCommand, ListedModule } from '../commands/deferred.js';

/** Where a command comes from, for people and for the log. */
export interface Origin {
  /** `native` commands are part of the agent. */
  readonly kind: 'native' | 'plugin' | 'script';
  /** The module's name, or the file. */
  readonly where: string;
}

/** Which commands the host may use: names, or `*` for all. What is denied is denied, allowed or not. */
export interface CommandRules {
  readonly allow: readonly string[];
  readonly deny: readonly string[];
}

interface Entry {
  readonly command: AgentCommand | DeferredCommand;
  readonly origin: Origin;
  readonly allowed: boolean;
}

export interface ListedCommand {
  readonly name: string;
  /** Null until the command's module is loaded. */
  readonly lane: AgentCommand['lane'] | null;
  /** Null for the agent's own commands. */
  readonly dialect: string | null;
  readonly origin: Origin;
  readonly allowed: boolean;
}

/** Every command that there is, by name, and who may use it. The name that was taken first stays. */
export class Registry {
  readonly #rules: CommandRules;
  readonly #entries = new Map<string, Entry>();

  constructor(rules: CommandRules) {
    this.#rules = rules;
  }

  /** Adds a module's commands. Gives the names that were taken already, each with who has it. */
  add(module: ListedModule, origin: Origin): ReadonlyMap<string, Origin> {
    const taken = new Map<string, Origin>();
    for (const command of module.commands) {
      const present = this.#entries.get(command.name);
      if (present !== undefined) taken.set(command.name, present.origin);
      else this.#entries.set(command.name, { command, origin, allowed: this.#allows(command.name) });
    }
    return taken;
  }

  /** Who has the name; null when it is free. */
  origin(name: string): Origin | null {
    return this.#entries.get(name)?.origin ?? null;
  }

  /** Takes out what plugins and scripts have added. */
  removeExtensions(): void {
    for (const [name, { origin }] of [...this.#entries]) if (origin.kind !== 'native') this.#entries.delete(name);
  }

  /**
   * The command of that name and dialect; the agent's own have none. One whose module is not loaded yet has no lane.
   * Throws AgentError GW_COMMAND_UNKNOWN or GW_COMMAND_DENIED.
   */
  get(name: string, dialect?: string): AgentCommand | DeferredCommand {
    const entry = this.#entries.get(name);
    if (entry === undefined || entry.command.dialect !== dialect) throw new AgentError('GW_COMMAND_UNKNOWN', [name]);
    if (!entry.allowed) throw new AgentError('GW_COMMAND_DENIED', [name]);
    return current(entry);
  }

  /**
   * The failure code of the first command that has one and whose name stands in `text`: a journal's name of a command,
   * or a request too damaged to say which command it asks for. Null when there is none.
   */
  failureCode(text: string): string | null {
    for (const [name, { command }] of this.#entries) {
      if (command.failureCode !== undefined && text.includes(name)) return command.failureCode;
    }
    return null;
  }

  /** What `features` tells: the commands that the host may use, then their further forms. None of a dialect. */
  features(): readonly string[] {
    const allowed = [...this.#entries.values()]
      .filter((entry) => entry.allowed && entry.command.dialect === undefined)
      .map(({ command }) => command);
    return [...allowed.map(({ name }) => name), ...allowed.flatMap(({ forms = [] }) => forms)];
  }

  /** All of them, in the order in which they were added. */
  list(): readonly ListedCommand[] {
    return [...this.#entries.values()].map((entry) => {
      const { name, lane, dialect = null } = current(entry);
      return { name, lane, dialect, origin: entry.origin, allowed: entry.allowed };
    });
  }

  /** Loads every module, for who wants to know all lanes. */
  async load(): Promise<void> {
    for (const { command } of [...this.#entries.values()]) if (command.lane === null) await command.load();
  }

  /** Names in the rules that no command has: most often a slip of the pen. */
  unknownRules(): readonly string[] {
    const { allow, deny } = this.#rules;
    return [...new Set([...allow, ...deny])].filter((name) => name !== ALL && !this.#entries.has(name));
  }

  #allows(name: string): boolean {
    const { allow, deny } = this.#rules;
    return covers(allow, name) && !covers(deny, name);
  }
}

/** The command itself once its module is loaded. */
function current({ command }: Entry): AgentCommand | DeferredCommand {
  return command.lane === null ? (command.loaded ?? command) : command;
}

const ALL = '*';

function covers(names: readonly string[], name: string): boolean {
  return names.includes(ALL) || names.includes(name);
}
