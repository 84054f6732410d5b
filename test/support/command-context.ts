import { pino } from 'pino';
import type { AgentContext, AgentModule } from '../../ts/agent/command.js';
import { AgentError, type Reply } from '../../ts/api/index.js';

export const context: AgentContext = {
  log: pino({ level: 'silent' }),
  signal: new AbortController().signal,
  handOver: () => undefined,
};

/** Runs a module's command as the dispatcher does: an AgentError becomes the reply that the host sees. */
export async function call(module: AgentModule, name: string, value: unknown): Promise<Reply> {
  const command = module.commands.find((candidate) => candidate.name === name);
  if (command === undefined) throw new Error(`${module.name} has no command ${name}`);
  try {
    return await command.handle(value, context);
  } catch (error) {
    if (error instanceof AgentError) return { returncode: error.returncode, message: error.message };
    throw error;
  }
}
