import { asBuffer } from './bytes.js';
import type { Bytes } from './platform.js';

/** Marks a Secret, whichever copy of this file made it: a plugin has one of its own. */
const MARK = Symbol.for('guestwire.Secret');

/**
 * Bytes that must not be logged, printed or serialised. `reveal()` is the only way to them, and easy to search for.
 * The bytes are overwritten by `wipe()` (or at the end of a `using` block).
 */
export class Secret implements Disposable {
  readonly #bytes: Bytes;
  readonly [MARK] = true;

  static [Symbol.hasInstance](value: unknown): value is Secret {
    return typeof value === 'object' && value !== null && MARK in value;
  }

  /** Takes ownership of `bytes`: wiping the secret overwrites them. */
  constructor(bytes: Uint8Array) {
    this.#bytes = asBuffer(bytes);
  }

  /** The bytes themselves, not a copy. */
  reveal(): Bytes {
    return this.#bytes;
  }

  /** Overwrites the bytes with zeros. Wiping twice is quiet. */
  wipe(): void {
    this.#bytes.fill(0);
  }

  [Symbol.dispose](): void {
    this.wipe();
  }

  toString(): string {
    return '[secret]';
  }

  toJSON(): string {
    return '[secret]';
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return '[secret]';
  }
}
