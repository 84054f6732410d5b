/**
 * Parses JSON that came through the tools of dom0. `xenstore-write` turns the two characters `\n` of a JSON string into
 * one raw line feed, so raw control characters inside strings are taken for what they were.
 * Throws SyntaxError on what is not JSON even so.
 */
export function parseHostJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return JSON.parse(escapeControls(text));
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
