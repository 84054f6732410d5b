/** The settings of Red Hat's rhn-client-tools: `key=value`, comments from `#` on, `\` at the end of a line goes on. */

/** Which lines a setting takes, from and to without the last. */
interface Setting {
  readonly key: string;
  readonly from: number;
  readonly to: number;
}

function settings(lines: readonly string[]): readonly Setting[] {
  const found: Setting[] = [];
  for (let from = 0; from < lines.length;) {
    const line = lines[from] ?? '';
    let to = from + 1;
    if (!line.startsWith('#')) while ((lines[to - 1] ?? '').trim().endsWith('\\') && to < lines.length) to += 1;
    const cut = line.indexOf('=');
    if (!line.startsWith('#') && cut > 0) found.push({ key: line.slice(0, cut).trim(), from, to });
    from = to;
  }
  return found;
}

/**
 * The text with `values` set and every other line as it was. The program takes the last of several settings of one key;
 * that one is replaced, and a new key comes at the end.
 */
export function setUp2date(text: string, values: Readonly<Record<string, string>>): string {
  const lines = text.split('\n');
  for (const [key, value] of Object.entries(values)) {
    const last = settings(lines).findLast((setting) => setting.key === key);
    const written = `${key}=${value}`;
    if (last !== undefined) lines.splice(last.from, last.to - last.from, written);
    else if (lines.at(-1) === '') lines.splice(-1, 0, written);
    else lines.push(written, '');
  }
  return lines.join('\n');
}
