import { type CommandModule, command } from '../api/command.js';
import { AgentError } from '../api/errors.js';
import type { Host } from '../api/host.js';
import { type ResetOptions, resetNetwork } from '../network/act/reset.js';

export type NetworkOptions = Omit<ResetOptions, 'log'>;

/** `resetnetwork`: makes the network what the host published. docs/commands/resetnetwork.md says how it is read. */
export function networkCommands(host: Host, options: NetworkOptions): CommandModule {
  return {
    name: 'network',
    commands: [
      command({
        name: 'resetnetwork',
        lane: 'serial',
        parse: () => null,
        async run(_, { log }) {
          const { names, leftAlone } = await resetNetwork(host, { ...options, log });
          if (leftAlone.length > 0) {
            throw new AgentError('GW_NETWORK_PARTIAL', [names.join(' '), leftAlone.join('; ')]);
          }
          return '';
        },
      }),
    ],
  };
}
