import type { Secret } from './secret.js';

/** The guest machine, as far as commands may touch it. Every path goes through the host's root. Tests pass fakes. */
export interface Host {
  /** False when the agent works on a copy of a system (`--root DIR`): then nothing is run and nothing live changes. */
  readonly live: boolean;
  readonly files: Files;
  readonly processes: Processes;
  readonly store: Store;
  readonly network: Network;
  readonly accounts: Accounts;
}

export interface FileStatus {
  readonly type: 'file' | 'directory' | 'link' | 'other';
  /** Permission bits, such as 0o644. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes. */
  readonly size: number;
}

export interface Files {
  /** The file's bytes, or null when there is none. Links are followed inside the root. */
  read(path: string): Promise<Buffer | null>;
  /** As `read`, as UTF-8 text. */
  readText(path: string): Promise<string | null>;
  /** Names in a directory, sorted; empty when there is none. */
  list(path: string): Promise<readonly string[]>;
  /** What stands at `path` itself (links are not followed), or null. */
  status(path: string): Promise<FileStatus | null>;
  /** Where `path` leads when its links are followed, or null when there is nothing. */
  resolve(path: string): Promise<string | null>;
  /**
   * Carries out `changes` together: stages every file before it moves any, keeps what was there as a backup in the
   * agent's state directory. A crash before `confirm` or `rollback` is rolled back at the next start.
   * Throws AgentError GW_FILE_FAILED, with everything put back.
   */
  commit(changes: readonly FileChange[]): Promise<Commit>;
}

/** Files that were changed together and can still be put back. */
export interface Commit {
  /** Paths whose content, mode or owner really changed; a file that was already right is not among them. */
  readonly changed: readonly string[];
  /** The change is good: it stays. */
  confirm(): Promise<void>;
  /** Puts every file back as it was. */
  rollback(): Promise<void>;
}

export type FileChange =
  | {
      readonly type: 'write';
      readonly path: string;
      readonly content: string | Uint8Array;
      /** Mode of a new file; an existing one keeps its own unless `exactMode`. */
      readonly mode: number;
      readonly exactMode?: boolean;
      /** Mode of directories that have to be made; 0o755 when absent. */
      readonly directoryMode?: number;
    }
  | { readonly type: 'remove'; readonly path: string };

export type Argv = readonly [program: string, ...args: string[]];

export interface RunOptions {
  readonly stdin?: Secret | string;
  /** Milliseconds; 60,000 when absent. The program is killed after it. */
  readonly timeout?: number;
}

export interface RunResult {
  /** Exit code; 128 + signal number when a signal ended it; 127 when there is no such program. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
}

export interface Processes {
  /** Runs without a shell, in a clean environment; resolves with the exit code, whatever it is. */
  run(argv: Argv, options?: RunOptions): Promise<RunResult>;
}

/** What the host published for this guest, such as `vm-data/hostname`. */
export interface Store {
  read(path: string): Promise<string | null>;
  list(path: string): Promise<readonly string[]>;
}

export interface Nic {
  readonly name: string;
  /** Lower case, colons. */
  readonly mac: string;
  /** The MAC burnt in, when the driver tells it; null for veth and the like. */
  readonly permanentMac: string | null;
  readonly up: boolean;
  /** A real device (a VIF), not a VLAN, bridge or bond that borrows its MAC. */
  readonly physical: boolean;
}

/** One address as the kernel has it. */
export interface LiveAddress {
  readonly nic: string;
  readonly address: string;
  readonly prefix: number;
  /** Duplicate address detection runs or has failed: the address cannot be used. */
  readonly unusable: boolean;
}

export interface LiveRoute {
  readonly nic: string;
  /** Network address, such as `0.0.0.0`. */
  readonly network: string;
  readonly prefix: number;
  /** null for an on-link route. */
  readonly gateway: string | null;
  readonly metric: number;
}

export interface LiveNetwork {
  readonly addresses: readonly LiveAddress[];
  readonly routes: readonly LiveRoute[];
}

export interface Network {
  nics(): Promise<readonly Nic[]>;
  /** Addresses and main-table routes of both families, as the kernel has them now. */
  live(): Promise<LiveNetwork>;
  hostname(): Promise<string>;
  setHostname(hostname: string): Promise<void>;
}

export interface Accounts {
  /** Hashes for crypt(3) with a fresh salt. */
  hashPassword(password: Secret, scheme: 'yescrypt' | 'sha512'): Promise<string>;
  /** Holds the lock that passwd(1) and chpasswd(8) take on the password files, as lckpwdf(3) does. */
  lock(): Promise<AsyncDisposable>;
}
