import { AgentError, command, type CommandContext, type CommandModule, type Host, kindOf } from '../api/index.js';
import {
  distinctKeys,
  type Edited,
  listKeys,
  mergeKeys,
  onlyKeys,
  type PublicKey,
  removeKeys,
} from '../accounts/authorized-keys.js';
import { type Account, findAccount, otherAccounts } from '../accounts/passwd.js';
import { isShared, keysFiles, keysPath } from '../accounts/sshd-config.js';
import { keyObstacles } from './key-login.js';
import {
  type KeysFile,
  leadsTo,
  newKey,
  openKeysFile,
  readKeys,
  readPasswd,
  whyDistrusted,
  writeKeys,
} from './keys-file.js';
import { askSshd, type Sshd } from './sshd.js';

export interface SshKeysOptions {
  /** Whose keys, when the request names nobody. */
  readonly user: string;
}

export type Action = 'merge' | 'remove' | 'replace' | 'list';

interface Request {
  readonly user: string | null;
  readonly action: Action;
  readonly keys: readonly PublicKey[];
}

const ACTIONS: readonly Action[] = ['merge', 'remove', 'replace', 'list'];
/** An answer holds 1,900 bytes with its frame. */
const MAX_LIST = 1800;
const MAX_COMMENT = 64;
const SEPARATOR = '; ';

/** `sshkeys`: adds, removes, replaces or lists the keys with which a user may log in by ssh. */
export function sshKeysCommands(host: Host, options: SshKeysOptions): CommandModule {
  return {
    name: 'sshkeys',
    commands: [
      command({
        name: 'sshkeys',
        // `list` too: after a merge it tells what came of it.
        lane: 'serial',
        parse: parseRequest,
        async run({ user, action, keys }, context) {
          const message = await changeKeys(host, user ?? options.user, action, keys, context);
          return { returncode: '0', message, ...(action === 'list' ? { changed: false } : {}) };
        },
      }),
    ],
  };
}

function parseRequest(value: unknown): Request {
  const invalid = (what: string, wanted: string, got: string): AgentError =>
    new AgentError('GW_ARGUMENT_INVALID', [what, wanted, got]);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid('sshkeys value', 'an object with action and keys', kindOf(value));
  }
  const { user, action, keys } = value as {
    readonly user?: unknown;
    readonly action?: unknown;
    readonly keys?: unknown;
  };
  if (user !== undefined && user !== null && (typeof user !== 'string' || !/^[^:\s/]+$/.test(user))) {
    throw invalid('user', 'a user name', typeof user === 'string' ? 'text that is not a user name' : kindOf(user));
  }
  const known = ACTIONS.find((candidate) => candidate === action);
  if (known === undefined) {
    throw invalid('action', `one of ${ACTIONS.join(', ')}`, typeof action === 'string' ? action : kindOf(action));
  }
  if (known === 'list') return { user: user ?? null, action: known, keys: [] };
  if (!Array.isArray(keys)) throw invalid('keys', 'a list of texts', kindOf(keys));
  // Nobody means to add or remove nothing; to be left with no key may be meant.
  if (keys.length === 0 && known !== 'replace') throw invalid('keys', 'at least one key', 'an empty list');
  const parsed = keys.map((key: unknown, index) => {
    if (typeof key !== 'string') throw invalid(`key ${index + 1}`, 'text', kindOf(key));
    return newKey(key, `key ${index + 1}`);
  });
  return { user: user ?? null, action: known, keys: parsed };
}

/** Where sshd looks for a user's keys. */
interface KeysPlace {
  /** The file that is the user's own, which the agent changes. */
  readonly file: KeysFile;
  /** Other files in which sshd finds keys of the user. */
  readonly others: readonly string[];
  readonly sshd: Sshd;
}

/** Does what `action` says; gives the answer. Throws AgentError. */
export async function changeKeys(
  host: Host,
  user: string,
  action: Action,
  keys: readonly PublicKey[],
  { log }: CommandContext,
): Promise<string> {
  const place = await locate(host, user);
  const { file, sshd } = place;
  const before = await readKeys(host, file);
  if (action === 'list') return listing(await listKeys(before));
  const edited = await edit(action, before, keys);
  if (action !== 'remove' && sshd.settings.get('strictmodes')?.[0] !== 'no') {
    const why = await whyDistrusted(host, file);
    if (why !== null) throw new AgentError('GW_KEYS_REFUSED', [user, `sshd would not take them: ${why}`]);
  }
  // A user without a file is not given an empty one.
  if (edited.text !== before || edited.text !== '') await writeKeys(host, file, Buffer.from(edited.text, 'latin1'));
  log.info({ user, action, path: file.path, count: edited.count }, 'ssh keys changed');
  const buts =
    action === 'remove' ? await stillThere(host, place, keys) : await keptOut(host, place, action, keys, edited);
  if (buts.length > 0) log.warn({ user, action, buts }, 'ssh keys do not do all that was asked');
  return [await summary(action, before, keys, edited.count), ...buts].join('; but ');
}

async function edit(action: Exclude<Action, 'list'>, before: string, keys: readonly PublicKey[]): Promise<Edited> {
  if (action === 'merge') return mergeKeys(before, keys);
  return action === 'remove' ? removeKeys(before, keys) : onlyKeys(keys);
}

