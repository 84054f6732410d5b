import { type CommandModule, command } from '../api/command.js';
import { AgentError } from '../api/errors.js';
import type { Host } from '../api/host.js';
import { apply } from '../network/apply.js';
import { decide } from '../network/decide.js';
import { gather } from '../network/gather.js';
import { RENDERERS } from '../network/renderers/index.js';

export interface NetworkOptions {
  /** How long the kernel may take to show what was configured, milliseconds. */
  readonly verifyTimeoutMs: number;
}

/** `resetnetwork`: makes the network what the host published. docs/protocol.md says how it is read. */
export function networkCommands(host: Host, { verifyTimeoutMs }: NetworkOptions): CommandModule {
  return {
    name: 'network',
    commands: [
      command({
        name: 'resetnetwork',
        lane: 'serial',
        parse: () => null,
        async run(_, { log }) {
          const { facts, recordErrors } = await gather(host, RENDERERS);
          await apply(decide(facts, RENDERERS), facts, host, { log, verifyTimeoutMs });
          if (recordErrors.length > 0) {
            const names = facts.interfaces.map(({ nic }) => nic.name).join(' ');
            throw new AgentError('GW_NETWORK_PARTIAL', [names, recordErrors.join('; ')]);
          }
          return '';
        },
      }),
    ],
  };
}
