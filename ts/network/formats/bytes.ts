/**
 * Texts of files that are not all UTF-8, such as one with a name in Latin-1: each byte that belongs to none stands for
 * itself as a lone surrogate, U+DC80 to U+DCFF (as Python's surrogateescape, PEP 383), and comes back as it was.
 */
import { isUtf8 } from '../../host/shared/runtime/text.js';

const ESCAPE = 0xdc00;
/** In Unicode mode those of a pair do not match. */
const ESCAPED = /([\udc80-\udcff])/u;

export function decode(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8');
  let text = '';
  for (let at = 0; at < bytes.length;) {
    const sequence = [1, 2, 3, 4].map((length) => bytes.subarray(at, at + length)).find((one) => isUtf8(one));
    text += sequence?.toString('utf8') ?? String.fromCharCode(ESCAPE + (bytes[at] ?? 0));
    at += sequence?.length ?? 1;
  }
  return text;
}

export function encode(text: string): string | Uint8Array {
  if (!ESCAPED.test(text)) return text;
  const parts = text.split(ESCAPED);
  return Buffer.concat(
    parts.map((part, index) => (index % 2 === 0 ? Buffer.from(part) : Buffer.of(part.charCodeAt(0) - ESCAPE))),
  );
}
