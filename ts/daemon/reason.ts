/** What the log may say of an error: its reason in words, without what may be a secret of the request. */
import { COMMAND_NAME } from '../api/command.js';
import { AGENT_ERRORS, AgentError, type AgentErrorCode } from '../api/errors.js';
import { reasonOfCode } from '../host/shared/reason.js';
import { describeError } from './log.js';
import { ShapeError } from './plugin-shape.js';

/**
 * Which places of a message may hold text that the host sent and that nothing on this machine confirms: a password in
 * the place of a user's name, for one. Paths and URLs are in the log anyway.
 */
const UNCONFIRMED: Readonly<Record<AgentErrorCode, readonly number[]>> = {
  GW_REQUEST_MALFORMED: [],
  GW_REQUEST_NO_NAME: [],
  GW_REQUEST_INTERRUPTED: [],
  // The name is looked at by itself.
  GW_COMMAND_UNKNOWN: [],
  GW_COMMAND_DENIED: [],
  GW_HOOK_REFUSED: [],
  GW_ARGUMENT_INVALID: [2],
  GW_EXCHANGE_REFUSED: [],
  GW_KEY_MISSING: [],
  GW_PASSWORD_UNDECODABLE: [],
  GW_PASSWORD_UNREADABLE: [],
  GW_PASSWORD_EMPTY: [],
  GW_USER_UNKNOWN: [0],
  GW_USER_REFUSED: [0],
  GW_ACCOUNT_LOCKED: [],
  GW_PASSWORD_UNSUPPORTED: [],
  GW_KEYS_REFUSED: [],
  GW_FILE_UNDECODABLE: [],
  GW_FILE_REFUSED: [],
  GW_FILE_FAILED: [],
  GW_FILE_UNREADABLE: [],
  GW_FILE_HANDLE: [],
  GW_UPLOAD_CONTRADICTORY: [1, 2],
  GW_UPLOAD_GAP: [],
  GW_UPLOAD_LIMIT: [],
  GW_NETWORK_EMPTY: [],
  GW_NETWORK_INVALID: [],
  GW_NETWORK_UNSUPPORTED: [],
  GW_NETWORK_IMPOSSIBLE: [],
  GW_NETWORK_REFUSED: [],
  GW_NETWORK_BOOT: [],
  GW_NETWORK_MISMATCH: [],
  GW_NETWORK_NOT_BACK: [],
  GW_NETWORK_PARTIAL: [],
  GW_KMS_UNSUPPORTED: [],
  GW_KMS_FAILED: [],
  GW_UPDATE_REFUSED: [],
  GW_UPDATE_DOWNLOAD: [],
  GW_UPDATE_DIGEST: [],
  GW_UPDATE_UNSIGNED: [],
  GW_UPDATE_ARCHIVE: [],
  GW_UPDATE_TRIAL: [],
  GW_UPDATE_FAILED: [],
  GW_RUN_FAILED: [],
  GW_PLUGIN_FAILED: [],
  GW_PLUGIN_EXIT: [],
  GW_PLUGIN_REFUSED: [0],
  GW_SCRIPT_FAILED: [],
  GW_STORE_ABSENT: [],
  GW_STORE_AWAY: [],
  GW_WIRE_ABSENT: [],
  GW_SYSTEM_UNSUPPORTED: [],
  GW_STATE_IN_USE: [],
  GW_CONFIG_INVALID: [],
  GW_INTERNAL: [],
};

const HIDDEN = '(not logged)';
/** Errors of the addon whose messages are about the machine, not about a request. */
const OF_THE_MACHINE = /^(?:XS|STREAM|NETLINK)_|^LOCK_TIMEOUT$/;

/** Why something failed, in words for the log. */
export function reasonOf(error: unknown): string {
  if (error instanceof AgentError) return reasonOfAgentError(error);
  if (error instanceof ShapeError) return error.message;
  const { type, code } = describeError(error);
  if (code === undefined) return type;
  return OF_THE_MACHINE.test(code) ? (error as Error).message : (reasonOfCode(code) ?? code);
}

function reasonOfAgentError(error: AgentError): string {
  const { code } = error;
  // A plugin has a copy of the class, and puts into its errors what it likes.
  const own = error.constructor === AgentError;
  const args = own ? error.args : [];
  const shown = args.map((text, place) => (isConfirmed(code, text, place) ? text : HIDDEN));
  const [, template] = AGENT_ERRORS[code];
  let next = 0;
  return template.replaceAll('%s', () => shown[next++] ?? HIDDEN);
}

function isConfirmed(code: AgentErrorCode, text: string, place: number): boolean {
  // What looks like a command is one that another agent has.
  if (code === 'GW_COMMAND_UNKNOWN') return COMMAND_NAME.test(text);
  return !UNCONFIRMED[code].includes(place);
}
