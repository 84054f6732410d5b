import { machine, release, version } from 'node:os';
import type { Host, Kernel, Network, Processes, Store } from '../api/host.js';
import { createAccounts } from './accounts.js';
import { createFiles, recoverFiles } from './files.js';
import { createState } from './state.js';

export interface HostOptions {
  /** Absolute; `/`, or a copy of a system. */
  readonly root: string;
  /** Absolute, of this machine: backups and journals. */
  readonly stateDirectory: string;
  /** False on a copy of a system: then nothing is run and nothing live changes. */
  readonly live: boolean;
  readonly store: Store;
  /** How many changes of files can be looked up in the state directory. */
  readonly backups?: number;
}

/**
 * The machine that the commands work on, and the files that a crash had left half changed and are as before again.
 * For the one agent that serves a system: whoever else called it would undo a change that is under way.
 */
export async function createHost(
  options: HostOptions,
): Promise<{ readonly host: Host; readonly restored: readonly string[] }> {
  const restored = await recoverFiles(options.root, options.stateDirectory);
  return { host: openHost(options), restored };
}

/** As {@link createHost}, for whoever only looks. */
export function openHost({ root, stateDirectory, live, store, backups }: HostOptions): Host {
  return {
    live,
    files: createFiles(root, stateDirectory, backups),
    processes: deferredProcesses(),
    store,
    network: deferredNetwork(root, live),
    state: createState(stateDirectory),
    accounts: createAccounts(root),
    system: { kernel },
  };
}

function kernel(): Promise<Kernel> {
  return Promise.resolve({ release: release(), version: version(), machine: machine() });
}

// What is loaded at its first use costs neither start-up time nor memory before: an agent mostly waits.

function deferredProcesses(): Processes {
  return { run: async (argv, options) => (await import('./processes.js')).createProcesses().run(argv, options) };
}

function deferredNetwork(root: string, live: boolean): Network {
  let loaded: Promise<Network> | null = null;
  const network = (): Promise<Network> =>
    (loaded ??= import('./network.js').then(({ createNetwork }) => createNetwork(root, live)));
  return {
    nics: async () => (await network()).nics(),
    live: async () => (await network()).live(),
    change: async (changes) => (await network()).change(changes),
    setKernel: async (key, value) => (await network()).setKernel(key, value),
    hostname: async () => (await network()).hostname(),
    setHostname: async (hostname) => (await network()).setHostname(hostname),
  };
}
