/** Files of sections and keys, as far as systemd.syntax(7) and GLib's key files agree. Only read here. */

export interface Setting {
  readonly section: string;
  readonly key: string;
  readonly value: string;
  /** Number of its line, from 0. */
  readonly line: number;
  /** Number of the line of its section's header; -1 before any. Sections of one name are told apart by it. */
  readonly header: number;
}

/** Every setting in the order of the lines; a section or a key may come several times. */
export function readSettings(text: string): readonly Setting[] {
  let section = '';
  let start = -1;
  return text.split('\n').flatMap((line, number) => {
    const header = /^\s*\[([^\]]*)\]\s*$/.exec(line);
    section = header?.[1] ?? section;
    if (header !== null) start = number;
    const [, key, value = ''] = /^\s*([^#;=\s][^=]*?)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    return header !== null || key === undefined ? [] : [{ section, key, value, line: number, header: start }];
  });
}
