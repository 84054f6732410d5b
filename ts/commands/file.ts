import { AgentError, command, type CommandModule, type Host, kindOf, messageOf } from '../api/index.js';
import { type FileRules, whyRefused } from './file-rules.js';
import { injectKeys, type KeysPolicy } from './keys-file.js';
import { type Part, Uploads, digestOf } from './file-uploads.js';

export interface FileOptions {
  readonly rules: FileRules;
  /** Of a new file. */
  readonly mode: number;
  /** Bytes that a file may have. */
  readonly maxSize: number;
  /** How many files that come in parts may be unfinished. */
  readonly uploads: number;
  /** How long such a file waits for its next part, milliseconds. */
  readonly uploadLifetimeMs: number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** What becomes of a user's ssh keys when the host sends the file: replaced, as nova expects, when absent. */
  readonly authorizedKeys?: KeysPolicy;
}

export interface Injection {
  readonly path: string;
  readonly content: Buffer;
}

const COMMA = 0x2c;
/** ssh is told by nobody else that a key is for its owner's eyes only. */
const SSH_FILE_MODE = 0o600;

/**
 * `injectfile` and `file_inject`: two forms of one request, to write a file. The host takes the second where
 * `features` offers it; a file that is larger than one request holds comes in parts.
 *
 * A file that is there keeps its mode, owner and label, and its old content stays as a backup in the agent's state
 * directory. A new one belongs to root alone, unless the configuration has another mode: hosts inject keys.
 */
export function fileCommands(host: Host, options: FileOptions): CommandModule {
  const { now = Date.now } = options;
  const uploads = new Uploads(host.state, { count: options.uploads, lifetimeMs: options.uploadLifetimeMs, now });
  const run = async (wanted: Injection | Part): Promise<string> => {
    if ('total' in wanted) return addPart(host, options, uploads, wanted);
    await writeFile(host, options, wanted);
    return '';
  };
  return {
    name: 'file',
    commands: [
      command({ name: 'injectfile', lane: 'serial', parse: parseInjectfile, run }),
      command({ name: 'file_inject', lane: 'serial', parse: parseFileInject, run }),
    ],
  };
}

/** base64 of `path,content`; the content may hold commas, the path cannot. */
function parseInjectfile(value: unknown): Injection {
  const bytes = decodeBase64(value);
  const comma = bytes.indexOf(COMMA);
  if (comma < 0) throw new AgentError('GW_ARGUMENT_INVALID', ['injectfile value', 'path,content', 'no comma']);
  return { path: parsePath(bytes.subarray(0, comma)), content: bytes.subarray(comma + 1) };
}

/** `{"b64_path": ..., "b64_file": ...}`, and for a part `offset`, `total` and, with the last one, `sha256`. */
function parseFileInject(value: unknown): Injection | Part {
  const wanted = 'an object with b64_path and b64_file';
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new AgentError('GW_ARGUMENT_INVALID', ['file_inject value', wanted, kindOf(value)]);
  }
  const { b64_path: path, b64_file: file } = value as { readonly b64_path?: unknown; readonly b64_file?: unknown };
  if (path === undefined || file === undefined) {
    throw new AgentError('GW_ARGUMENT_INVALID', ['file_inject value', wanted, 'one without']);
  }
  const injection = { path: parsePath(decodeBase64(path)), content: decodeBase64(file) };
  return parsePart(injection, value);
}

function parsePart(injection: Injection, value: object): Injection | Part {
  const fields = value as { readonly offset?: unknown; readonly total?: unknown; readonly sha256?: unknown };
  if ((fields.offset ?? fields.total ?? fields.sha256 ?? null) === null) return injection;
  const offset = parseByteCount('offset', fields.offset);
  const total = parseByteCount('total', fields.total);
  const sha256 = fields.sha256 ?? null;
  const invalid = (got: string): AgentError =>
    new AgentError('GW_ARGUMENT_INVALID', ['sha256', '64 hexadecimal digits with the last part', got]);
  if (sha256 === null) {
    if (offset + injection.content.length === total) throw invalid('none');
    return { ...injection, offset, total, sha256 };
  }
  if (typeof sha256 !== 'string') throw invalid(typeof sha256);
  if (!/^[0-9a-f]{64}$/i.test(sha256)) throw invalid(`${sha256.length} characters`);
  return { ...injection, offset, total, sha256: sha256.toLowerCase() };
}

/** A JSON number, or its digits as text. */
function parseByteCount(name: string, value: unknown): number {
  const number = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value;
  if (Number.isSafeInteger(number) && (number as number) >= 0) return number as number;
  const got = value === undefined || value === null ? 'none' : typeof value === 'number' ? String(value) : typeof value;
  throw new AgentError('GW_ARGUMENT_INVALID', [name, 'a whole number of bytes', got]);
}

