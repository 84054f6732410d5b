import { mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { replaceProcess } from '#binding';
import type { Updates } from '../../agent/updates.js';
import { AgentError } from '../../api/index.js';
import { BUILT_AT } from '../shared/built-at.js';
import { downloadFile, fetchBytes } from '../shared/download.js';
import { trustedCertificates } from './certificates.js';
import { reason } from '../shared/reason.js';
import type { StoreOptions } from '../shared/store.js';
import { removeTrials, tryVersion } from './trial.js';
import { TRIAL_STATE } from '../shared/trial-state.js';
import { type Unpacked, unpackArchive } from '../shared/unpack.js';
import {
  UNKNOWN_VERSION,
  failing,
  installVersion,
  linkVersion,
  makeStaging,
  pruneVersions,
  removeStaging,
  runningVersion,
} from './versions.js';

export interface UpdatesOptions {
  /** Absolute; whose trusted certificates are taken. */
  readonly root: string;
  /** Absolute, of this machine. */
  readonly stateDirectory: string;
  /** Absolute: the directory of versions. */
  readonly directory: string;
  /** Where the new version is asked. */
  readonly store: StoreOptions;
  /** What this process was started as. */
  readonly program: string;
}

/** Below the state directory. */
const FOLDER = 'update';

export function createUpdates({ root, stateDirectory, directory, store, program }: UpdatesOptions): Updates {
  const folder = join(stateDirectory, FOLDER);
  const archive = join(folder, 'archive');
  const trusted = (): Promise<string> => trustedCertificates(root);
  let unpacked: Unpacked | null = null;

  const ready = (version: string): Unpacked => {
    if (unpacked?.version === version) return unpacked;
    throw new AgentError('GW_INTERNAL', [`version ${version} was not unpacked`]);
  };

  return {
    installed: async () => ({
      running: await runningVersion(directory, program),
      architecture: `${process.platform}-${process.arch}`,
      builtAt: BUILT_AT,
    }),

    fetch: (url, limits) => fetchBytes(trusted, url, limits),

    async download(url, digests, limits, log) {
      await mkdir(folder, { recursive: true, mode: 0o700 }).catch((cause: unknown) => {
        throw new AgentError('GW_FILE_FAILED', [folder, reason(cause)], { cause });
      });
      return downloadFile(trusted, url, archive, digests, limits, log);
    },

    async unpack(maxSize) {
      const staging = await makeStaging(directory);
      unpacked = await failing(UNKNOWN_VERSION, dirname(staging), () => unpackArchive(archive, staging, maxSize));
      return unpacked.version;
    },

    try: (version, timeout, signal, log) =>
      tryVersion({
        program: join(ready(version).directory, 'dist/guestwire.js'),
        version,
        store,
        directory: join(stateDirectory, TRIAL_STATE),
        timeout,
        signal,
        log,
      }),

    async install(version) {
      const running = await runningVersion(directory, program);
      if (version === running) throw new AgentError('GW_UPDATE_FAILED', [version, 'it is running']);
      await installVersion(directory, ready(version).directory, version);
    },

    link: (version) => linkVersion(directory, version),

    prune: (keep) => pruneVersions(directory, keep),

    async clean() {
      unpacked = null;
      await removeStaging(directory);
      await rm(archive, { force: true });
      await rm(join(stateDirectory, TRIAL_STATE), { recursive: true, force: true });
      await removeTrials(store);
    },

    // Async, so that whoever called gets what it throws as every other error.
    // eslint-disable-next-line @typescript-eslint/require-await
    async restart() {
      replaceProcess(process.execPath, [...process.execArgv, program, ...process.argv.slice(2)]);
      throw new Error(`${program} was not started`);
    },
  };
}
