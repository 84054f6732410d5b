import type { Command, CommandContext, CommandModule } from '../api/command.js';

/** What the agent's own commands are given. */
export interface AgentContext extends CommandContext {
  /**
   * Once this request is answered and retired, the agent stops serving, closes what it holds, and does `next` instead
   * of ending. Requests that wait by then stay in the store.
   */
  readonly handOver: (next: () => Promise<void>) => void;
}

/** A command as the dispatcher carries it out: of the agent, a plugin or a script. */
export type AgentCommand = Command<AgentContext>;

export type AgentModule = CommandModule<AgentContext>;
