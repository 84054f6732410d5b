import { type CommandModule, command } from '../api/command.js';

/**
 * Tells the names of all commands that the host may use, separated by commas alone: dom0's plugin splits the message at
 * commas and compares the pieces. `names` is asked at each request, because this command is in the list too; it ends with
 * the further forms of commands.
 */
export function featuresCommands(names: () => readonly string[]): CommandModule {
  return {
    name: 'features',
    commands: [
      command({
        name: 'features',
        lane: 'immediate',
        parse: () => null,
        run: () => names().join(','),
      }),
    ],
  };
}
