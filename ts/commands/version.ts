import { type CommandModule, command } from '../api/command.js';

/** What the host is told and what `guestwire --version` prints. A test holds it against package.json. */
export const AGENT_VERSION = '0.1.0';

/** nova asks for this first, at every boot, and skips all other steps when it fails. The value (`agent`) is ignored. */
export function versionCommands(): CommandModule {
  return {
    name: 'version',
    commands: [command({ name: 'version', lane: 'immediate', parse: () => null, run: () => AGENT_VERSION })],
  };
}
