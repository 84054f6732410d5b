import { type KeyOptions, mayKeepOut, NO_OPTIONS, parseOptions, sameOptions } from './key-options.js';
import { digest } from '../host/shared/runtime/digest.js';
import { otherWork } from '../host/shared/runtime/timers.js';

/** One key of sshd(8)'s authorized_keys. */
export interface PublicKey {
  /** The whole line as it was written, without blanks around it. */
  readonly line: string;
  readonly type: string;
  readonly comment: string;
  /** Key, and whether it is an authority: what makes two lines the same key, whatever their options and comments. */
  readonly id: string;
  readonly options: KeyOptions;
  /** The key as RFC 4253 has it. */
  readonly blob: Buffer;
  /** As `ssh-keygen -l` prints it. */
  readonly fingerprint: string;
}

/** What follows the type in a key, part by part; its length where it is fixed. */
type Parts = readonly (number | null)[];

/** What sshd accepts by default; DSA it has given up. */
const TYPES: ReadonlyMap<string, Parts> = new Map<string, Parts>([
  ['ssh-ed25519', [32]],
  ['ssh-rsa', [null, null]],
  ['ecdsa-sha2-nistp256', [8, 65]],
  ['ecdsa-sha2-nistp384', [8, 97]],
  ['ecdsa-sha2-nistp521', [8, 133]],
  ['sk-ssh-ed25519@openssh.com', [32, null]],
  ['sk-ecdsa-sha2-nistp256@openssh.com', [8, 65, null]],
]);
const MIN_RSA_BITS = 1024;
/** How long a file of many keys is read before what waits has its turn. Milliseconds. */
const TURN = 5;

/** A key that is to come into the file, or what is wrong with it. */
export function parseNewKey(text: string): PublicKey | { readonly wrong: string } {
  // eslint-disable-next-line no-control-regex -- they are what is looked for
  if (/[\x00-\x08\x0a-\x1f\x7f]/.test(text)) return { wrong: 'a line break or another control character in it' };
  const line = text.replaceAll('\t', ' ').trim();
  if (line === '' || line.startsWith('#')) return { wrong: 'no key' };
  const key = parseLine(line);
  if (key === null) return { wrong: whyNoKey(line) };
  const parts = TYPES.get(key.type);
  if (parts === undefined) return { wrong: `a key of type ${key.type}, which is not supported` };
  const wrong = key.options.wrong ?? whyMalformed(key.blob, key.type, parts);
  return wrong === null ? key : { wrong };
}

/** A line of a file, with its end. */
interface FileLine {
  readonly text: string;
  /** Null for what is no key to sshd. */
  readonly key: PublicKey | null;
}

/** The keys of a file's text, in their order; what is no key to sshd is left out. */
export async function listKeys(text: string): Promise<readonly PublicKey[]> {
  return keysIn(await readLines(text));
}

export interface Edited {
  readonly text: string;
  /** How many of the keys given made a difference. */
  readonly count: number;
  /** The keys of the new text, in their order. */
  readonly keys: readonly PublicKey[];
}

/** `keys` without those that say what one before them says. */
export function distinctKeys(keys: readonly PublicKey[]): readonly PublicKey[] {
  return [...new Map(keys.map((key) => [`${key.options.list.join(',')} ${key.id}`, key])).values()];
}

/**
 * `keys` that are not there yet come at the end; every line that is there stays as it is. A line is there already when
 * it says the same, or when it is of the same key and none of its options can keep the key out.
 */
export async function mergeKeys(text: string, keys: readonly PublicKey[]): Promise<Edited> {
  const present = keysIn(await readLines(text));
  const byId = new Map<string, PublicKey[]>(keys.map(({ id }) => [id, []]));
  for (const key of present) byId.get(key.id)?.push(key);
  const fresh = keys.filter((key) => {
    const same = byId.get(key.id) ?? [];
    if (same.some(({ options }) => sameOptions(options, key.options) || !mayKeepOut(options))) return false;
    same.push(key);
    return true;
  });
  const before = text === '' ? '' : endLine(text);
  return { text: `${before}${linesOf(fresh)}`, count: fresh.length, keys: [...present, ...fresh] };
}

/** Every line of one of `keys` goes, whatever its options; the rest stays as it is. */
export async function removeKeys(text: string, keys: readonly PublicKey[]): Promise<Edited> {
  const unwanted = new Set(keys.map(({ id }) => id));
  const found = new Set<string>();
  const left = (await readLines(text)).filter(({ key }) => {
    if (key === null || !unwanted.has(key.id)) return true;
    found.add(key.id);
    return false;
  });
  const rest = left.map((line) => line.text).join('');
  return { text: rest === '' ? '' : endLine(rest), count: found.size, keys: keysIn(left) };
}

/** A file of `keys` and nothing else. */
export function onlyKeys(keys: readonly PublicKey[]): Promise<Edited> {
  return mergeKeys('', keys);
}

