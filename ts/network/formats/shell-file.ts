/**
 * Files of shell assignments, such as rc.conf, ifcfg-eth0 or conf.d/net: read without a shell, and edited by key so that
 * comments, order and everything else stay byte for byte. Where a key is assigned twice, the last one counts, as in a
 * shell.
 */

interface Assignment {
  readonly key: string;
  /** The value as written, quotes included. */
  readonly raw: string;
  /** Offsets in the text: of the key or what stands before it, of the value, and of what follows the value. */
  readonly from: number;
  readonly start: number;
  readonly end: number;
  /** It is run whatever else the file says: it stands in no compound command, and behind no `&&` or `||`. */
  readonly plain: boolean;
}

const HEAD = /[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*(?:\[\w*\])?)=/y;
/** Between two assignments on one line. */
const SEPARATOR = /[ \t]*;?[ \t]*/y;

/** Commands of a line that are no assignment. */
interface Commands {
  readonly text: string;
  /** Offset in the text. */
  readonly from: number;
}

function* assignments(text: string): Generator<Assignment> {
  for (const piece of pieces(text)) if ('key' in piece) yield piece;
}

function* pieces(text: string): Generator<Assignment | Commands> {
  let at = 0;
  let place: Place = { depth: 0, goesOn: false };
  while (at < text.length) {
    HEAD.lastIndex = at;
    const head = HEAD.exec(text);
    if (head === null) {
      const end = endOfCommand(text, at);
      const commands = text.slice(at, end);
      yield { text: commands, from: at };
      place = placeAfter(commands, place);
      at = end + 1;
      continue;
    }
    const start = HEAD.lastIndex;
    const end = endOfValue(text, start);
    const plain = place.depth === 0 && !place.goesOn;
    yield { key: head[1] ?? '', raw: text.slice(start, end), from: at, start, end, plain };
    place = { ...place, goesOn: false };
    SEPARATOR.lastIndex = end;
    SEPARATOR.exec(text);
    at = SEPARATOR.lastIndex;
  }
}

/** Where in the commands of a shell something stands. */
interface Place {
  /** Of compound commands. */
  readonly depth: number;
  /** What came before wants another command: `&&`, `then`. */
  readonly goesOn: boolean;
}

const OPENING = ['if', 'while', 'until', 'for', 'case', 'select'];
const CLOSING = ['fi', 'done', 'esac'];
/** A command follows them. */
const LEADING = ['if', 'while', 'until', 'then', 'do', 'else', 'elif', '!', '{', '&&', '||', '|', ';', '&', ';;'];
/** Of these the command may stand on a later line. */
const UNFINISHED = LEADING.filter((word) => ![';', '&'].includes(word));

/** Also for a line that holds no command at all. */
function placeAfter(commands: string, { depth, goesOn }: Place): Place {
  let deep = depth;
  let last = '';
  for (const word of wordsOf(commands)) {
    const isCommand = last === '' || LEADING.includes(last) || last.endsWith(')');
    if (word === '{' || word.endsWith('(){') || (isCommand && OPENING.includes(word))) deep++;
    if (word === '}' || (isCommand && CLOSING.includes(word))) deep = Math.max(deep - 1, 0);
    last = word;
  }
  // The pattern of a `case` ends with a parenthesis.
  return { depth: deep, goesOn: last === '' ? goesOn : UNFINISHED.includes(last) || last.endsWith(')') };
}

/** Words and operators, without comments. */
function* wordsOf(commands: string): Generator<string> {
  for (let at = 0; at < commands.length;) {
    const operator = /^(?:&&|\|\||;;|[;&|])/.exec(commands.slice(at, at + 2))?.[0];
    if (operator !== undefined) yield operator;
    if (commands[at] === '#') at = lineEnd(commands, at);
    else if (operator !== undefined) at += operator.length;
    else if (/\s/.test(commands[at] ?? '')) at++;
    else {
      const end = Math.max(endOfValue(commands, at), at + 1);
      yield commands.slice(at, end);
      at = end;
    }
  }
}

/** Where the line ends at which a command does: quoted line feeds are part of it, and a comment may hold any quote. */
function endOfCommand(text: string, start: number): number {
  let at = start;
  while (at < text.length && text[at] !== '\n') {
    const comment = text[at] === '#' && (at === start || /[\s;]/.test(text[at - 1] ?? ''));
    at = comment ? lineEnd(text, at) : pieceEnd(text, at) + 1;
  }
  return at;
}

/** A word: quoted and bare pieces side by side. An array in parentheses counts as one value. */
function endOfValue(text: string, start: number): number {
  let at = start;
  while (at < text.length && !/[\s;&|]/.test(text[at] ?? '')) at = pieceEnd(text, at) + 1;
  return Math.min(at, text.length);
}

