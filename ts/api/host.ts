import type { Bytes, Signal } from './platform.js';
import type { Secret } from './secret.js';

/** The guest machine, as far as commands may touch it. Every path goes through the host's root. Tests pass fakes. */
export interface Host {
  /** False when the agent works on a copy of a system (`--root DIR`): then nothing is run and nothing live changes. */
  readonly live: boolean;
  readonly files: Files;
  readonly processes: Processes;
  readonly store: Store;
  readonly network: Network;
  readonly state: State;
  readonly accounts: Accounts;
  readonly system: System;
}

/** The kernel that runs, as uname(2) tells it. */
export interface Kernel {
  readonly release: string;
  readonly version: string;
  /** Such as `x86_64`. */
  readonly machine: string;
}

export interface System {
  kernel(): Promise<Kernel>;
}

export interface FileStatus {
  readonly type: 'file' | 'directory' | 'link' | 'other';
  /** Permission bits, such as 0o644. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes. */
  readonly size: number;
  /** Of a link, what it holds. */
  readonly target: string | null;
}

/** A user's home, for files that are the user's own. */
export interface Home {
  readonly path: string;
  readonly uid: number;
  /** The primary group. */
  readonly gid: number;
}

export interface Files {
  /** The file's bytes, or null when there is none. Links are followed inside the root. */
  read(path: string): Promise<Bytes | null>;
  /**
   * As `read`, for a file of a user's own. The user may be hostile, and swap files and links while this works: throws
   * an Error for what is not below the home, and for what the user could not have read there.
   */
  readInHome(path: string, home: Home): Promise<Bytes | null>;
  /** As `read`, as UTF-8 text. */
  readText(path: string): Promise<string | null>;
  /**
   * At most `length` bytes of a regular file from `offset` on, fewer only at its end; null when there is none. Links are
   * followed inside the root. Throws an Error for what is no regular file.
   */
  readPart(path: string, offset: number, length: number): Promise<Bytes | null>;
  /** Names in a directory, sorted; empty when there is none. */
  list(path: string): Promise<readonly string[]>;
  /** What stands at `path` itself (links are not followed), or null. */
  status(path: string): Promise<FileStatus | null>;
  /** Where `path` leads when its links are followed, or null when there is nothing. */
  resolve(path: string): Promise<string | null>;
  /**
   * How it is that nobody can change the file to which `path` leads, as words that go after `is`: `immutable`, `on a
   * read-only file system`. Null where nothing of that kind shows beforehand, or there is no file.
   */
  sealed(path: string): Promise<string | null>;
  /**
   * Carries out `changes` together: stages every file before it moves any, keeps what was there as a backup in the
   * agent's state directory. A crash before `confirm` or `rollback` is rolled back at the next start.
   * Throws AgentError GW_FILE_FAILED, or GW_FILE_REFUSED where a user of the guest could have prepared the way or the
   * file, with everything put back.
   *
   * Below a directory of a user's all is done with that user's rights, and what is new is his.
   *
   * `journal` names a journal of its own, for changes that several programs of ours make one after the other: whoever
   * holds the lock of the same name calls `recover` first. Without it the start of the agent does.
   */
  commit(changes: readonly FileChange[], journal?: string): Promise<Commit>;
  /**
   * Finds out whether `commit` can carry `changes` out, by its own first steps: everything is staged, and taken away
   * again. Throws what `commit` would throw: for want of space, for a file or folder that is immutable, append-only or on
   * a read-only mount, for a path that cannot be. For whoever has to take something down before.
   */
  check(changes: readonly FileChange[], journal?: string): Promise<void>;
  /** Puts back what a crash left unconfirmed in `journal`. */
  recover(journal: string): Promise<Recovered>;
}

/** What became of changes that a crash left unconfirmed. */
export interface Recovered {
  /** The paths that are as before again. */
  readonly restored: readonly string[];
  /** Those that were left alone, because the way there is another now, or a user could have prepared it. */
  readonly left: readonly { readonly path: string; readonly reason: string; readonly backup: string | null }[];
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
      /** Where the path must lead, for whoever has judged that place: links may be swapped in between. */
      readonly leadsTo?: string;
      /**
       * Whose the file is to be; without it a new one is the agent's own, or that of the user below whose directory it
       * stands, and an existing one keeps its owner.
       */
      readonly owner?: { readonly uid: number; readonly gid: number };
      /**
       * The home that holds the file, as with `readInHome`: the file and the directories that have to be made become
       * the user's, and the one that holds it is closed to others.
       */
      readonly home?: Home;
    }
  | { readonly type: 'remove'; readonly path: string };

