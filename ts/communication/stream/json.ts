/**
 * JSON whose whole numbers come back as they were: clients of QEMU's guest agent send random numbers of 64 bits to be
 * echoed, and JavaScript's own numbers hold 53.
 */

/** Stands before the digits of a number while it is on its way through JSON.parse or JSON.stringify. */
const MARK = '\u0000integer:';
const MARKED = /^\0integer:(-?\d+)$/;
/** A string as a whole, so that digits inside of one are passed over; or a whole number that may be too long. */
const STRING_OR_LONG_INTEGER = /"(?:[^"\\]|\\.)*"|(?<![\d.eE+-])-?\d{16,}(?![\d.eE])/g;
const MARKED_STRING = /"\\u0000integer:(-?\d+)"/g;

/** As JSON.parse, but a whole number that JavaScript's numbers cannot hold exactly is a bigint. Throws SyntaxError. */
export function parseExact(text: string): unknown {
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  // First as it stands: what the replacement makes of text that is not JSON might be.
  JSON.parse(text);
  const marked = text.replaceAll(STRING_OR_LONG_INTEGER, (token) =>
    token.startsWith('"') ? token : `"${JSON.stringify(MARK).slice(1, -1)}${token}"`,
  );
  return JSON.parse(marked, (_, value: unknown) => {
    const digits = typeof value === 'string' ? MARKED.exec(value)?.[1] : undefined;
    if (digits === undefined) return value;
    const number = Number(digits);
    return Number.isSafeInteger(number) ? number : BigInt(digits);
  });
}

/** As JSON.stringify, with a bigint as the number that it is. */
export function stringifyExact(value: unknown): string {
  const text = JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? `${MARK}${inner}` : inner));
  return text.replaceAll(MARKED_STRING, '$1');
}
