import { AgentError, type State } from '../api/index.js';
import { digest } from '../host/shared/runtime/digest.js';

/** A piece of a file that is larger than one request. */
export interface Part {
  readonly path: string;
  readonly content: Buffer;
  /** Where in the file it begins, bytes. */
  readonly offset: number;
  /** Bytes of the whole file. */
  readonly total: number;
  /** SHA-256 of the whole file in lower-case hex: with the last part alone. */
  readonly sha256: string | null;
}

export interface UploadOptions {
  /** How many files may be unfinished at a time. */
  readonly count: number;
  /** How long an unfinished file waits for its next part, milliseconds. */
  readonly lifetimeMs: number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** What is known of an unfinished file beside its bytes. */
interface Upload {
  readonly total: number;
}

const FOLDER = 'uploads';

/**
 * Files that come in parts, one for each path, kept in the state directory until they are whole. Everything stands on
 * the disk: an agent that was restarted goes on where it was. Parts come in order; one that is there already, or
 * overlaps with what is there, must say the same again.
 */
export class Uploads {
  readonly #state: State;
  readonly #options: UploadOptions;

  constructor(state: State, options: UploadOptions) {
    this.#state = state;
    this.#options = options;
  }

  /** How many bytes of `path` are here; null when nothing was begun. */
  async held(path: string): Promise<number | null> {
    await this.#sweep();
    const upload = await this.#read(path);
    return upload === null ? null : this.#size(path);
  }

  /**
   * Takes a part; gives how many bytes are here now, and the file once it is whole and its digest right.
   * Throws AgentError; after a contradiction nothing of the file is kept.
   */
  async add(part: Part): Promise<{ readonly held: number; readonly whole: Buffer | null }> {
    const { path, content, offset, total, sha256 } = part;
    const end = offset + content.length;
    await this.#sweep();
    const begun = await this.#read(path);
    const held = begun === null ? 0 : await this.#size(path);
    const contradiction = async (wanted: string, got: string): Promise<AgentError> => {
      await this.drop(path);
      return new AgentError('GW_UPLOAD_CONTRADICTORY', [path, wanted, got]);
    };

    if (begun !== null && begun.total !== total) {
      throw await contradiction(`a total of ${begun.total} bytes as before`, String(total));
    }
    if (end > total) throw await contradiction(`${total} bytes at most`, `a part that ends at ${end}`);
    if (sha256 !== null && end < total) {
      throw await contradiction(`the part with sha256 to end at ${total}`, `one that ends at ${end}`);
    }
    if (offset > held) {
      if (sha256 !== null) throw await contradiction(`${offset} bytes before the last part`, String(held));
      throw new AgentError('GW_UPLOAD_GAP', [path, String(held), String(offset)]);
    }
    if (begun === null) await this.#begin(path, { total });
    const known = Math.min(end, held) - offset;
    if (known > 0 && !(await this.#bytes(path, offset, known)).equals(content.subarray(0, known))) {
      throw await contradiction(`the same bytes as before from ${offset} to ${offset + known}`, 'others');
    }
    if (end > held) await this.#state.writeBytes(bytesOf(path), held, content.subarray(held - offset));
    if (sha256 === null) return { held: Math.max(held, end), whole: null };

    const whole = await this.#bytes(path, 0, total);
    const digest = digestOf(whole);
    if (digest !== sha256) throw await contradiction(`a file with SHA-256 ${sha256}`, `one with ${digest}`);
    return { held: total, whole };
  }

  /** Forgets what was sent of `path`. */
  async drop(path: string): Promise<void> {
    await this.#remove(keyOf(path));
  }

  async #begin(path: string, upload: Upload): Promise<void> {
    const begun = (await this.#state.list(FOLDER)).filter(({ name }) => name.endsWith('.json')).length;
    const { count } = this.#options;
    if (begun >= count) throw new AgentError('GW_UPLOAD_LIMIT', [path, String(count), String(begun)]);
    // First: bytes that a crash left without a record are not taken for the beginning of this file.
    await this.#state.remove(bytesOf(path));
    await this.#state.write(recordOf(path), JSON.stringify(upload));
  }

  async #read(path: string): Promise<Upload | null> {
    try {
      const upload = JSON.parse((await this.#state.read(recordOf(path))) ?? 'null') as Partial<Upload> | null;
      return typeof upload?.total === 'number' ? { total: upload.total } : null;
    } catch {
      return null;
    }
  }

  async #size(path: string): Promise<number> {
    const name = `${keyOf(path)}.part`;
    return (await this.#state.list(FOLDER)).find((file) => file.name === name)?.size ?? 0;
  }

  async #bytes(path: string, offset: number, length: number): Promise<Buffer> {
    return (await this.#state.readBytes(bytesOf(path), offset, length)) ?? Buffer.alloc(0);
  }

  /** Removes what nobody has gone on with. */
  async #sweep(): Promise<void> {
    const last = new Map<string, number>();
    for (const { name, modified } of await this.#state.list(FOLDER)) {
      const [key = ''] = name.split('.');
      last.set(key, Math.max(last.get(key) ?? 0, modified));
    }
    const { lifetimeMs, now = Date.now } = this.#options;
    for (const [key, modified] of last) if (now() - modified > lifetimeMs) await this.#remove(key);
  }

  /** The record first: bytes without one count for nothing. */
  async #remove(key: string): Promise<void> {
    for (const suffix of ['json', 'json.new', 'part']) await this.#state.remove(`${FOLDER}/${key}.${suffix}`);
  }
}

export function digestOf(content: Uint8Array): string {
  return digest('sha256', content).toString('hex');
}

/** A path as the name of a file. */
function keyOf(path: string): string {
  return digestOf(Buffer.from(path)).slice(0, 32);
}

function recordOf(path: string): string {
  return `${FOLDER}/${keyOf(path)}.json`;
}

function bytesOf(path: string): string {
  return `${FOLDER}/${keyOf(path)}.part`;
}