export type Argv = readonly [program: string, ...args: string[]];

export interface RunOptions {
  readonly stdin?: Secret | string;
  /** Milliseconds; 60,000 when absent. The program is killed after it. */
  readonly timeout?: number;
  /**
   * When it aborts, the program and all that it has started are killed, as after the timeout: then `code` is 137. What
   * comes aborted is not started.
   */
  readonly signal?: Signal;
  /** Added to the clean environment that every program gets. Visible to whoever may look at the process. */
  readonly environment?: Readonly<Record<string, string>>;
  /**
   * Whether the program can do with the rights that the agent's service leaves it, and leaves nothing running. Without
   * it a program is started outside of the service's sandbox, where there is one: that takes longer (docs/systemd.md).
   */
  readonly confined?: boolean;
  /**
   * Texts by path below a temporary folder, closed to other users, that is there while the program runs: `{folder}` in
   * an argument or a text stands for its path.
   */
  readonly folder?: ReadonlyMap<string, string>;
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
  /** The kernel's number of the device (ifindex); 0 on a copy of a system. */
  readonly index: number;
  /** More names by which files may mean it (altnames of ip-link(8)); absent where there are none or none are known. */
  readonly alternativeNames?: readonly string[];
  /** Lower case, colons. */
  readonly mac: string;
  /** The MAC burnt in, when the driver tells it; null for veth and the like. */
  readonly permanentMac: string | null;
  /** Such as `vif` for Xen's; null for a device without hardware. */
  readonly driver: string | null;
  /** What the device is when it is no hardware: `veth`, `vlan`, `bridge`, `bond`...; null for hardware. */
  readonly kind: string | null;
  /** Name of the bridge, bond or the like that the device is part of. */
  readonly master: string | null;
  readonly up: boolean;
  /** Bytes. */
  readonly mtu: number;
  /** A real device (a VIF), not a VLAN, bridge or bond that borrows its MAC. */
  readonly physical: boolean;
}

/** Until when an address counts: milliseconds since 1970, so that what is noted means the same later. */
export interface Lifetime {
  readonly validUntil: number;
  /** null: new connections use it as long as it is valid. */
  readonly preferredUntil: number | null;
}

/** One address as the kernel has it. */
export interface LiveAddress {
  readonly nic: string;
  readonly address: string;
  readonly prefix: number;
  /** Duplicate address detection runs or has failed: the address cannot be used. */
  readonly unusable: boolean;
  /** It has a lifetime: from DHCP or a router advertisement. */
  readonly dynamic: boolean;
  /** Present where `dynamic`. */
  readonly lifetime?: Lifetime;
  /** The kernel has set no route to its network. */
  readonly noPrefixRoute?: boolean;
  /** IPv6: made by the kernel for privacy, to be replaced soon. */
  readonly temporary?: boolean;
}

/**
 * Who set a route: the kernel itself, what runs at a boot, an administrator, a router's advertisement, a DHCP client, or
 * another by the system's own mark of him, with which it can be set again.
 */
export type RouteOrigin = 'kernel' | 'boot' | 'static' | 'advertisement' | 'dhcp' | `other ${string}`;

export interface LiveRoute {
  readonly nic: string;
  /** Network address, such as `0.0.0.0`. */
  readonly network: string;
  readonly prefix: number;
  /** null for a route to the link itself. */
  readonly gateway: string | null;
  readonly metric: number;
  /** The gateway counts as reachable though no address of the device covers it. */
  readonly onLink: boolean;
  readonly setBy: RouteOrigin;
  /** When it ends, milliseconds since 1970; absent where it has no lifetime. */
  readonly expires?: number;
}

export interface LiveNetwork {
  readonly addresses: readonly LiveAddress[];
  readonly routes: readonly LiveRoute[];
}

/** One step from the state that the kernel has to another. */
export type LinkChange =
  | { readonly type: 'up'; readonly nic: string }
  | { readonly type: 'down'; readonly nic: string }
  | { readonly type: 'mtu'; readonly nic: string; readonly mtu: number }
  | AddressChange<'add-address'>
  | AddressChange<'remove-address'>
  | RouteChange<'add-route'>
  | RouteChange<'remove-route'>;

interface AddressChange<Type extends string> {
  readonly type: Type;
  readonly nic: string;
  readonly address: string;
  readonly prefix: number;
  /** For an address that is added; absent: for good. */
  readonly lifetime?: Lifetime;
  readonly noPrefixRoute?: boolean;
}