function decodeBase64(value: unknown): Buffer {
  const text = typeof value === 'string' ? value.replace(/[ \t\r\n]/g, '') : '-';
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw new AgentError('GW_FILE_UNDECODABLE');
  return Buffer.from(text, 'base64');
}

/** Throws AgentError for a path that is not that of a file in one way only. */
export function parsePath(bytes: Buffer): string {
  const invalid = (got: string) => new AgentError('GW_ARGUMENT_INVALID', ['path', 'an absolute path of a file', got]);
  let path: string;
  try {
    path = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw invalid('bytes that are not UTF-8');
  }
  if (path === '') throw invalid('nothing');
  if (path.includes('\0')) throw invalid('a NUL inside');
  if (!path.startsWith('/')) throw invalid(path);
  if (path.endsWith('/')) throw invalid(`${path}, a directory`);
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw invalid(path);
  return `/${parts.join('/')}`;
}

/** Answers how many bytes of the file are here. */
async function addPart(host: Host, options: FileOptions, uploads: Uploads, part: Part): Promise<string> {
  try {
    return await addAllowedPart(host, options, uploads, part);
  } catch (error) {
    // A user can bring that about as often as he likes: it must not keep a place that others need.
    if (error instanceof AgentError && error.code === 'GW_FILE_REFUSED') await uploads.drop(part.path);
    throw error;
  }
}

async function addAllowedPart(host: Host, options: FileOptions, uploads: Uploads, part: Part): Promise<string> {
  const { path, total } = part;
  // Before anything is kept: what will be refused at the end is refused at the beginning.
  const leadsTo = await place(host, options, path, total);
  if ((await uploads.held(path)) === null && (await isThere(host, leadsTo, part))) return progress(total, total);
  const { held, whole } = await uploads.add(part);
  if (whole !== null) {
    await writeFile(host, options, { path, content: whole });
    await uploads.drop(path);
  }
  return progress(held, total);
}

function progress(held: number, total: number): string {
  return `${held} of ${total} bytes`;
}

/** Whether `part` is the last one of a file that was finished before, and comes again for want of its answer. */
async function isThere(host: Host, leadsTo: string, { offset, total, sha256 }: Part): Promise<boolean> {
  if (offset === 0 || sha256 === null || (await host.files.status(leadsTo))?.size !== total) return false;
  const content = await host.files.read(leadsTo);
  return content !== null && digestOf(content) === sha256;
}

/** Writes a whole file as the rules have it. Throws AgentError. */
export async function writeFile(host: Host, options: FileOptions, { path, content }: Injection): Promise<void> {
  const leadsTo = await place(host, options, path, content.length);
  if (await injectKeys(host, options.authorizedKeys ?? 'replace', path, content)) return;
  // ssh ignores keys in a directory that others can write to; a private one is what its own tools make.
  const isSsh = path.split('/').at(-2) === '.ssh';
  const mode = isSsh ? SSH_FILE_MODE : options.mode;
  const directoryMode = isSsh ? 0o700 : 0o755;
  const commit = await host.files.commit([{ type: 'write', path, content, mode, directoryMode, leadsTo }]);
  await commit.confirm();
}

/** Where a file at `path` would stand once links are followed. Throws AgentError when it must not stand there. */
export async function place(host: Host, { rules, maxSize }: FileOptions, path: string, size: number): Promise<string> {
  const refuse = (why: string): AgentError => new AgentError('GW_FILE_REFUSED', [path, why]);
  const asGiven = whyRefused(path, rules);
  if (asGiven !== null) throw refuse(asGiven);
  if (size > maxSize) throw refuse(`it has ${size} bytes, files.max-size is ${maxSize}`);
  const leadsTo = await destination(host, path);
  const onItsWay = leadsTo === path ? '' : `it leads to ${leadsTo}: `;
  const behindLinks = whyRefused(leadsTo, rules);
  if (behindLinks !== null) throw refuse(`${onItsWay}${behindLinks}`);
  const there = await host.files.status(leadsTo);
  if (leadsTo === '/' || there?.type === 'directory') throw refuse(`${onItsWay}it is a directory`);
  if (there?.type === 'other') throw refuse(`${onItsWay}it is a device, a pipe or a socket`);
  return leadsTo;
}

/** `path` with its links followed as far as there is something. */
async function destination(host: Host, path: string): Promise<string> {
  let whole: string | null;
  try {
    whole = await host.files.resolve(path);
  } catch (cause) {
    if (!(cause instanceof AgentError)) throw new AgentError('GW_FILE_FAILED', [path, messageOf(cause)], { cause });
    throw new AgentError('GW_FILE_REFUSED', [path, cause.args[1] ?? ''], { cause });
  }
  if (whole !== null) return whole;
  const cut = path.lastIndexOf('/');
  const parent = cut <= 0 ? '/' : await destination(host, path.slice(0, cut));
  return `${parent === '/' ? '' : parent}${path.slice(cut)}`;
}