/** A file may hold a hundred thousand keys: what waits meanwhile, such as a request that is answered at once, goes first. */
async function readLines(text: string): Promise<readonly FileLine[]> {
  const lines: FileLine[] = [];
  let since = performance.now();
  for (const [line] of text.matchAll(/[^\n]*\n|[^\n]+/g)) {
    // sshd takes no other white space for a blank, such as a vertical tab.
    lines.push({ text: line, key: parseLine(line.replace(/^[ \t]+/, '').trimEnd()) });
    if (performance.now() - since < TURN) continue;
    await otherWork();
    since = performance.now();
  }
  return lines;
}

function keysIn(lines: readonly FileLine[]): readonly PublicKey[] {
  return lines.flatMap(({ key }) => key ?? []);
}

function linesOf(keys: readonly PublicKey[]): string {
  // The text of a file is taken as latin1, so that bytes of any other encoding come back whole.
  return keys.map(({ line }) => `${Buffer.from(line, 'utf8').toString('latin1')}\n`).join('');
}

function endLine(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`;
}

/** As sshd does: a key, or options and a key. */
function parseLine(line: string): PublicKey | null {
  if (line === '' || line.startsWith('#')) return null;
  const plain = parseKey(line, line, '');
  if (plain !== null) return plain;
  const end = optionsLength(line);
  return end === null ? null : parseKey(line.slice(end).trimStart(), line, line.slice(0, end));
}

function parseKey(text: string, line: string, optionsText: string): PublicKey | null {
  const [, type = '', base64 = '', comment = ''] = /^([a-z0-9@.-]+)[ \t]+(\S+)(?:[ \t]+(.*))?$/is.exec(text) ?? [];
  const blob = decode(base64);
  if (blob === null || stringAt(blob, 0)?.toString('latin1') !== type) return null;
  const options = optionsText === '' ? NO_OPTIONS : parseOptions(optionsText);
  return {
    line,
    type,
    comment: comment.trim(),
    id: `${options.authority ? 'authority ' : ''}${base64}`,
    options,
    blob,
    get fingerprint() {
      return `SHA256:${digest('sha256', blob).toString('base64').replace(/=+$/, '')}`;
    },
  };
}

/** Bits of an RSA key; null for a key of another type. */
export function rsaBits({ type, blob }: PublicKey): number | null {
  if (type !== 'ssh-rsa') return null;
  const exponent = stringAt(blob, 4 + type.length);
  const modulus = exponent === null ? null : stringAt(blob, 8 + type.length + exponent.length);
  return modulus === null ? 0 : bitLength(modulus);
}

/** Options end at the first blank outside of quotes; null when they do not end. */
function optionsLength(line: string): number | null {
  let quoted = false;
  for (let at = 0; at < line.length; at += 1) {
    const char = line[at];
    if (char === '\\' && line[at + 1] === '"') at += 1;
    else if (char === '"') quoted = !quoted;
    else if (!quoted && (char === ' ' || char === '\t')) return at;
  }
  return null;
}

function decode(base64: string): Buffer | null {
  const bytes = Buffer.from(base64, 'base64');
  return bytes.length > 0 && bytes.toString('base64') === base64 ? bytes : null;
}

/** A string as RFC 4251 has it: four bytes of length, then as many. */
function stringAt(blob: Buffer, offset: number): Buffer | null {
  if (offset + 4 > blob.length) return null;
  const end = offset + 4 + blob.readUInt32BE(offset);
  return end > blob.length ? null : blob.subarray(offset + 4, end);
}

function whyNoKey(line: string): string {
  const type = line.split(' ').find((word) => TYPES.has(word));
  if (type === undefined) return 'no type that is known';
  const base64 =
    line
      .slice(line.indexOf(type) + type.length)
      .trimStart()
      .split(' ')[0] ?? '';
  const blob = decode(base64);
  if (blob === null) return 'a key that is not base64';
  const inner = stringAt(blob, 0);
  return inner === null ? 'a truncated key' : `a key of another type inside than ${type}`;
}

function whyMalformed(blob: Buffer, type: string, wanted: Parts): string | null {
  let offset = 4 + type.length;
  const found: Buffer[] = [];
  for (const length of wanted) {
    const part = stringAt(blob, offset);
    if (part === null || (length !== null && part.length !== length)) return `a key that is no ${type} key or cut off`;
    offset += 4 + part.length;
    found.push(part);
  }
  if (offset !== blob.length) return `a key with more bytes than a ${type} key has`;
  if (type.includes('nistp') && !type.replace('@openssh.com', '').endsWith(found[0]?.toString('latin1') ?? ' ')) {
    return `a key of another curve than ${type}`;
  }
  if (type === 'ssh-rsa' && bitLength(found[1] ?? Buffer.alloc(0)) < MIN_RSA_BITS) {
    return `an RSA key of fewer than ${MIN_RSA_BITS} bits`;
  }
  return null;
}

function bitLength(number: Buffer): number {
  const first = number.findIndex((byte) => byte !== 0);
  return first < 0 ? 0 : (number.length - first) * 8 - Math.clz32(number[first] ?? 0) + 24;
}
