import type { Body } from './communication.js';
import { codeOf } from './errors.js';
import type { Signal } from './platform.js';

/** Bytes both ways between the host and this guest. Disposing of it hangs up. */
export interface ByteStream extends Disposable {
  /** What comes in, chunk by chunk, until the other side has no more. Whoever reads slowly holds the sender up. */
  readonly incoming: AsyncIterable<Uint8Array>;
  /** Resolves once the system has taken the bytes; rejects when the other side is gone. */
  write(bytes: Uint8Array): Promise<void>;
}

/** A connection to a store of the host's: nodes with values, by path, and news of their changes. */
export interface StoreConnection extends Disposable {
  /** The node's value, or null when there is no such node. */
  read(path: string): Promise<Uint8Array | null>;
  write(path: string, value: Body): Promise<void>;
  /** Names of the node's children, or null when there is no such node. */
  list(path: string): Promise<readonly string[] | null>;
  makeDirectory(path: string): Promise<void>;
  /** Quiet when there is no such node. */
  remove(path: string): Promise<void>;
  /**
   * Calls `onEvent` for every change below `path`, until the connection ends, but not for what this connection removes:
   * with the path of the node from there, and of children the value after the change, as text where it is UTF-8, null
   * when it was gone, undefined when it could not be had. A change of `path` itself has an empty name and no value.
   */
  watchValues(path: string, onEvent: (below: string, value: Body | null | undefined) => void): Promise<void>;
}

/** One of those that share a {@link StoreLine}. */
export interface LineUser {
  /** Called with each new connection, before it is used, to set watches; again after a while where this rejects. */
  prepare(connection: StoreConnection): Promise<void>;
  /** Called once the connection that was prepared is in use. Must not throw. */
  ready?(): void;
}

/** How long to wait for a store that is away; absent: for as long as it takes. */
export interface Wait {
  readonly signal?: Signal;
  /** Milliseconds; then it rejects with AgentError GW_STORE_AWAY. */
  readonly patience?: number;
}

/**
 * The guest's one connection to the host's store, for all that use it: made when it is first needed, and made again
 * whenever it is lost. Whatever waits for it rejects with an error whose `code` is XS_NO_ENDPOINT, at once, where the
 * machine has no store.
 */
export interface StoreLine {
  /** Runs `operation` on the connection, again on the next one whenever it is lost meanwhile. */
  run<T>(operation: (connection: StoreConnection) => Promise<T>, wait?: Wait): Promise<T>;
  /** Keeps the connection up for `user` until `signal` aborts. Resolves once the first one is in use. */
  join(user: LineUser, signal: Signal): Promise<void>;
  /**
   * Calls `callback` each time that the guest has become another domain, as after a migration: nothing that it had
   * written is there any more. Resolves once that is watched for.
   */
  onNewDomain(callback: () => void, signal: Signal): Promise<void>;
}

export interface VsockOptions {
  readonly port: number;
  /** Lets any program of the host in, and not only privileged ones, whose port is below 1024. */
  readonly anyPeerPort: boolean;
}

/** What the wires have of the machine: the ends of every line to the host. Tests pass fakes. */
export interface Endpoints {
  readonly store: StoreLine;
  /** The device of the virtio-serial port of that name, or null when the machine has none. */
  findPort(name: string): Promise<string | null>;
  /**
   * A character device to the host. While no host has the other end, nothing comes in and what is written is thrown
   * away; when one leaves, the byte 0xff comes in. Ends when the device goes. Rejects when it cannot be opened, or others
   * in the guest could use it beside the agent.
   */
  openPort(path: string): Promise<ByteStream>;
  /** Listens at a unix socket for its owner alone; one of its own that nobody serves any more is replaced. */
  listen(path: string, onConnection: (stream: ByteStream) => void): Promise<AsyncDisposable>;
  /**
   * Listens at a port of AF_VSOCK. Only the host is let in, not this guest's own programs or other guests. `onRefusal` is
   * called with the reason for the first of each kind that is hung up on.
   */
  listenVsock(
    options: VsockOptions,
    onConnection: (stream: ByteStream) => void,
    onRefusal: (reason: string) => void,
  ): Promise<AsyncDisposable>;
}

/** Whether an operation failed because its connection is lost, which says nothing of the operation. */
export function isConnectionLoss(error: unknown): boolean {
  return ['XS_CLOSED', 'XS_IO', 'XS_PROTOCOL'].includes(codeOf(error) ?? '');
}
