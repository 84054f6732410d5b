import { pino } from 'pino';
import { AgentError, type CommandContext, type CommandModule, type Reply } from '../../ts/api/index.js';

export const context: CommandContext = {
  log: pino({ level: 'silent' }),
  signal: new AbortController().signal,
  handOver: () => undefined,
};

/** Runs a module's command as the dispatcher does: an AgentError becomes the reply that the host sees. */
export async function call(module: CommandModule, name: string, value: unknown): Promise<Reply> {
  const command = module.commands.find((candidate) => candidate.name === name);
  if (command === undefined) throw new Error(`${module.name} has no command ${name}`);
  try {
    return await command.handle(value, context);
  } catch (error) {
    if (error instanceof AgentError) return { returncode: error.returncode, message: error.message };
    throw error;
  }
}
