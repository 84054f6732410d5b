/**
 * JSON whose whole numbers come back as they were: clients of QEMU's guest agent send random numbers of 64 bits to be
 * echoed, and JavaScript's own numbers hold 53. Values are read and written piece by piece for that, so nothing that
 * stands inside of a string can be taken for a number.
 */

import { parseJson } from '../../api/json.js';

/** A string, a bracket, a colon, a comma; or a number or a word. Of text that is JSON, these are all that there is. */
const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]:,]|[^\s{}[\]:,"]+/g;
const WHOLE = /^-?\d{16,}$/;

/** As {@link parseJson}, but a whole number that JavaScript's numbers cannot hold exactly is a bigint. */
export function parseExact(text: string): unknown {
  const value = parseJson(text);
  return /\d{16}/.test(text) ? readValue(tokensOf(text)) : value;
}

/** The tokens of a text that is JSON, one a call. */
function tokensOf(text: string): () => string {
  const matches = text.matchAll(TOKEN);
  return () => matches.next().value?.[0] ?? '';
}

function readValue(next: () => string, token = next()): unknown {
  if (token === '[') {
    const items: unknown[] = [];
    for (let item = next(); item !== ']'; item = next()) if (item !== ',') items.push(readValue(next, item));
    return items;
  }
  if (token === '{') {
    const entries: [string, unknown][] = [];
    for (let key = next(); key !== '}'; key = next()) {
      if (key === ',') continue;
      next();
      entries.push([JSON.parse(key) as string, readValue(next)]);
    }
    // Makes each an own property, whatever its name.
    return Object.fromEntries(entries);
  }
  if (!WHOLE.test(token)) return JSON.parse(token);
  const number = Number(token);
  return Number.isSafeInteger(number) ? number : BigInt(token);
}

/** As JSON.stringify, with a bigint as the number that it is. */
export function stringifyExact(value: object): string {
  let isExact = true as boolean;
  const text = JSON.stringify(value, (_, inner: unknown) => {
    if (typeof inner !== 'bigint') return inner;
    isExact = false;
    return 0;
  });
  return isExact ? text : (write(value) ?? '');
}

/** Of what JSON.stringify took, so it has no cycles. Nothing for what JSON has no form of. */
function write(value: unknown): string | undefined {
  const plain = toPlain(value);
  if (typeof plain === 'bigint') return String(plain);
  if (Array.isArray(plain)) return `[${plain.map((item) => write(item) ?? 'null').join(',')}]`;
  if (typeof plain !== 'object' || plain === null) return JSON.stringify(plain);
  const members = Object.entries(plain).flatMap(([key, inner]) => {
    const text = write(inner);
    return text === undefined ? [] : [`${JSON.stringify(key)}:${text}`];
  });
  return `{${members.join(',')}}`;
}

/** What an object with a form of its own in JSON, such as a date, says that it is. */
function toPlain(value: unknown): unknown {
  const own = (value as { readonly toJSON?: unknown } | null | undefined)?.toJSON;
  return typeof own === 'function' ? own.call(value) : value;
}