interface RouteChange<Type extends string> {
  readonly type: Type;
  readonly nic: string;
  readonly network: string;
  readonly prefix: number;
  readonly gateway: string | null;
  /** null: the kernel's own default. */
  readonly metric: number | null;
  readonly onLink: boolean;
  /** For a route that is added; absent: static. */
  readonly setBy?: RouteOrigin;
  /** For a route that is added, as in {@link LiveRoute}; absent: for good. */
  readonly expires?: number;
}

/** What the kernel does by itself for IPv6 on a device. */
export interface Ipv6Settings {
  /** False: there are no addresses of IPv6 on it. */
  readonly enabled: boolean;
  /** It passes on what is for others, as a router does. */
  readonly forwarding: boolean;
  /** Beside the addresses of advertisements, changing ones for privacy. `preferred`: new connections use these. */
  readonly temporaryAddresses: 'none' | 'made' | 'preferred';
  /** It makes addresses of the prefixes that routers advertise (SLAAC). */
  readonly autoconfiguration: boolean;
  /** Whether it listens to routers' advertisements, which bring the default route; where it forwards, `always` does. */
  readonly advertisements: 'ignored' | 'heard' | 'always';
}

export interface Network {
  nics(): Promise<readonly Nic[]>;
  /** Addresses and main-table routes of both families, as the kernel has them now. */
  live(): Promise<LiveNetwork>;
  /**
   * Carries out changes in order, by netlink. What is there already is no error, nor is the removal of what is gone.
   * What has a lifetime is set for the rest of that; where it has ended it is not set.
   */
  change(changes: readonly LinkChange[]): Promise<void>;
  /** How the kernel does IPv6 on the device; what this one does not tell is absent. */
  ipv6Settings(nic: string): Promise<Partial<Ipv6Settings>>;
  /** Has the kernel do IPv6 so from now on. What it does not know, or a device that is not there, is no error. */
  setIpv6(nic: string, settings: Partial<Ipv6Settings>): Promise<void>;
  hostname(): Promise<string>;
  setHostname(hostname: string): Promise<void>;
}

export interface StateFile {
  readonly name: string;
  readonly size: number;
  /** When it was written last, milliseconds since 1970. */
  readonly modified: number;
}

/**
 * What outlives the agent, in its state directory: small texts, each written whole or not at all, and files that grow.
 * A name may hold one folder, as in `uploads/x`.
 */
export interface State {
  read(name: string): Promise<string | null>;
  write(name: string, text: string): Promise<void>;
  remove(name: string): Promise<void>;
  /** The files in a folder of the state directory, sorted by name; none when there is no folder. */
  list(folder: string): Promise<readonly StateFile[]>;
  /** At most `length` bytes from `offset` on; null when there is no such file. */
  readBytes(name: string, offset: number, length: number): Promise<Bytes | null>;
  /**
   * Makes `bytes` follow the first `offset` bytes of a file, and cuts off what came after them. Not synced: a loss of
   * power may take the end away again.
   */
  writeBytes(name: string, offset: number, bytes: Uint8Array): Promise<void>;
  /** Does `work` while no other program of ours holds the lock `name`. */
  exclusively<T>(name: string, work: () => Promise<T>): Promise<T>;
}

export interface NewPassword {
  /** Whether an account that is locked gets the password, which unlocks it. */
  readonly unlock: 'always' | 'never';
  /** The password is a hash for crypt(3) already. */
  readonly crypted?: boolean;
}

/** Whether a user can log in though his password or key is right. The reasons are words for a message. */
export interface LoginState {
  /** Why no login begins; empty when nothing is in the way. */
  readonly refused: readonly string[];
  /** What happens to a login that begins, such as a shell that ends at once. */
  readonly remarks: readonly string[];
  /** The password is locked, which sshd may hold against a key, too. */
  readonly locked: boolean;
}

export interface Accounts {
  /**
   * Gives a user a new password, and tells what keeps him from logging in all the same: nothing when he can. Afterwards
   * the password counts, or everything is as it was and an AgentError says why: GW_PASSWORD_EMPTY, GW_ARGUMENT_INVALID,
   * GW_USER_UNKNOWN, GW_ACCOUNT_LOCKED, GW_PASSWORD_UNSUPPORTED, GW_RUN_FAILED, GW_FILE_FAILED.
   */
  setPassword(user: string, password: Secret, options: NewPassword): Promise<readonly string[]>;
  loginState(user: string): Promise<LoginState>;
  /** Hashes for crypt(3) with a fresh salt. */
  hashPassword(password: Secret, scheme: 'yescrypt' | 'sha512'): Promise<string>;
  /** Holds the locks that passwd(1), chpasswd(8) and vipw(8) take: of lckpwdf(3), and the lock files of shadow-utils. */
  lock(): Promise<AsyncDisposable>;
}
