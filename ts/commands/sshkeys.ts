import { AgentError, command, type CommandContext, type CommandModule, type Host } from '../api/index.js';
import { type Edited, listKeys, mergeKeys, onlyKeys, type PublicKey, removeKeys } from '../accounts/authorized-keys.js';
import { findAccount } from '../accounts/passwd.js';
import { keysPath, matchesGlob, readSshdConfig } from '../accounts/sshd-config.js';
import { describe } from './describe.js';
import { type KeysFile, newKey, openKeysFile, readKeys, readPasswd, writeKeys } from './keys-file.js';

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
/** Where openSUSE keeps the file that an administrator may override. */
const SSHD_CONFIGS = ['/etc/ssh/sshd_config', '/usr/etc/ssh/sshd_config'];
/** sshd's own limit of files that include one another. */
const MAX_INCLUDES = 16;
/** An answer holds 1,900 bytes with its frame. */
const MAX_LIST = 1800;
const MAX_COMMENT = 64;

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
        run: ({ user, action, keys }, context) => changeKeys(host, user ?? options.user, action, keys, context),
      }),
    ],
  };
}

function parseRequest(value: unknown): Request {
  const invalid = (what: string, wanted: string, got: string): AgentError =>
    new AgentError('GW_ARGUMENT_INVALID', [what, wanted, got]);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid('sshkeys value', 'an object with action and keys', describe(value));
  }
  const { user, action, keys } = value as {
    readonly user?: unknown;
    readonly action?: unknown;
    readonly keys?: unknown;
  };
  if (user !== undefined && user !== null && (typeof user !== 'string' || !/^[^:\s/]+$/.test(user))) {
    throw invalid('user', 'a user name', describe(user));
  }
  const known = ACTIONS.find((candidate) => candidate === action);
  if (known === undefined) {
    throw invalid('action', `one of ${ACTIONS.join(', ')}`, typeof action === 'string' ? action : describe(action));
  }
  if (known === 'list') return { user: user ?? null, action: known, keys: [] };
  if (!Array.isArray(keys)) throw invalid('keys', 'a list of texts', describe(keys));
  // Nobody means to add or remove nothing; to be left with no key may be meant.
  if (keys.length === 0 && known !== 'replace') throw invalid('keys', 'at least one key', 'an empty list');
  const parsed = keys.map((key: unknown, index) => {
    if (typeof key !== 'string') throw invalid(`key ${index + 1}`, 'text', describe(key));
    return newKey(key, `key ${index + 1}`);
  });
  return { user: user ?? null, action: known, keys: parsed };
}

/** Does what `action` says; gives the answer. Throws AgentError. */
export async function changeKeys(
  host: Host,
  user: string,
  action: Action,
  keys: readonly PublicKey[],
  { log }: CommandContext,
): Promise<string> {
  const file = await locate(host, user);
  const before = await readKeys(host, file);
  if (action === 'list') return listing(listKeys(before));
  const { text, count } = edit(action, before, keys);
  // A user without a file is not given an empty one.
  if (text !== before || text !== '') await writeKeys(host, file, Buffer.from(text, 'latin1'));
  log.info({ user, action, path: file.path, count }, 'ssh keys changed');
  const distinct = new Set(keys.map(({ id }) => id)).size;
  if (action === 'merge') return `added ${count}, there already ${distinct - count}`;
  if (action === 'remove') return `removed ${count}, not there ${distinct - count}`;
  return `replaced ${listKeys(before).length} by ${count}`;
}

function edit(action: Exclude<Action, 'list'>, before: string, keys: readonly PublicKey[]): Edited {
  if (action === 'merge') return mergeKeys(before, keys);
  return action === 'remove' ? removeKeys(before, keys) : onlyKeys(keys);
}

/** Where sshd looks for the user's keys. Throws AgentError. */
export async function locate(host: Host, user: string): Promise<KeysFile> {
  const passwd = await readPasswd(host);
  const account = findAccount(passwd.text, user);
  if (account === null) throw new AgentError('GW_USER_UNKNOWN', [user, passwd.path]);
  const path = keysPath(await configuredFiles(host), account);
  if (path === null) {
    throw new AgentError('GW_KEYS_REFUSED', [user, 'sshd reads no file: its AuthorizedKeysFile is none']);
  }
  return openKeysFile(host, account, path);
}

/** The first AuthorizedKeysFile of sshd's configuration; empty for sshd's default. */
async function configuredFiles(host: Host): Promise<readonly string[]> {
  for (const path of SSHD_CONFIGS) {
    const text = await host.files.readText(path);
    if (text !== null) return (await searchConfig(host, text, 0)) ?? [];
  }
  return [];
}

async function searchConfig(host: Host, text: string, depth: number): Promise<readonly string[] | null> {
  for (const statement of readSshdConfig(text)) {
    if (statement.type === 'keys-file') return statement.files;
    if (depth >= MAX_INCLUDES) continue;
    for (const pattern of statement.patterns) {
      for (const path of await expand(host, pattern)) {
        const found = await searchConfig(host, (await host.files.readText(path)) ?? '', depth + 1);
        if (found !== null) return found;
      }
    }
  }
  return null;
}

/** Wildcards in the last part, as distributions use them. */
async function expand(host: Host, pattern: string): Promise<readonly string[]> {
  const cut = pattern.lastIndexOf('/');
  const directory = pattern.slice(0, cut);
  const names = await host.files.list(directory);
  return names.filter((name) => matchesGlob(pattern.slice(cut + 1), name)).map((name) => `${directory}/${name}`);
}

/** Fingerprint, type and comment of each key, as far as an answer holds them. */
function listing(keys: readonly PublicKey[]): string {
  const entries = keys.map(({ fingerprint, type, comment }) => {
    const text = comment.replaceAll(/[^\x20-\x7e]/g, '?').replaceAll(';', ',');
    const short = text.length > MAX_COMMENT ? `${text.slice(0, MAX_COMMENT - 3)}...` : text;
    return `${fingerprint} ${type} ${short}`.trimEnd();
  });
  let shown = entries.length;
  const text = (): string => {
    const left = entries.length - shown;
    return [...entries.slice(0, shown), ...(left === 0 ? [] : [`${left} more`])].join('; ');
  };
  while (text().length > MAX_LIST) shown -= 1;
  return text();
}