async function summary(
  action: Exclude<Action, 'list'>,
  before: string,
  keys: readonly PublicKey[],
  count: number,
): Promise<string> {
  if (action === 'merge') return `added ${count}, there already ${distinctKeys(keys).length - count}`;
  if (action === 'remove') return `removed ${count}, not there ${new Set(keys.map(({ id }) => id)).size - count}`;
  return `replaced ${(await listKeys(before)).length} by ${count}`;
}

/** What keeps the user out though the keys are in the file, or lets him in though others are gone. */
async function keptOut(
  host: Host,
  { file, sshd, others }: KeysPlace,
  action: Action,
  keys: readonly PublicKey[],
  edited: Edited,
): Promise<readonly string[]> {
  const { refused, remarks } =
    keys.length === 0 ? { refused: [], remarks: [] } : await keyObstacles(host, file, sshd.settings, keys, edited.keys);
  const left = action === 'replace' ? await keysElsewhere(host, file.account, others, () => true) : [];
  return [
    ...sshd.remarks,
    ...(refused.length === 0 ? [] : [`sshd will refuse: ${refused.join(', and ')}`]),
    ...remarks,
    ...left.map(({ path, count }) => `sshd takes ${count} more from ${path}`),
  ];
}

/** A key that is gone from one file may stand in another. */
async function stillThere(
  host: Host,
  { file, others }: KeysPlace,
  keys: readonly PublicKey[],
): Promise<readonly string[]> {
  const ids = new Set(keys.map(({ id }) => id));
  const left = await keysElsewhere(host, file.account, others, ({ id }) => ids.has(id));
  return left.map(({ path, count }) => `sshd finds ${count} of them in ${path} too`);
}

async function keysElsewhere(
  host: Host,
  account: Account,
  paths: readonly string[],
  counts: (key: PublicKey) => boolean,
): Promise<readonly { readonly path: string; readonly count: number }[]> {
  const found = paths.map(async (path) => {
    try {
      const text = await readKeys(host, await openKeysFile(host, account, path));
      return { path, count: new Set((await listKeys(text)).filter(counts).map(({ id }) => id)).size };
    } catch (error) {
      // What the agent would not read, sshd does not trust either.
      if (error instanceof AgentError) return { path, count: 0 };
      throw error;
    }
  });
  return (await Promise.all(found)).filter(({ count }) => count > 0);
}

/** Where sshd looks for the user's keys. Throws AgentError. */
export async function locate(host: Host, user: string): Promise<KeysPlace> {
  const passwd = await readPasswd(host);
  const account = findAccount(passwd.text, user);
  if (account === null) throw new AgentError('GW_USER_UNKNOWN', [user, passwd.path]);
  const refuse = (why: string): AgentError => new AgentError('GW_KEYS_REFUSED', [user, why]);
  const sshd = await askSshd(host, account);
  const patterns = keysFiles(sshd.settings);
  if (patterns.length === 0) throw refuse('sshd reads no file: its AuthorizedKeysFile is none');
  const isOwn = (pattern: string): boolean =>
    !isShared(pattern) || keysPath(pattern, account).startsWith(`${account.home}/`);
  const own = patterns.find(isOwn);
  if (own === undefined) {
    const shared = patterns.map((pattern) => keysPath(pattern, account)).join(', ');
    throw refuse(`${shared} is for all users: its AuthorizedKeysFile has no %u, %U or %h`);
  }
  const path = keysPath(own, account);
  const file = await openKeysFile(host, account, path);
  const other = file.home === null ? await whoElse(host, passwd.text, own, account) : null;
  if (other !== null) throw refuse(`${path} leads to the same file as that of ${other}`);
  const others = patterns.filter((pattern) => pattern !== own).map((pattern) => keysPath(pattern, account));
  return { file, others, sshd };
}

/** Whose file is the same by a link; null for nobody's. */
async function whoElse(host: Host, passwd: string, pattern: string, account: Account): Promise<string | null> {
  const path = keysPath(pattern, account);
  const real = await leadsTo(host, path);
  if (real === path) return null;
  for (const other of otherAccounts(passwd, account)) {
    if ((await leadsTo(host, keysPath(pattern, other))) === real) return other.user;
  }
  return null;
}

/** Fingerprint, type and comment of each key, as far as an answer holds them. */
function listing(keys: readonly PublicKey[]): string {
  const shown: string[] = [];
  let length = 0;
  for (const [index, key] of keys.entries()) {
    const entry = entryOf(key);
    const left = keys.length - index - 1;
    length += (index === 0 ? 0 : SEPARATOR.length) + entry.length;
    if (length + (left === 0 ? 0 : `${SEPARATOR}${left} more`.length) > MAX_LIST) break;
    shown.push(entry);
  }
  const left = keys.length - shown.length;
  return [...shown, ...(left === 0 ? [] : [`${left} more`])].join(SEPARATOR);
}

function entryOf({ fingerprint, type, comment }: PublicKey): string {
  const text = comment.replaceAll(/[^\x20-\x7e]/g, '?').replaceAll(';', ',');
  const short = text.length > MAX_COMMENT ? `${text.slice(0, MAX_COMMENT - 3)}...` : text;
  return `${fingerprint} ${type} ${short}`.trimEnd();
}
