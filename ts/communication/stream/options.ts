export interface StreamOptions {
  /** Device of a port; null for none that is named. */
  readonly path: string | null;
  /** Without one that is named: takes the QEMU guest agent's when it is there. */
  readonly findPort: boolean;
  /** Path of a unix socket to listen at; null for none. */
  readonly listen: string | null;
  /** Port of AF_VSOCK to listen at; null for none. */
  readonly vsockPort: number | null;
  /** Whether any program of the host may use vsock, and not only privileged ones. */
  readonly anyVsockPeerPort: boolean;
  /** Bytes that a request may have. */
  readonly maxLine: number;
  /** How long half a line is kept when no more of it comes, milliseconds. */
  readonly lineTimeout: number;
}
