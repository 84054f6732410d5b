import { AgentError, type Host } from '../../api/index.js';
import { whyRefused } from '../file-rules.js';
import { type FileOptions, parsePath, place, writeFile } from '../file.js';

/** One that is being written holds up to `files.max-size` in memory. */
const MAX_OPEN = 8;
/** A host that went away closes nothing; its files make room for others after this time. Milliseconds. */
const IDLE_MS = 600_000;
/** As QEMU's guest agent has it. */
const MAX_READ = 48 * 1024 * 1024;
const DEFAULT_READ = 4096;

/** How fopen(3) would open it. */
interface Mode {
  readonly start: 'r' | 'w' | 'a';
  readonly reads: boolean;
  readonly writes: boolean;
}

interface OpenFile {
  readonly path: string;
  readonly leadsTo: string;
  readonly mode: Mode;
  /** What the file is to be when it is closed; null for one that is only read. */
  readonly content: GrowingBuffer | null;
  position: number;
  changed: boolean;
  /** Milliseconds since 1970. */
  used: number;
}

/**
 * The files that a host has open. One that is written is put together in memory and written as a whole when it is
 * closed: what is never closed changes nothing, and nobody sees half a file.
 */
export class OpenFiles {
  readonly #host: Host;
  readonly #options: FileOptions;
  readonly #files = new Map<number, OpenFile>();
  /** Never one that an earlier run of the agent gave out. */
  #next: number;

  constructor(host: Host, options: FileOptions) {
    this.#host = host;
    this.#options = options;
    this.#next = this.#now();
  }

