/** The marked part of a file that others write to as well: everything outside the two comment lines is theirs. */

const BEGIN = '# BEGIN guestwire: written by the guest agent, changes inside are lost\n';
const END = '# END guestwire\n';

/** What stands in the block; empty when there is none. */
export function blockOf(text: string): string {
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END, begin);
  return begin < 0 || end < 0 ? '' : text.slice(begin + BEGIN.length, end);
}

/** The text with nothing in the block, which keeps its place. */
export function withEmptyBlock(text: string): string {
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END, begin);
  return begin < 0 || end < 0 ? text : text.slice(0, begin + BEGIN.length) + text.slice(end);
}

/** The interfaces that the block's comments name, for formats whose own names do not lead back to them. */
export function interfacesIn(text: string): readonly string[] {
  return [...blockOf(text).matchAll(/^# Interface ([^\s,]+)/gm)].map(([, name = '']) => name);
}

/**
 * The text with `content` (whole lines) in the block: where the block is, or else at the offset `at` between blank
 * lines. Nothing to say takes the block away, with the blank line before it.
 */
export function withBlock(text: string, content: string, at = text.length): string {
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END, begin);
  const block = content === '' ? '' : BEGIN + content + END;
  if (begin < 0 || end < 0) {
    if (content === '') return text;
    const [above, below] = [text.slice(0, at), text.slice(at)];
    return spaced(above) + block + (below === '' || below.startsWith('\n') ? below : `\n${below}`);
  }
  const [above, below] = [text.slice(0, begin), text.slice(end + END.length)];
  return (content === '' ? above.replace(/(^|\n)\n$/, '$1') : above) + block + below;
}

function spaced(text: string): string {
  if (text === '') return '';
  return `${text.endsWith('\n') ? text : `${text}\n`}${/(^|\n)\n$/.test(text) ? '' : '\n'}`;
}
