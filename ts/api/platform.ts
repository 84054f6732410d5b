/**
 * Types of Node and the web that the API is made of, by what the one who compiles has: with `@types/node` they are
 * Node's own, without they are what any Node gives. So the package needs no types but its own.
 */
/// <reference lib="esnext.disposable" preserve="true" />

interface PlainBytes extends Uint8Array {
  toString(
    encoding?: 'utf8' | 'latin1' | 'hex' | 'base64' | 'base64url' | 'ascii',
    start?: number,
    end?: number,
  ): string;
  equals(other: Uint8Array): boolean;
}

/** A Buffer of Node's. */
export type Bytes = typeof globalThis extends { Buffer: { isBuffer(value: unknown): value is infer B } }
  ? B
  : PlainBytes;

interface PlainSignal {
  readonly aborted: boolean;
  readonly reason: unknown;
  addEventListener(type: 'abort', listener: () => void, options?: { readonly once?: boolean }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
  throwIfAborted(): void;
}

/** An AbortSignal. */
export type Signal = typeof globalThis extends { AbortSignal: { prototype: infer S } } ? S : PlainSignal;

interface PlainUrl {
  readonly href: string;
  readonly origin: string;
  readonly pathname: string;
}

/** A URL. */
export type Url = typeof globalThis extends { URL: { prototype: infer U } } ? U : PlainUrl;
