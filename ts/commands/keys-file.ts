/** Writing a user's ssh keys: for `sshkeys`, and for hosts that inject the file whole. */
import { AgentError, type FileStatus, type Home, type Host, messageOf } from '../api/index.js';
import { type PublicKey, mergeKeys, parseNewKey } from '../accounts/authorized-keys.js';
import { type Account, isPrivateGroup, ownerOfKeysFile, whyNoHome } from '../accounts/passwd.js';
import { posix } from '../host/shared/runtime/path.js';

const PASSWD = '/etc/passwd';
const ROOTS_KEYS = '/root/.ssh/authorized_keys';
const ROOT: Account = { user: 'root', uid: 0, gid: 0, home: '/root' };
const KEYS_MODE = 0o600;
const HOME_DIRECTORY_MODE = 0o700;
/** Outside of a home, where users share the directory. */
const SHARED_DIRECTORY_MODE = 0o755;
const GROUP_OR_OTHERS_WRITE = 0o022;
const GROUP_WRITE = 0o020;
/** Besides what others may change, nothing that a file of text has. */
const NEVER_KEPT = 0o7022;
const NO_SUCH_PROGRAM = 127;

/** A user's file of keys and where it stands. */
export interface KeysFile {
  readonly account: Account;
  readonly path: string;
  /** Null for a file outside of the home, in directories that are root's alone. */
  readonly home: Home | null;
}

/** What a host that sends a whole file of keys gets: its file, or its keys added to those that are there. */
export type KeysPolicy = 'replace' | 'merge';

export async function readPasswd(host: Host): Promise<{ readonly path: string; readonly text: string }> {
  return { path: PASSWD, text: (await host.files.read(PASSWD))?.toString('latin1') ?? '' };
}

/** Throws AgentError when the user's keys cannot be kept safely at `path`, which is absolute. */
export async function openKeysFile(host: Host, account: Account, path: string): Promise<KeysFile> {
  const { user, uid, gid, home } = account;
  const refuse = (why: string): AgentError => new AgentError('GW_KEYS_REFUSED', [user, why]);
  const noHome = whyNoHome(home);
  if (noHome !== null) throw refuse(noHome);
  const realHome = await host.files.resolve(home);
  if (realHome === null || (await host.files.status(realHome))?.type !== 'directory') {
    throw refuse(`the home directory ${home} does not exist`);
  }
  if (realHome === '/') throw refuse(`its home ${home} leads to /`);
  if (isBelow(path, home) || isBelow(path, realHome)) return { account, path, home: { path: home, uid, gid } };
  await checkShared(host, path, refuse);
  return { account, path, home: null };
}

/** The file's text as latin1, which keeps every byte; empty when there is no file. */
export async function readKeys(host: Host, file: KeysFile): Promise<string> {
  return (await readBytes(host, file))?.toString('latin1') ?? '';
}

async function readBytes(host: Host, { account, path, home }: KeysFile): Promise<Buffer | null> {
  try {
    return home === null ? await host.files.read(path) : await host.files.readInHome(path, home);
  } catch (cause) {
    throw new AgentError('GW_KEYS_REFUSED', [account.user, `${path}: ${messageOf(cause)}`], { cause });
  }
}

/**
 * Writes and reads back. A file that sshd accepts keeps its owner and mode; another becomes the user's alone, as a new one
 * is.
 */
export async function writeKeys(host: Host, file: KeysFile, content: Buffer): Promise<void> {
  const { account, path, home } = file;
  const present = await host.files.status(await leadsTo(host, path));
  const { mode, uid, gid } =
    present !== null && isAccepted(present, account)
      ? present
      : { mode: KEYS_MODE, uid: account.uid, gid: account.gid };
  const common = { type: 'write', path, content, mode, exactMode: true, owner: { uid, gid } } as const;
  const commit = await host.files.commit([
    home === null
      ? { ...common, directoryMode: SHARED_DIRECTORY_MODE }
      : { ...common, directoryMode: HOME_DIRECTORY_MODE, home },
  ]);
  try {
    const now = await readBytes(host, file);
    if (now?.equals(content) !== true) {
      throw new AgentError('GW_FILE_FAILED', [path, 'it does not hold what was written; it was put back']);
    }
    await commit.confirm();
  } finally {
    // Does nothing once the change is confirmed.
    await commit.rollback();
  }
  if (commit.changed.length > 0) await restoreLabels(host, path, home);
}

/** Whether sshd takes keys from such a file, which it reads as the user. */
function isAccepted({ type, mode, uid, gid }: FileStatus, account: Account): boolean {
  if (type !== 'file' || (mode & NEVER_KEPT) !== 0) return false;
  if (uid === account.uid) return (mode & 0o400) !== 0;
  return uid === 0 && (mode & (gid === account.gid ? 0o040 : 0o004)) !== 0;
}