/** The last character of the piece that begins at `at`: a quoted text, an expansion, a list, or one character. */
function pieceEnd(text: string, at: number, double = false): number {
  switch (text[at] ?? '') {
    case '\\':
      return at + 1;
    case "'":
      return indexOrEnd(text, "'", at + 1);
    case '"':
    case '`':
    case '(':
      return closing(text, at);
    case '$':
      return /[({]/.test(text[at + 1] ?? '') ? closing(text, at + 1, double && text[at + 1] === '{') : at;
    default:
      return at;
  }
}

const CLOSERS: Readonly<Record<string, string>> = { '"': '"', '`': '`', '(': ')', '{': '}' };

/** Of the quotation mark, parenthesis or brace that closes the one at `open`; the end where there is none. */
function closing(text: string, open: number, double = text[open] === '"'): number {
  const opener = text[open] ?? '';
  for (let at = open + 1; at < text.length; at++) {
    const char = text[at] ?? '';
    if (char === CLOSERS[opener]) return at;
    if (char === '#' && opener === '(' && /[\s(]/.test(text[at - 1] ?? '')) at = lineEnd(text, at) - 1;
    // Between double quotes the only special characters are these.
    else if (!double || /[\\$`"]/.test(char)) at = pieceEnd(text, at, double);
  }
  return text.length;
}

function indexOrEnd(text: string, what: string, from: number): number {
  const index = text.indexOf(what, from);
  return index < 0 ? text.length : index;
}

function lineEnd(text: string, at: number): number {
  return indexOrEnd(text, '\n', at);
}

/** The text that a shell would make of a value without expansions; an array's elements become lines. */
function unquoted(raw: string): string {
  if (raw.startsWith('(')) return elements(raw.slice(1, -1)).join('\n');
  let result = '';
  for (let at = 0; at < raw.length; at++) {
    const char = raw[at] ?? '';
    const end = pieceEnd(raw, at);
    if (char === "'") result += raw.slice(at + 1, end);
    else if (char === '"') {
      result += raw.slice(at + 1, end).replace(/\\(\n|["$`\\])/g, (_, what: string) => (what === '\n' ? '' : what));
    } else if (char === '\\') result += raw[end] === '\n' ? '' : (raw[end] ?? '');
    else result += raw.slice(at, end + 1);
    at = end;
  }
  return result;
}

function elements(text: string): readonly string[] {
  const found: string[] = [];
  for (let at = 0; at < text.length;) {
    if (/\s/.test(text[at] ?? '')) at++;
    else if (text[at] === '#') at = lineEnd(text, at);
    else {
      const end = endOfValue(text, at);
      found.push(unquoted(text.slice(at, end)));
      at = Math.max(end, at + 1);
    }
  }
  return found;
}

/** The values by key, without their quotes. Expansions such as `$HOSTNAME` stay as written. */
export function readShellFile(text: string): ReadonlyMap<string, string> {
  return new Map([...assignments(text)].map(({ key, raw }) => [key, unquoted(raw)]));
}

/**
 * The first command that sets a key for which `matches` holds, as in `[ -e /x ] && KEY=1`, or reads another file, where
 * that counts: only a shell can say what comes of it. `line` counts from 1.
 */
export function hiddenSetting(
  text: string,
  matches: (key: string) => boolean,
  sources: boolean,
): { readonly command: string; readonly line: number } | null {
  for (const piece of pieces(text)) {
    if ('key' in piece) continue;
    const words = [...wordsOf(piece.text)];
    const sets = words.some((word) => {
      const key = /^([A-Za-z_]\w*(?:\[\w*\])?)\+?=/.exec(word)?.[1];
      return key !== undefined && matches(key);
    });
    const reads = words.some(
      (word, at) => /^(?:\.|source)$/.test(word) && (at === 0 || LEADING.includes(words[at - 1] ?? '')),
    );
    if (sets || (sources && reads)) {
      return { command: piece.text.trim(), line: text.slice(0, piece.from).split('\n').length };
    }
  }
  return null;
}

/**
 * The text with `key` set: in the place of its last assignment, or at the end, also where that one need not be run. `value` stands in double quotes, unless
 * `quote` says otherwise (`array`: one element a line of the value, each in single quotes). It must come from a checked
 * address, name or number: what a shell would expand is escaped all the same.
 */
export function setShellKey(text: string, key: string, value: string, quote: Quote = 'double'): string {
  const written = quoted(value, quote);
  const last = [...assignments(text)].findLast((assignment) => assignment.key === key);
  const line = `${key}=${written}\n`;
  // Also where it seems to stand in a compound command: it does stand at the end.
  if (last?.plain !== true && (text === line || text.endsWith(`\n${line}`))) return text;
  if (last?.plain !== true) return `${text === '' || text.endsWith('\n') ? text : `${text}\n`}${key}=${written}\n`;
  if (unquoted(last.raw) === value) return text;
  return text.slice(0, last.start) + written + text.slice(last.end);
}

/**
 * The text without what assigns a key for which `matches` holds: with its line, unless there is more on that. What others
 * wait for leaves `:` in its place, the command that does nothing: without it, the next one would be what `&&` guards.
 */
export function removeShellKeys(text: string, matches: (key: string) => boolean): string {
  let result = '';
  let kept = 0;
  for (const { key, from, end, plain } of assignments(text)) {
    if (!matches(key)) continue;
    const last = lineEnd(text, end);
    const behind = text.slice(end, last);
    const isLine = (from === 0 || text[from - 1] === '\n') && /^[\s;]*(#.*)?$/.test(behind);
    // A command in whose environment it stands, or a further assignment, stays as it is.
    const isNeeded = /^[ \t]*[&|]/.test(behind) || (!plain && /^\s*([;#]|$)/.test(behind));
    SEPARATOR.lastIndex = end;
    SEPARATOR.exec(text);
    result += text.slice(kept, from);
    if (isNeeded) {
      result += `${/^[ \t]*/.exec(text.slice(from))?.[0] ?? ''}:`;
      kept = end;
    } else kept = isLine ? Math.min(last + 1, text.length) : SEPARATOR.lastIndex;
  }
  return result + text.slice(kept);
}

export type Quote = 'double' | 'single' | 'none' | 'array';

export function quoted(value: string, quote: Quote): string {
  switch (quote) {
    case 'none':
      return value;
    case 'single':
      return `'${value.replaceAll("'", `'\\''`)}'`;
    case 'double':
      return `"${value.replace(/["$`\\]/g, '\\$&')}"`;
    case 'array':
      return `(${
        value === ''
          ? ''
          : value
              .split('\n')
              .map((element) => quoted(element, 'single'))
              .join(' ')
      })`;
  }
}
