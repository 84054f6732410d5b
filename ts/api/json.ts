/** How deep lists and objects of a request may lie in one another. */
export const MAX_DEPTH = 64;

/** What kind of value came in the place of another, for a message. Never the value itself: it may be a secret. */
export function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'string') return 'text';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/** Lists and objects that lie deeper in one another than {@link MAX_DEPTH}. */
export class DepthError extends SyntaxError {
  override readonly name = 'DepthError';

  constructor() {
    super(`JSON of more than ${MAX_DEPTH} levels`);
  }
}

/**
 * As JSON.parse, but throws DepthError for what lies too deep: whoever goes through such a value by recursion, as
 * JSON.stringify does, would run out of stack.
 */
export function parseJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  if (isTooDeep(value)) throw new DepthError();
  return value;
}

/** Level by level, so that it needs no stack itself. */
function isTooDeep(value: unknown): boolean {
  let level = isNested(value) ? [value] : [];
  for (let depth = 1; level.length > 0; depth += 1) {
    if (depth > MAX_DEPTH) return true;
    level = level.flatMap((outer) => Object.values(outer).filter(isNested));
  }
  return false;
}

function isNested(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

/**
 * Parses JSON that came through the tools of dom0. `xenstore-write` turns the two characters `\n` of a JSON string into
 * one raw line feed, so raw control characters inside strings are taken for what they were.
 * Throws SyntaxError on what is not JSON even so, DepthError on what lies too deep.
 */
export function parseHostJson(text: string): unknown {
  try {
    return parseJson(text);
  } catch (error) {
    if (error instanceof DepthError) throw error;
    return parseJson(escapeControls(text));
  }
}

/** Escapes raw control characters inside strings; between tokens they become blanks. */
function escapeControls(text: string): string {
  let result = '';
  let inString = false;
  let escaped = false;
  for (const char of text) {
    if (char < ' ') result += inString ? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}` : ' ';
    else result += char;
    if (escaped) escaped = false;
    else if (inString && char === '\\') escaped = true;
    else if (char === '"') inString = !inString;
  }
  return result;
}
