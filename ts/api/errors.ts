/**
 * Every error the agent reports. The key is `error.code`, for logs and tests; the number is the `returncode` that
 * the host is sent; the template becomes the message. A test holds this table against docs/errors.md.
 *
 * Templates say what was wrong, what was wanted and what was there. They hold no `"` and no `\`, because the
 * host's tools break on both.
 */
export const AGENT_ERRORS = {
  GW_REQUEST_MALFORMED: [500, 'Request is malformed: expected %s, got %s'],
  GW_REQUEST_NO_NAME: [500, "Request is missing 'name' key"],
  GW_REQUEST_INTERRUPTED: [500, 'Interrupted: the agent was stopped while it ran %s; %s'],
  GW_COMMAND_UNKNOWN: [404, "No such agent command '%s'"],
  GW_COMMAND_DENIED: [403, "Refused: the command '%s' is switched off on this machine"],
  GW_HOOK_REFUSED: [500, 'Refused by the hook %s: %s'],
  GW_ARGUMENT_INVALID: [500, 'Invalid %s: expected %s, got %s'],
  GW_EXCHANGE_REFUSED: [500, 'Refused: the 107-bit key exchange is switched off; features lists which is not'],
  GW_KEY_MISSING: [500, 'Password without key exchange'],
  GW_PASSWORD_UNDECODABLE: [500, "Couldn't decode base64 data"],
  GW_PASSWORD_UNREADABLE: [500, 'Invalid password data received: %s'],
  GW_PASSWORD_EMPTY: [500, 'Refused: the new password is empty'],
  GW_USER_UNKNOWN: [500, "No user '%s' in %s"],
  GW_USER_REFUSED: [500, "Refused: the password of '%s' is not among those that the host may set"],
  GW_ACCOUNT_LOCKED: [500, "Refused: the account '%s' is locked and is not to be unlocked; nothing was changed"],
  GW_PASSWORD_UNSUPPORTED: [500, "Cannot set the password of '%s': %s"],
  GW_KEYS_REFUSED: [500, 'Refused the ssh keys of %s: %s'],
  GW_FILE_UNDECODABLE: [500, 'Error doing base64 decoding of data'],
  GW_FILE_REFUSED: [500, 'Refused to write %s: %s'],
  GW_FILE_FAILED: [500, 'Could not write %s: %s'],
  GW_FILE_UNREADABLE: [500, 'Could not read %s: %s'],
  GW_FILE_HANDLE: [500, 'File handle %s: expected %s, got %s'],
  GW_UPLOAD_CONTRADICTORY: [500, 'Upload of %s was dropped: wanted %s, got %s'],
  GW_UPLOAD_GAP: [500, 'Upload of %s: wanted a part from offset %s or before, got one from %s'],
  GW_UPLOAD_LIMIT: [500, 'Upload of %s refused: wanted fewer than %s unfinished ones, got %s'],
  GW_NETWORK_EMPTY: [1, 'No network data in %s; nothing was changed'],
  GW_NETWORK_INVALID: [1, 'Invalid network data; nothing was changed: %s'],
  GW_NETWORK_UNSUPPORTED: [1, 'No supported network configuration found: looked for %s'],
  GW_NETWORK_IMPOSSIBLE: [1, 'Not possible with %s: %s; nothing was changed'],
  GW_NETWORK_REFUSED: [1, '%s does not accept what would be written: %s; nothing was changed'],
  GW_NETWORK_BOOT: [1, 'The next boot would bring another network: wanted %s, got %s; nothing was changed'],
  GW_NETWORK_MISMATCH: [1, 'Network was put back: wanted %s, got %s'],
  GW_NETWORK_NOT_BACK: [1, 'Network is not as before (%s): wanted %s, got %s'],
  GW_NETWORK_PARTIAL: [1, 'Configured %s; not as wanted: %s'],
  GW_KMS_UNSUPPORTED: [500, 'KMS not supported on this OS: %s'],
  GW_KMS_FAILED: [500, "Couldn't activate with %s: %s"],
  GW_UPDATE_REFUSED: [500, 'Refused to update: %s'],
  GW_UPDATE_DOWNLOAD: [500, 'Could not download %s: %s'],
  GW_UPDATE_DIGEST: [500, '%s sums do not match (%s != %s)'],
  GW_UPDATE_UNSIGNED: [500, 'Manifest %s: %s'],
  GW_UPDATE_ARCHIVE: [500, 'Unusable archive: %s'],
  GW_UPDATE_TRIAL: [500, 'Version %s did not pass its trial: %s'],
  GW_UPDATE_FAILED: [500, 'Could not install version %s: %s'],
  GW_RUN_FAILED: [500, '%s failed: %s'],
  GW_PLUGIN_FAILED: [500, 'Plugin %s failed: %s'],
  GW_PLUGIN_EXIT: [500, 'Plugin %s wanted to end the agent (%s), which was refused'],
  GW_PLUGIN_REFUSED: [500, '%s (%s)'],
  GW_SCRIPT_FAILED: [500, 'Script %s failed: %s'],
  GW_STORE_ABSENT: [500, 'Cannot read what the host wants: %s'],
  GW_STORE_AWAY: [500, 'Cannot read what the host wants: XenStore was not reached within %s'],
  GW_WIRE_ABSENT: [500, 'No host can reach this machine: wanted %s, got %s'],
  GW_SYSTEM_UNSUPPORTED: [500, 'This operating system is not supported: wanted %s, got %s'],
  GW_STATE_IN_USE: [500, 'The state directory %s is in use: %s serves with it'],
  GW_CONFIG_INVALID: [500, '%s'],
  GW_INTERNAL: [500, 'Internal error: %s'],
} as const satisfies Record<string, readonly [returncode: number, template: string]>;

