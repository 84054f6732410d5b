import { AgentError, command, type CommandModule, type Host } from '../api/index.js';

interface Injection {
  readonly path: string;
  readonly content: Buffer;
}

const COMMA = 0x2c;
/** Not files to be replaced: doors to the kernel. */
const KERNEL_DIRECTORIES = ['/proc', '/sys', '/dev'];
const NEW_FILE_MODE = 0o600;

/**
 * `injectfile` and `file_inject`: two forms of one request, to write a file. The host takes the second where
 * `features` offers it.
 *
 * A file that is there keeps its mode, owner and label, and its old content stays as a backup in the agent's state
 * directory. A new one belongs to root alone: hosts inject keys.
 */
export function fileCommands(host: Host): CommandModule {
  const run = async ({ path, content }: Injection): Promise<string> => {
    await write(host, path, content);
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

/** `{"b64_path": ..., "b64_file": ...}` */
function parseFileInject(value: unknown): Injection {
  const wanted = 'an object with b64_path and b64_file';
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new AgentError('GW_ARGUMENT_INVALID', [
      'file_inject value',
      wanted,
      Array.isArray(value) ? 'a list' : typeof value,
    ]);
  }
  const { b64_path: path, b64_file: file } = value as { readonly b64_path?: unknown; readonly b64_file?: unknown };
  if (path === undefined || file === undefined) {
    throw new AgentError('GW_ARGUMENT_INVALID', ['file_inject value', wanted, 'one without']);
  }
  return { path: parsePath(decodeBase64(path)), content: decodeBase64(file) };
}

function decodeBase64(value: unknown): Buffer {
  const text = typeof value === 'string' ? value.replace(/[ \t\r\n]/g, '') : '-';
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw new AgentError('GW_FILE_UNDECODABLE');
  return Buffer.from(text, 'base64');
}

/** Throws AgentError for a path that is not that of a file in one way only. */
function parsePath(bytes: Buffer): string {
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

async function write(host: Host, path: string, content: Buffer): Promise<void> {
  const forbidden = KERNEL_DIRECTORIES.find((directory) => path === directory || path.startsWith(`${directory}/`));
  if (forbidden !== undefined) throw new AgentError('GW_FILE_REFUSED', [path, `${forbidden} belongs to the kernel`]);
  const there = await host.files.status(path);
  if (path === '/' || there?.type === 'directory') throw new AgentError('GW_FILE_REFUSED', [path, 'it is a directory']);
  if (there?.type === 'other') throw new AgentError('GW_FILE_REFUSED', [path, 'it is a device, a pipe or a socket']);
  // ssh ignores keys in a directory that others can write to; a private one is what its own tools make.
  const directoryMode = path.split('/').at(-2) === '.ssh' ? 0o700 : 0o755;
  const commit = await host.files.commit([{ type: 'write', path, content, mode: NEW_FILE_MODE, directoryMode }]);
  await commit.confirm();
}
