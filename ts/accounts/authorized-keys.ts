import { createHash } from 'node:crypto';

/** One key of sshd(8)'s authorized_keys. */
export interface PublicKey {
  /** The whole line as it was written, without blanks around it. */
  readonly line: string;
  readonly type: string;
  readonly comment: string;
  /** Type and key: what makes two lines the same key, whatever their options and comments. */
  readonly id: string;
  /** As `ssh-keygen -l` prints it. */
  readonly fingerprint: string;
}

/** What follows the type in a key, part by part; its length where it is fixed. */
type Parts = readonly (number | null)[];

/** What sshd accepts by default; DSA it has given up. */
const TYPES: Readonly<Record<string, Parts>> = {
  'ssh-ed25519': [32],
  'ssh-rsa': [null, null],
  'ecdsa-sha2-nistp256': [8, 65],
  'ecdsa-sha2-nistp384': [8, 97],
  'ecdsa-sha2-nistp521': [8, 133],
  'sk-ssh-ed25519@openssh.com': [32, null],
  'sk-ecdsa-sha2-nistp256@openssh.com': [8, 65, null],
};
const MIN_RSA_BITS = 1024;

/** A key that is to come into the file, or what is wrong with it. */
export function parseNewKey(text: string): PublicKey | { readonly wrong: string } {
  // eslint-disable-next-line no-control-regex -- they are what is looked for
  if (/[\x00-\x08\x0a-\x1f\x7f]/.test(text)) return { wrong: 'a line break or another control character in it' };
  const line = text.replaceAll('\t', ' ').trim();
  if (line === '' || line.startsWith('#')) return { wrong: 'no key' };
  const key = parseLine(line);
  if (key === null) return { wrong: whyNoKey(line) };
  const parts = TYPES[key.type];
  if (parts === undefined) return { wrong: `type ${key.type}` };
  const wrong = whyMalformed(Buffer.from(key.id.split(' ')[1] ?? '', 'base64'), key.type, parts);
  return wrong === null ? key : { wrong };
}

/** The keys of a file's text, in their order; what is no key to sshd is left out. */
export function listKeys(text: string): readonly PublicKey[] {
  return text.split('\n').flatMap((line) => parseLine(line.trim()) ?? []);
}

export interface Edited {
  readonly text: string;
  /** How many of the keys given made a difference. */
  readonly count: number;
}

/** `keys` that are not there yet come at the end; every line that is there stays as it is. */
export function mergeKeys(text: string, keys: readonly PublicKey[]): Edited {
  const known = new Set(listKeys(text).map(({ id }) => id));
  const fresh = keys.filter(({ id }) => !known.has(id) && known.add(id));
  if (fresh.length === 0) return { text: text === '' ? '' : endLine(text), count: 0 };
  return { text: `${text === '' ? '' : endLine(text)}${linesOf(fresh)}`, count: fresh.length };
}

/** Every line of one of `keys` goes; the rest stays as it is. */
export function removeKeys(text: string, keys: readonly PublicKey[]): Edited {
  const unwanted = new Set(keys.map(({ id }) => id));
  const found = new Set<string>();
  const lines = text.match(/[^\n]*\n|[^\n]+/g) ?? [];
  const left = lines.filter((line) => {
    const id = parseLine(line.trim())?.id;
    if (id === undefined || !unwanted.has(id)) return true;
    found.add(id);
    return false;
  });
  const rest = left.join('');
  return { text: rest === '' ? '' : endLine(rest), count: found.size };
}

/** A file of `keys` and nothing else. */
export function onlyKeys(keys: readonly PublicKey[]): Edited {
  return mergeKeys('', keys);
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
  const plain = parseKey(line, line);
  if (plain !== null) return plain;
  const options = optionsLength(line);
  return options === null ? null : parseKey(line.slice(options).trimStart(), line);
}

function parseKey(text: string, line: string): PublicKey | null {
  const [, type = '', base64 = '', comment = ''] = /^([a-z0-9@.-]+)[ \t]+(\S+)(?:[ \t]+(.*))?$/is.exec(text) ?? [];
  const blob = decode(base64);
  if (blob === null || stringAt(blob, 0)?.toString('latin1') !== type) return null;
  const digest = createHash('sha256').update(blob).digest('base64').replace(/=+$/, '');
  return {
    line,
    type,
    comment: comment.trim(),
    id: `${type} ${blob.toString('base64')}`,
    fingerprint: `SHA256:${digest}`,
  };
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
  const type = line.split(' ').find((word) => Object.hasOwn(TYPES, word));
  if (type === undefined) return 'no type that is known';
  const base64 =
    line
      .slice(line.indexOf(type) + type.length)
      .trimStart()
      .split(' ')[0] ?? '';
  const blob = decode(base64);
  if (blob === null) return 'a key that is not base64';
  const inner = stringAt(blob, 0);
  return inner === null ? 'a key that is cut off' : `a key of another type inside than ${type}`;
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
