export declare class FileLock {
  static acquire(path: string, timeoutMs: number): Promise<FileLock>
  release(): void
}

export declare class KeyExchange {
  static create(): KeyExchange
  get publicKey(): string
  sharedSecret(peerPublicKey: string): Buffer
}

export declare class StoreServer {
  static listen(socket: string): StoreServer
  addDomain(domid: number, socket: string): void
  close(): void
}

export declare class Watch {
  close(): Promise<void>
}

export declare class XenStore {
  static open(options: OpenOptions, onClose: (reason: string) => void): XenStore
  get endpoint(): string
  read(path: string): Promise<Buffer>
  write(path: string, value: Buffer): Promise<void>
  list(path: string): Promise<string[]>
  makeDirectory(path: string): Promise<void>
  remove(path: string): Promise<void>
  getPermissions(path: string): Promise<string[]>
  setPermissions(path: string, permissions: string[]): Promise<void>
  domainPath(domid: number): Promise<string>
  watch(path: string, onEvents: (paths: string[]) => void): Promise<Watch>
  close(): void
}

export declare function commit(): string

export declare function copyAttributes(from: string, to: string): void

export type ErrorCode = 'XS_NOT_FOUND' | 'XS_REFUSED' | 'XS_INVALID_PATH' | 'XS_TOO_LARGE' | 'XS_CLOSED' | 'XS_IO' | 'XS_PROTOCOL' | 'XS_NO_ENDPOINT' | 'DH_NOT_A_DECIMAL' | 'DH_OUT_OF_RANGE' | 'LOCK_TIMEOUT' | 'HASH_FAILED'

export declare function hashPassword(password: Buffer, scheme: HashScheme): Promise<string>

export type HashScheme = 'yescrypt' | 'sha512'

export declare function notify(state: string): boolean

export interface OpenOptions {
  endpoint: string | null
  poll: PollMode
}

export type PollMode = 'loop' | 'thread'