  /** Gives the handle. Throws AgentError. */
  async open(given: string, modeText: string): Promise<number> {
    const path = parsePath(Buffer.from(given));
    const mode = parseMode(modeText);
    this.#makeRoom();
    const leadsTo = mode.writes
      ? await place(this.#host, this.#options, path, 0)
      : await placeForReading(this.#host, this.#options, path);
    const content = mode.writes ? await this.#begin(path, leadsTo, mode) : null;
    const handle = this.#next;
    this.#next += 1;
    const changed = mode.start === 'w' || (mode.start === 'a' && (await this.#host.files.status(leadsTo)) === null);
    this.#files.set(handle, { path, leadsTo, mode, content, position: 0, changed, used: this.#now() });
    return handle;
  }

  async read(handle: number, count: number | null): Promise<{ readonly bytes: Buffer; readonly eof: boolean }> {
    const file = this.#use(handle);
    const wanted = count ?? DEFAULT_READ;
    if (!file.mode.reads) throw wrong(handle, 'one that was opened for reading', 'one for writing');
    if (wanted < 0 || wanted > MAX_READ) throw badCount(`0 to ${MAX_READ}`, wanted);
    const bytes = file.content?.slice(file.position, wanted) ?? (await this.#readPart(file, wanted));
    file.position += bytes.length;
    return { bytes, eof: bytes.length < wanted };
  }

  /** Takes `count` of the bytes; all of them for null. Gives how many. */
  write(handle: number, bytes: Buffer, count: number | null): number {
    const file = this.#use(handle);
    const length = count ?? bytes.length;
    if (file.content === null) throw wrong(handle, 'one that was opened for writing', 'one for reading');
    if (length < 0 || length > bytes.length) throw badCount(`0 to ${bytes.length}`, length);
    if (file.mode.start === 'a') file.position = file.content.length;
    const end = file.position + length;
    const { maxSize } = this.#options;
    if (end > maxSize) {
      throw new AgentError('GW_FILE_REFUSED', [file.path, `it would have ${end} bytes, files.max-size is ${maxSize}`]);
    }
    file.content.put(bytes.subarray(0, length), file.position);
    file.position = end;
    file.changed = true;
    return length;
  }

  /** Gives whether a file was written. The handle is gone afterwards, whatever comes of the file. Throws AgentError. */
  async close(handle: number): Promise<boolean> {
    const { path, content, changed } = this.#use(handle);
    this.#files.delete(handle);
    if (content === null || !changed) return false;
    await writeFile(this.#host, this.#options, { path, content: content.slice(0, content.length) });
    return true;
  }

  async #begin(path: string, leadsTo: string, { start, reads }: Mode): Promise<GrowingBuffer> {
    const content = new GrowingBuffer();
    if (start === 'w') return content;
    // Both the rule for what is read and the limit for what is kept.
    const { maxSize, rules } = this.#options;
    const why = reads ? whyRefused(leadsTo, rules) : null;
    if (why !== null) throw new AgentError('GW_FILE_UNREADABLE', [path, why]);
    const present = await readPart(this.#host, path, leadsTo, 0, maxSize + 1);
    if (present === null && start === 'r') throw new AgentError('GW_FILE_UNREADABLE', [path, 'there is no such file']);
    if (present !== null && present.length > maxSize) {
      throw new AgentError('GW_FILE_REFUSED', [path, `it has more than files.max-size, ${maxSize} bytes`]);
    }
    content.put(present ?? Buffer.alloc(0), 0);
    return content;
  }

  async #readPart({ path, leadsTo, position }: OpenFile, length: number): Promise<Buffer> {
    const bytes = await readPart(this.#host, path, leadsTo, position, length);
    if (bytes === null) throw new AgentError('GW_FILE_UNREADABLE', [path, 'it is not there any more']);
    return bytes;
  }

  #use(handle: number): OpenFile {
    const file = this.#files.get(handle);
    if (file === undefined) throw wrong(handle, 'one that guest-file-open gave', 'one that is not open');
    file.used = this.#now();
    return file;
  }

  #makeRoom(): void {
    if (this.#files.size < MAX_OPEN) return;
    for (const [handle, { used }] of this.#files) if (this.#now() - used > IDLE_MS) this.#files.delete(handle);
    if (this.#files.size >= MAX_OPEN) {
      throw new AgentError('GW_FILE_HANDLE', ['for another file', `fewer than ${MAX_OPEN} open`, String(MAX_OPEN)]);
    }
  }

  #now(): number {
    return (this.#options.now ?? Date.now)();
  }
}

/** Bytes with room to grow: a file comes in many pieces, and copying all of it for each would take seconds. */
class GrowingBuffer {
  #bytes = Buffer.alloc(0);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  put(piece: Buffer, offset: number): void {
    const end = offset + piece.length;
    if (end > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(end, this.#bytes.length * 2));
      this.#bytes.copy(larger);
      this.#bytes = larger;
    }
    piece.copy(this.#bytes, offset);
    this.#length = Math.max(this.#length, end);
  }

  slice(offset: number, count: number): Buffer {
    return this.#bytes.subarray(offset, Math.min(offset + count, this.#length));
  }
}

function parseMode(text: string): Mode {
  const [, start, plus] = /^([rwa])(?:b?(\+?)|\+b)$/.exec(text) ?? [];
  if (start !== 'r' && start !== 'w' && start !== 'a') {
    const got = text.length > 8 || /[^ -~]|["\\]/.test(text) ? 'another' : text;
    throw new AgentError('GW_ARGUMENT_INVALID', ['mode', 'one of fopen, such as r, w or a+', got]);
  }
  const both = plus === '+' || text.endsWith('+b');
  return { start, reads: both || start === 'r', writes: both || start !== 'r' };
}

/** Where `path` leads. Throws AgentError for what is not there or not to be read. */
async function placeForReading(host: Host, { rules }: FileOptions, path: string): Promise<string> {
  const refuse = (why: string): AgentError => new AgentError('GW_FILE_UNREADABLE', [path, why]);
  const asGiven = whyRefused(path, rules);
  if (asGiven !== null) throw refuse(asGiven);
  const leadsTo = await host.files.resolve(path);
  if (leadsTo === null) throw refuse('there is no such file');
  const behindLinks = whyRefused(leadsTo, rules);
  if (behindLinks !== null) throw refuse(`it leads to ${leadsTo}: ${behindLinks}`);
  const type = (await host.files.status(leadsTo))?.type;
  if (type !== 'file') throw refuse(type === 'directory' ? 'it is a directory' : 'it is no regular file');
  return leadsTo;
}

async function readPart(
  host: Host,
  path: string,
  leadsTo: string,
  offset: number,
  length: number,
): Promise<Buffer | null> {
  try {
    return await host.files.readPart(leadsTo, offset, length);
  } catch (cause) {
    throw new AgentError('GW_FILE_UNREADABLE', [path, cause instanceof Error ? cause.message : String(cause)], {
      cause,
    });
  }
}

function wrong(handle: number, wanted: string, got: string): AgentError {
  return new AgentError('GW_FILE_HANDLE', [String(handle), wanted, got]);
}

function badCount(wanted: string, got: number): AgentError {
  return new AgentError('GW_ARGUMENT_INVALID', ['count', wanted, String(got)]);
}
