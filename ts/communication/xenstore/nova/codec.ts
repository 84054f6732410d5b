/**
 * Requests and answers as the OpenStack XenAPI driver and its dom0 plugin write and read them: JSON objects that pass
 * through `xenstore-write` (which turns `\n` in its argument into a raw line feed) and `xenstore-read` (which escapes
 * what is not printable ASCII, and every backslash). docs/protocol.md has the resulting rules.
 */
import type { Body, Codec, CommandRequest, Reply } from '../../../api/communication.js';
import { AgentError } from '../../../api/errors.js';
import { DepthError, MAX_DEPTH, kindOf, parseHostJson } from '../../../api/json.js';

/** Guests have a quota of 2,048 bytes a node, which also counts its permissions. */
const ANSWER_LIMIT = 1900;

/** Takes a byte order mark for what it is in JSON: a mistake. */
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export const codec = { decode, encode } satisfies Codec;

function decode(body: Body): CommandRequest {
  const request = parse(textOf(body));
  if (typeof request !== 'object' || request === null || Array.isArray(request)) {
    throw new AgentError('GW_REQUEST_MALFORMED', ['a JSON object', kindOf(request)]);
  }
  const { name, value = '' } = request as { name?: unknown; value?: unknown };
  // Never the value of a key that is there.
  if (name === undefined) throw new AgentError('GW_REQUEST_NO_NAME');
  if (typeof name !== 'string') {
    throw new AgentError('GW_REQUEST_MALFORMED', ["text as 'name'", kindOf(name)]);
  }
  return { name, value };
}

function textOf(body: Body): string {
  if (typeof body === 'string') return body;
  try {
    return utf8.decode(body);
  } catch {
    throw new AgentError('GW_REQUEST_MALFORMED', ['UTF-8 text', 'other bytes']);
  }
}

function parse(json: string): unknown {
  try {
    return parseHostJson(json);
  } catch (error) {
    if (error instanceof DepthError) {
      throw new AgentError('GW_REQUEST_MALFORMED', [`JSON of at most ${MAX_DEPTH} levels`, 'more']);
    }
    // Not the parser's own message: it quotes the request, which may hold a secret.
    throw new AgentError('GW_REQUEST_MALFORMED', ['a JSON object', json === '' ? 'nothing' : 'text that is not JSON']);
  }
}

function encode(reply: Reply): string {
  const returncode = printable(reply.returncode);
  const head = `{"returncode":"${returncode}","message":"`;
  const room = ANSWER_LIMIT - head.length - 2;
  const message = printable(reply.message);
  const fitted = message.length <= room ? message : `${message.slice(0, room - 3)}...`;
  return `${head}${fitted}"}`;
}

const PRINTABLE = /^[ !#-[\]-~]*$/;

/** Only bytes that the tools of dom0 hand on as they are. */
function printable(message: string): string {
  // Most are so already, and one look is cheaper than three replacements.
  if (PRINTABLE.test(message)) return message;
  return message
    .replaceAll('"', "'")
    .replaceAll('\\', '/')
    .replace(/[^\x20-\x7e]/gu, '?');
}
