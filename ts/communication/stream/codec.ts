/**
 * Two dialects on one stream. The agent's own: `{"id":…,"name":…,"value":…}`, answered by
 * `{"id":…,"returncode":…,"message":…}`. The QEMU guest agent's: `{"execute":…,"arguments":…,"id":…}`, answered by
 * `{"return":…}` or `{"error":{"class":…,"desc":…}}`. A line that is neither gets an answer that both understand.
 */
import { asBuffer } from '../../api/bytes.js';
import type { Body, Codec, CommandRequest, Reply } from '../../api/communication.js';
import { AgentError } from '../../api/errors.js';
import { DepthError, MAX_DEPTH, kindOf } from '../../api/json.js';
import { parseExact, stringifyExact } from './json.js';
import { isUtf8 } from '../../host/shared/runtime/text.js';

export const QEMU_DIALECT = 'qemu';

const SENTINEL = Buffer.from([0xff]);
const SUCCESS = ['0', 'D0'];
/** Of {@link AgentError} GW_COMMAND_UNKNOWN. */
const UNKNOWN_COMMAND = '404';

type Line =
  | { readonly dialect: 'own'; readonly id: unknown; readonly name: unknown; readonly value: unknown }
  | { readonly dialect: 'qemu'; readonly id: unknown; readonly execute: unknown; readonly arguments: unknown }
  | { readonly dialect: 'none'; readonly wanted: string; readonly got: string };

/** `limit`: bytes that a line may have. */
export function createCodec(limit: number): Codec {
  return {
    decode: (body) => decode(read(body, limit)),
    encode: (reply, request) => encode(reply, read(request, limit)),
  };
}

function read(body: Body, limit: number): Line {
  const bytes = asBuffer(body);
  const none = (wanted: string, got: string): Line => ({ dialect: 'none', wanted, got });
  if (bytes.length > limit) return none(`a line of at most ${limit} bytes`, 'a longer one');
  if (!isUtf8(bytes)) return none('UTF-8 text', 'other bytes');
  let value: unknown;
  try {
    value = parseExact(bytes.toString('utf8'));
  } catch (error) {
    // Its id is not read: it may be what lies so deep.
    if (error instanceof DepthError) return none(`JSON of at most ${MAX_DEPTH} levels`, 'more');
    // Not the parser's own message: it quotes the request, which may hold a secret.
    return none('a JSON object in one line', 'text that is not JSON');
  }
  if (!isObject(value)) return none('a JSON object', kindOf(value));
  const { id } = value;
  if (Object.hasOwn(value, 'execute')) {
    return { dialect: 'qemu', id, execute: value['execute'], arguments: value['arguments'] };
  }
  if (Object.hasOwn(value, 'name')) return { dialect: 'own', id, name: value['name'], value: value['value'] };
  return none("an object with 'name' or 'execute'", 'one without');
}

function decode(line: Line): CommandRequest {
  if (line.dialect === 'none') throw new AgentError('GW_REQUEST_MALFORMED', [line.wanted, line.got]);
  if (line.dialect === 'own') return { name: asText('name', line.name), value: line.value ?? '' };
  const name = asText('execute', line.execute);
  const { arguments: value = {} } = line;
  if (!isObject(value)) throw new AgentError('GW_REQUEST_MALFORMED', ["an object as 'arguments'", kindOf(value)]);
  return { name, value, dialect: QEMU_DIALECT };
}

function asText(key: string, value: unknown): string {
  if (typeof value === 'string') return value;
  throw new AgentError('GW_REQUEST_MALFORMED', [`text as '${key}'`, kindOf(value)]);
}

function encode({ returncode, message, data, silent }: Reply, line: Line): Uint8Array {
  const succeeded = SUCCESS.includes(returncode);
  // `undefined` leaves a key out.
  if (line.dialect === 'own') return lineOf({ id: line.id, returncode, message, data });
  const error = {
    class: returncode === UNKNOWN_COMMAND ? 'CommandNotFound' : 'GenericError',
    desc: message,
  };
  if (line.dialect === 'none') return lineOf({ returncode, message, error });
  if (!succeeded) return lineOf({ error, id: line.id });
  if (silent === true) return Buffer.alloc(0);
  const answer = lineOf({ return: data ?? {}, id: line.id });
  // The client throws away all that comes before the sentinel.
  return line.execute === 'guest-sync-delimited' ? Buffer.concat([SENTINEL, answer]) : answer;
}

function lineOf(answer: object): Buffer {
  return Buffer.from(`${stringifyExact(answer)}\n`, 'utf8');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
