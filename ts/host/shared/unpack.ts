/** Archives of the agent: what is in them is judged entry by entry, before it gets a name on this machine. */
import { createReadStream } from 'node:fs';
import { chmod, constants, mkdir, open, readFile, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Transform, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { type Extract, extract } from 'tar-stream';
import { AgentError, messageOf } from '../../api/index.js';
import { codeOf } from '../../api/errors.js';
import { syncDirectory } from './durable.js';
import { absent } from './system-error.js';

const MAX_ENTRIES = 4096;
const NEEDED = ['dist/guestwire.js', 'native/binding.js', 'package.json'];
/** What system calls say of a name that comes twice, as a file and a directory, or is too long. */
const OF_NAMES = new Set(['EEXIST', 'ENOTDIR', 'EISDIR', 'ENAMETOOLONG']);
const SPECIAL_BITS = 0o7000;
const GZIP = Buffer.from([0x1f, 0x8b]);
const VERSION = /^[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}$/;

export interface Unpacked {
  /** Where package.json lies: the directory itself, or the only one in it. */
  readonly directory: string;
  readonly version: string;
}

type Entry = Extract extends AsyncIterable<infer Each> ? Each : never;

/** What the archive, and not this machine, is to blame for. */
class Unusable extends Error {}

/**
 * Unpacks a tar, compressed by gzip or not, into `directory`, which must be empty. Throws GW_UPDATE_ARCHIVE, or what the
 * system said where the disk is to blame, with the directory in whatever state.
 */
export async function unpackArchive(archive: string, directory: string, maxSize: number): Promise<Unpacked> {
  try {
    await extractInto(archive, directory, maxSize);
    return await judge(directory);
  } catch (cause) {
    if (isOfMachine(cause)) throw cause;
    throw new AgentError('GW_UPDATE_ARCHIVE', [messageOf(cause)], { cause });
  }
}

/** A system call was refused, and not because of the names in the archive. */
function isOfMachine(cause: unknown): boolean {
  return cause instanceof Error && 'syscall' in cause && !OF_NAMES.has(codeOf(cause) ?? '');
}

async function extractInto(archive: string, directory: string, maxSize: number): Promise<void> {
  const tar = extract();
  const bytes = createReadStream(archive);
  const plain: Readable = (await startsWith(archive, GZIP)) ? bytes.pipe(createGunzip()) : bytes;
  const limited = plain.pipe(limit(maxSize));
  for (const stream of [bytes, plain, limited]) {
    stream.on('error', (error: Error) => {
      tar.destroy(error);
    });
  }
  limited.pipe(tar);
  const made = new Set([directory]);
  try {
    let entries = 0;
    for await (const entry of tar) {
      entries += 1;
      if (entries > MAX_ENTRIES) throw new Unusable(`it has more than ${MAX_ENTRIES} entries`);
      await place(entry, directory, made);
    }
  } finally {
    bytes.destroy();
  }
  for (const path of made) await syncDirectory(path);
}

async function place(entry: Entry, directory: string, made: Set<string>): Promise<void> {
  const { name, type, mode } = entry.header;
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (name.startsWith('/') || parts.includes('..') || !/^[\x20-\x7e]*$/.test(name)) {
    throw new Unusable(`it has an entry that leads outside: ${name}`);
  }
  // A program needs none of the others, and a link could lead the next entry anywhere.
  if (type !== 'file' && type !== 'directory') throw new Unusable(`${name} is a ${type}`);
  if ((mode & SPECIAL_BITS) !== 0) throw new Unusable(`${name} has set-uid, set-gid or sticky bits`);
  const path = join(directory, ...parts);
  if (type === 'directory') {
    await makeDirectories(path, directory, made);
    entry.resume();
    return;
  }
  if (parts.length === 0) throw new Unusable('it has a file without a name');
  await makeDirectories(dirname(path), directory, made);
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const file = await open(path, flags, 0o600);
  try {
    for await (const chunk of entry) await file.writeFile(chunk as Buffer);
    await file.chmod((mode & 0o100) === 0 ? 0o644 : 0o755);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function makeDirectories(path: string, top: string, made: Set<string>): Promise<void> {
  if (made.has(path)) return;
  if (path !== top) await makeDirectories(dirname(path), top, made);
  await mkdir(path);
  // Whatever the umask.
  await chmod(path, 0o755);
  made.add(path);
}

/** Ends with an error once more than `maxSize` bytes went through: a few of them can be a bomb of zeros. */
function limit(maxSize: number): Transform {
  let size = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      if (size > maxSize) done(new Unusable(`unpacked it is larger than ${maxSize} bytes`));
      else done(null, chunk);
    },
  });
}

async function startsWith(path: string, wanted: Buffer): Promise<boolean> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const { buffer } = await file.read(Buffer.alloc(wanted.length), 0, wanted.length, 0);
    return buffer.equals(wanted);
  } finally {
    await file.close();
  }
}

/** Finds the program in what was unpacked. */
async function judge(unpacked: string): Promise<Unpacked> {
  const [only, ...more] = await readdir(unpacked, { withFileTypes: true });
  const directory = only?.isDirectory() === true && more.length === 0 ? join(unpacked, only.name) : unpacked;
  for (const path of NEEDED) {
    const file = await open(join(directory, path)).catch(absent);
    await file?.close();
    if (file === null) throw new Unusable(`it has no ${path}`);
  }
  const { name, version } = parsePackage(await readFile(join(directory, 'package.json'), 'utf8'));
  if (name !== 'guestwire') throw new Unusable('its package.json is not that of guestwire');
  if (typeof version !== 'string' || !VERSION.test(version)) throw new Unusable('its package.json has no version');
  return { directory, version };
}

function parsePackage(text: string): { readonly name?: unknown; readonly version?: unknown } {
  try {
    return (JSON.parse(text) ?? {}) as { readonly name?: unknown; readonly version?: unknown };
  } catch (cause) {
    throw new Unusable('its package.json is no JSON', { cause });
  }
}
