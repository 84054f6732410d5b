import type { AgentHost } from '../../ts/agent/host.js';
import { createAccounts, createPrimitives } from '../../ts/host/unix/accounts.js';
import { createFiles } from '../../ts/host/unix/files.js';
import { createState } from '../../ts/host/shared/state.js';
import { createProcesses } from '../../ts/host/unix/processes.js';
import { NO_UPDATES } from './no-updates.js';
import { type Scratch } from './scratch.js';

/** The real host over a scratch root; what commands on files and accounts have no use for is missing. */
export function createScratchHost(scratch: Pick<Scratch, 'root' | 'state'>): AgentHost {
  const unused = (): never => {
    throw new Error('not to be used here');
  };
  const files = createFiles(scratch.root, scratch.state);
  const processes = createProcesses();
  return {
    live: false,
    files,
    processes,
    accounts: createAccounts({ live: false, files, processes }, createPrimitives(scratch.root)),
    store: { read: unused, list: unused },
    network: {
      nics: unused,
      live: unused,
      change: unused,
      ipv6Settings: unused,
      setIpv6: unused,
      hostname: unused,
      setHostname: unused,
    },
    state: createState(scratch.state),
    updates: NO_UPDATES,
    system: { kernel: unused },
  };
}
