import { asBuffer } from '../../api/bytes.js';

const LINE_FEED = 0x0a;
/** Never part of UTF-8: who sends it asks that what came before it on the line be forgotten. */
const SENTINEL = 0xff;
const BLANK = /^[ \t\r]*$/;

/**
 * Cuts a stream into lines. Of a line that is longer than `limit` its first bytes come, one more than the limit, so that
 * whoever takes it can tell; never more than that is kept. Blank lines are left out. A line without an end is none.
 */
export class LineSplitter {
  readonly #limit: number;
  #pieces: Buffer[] = [];
  #length = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  *push(chunk: Uint8Array): Generator<Buffer, void> {
    const bytes = asBuffer(chunk);
    for (let from = 0; ;) {
      const end = bytes.indexOf(LINE_FEED, from);
      this.#add(bytes.subarray(from, end < 0 ? bytes.length : end));
      if (end < 0) return;
      const line = Buffer.concat(this.#pieces);
      this.#forget();
      if (line.length > this.#limit || !BLANK.test(line.toString('latin1'))) yield line;
      from = end + 1;
    }
  }

  #add(bytes: Buffer): void {
    const sentinel = bytes.lastIndexOf(SENTINEL);
    if (sentinel >= 0) this.#forget();
    const room = this.#limit + 1 - this.#length;
    const piece = bytes.subarray(sentinel + 1, sentinel + 1 + room);
    if (piece.length === 0) return;
    // A copy: a slice would keep the whole chunk in memory.
    this.#pieces.push(Buffer.from(piece));
    this.#length += piece.length;
  }

  #forget(): void {
    this.#pieces = [];
    this.#length = 0;
  }
}
