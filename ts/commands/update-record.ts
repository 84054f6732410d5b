/** What a guest has had of versions. No update and no cleaning up forgets it, so that nobody can bring an old hole back. */
import { AgentError, messageOf, type State } from '../api/index.js';
import { isComparable } from './comparable-versions.js';

/** In the state directory. */
const NAME = 'update-record.json';

export interface UpdateRecord {
  /** The highest version that ran here or was taken; null when none is known. */
  readonly highest: string | null;
  /** Whether a manifest has to say its product, architecture and expiry. */
  readonly scopedOnly: boolean;
}

const NOTHING: UpdateRecord = { highest: null, scopedOnly: false };

/**
 * Throws GW_UPDATE_REFUSED for a record that cannot be read: to go on without would be to forget it, and the next write
 * would make that last.
 */
export async function readRecord(state: State): Promise<UpdateRecord> {
  const text = await state.read(NAME).catch((error: unknown) => {
    throw unreadable(messageOf(error));
  });
  return text === null ? NOTHING : parse(text);
}

/** Whole or not at all. Throws GW_FILE_FAILED. */
export async function writeRecord(state: State, record: UpdateRecord): Promise<void> {
  await state.write(NAME, `${JSON.stringify(record)}\n`);
}

function parse(text: string): UpdateRecord {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    throw unreadable(`its ${text.length} characters are no JSON`);
  }
  const { highest, scopedOnly } = (found ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof highest !== 'string' || !isComparable(highest)) throw unreadable('it has no highest version');
  if (typeof scopedOnly !== 'boolean') throw unreadable('its scopedOnly is neither true nor false');
  return { highest, scopedOnly };
}

function unreadable(why: string): AgentError {
  return new AgentError('GW_UPDATE_REFUSED', [
    `${NAME} in the state directory, which has the highest version that this guest has had, cannot be read: ${why}; ` +
      'whoever removes it goes by the running version alone',
  ]);
}
