/**
 * Bytes that must not be logged, printed or serialised. `reveal()` is the only way to them, and easy to search for.
 * The bytes are overwritten by `wipe()` (or at the end of a `using` block).
 */
export class Secret implements Disposable {
  readonly #bytes: Buffer;

  /** Takes ownership of `bytes`: wiping the secret overwrites them. */
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** The bytes themselves, not a copy. */
  reveal(): Buffer {
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
