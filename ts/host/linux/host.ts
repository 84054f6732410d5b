import { machine, release, version } from 'node:os';
import { AgentError } from '../../api/errors.js';
import type { Host, Kernel, Network, Processes, Recovered, Store } from '../../api/host.js';
import type { Updates } from '../../agent/updates.js';
import { createAccounts, createPrimitives } from '../unix/accounts.js';
import { createFiles, recoverFiles } from '../unix/files.js';
import { removeStaleLockFiles } from '../unix/lock-files.js';
import { createState } from '../shared/state.js';
import type { UpdatesOptions } from '../unix/updates.js';

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
  /** Socket of what starts programs for an agent that runs in a sandbox. */
  readonly launcher?: string | null;
}

/**
 * The machine that the commands work on, and what became of the files that a crash had left half changed.
 * For the one agent that serves a system: whoever else called it would undo a change that is under way.
 */
export async function createHost(
  options: HostOptions,
): Promise<{ readonly host: Host; readonly recovered: Recovered }> {
  const recovered = await recoverFiles(options.root, options.stateDirectory);
  // In the way of other programs only, and of them not for sure: no reason not to start.
  await removeStaleLockFiles(options.root).catch(() => undefined);
  return { host: openHost(options), recovered };
}

/** As {@link createHost}, for whoever only looks. */
export function openHost({ root, stateDirectory, live, store, backups, launcher = null }: HostOptions): Host {
  const files = createFiles(root, stateDirectory, backups);
  const processes = deferredProcesses(launcher);
  return {
    live,
    files,
    processes,
    store,
    network: deferredNetwork(root, live),
    state: createState(stateDirectory),
    accounts: createAccounts({ live, files, processes }, createPrimitives(root)),
    system: { kernel },
  };
}

function kernel(): Promise<Kernel> {
  return Promise.resolve({ release: release(), version: version(), machine: machine() });
}

// What is loaded at its first use costs neither start-up time nor memory before: an agent mostly waits.

function deferredProcesses(launcher: string | null): Processes {
  let loaded: Promise<Processes> | null = null;
  const processes = (): Promise<Processes> =>
    (loaded ??= import('../unix/processes.js').then(({ createProcesses }) => createProcesses(launcher)));
  return { run: async (argv, options) => (await processes()).run(argv, options) };
}

function deferredNetwork(root: string, live: boolean): Network {
  let loaded: Promise<Network> | null = null;
  const network = (): Promise<Network> =>
    (loaded ??= import('./network.js').then(({ createNetwork }) => createNetwork(root, live)));
  return {
    nics: async () => (await network()).nics(),
    live: async () => (await network()).live(),
    change: async (changes) => (await network()).change(changes),
    ipv6Settings: async (nic) => (await network()).ipv6Settings(nic),
    setIpv6: async (nic, settings) => (await network()).setIpv6(nic, settings),
    hostname: async () => (await network()).hostname(),
    setHostname: async (hostname) => (await network()).setHostname(hostname),
  };
}

/** `options`: of the one agent that serves, which alone can be replaced by another version. */
export function openUpdates(options: UpdatesOptions | null): Updates {
  let loaded: Promise<Updates> | null = null;
  const updates = (): Promise<Updates> =>
    options === null
      ? Promise.reject(new AgentError('GW_UPDATE_REFUSED', ['only the agent that serves can be updated']))
      : (loaded ??= import('../unix/updates.js').then(({ createUpdates }) => createUpdates(options)));
  return {
    installed: async () => (await updates()).installed(),
    fetch: async (url, limits) => (await updates()).fetch(url, limits),
    download: async (url, digests, limits, log) => (await updates()).download(url, digests, limits, log),
    unpack: async (maxSize) => (await updates()).unpack(maxSize),
    try: async (version, timeout, signal, log) => (await updates()).try(version, timeout, signal, log),
    install: async (version) => (await updates()).install(version),
    link: async (version) => (await updates()).link(version),
    prune: async (keep) => (await updates()).prune(keep),
    clean: async () => (await updates()).clean(),
    restart: async () => (await updates()).restart(),
  };
}
