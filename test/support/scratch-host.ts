import { type Host } from '../../ts/api/index.js';
import { createAccounts } from '../../ts/host/unix/accounts.js';
import { createFiles } from '../../ts/host/unix/files.js';
import { createState } from '../../ts/host/shared/state.js';
import { createProcesses } from '../../ts/host/unix/processes.js';
import { NO_UPDATES } from '../../ts/testing/no-updates.js';
import { type Scratch } from './scratch.js';

/** The real host over a scratch root; what commands on files and accounts have no use for is missing. */
export function createScratchHost(scratch: Pick<Scratch, 'root' | 'state'>): Host {
  const unused = (): never => {
    throw new Error('not to be used here');
  };
  return {
    live: false,
    files: createFiles(scratch.root, scratch.state),
    processes: createProcesses(),
    accounts: createAccounts(scratch.root),
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
