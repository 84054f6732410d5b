/**
 * How an answer reaches nova, written anew from reference facts: `xenstore-read` escapes the value, the dom0 plugin
 * tries to parse that as JSON and hands it on, nova's driver parses what the plugin returned and compares the code.
 */

/** test/fixtures/host-view.json: what the tools of dom0 and nova make of answers, and the tools of requests. */
export interface HostView {
  readonly replies: readonly {
    readonly case: string;
    readonly guest_writes: string;
    readonly xenstore_read: string;
    readonly nova: string | null;
    readonly nova_message?: string;
  }[];
  readonly requests: readonly {
    readonly case: string;
    readonly plugin_argument: string;
    readonly guest_reads: string;
    readonly valid_json_in_guest: true | string;
  }[];
}

/** What `xenstore-read` prints for a value. */
export function xenstoreRead(value: Uint8Array): string {
  const named: Readonly<Record<number, string>> = { 9: '\\t', 10: '\\n', 13: '\\r', 92: '\\\\' };
  return [...value]
    .map((byte) => {
      const escape = named[byte];
      if (escape !== undefined) return escape;
      if (byte >= 0x20 && byte < 0x7f) return String.fromCharCode(byte);
      return byte < 8 ? `\\${byte.toString(8).padStart(3, '0')}` : `\\x${byte.toString(16).padStart(2, '0')}`;
    })
    .join('');
}

export type NovaView =
  { readonly kind: 'ok'; readonly message: string } | { readonly kind: 'error'; readonly why: string };

/** What nova's driver makes of the value of the answer's node. `codes` are those it takes for success. */
export function novaView(value: Uint8Array, codes: readonly string[]): NovaView | null {
  return novaReads(xenstoreRead(value), codes);
}

/** As `novaView`, for what the real `xenstore-read` printed. */
export function novaReads(printed: string, codes: readonly string[]): NovaView | null {
  if (printed === 'None') return null;
  let reply: unknown;
  try {
    reply = JSON.parse(printed);
  } catch {
    return { kind: 'error', why: 'uncaught TypeError in nova (reply is not an object)' };
  }
  if (typeof reply !== 'object' || reply === null) {
    return { kind: 'error', why: 'uncaught TypeError in nova (reply is not an object)' };
  }
  const { returncode, message } = reply as Record<string, unknown>;
  if (typeof returncode !== 'string' || !codes.includes(returncode)) {
    return { kind: 'error', why: `AgentError (returncode ${String(returncode)} not in` };
  }
  if (message === undefined) return { kind: 'error', why: 'uncaught KeyError in nova' };
  if (typeof message !== 'string') return { kind: 'error', why: 'uncaught AttributeError (message is not a string)' };
  return { kind: 'ok', message: message.replaceAll('\\r\\n', '') };
}
