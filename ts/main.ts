#!/usr/bin/env node
/** Starts: finds the subcommand, runs it, and turns what it throws into an exit code. */
import { AgentError, messageOf, codeOf } from './api/errors.js';
import { EXIT, UsageError } from './cli/command-line.js';
import { SUBCOMMANDS } from './cli/index.js';
import { endProcess } from './host/shared/process-end.js';

endProcess(await main(process.argv.slice(2)));

async function main([name, ...args]: readonly string[]): Promise<number> {
  try {
    if (name === undefined) throw new UsageError('a subcommand is missing');
    if (name === '--help' || name === '-h' || name === 'help') {
      const { programHelp } = await import('./cli/help.js');
      process.stdout.write(programHelp());
      return EXIT.ok;
    }
    if (name === '--version') {
      const { versionText } = await import('./cli/version.js');
      process.stdout.write(versionText());
      return EXIT.ok;
    }
    const entry = Object.hasOwn(SUBCOMMANDS, name) ? SUBCOMMANDS[name] : undefined;
    if (entry === undefined) {
      throw new UsageError(`unknown subcommand '${name}'; wanted one of ${Object.keys(SUBCOMMANDS).join(', ')}`);
    }
    const subcommand = await entry.load();
    if (args.includes('--help') || args.includes('-h')) {
      const { subcommandHelp } = await import('./cli/help.js');
      process.stdout.write(subcommandHelp(subcommand));
      return EXIT.ok;
    }
    return await subcommand.run(args);
  } catch (error) {
    return explain(error, name);
  }
}

function explain(error: unknown, name: string | undefined): number {
  if (error instanceof UsageError) {
    const help =
      name !== undefined && Object.hasOwn(SUBCOMMANDS, name) ? `guestwire ${name} --help` : 'guestwire --help';
    process.stderr.write(`guestwire: ${error.message}\nSee ${help}.\n`);
    return EXIT.usage;
  }
  process.stderr.write(`guestwire: ${messageOf(error)}\n`);
  if (error instanceof AgentError && error.code === 'GW_CONFIG_INVALID') return EXIT.config;
  if (error instanceof AgentError && error.code === 'GW_STATE_IN_USE') return EXIT.inUse;
  const code = codeOf(error);
  return code === 'XS_NO_ENDPOINT' || code === 'GW_WIRE_ABSENT' ? EXIT.unavailable : EXIT.failure;
}