export type AgentErrorCode = keyof typeof AGENT_ERRORS;

/** Marks an AgentError, whichever copy of this file made it: a plugin has one of its own. */
const MARK = Symbol.for('guestwire.AgentError');

/** An error with a code from {@link AGENT_ERRORS}; the only kind a command throws on purpose. */
export class AgentError extends Error {
  override readonly name = 'AgentError';
  readonly code: AgentErrorCode;
  /** What the host is sent, as the decimal text it compares with. */
  readonly returncode: string;
  /** What stands in the places of the template's `%s`. */
  readonly args: readonly string[];
  readonly [MARK] = true;

  static override [Symbol.hasInstance](value: unknown): value is AgentError {
    return value instanceof Error && MARK in value;
  }

  /** `args` fill the template's `%s` in order; `returncode` in the place of the table's. */
  constructor(
    code: AgentErrorCode,
    args: readonly string[] = [],
    options: ErrorOptions & { readonly returncode?: string } = {},
  ) {
    const [returncode, template] = AGENT_ERRORS[code];
    let next = 0;
    super(
      template.replaceAll('%s', () => args[next++] ?? ''),
      options,
    );
    this.code = code;
    this.args = args;
    this.returncode = options.returncode ?? String(returncode);
  }
}

const PLUGIN_MARK = Symbol.for('guestwire.PluginError');

/**
 * An answer of failure with a code of the plugin's own, thrown by its command. The host gets the message, which is not
 * logged, and the code behind it; the log gets the code.
 */
export class PluginError extends Error {
  override readonly name = 'PluginError';
  /** Capitals, digits and _, such as `MOTD_TOO_LONG`. */
  readonly code: string;
  /** What hosts compare with; `500` when absent. */
  readonly returncode: string;
  readonly [PLUGIN_MARK] = true;

  static override [Symbol.hasInstance](value: unknown): value is PluginError {
    return value instanceof Error && PLUGIN_MARK in value;
  }

  constructor(code: string, message: string, { returncode = '500' }: { readonly returncode?: string } = {}) {
    super(message);
    this.code = code;
    this.returncode = returncode;
  }
}

/** What an error says; JavaScript lets anything at all be thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of an error, such as `ENOENT` of the system, `XS_CLOSED` of the addon or one of ours; null without one. */
export function codeOf(error: unknown): string | null {
  const code = (error as { readonly code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' ? code : null;
}