/**
 * Why sshd with StrictModes takes no key from the file, or null: a directory on the way up to the home that somebody
 * else may change. The one that holds the file is closed to others when the file is written.
 */
export async function whyDistrusted(host: Host, { account, path, home }: KeysFile): Promise<string | null> {
  if (home === null) return null;
  const top = await leadsTo(host, home.path);
  const holding = posix.dirname(await leadsTo(host, path));
  for (let directory = holding; directory !== '/'; directory = posix.dirname(directory)) {
    const status = await host.files.status(directory);
    const closed = directory === holding && directory !== top && status?.uid === account.uid;
    if (status !== null && !closed) {
      if (status.uid !== 0 && status.uid !== account.uid) return `${directory} belongs to uid ${status.uid}`;
      const open = status.mode & GROUP_OR_OTHERS_WRITE;
      if (open !== 0 && !(open === GROUP_WRITE && (await takesPrivateGroup(host, status.gid, account)))) {
        return `${directory} has mode ${status.mode.toString(8)}, so others than the user may change it`;
      }
    }
    if (directory === top) break;
  }
  return null;
}

/** Debian's sshd lets the user's private group write, for systems whose umask does. */
async function takesPrivateGroup(host: Host, gid: number, account: Account): Promise<boolean> {
  const release = (await host.files.readText('/etc/os-release')) ?? (await host.files.readText('/usr/lib/os-release'));
  if (release === null || !/^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(release)) return false;
  return isPrivateGroup((await readPasswd(host)).text, (await host.files.readText('/etc/group')) ?? '', gid, account);
}

/** Where a path leads, of which the end need not exist. */
export async function leadsTo(host: Host, path: string): Promise<string> {
  const real = await host.files.resolve(path);
  if (real !== null || path === '/') return real ?? path;
  return posix.join(await leadsTo(host, posix.dirname(path)), posix.basename(path));
}

/**
 * Writes a file that a host sends whole, when it is the usual file of a user's keys. False when `path` is another, or
 * when the user has no home yet: then it is a file like any other.
 */
export async function injectKeys(host: Host, policy: KeysPolicy, path: string, content: Buffer): Promise<boolean> {
  if (!path.endsWith('/.ssh/authorized_keys')) return false;
  const passwd = await readPasswd(host);
  const account = ownerOfKeysFile(passwd.text, path) ?? (path === ROOTS_KEYS ? ROOT : null);
  if (account === null || (await host.files.resolve(account.home)) === null) return false;
  const file = await openKeysFile(host, account, path);
  if (policy === 'replace') {
    await writeKeys(host, file, content);
    return true;
  }
  const { text } = await mergeKeys(await readKeys(host, file), keysOf(content));
  await writeKeys(host, file, Buffer.from(text, 'latin1'));
  return true;
}

/** nova puts an empty line and a comment before its key. */
function keysOf(content: Buffer): readonly PublicKey[] {
  const lines = content.toString('utf8').split('\n');
  return lines.flatMap((line, index) => {
    const text = line.trim();
    return text === '' || text.startsWith('#') ? [] : [newKey(text, `line ${index + 1} of the keys`)];
  });
}

/** Throws AgentError for what is no key; `what` names it. */
export function newKey(text: string, what: string): PublicKey {
  const key = parseNewKey(text);
  if (!('wrong' in key)) return key;
  throw new AgentError('GW_ARGUMENT_INVALID', [what, 'an OpenSSH public key in one line', key.wrong]);
}

/** sshd reads keys outside of a home only from directories that nobody but root can change. */
async function checkShared(host: Host, path: string, refuse: (why: string) => AgentError): Promise<void> {
  const parts = path.split('/').filter((part) => part !== '');
  for (let count = 0; count < parts.length; count += 1) {
    const directory = `/${parts.slice(0, count).join('/')}`;
    const real = await host.files.resolve(directory);
    const status = real === null ? null : await host.files.status(real);
    if (status === null) return;
    if (status.uid !== 0 || (status.mode & GROUP_OR_OTHERS_WRITE) !== 0) {
      throw refuse(`${directory} on the way to ${path} can be changed by others than root`);
    }
  }
}

/** A file that is new in a home has the home's label, with which sshd may not read it. */
async function restoreLabels(host: Host, path: string, home: Home | null): Promise<void> {
  if (!host.live || (await host.files.status('/sys/fs/selinux/enforce')) === null) return;
  const directory = path.slice(0, path.lastIndexOf('/'));
  const target = home === null || directory === home.path ? path : directory;
  const { code, stderr } = await host.processes.run(['restorecon', '-R', target]);
  if (code !== 0 && code !== NO_SUCH_PROGRAM) throw new AgentError('GW_RUN_FAILED', ['restorecon', stderr.trim()]);
}

function isBelow(path: string, directory: string): boolean {
  return path.startsWith(`${directory}/`);
}
