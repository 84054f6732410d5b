import { asBuffer } from '../../api/bytes.js';

const LINE_FEED = 0x0a;
/** Never part of UTF-8: who sends it asks that what came before it on the line be forgotten. */
const SENTINEL = 0xff;
const BLANK = /^[ \t\r]*$/;
/** Room that a line begins with, and that is kept for the next, in bytes. */
const ROOM = 1024;

/**
 * Cuts a stream into lines. Of a line that is longer than `limit` its first bytes come, one more than the limit, so that
 * whoever takes it can tell; never more than that is kept. Blank lines are left out. A line without an end is none.
 */
export class LineSplitter {
  readonly #limit: number;
  /** One buffer, which grows with the line: an object for each piece would cost far more than a short piece holds. */
  #buffer = Buffer.allocUnsafeSlow(ROOM);
  #length = 0;
  #given = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Whether there is half a line. */
  get isWaiting(): boolean {
    return this.#length > 0;
  }

  *push(chunk: Uint8Array): Generator<Buffer, void> {
    const bytes = asBuffer(chunk);
    for (let from = 0; ;) {
      const end = bytes.indexOf(LINE_FEED, from);
      this.#add(bytes.subarray(from, end < 0 ? bytes.length : end));
      if (end < 0) return;
      const line = Buffer.from(this.#buffer.subarray(0, this.#length));
      const isLine = this.#given || line.length > this.#limit || !BLANK.test(line.toString('latin1'));
      this.#forget();
      if (isLine) yield line;
      from = end + 1;
    }
  }

  /**
   * Gives half a line up: nothing of it is kept, and what still comes of it is thrown away. Its end then brings an empty
   * line, so that it is answered, once, as what is no request.
   */
  giveUp(): void {
    if (!this.isWaiting) return;
    this.#forget();
    this.#given = true;
  }

  #add(bytes: Buffer): void {
    const sentinel = bytes.lastIndexOf(SENTINEL);
    if (sentinel >= 0) this.#forget();
    if (this.#given) return;
    const room = this.#limit + 1 - this.#length;
    const piece = bytes.subarray(sentinel + 1, sentinel + 1 + room);
    this.#makeRoom(this.#length + piece.length);
    this.#buffer.set(piece, this.#length);
    this.#length += piece.length;
  }

  #makeRoom(wanted: number): void {
    if (wanted <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.min(Math.max(wanted, 2 * this.#buffer.length), this.#limit + 1));
    grown.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = grown;
  }

  #forget(): void {
    // It may have been a password.
    this.#buffer.fill(0, 0, this.#length);
    this.#length = 0;
    this.#given = false;
    if (this.#buffer.length > ROOM) this.#buffer = Buffer.allocUnsafeSlow(ROOM);
  }
}
