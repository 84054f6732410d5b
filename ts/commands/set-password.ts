import type { Log } from '../api/log.js';
import { AgentError, type Argv, type Host, messageOf, Secret } from '../api/index.js';
import { chooseScheme } from '../accounts/hash-policy.js';
import {
  FILES,
  findHash,
  type HashFiles,
  type HashSystem,
  hashSystem,
  isKnown,
  putBack,
  setHash,
  whereUnknown,
} from '../accounts/password-files.js';
import { isLocked, type PasswordEdit } from '../accounts/shadow.js';
import { findObstacles, readHashFiles } from './login-facts.js';

export interface NewPassword {
  readonly user: string;
  /** Whether an account that is locked gets the password, which unlocks it. */
  readonly unlock: 'always' | 'never';
  readonly password: Secret;
  /** The password is a hash for crypt(3) already. */
  readonly crypted?: boolean;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** libxcrypt takes no more. */
const MAX_PASSWORD_BYTES = 511;
/** In the order in which their say counts: Debian and SUSE, Red Hat, Arch. */
const PAM_STACKS = ['/etc/pam.d/common-password', '/etc/pam.d/password-auth', '/etc/pam.d/system-auth'];
const LOGIN_DEFS = ['/etc/login.defs', '/usr/etc/login.defs'];
/** Where the agent's programs are looked for. */
const PROGRAM_DIRECTORIES = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
/** Milliseconds: chpasswd itself waits 15 s for lckpwdf(3), and the host half a minute for the answer. */
const TOOL_TIMEOUT = 20_000;
const TOOL_MESSAGE_LENGTH = 200;

/** A program that sets a hash and takes the system's locks itself; the hash goes to its standard input. */
interface Tool {
  readonly argv: Argv;
  readonly input: string;
}

/** Refuses what crypt(3) or a login prompt would cut off: the user could never type it. */
export function checkPassword(password: Secret): void {
  const bytes = password.reveal();
  const wanted = `text of at most ${MAX_PASSWORD_BYTES} bytes in one line`;
  if (bytes.length === 0) throw new AgentError('GW_PASSWORD_EMPTY');
  if (bytes.length > MAX_PASSWORD_BYTES) {
    throw new AgentError('GW_ARGUMENT_INVALID', ['password', wanted, `${bytes.length} bytes`]);
  }
  if (bytes.includes('\n') || bytes.includes(0)) {
    throw new AgentError('GW_ARGUMENT_INVALID', ['password', wanted, 'a line break or a NUL inside']);
  }
}

/**
 * Gives a user a new password, and tells what keeps him from logging in all the same: empty when nothing does. Through the
 * system's own program where the system is live and has it, else by writing the files under the system's locks. Afterwards the hash stands where a login looks for it, or everything is as it was
 * and an AgentError says why: GW_USER_UNKNOWN, GW_ACCOUNT_LOCKED, GW_PASSWORD_UNSUPPORTED, GW_RUN_FAILED,
 * GW_FILE_FAILED.
 */
export async function setPassword(host: Host, wanted: NewPassword): Promise<string> {
  const { user, password } = wanted;
  const files = await readHashFiles(host, user);
  checkAccount(files, wanted);
  const system = hashSystem(files);
  const program = system === 'master' ? 'pw' : 'chpasswd';
  const hasTool = host.live && (await hasProgram(host, program));
  if (!hasTool) checkWritable(host, system, user);
  const hash = wanted.crypted === true ? password.reveal().toString('latin1') : await makeHash(host, files, wanted);
  if (hasTool) await setByTool(host, toolOf(system, user, hash), files, wanted, hash);
  else await setInFiles(host, wanted, hash);
  const { refused, remarks } = await findObstacles(host, await readHashFiles(host, user), user, wanted.now());
  const obstacles = [...refused, ...remarks];
  return obstacles.length === 0 ? '' : `the password is set, but ${obstacles.join(', and ')}`;
}

/** `but` is what `setPassword` gave. */
export function logPasswordSet(log: Log, user: string, but: string): void {
  if (but === '') log.info({ user }, 'password set');
  else log.warn({ user }, but);
}

async function makeHash(host: Host, files: HashFiles, { user, password }: NewPassword): Promise<string> {
  // FreeBSD's crypt(3) knows no yescrypt.
  if (hashSystem(files) === 'master') return host.accounts.hashPassword(password, 'sha512');
  const scheme = chooseScheme({
    present: findHash(files, user),
    pam: await readAll(host, PAM_STACKS),
    loginDefs: await readAll(host, LOGIN_DEFS),
  });
  return host.accounts.hashPassword(password, scheme);
}

/** Throws GW_USER_UNKNOWN, GW_ACCOUNT_LOCKED. */
function checkAccount(files: HashFiles, { user, unlock }: NewPassword): void {
  if (!isKnown(files, user)) throw new AgentError('GW_USER_UNKNOWN', [user, whereUnknown(files)]);
  const present = findHash(files, user);
  if (unlock === 'never' && present !== null && isLocked(present)) throw new AgentError('GW_ACCOUNT_LOCKED', [user]);
}

/** Throws GW_PASSWORD_UNSUPPORTED for what only the system's own program may change, or can bring into effect. */
function checkWritable(host: Host, system: HashSystem, user: string): void {
  const refuse = (why: string): AgentError => new AgentError('GW_PASSWORD_UNSUPPORTED', [user, why]);
  if (system === 'tcb') throw refuse('its hash is in /etc/tcb, which wants chpasswd in a system that runs');
  if (system === 'master' && !host.live) {
    throw refuse('logins read the databases that pwd_mkdb makes, which wants a system that runs');
  }
}

function toolOf(system: HashSystem, user: string, hash: string): Tool {
  if (system === 'master') return { argv: ['pw', 'usermod', user, '-H', '0'], input: `${hash}\n` };
  return { argv: ['chpasswd', '-e'], input: `${user}:${hash}\n` };
}

async function hasProgram(host: Host, name: string): Promise<boolean> {
  const found = await Promise.all(PROGRAM_DIRECTORIES.map((directory) => host.files.resolve(`${directory}/${name}`)));
  return found.some((path) => path !== null);
}

async function setByTool(host: Host, tool: Tool, before: HashFiles, wanted: NewPassword, hash: string): Promise<void> {
  const { user, now } = wanted;
  try {
    await runTool(host, tool, hash);
    const after = await readHashFiles(host, user);
    if (findHash(after, user) !== hash) {
      throw new AgentError('GW_RUN_FAILED', [
        tool.argv[0],
        'it reported success, but the password files do not contain the new hash',
      ]);
    }
    // Such as the day of the change where the tool left it, or a passwd line that has the hash for all to read.
    const complete = (files: HashFiles): readonly PasswordEdit[] => setHash(files, user, hash, now());
    if (complete(after).length > 0) await changeFiles(host, user, hash, complete);
  } catch (error) {
    // A tool that failed half way, or was killed, may have set the hash all the same.
    await putUserBack(host, before, user, hash, error);
    throw error;
  }
}

async function runTool(host: Host, { argv, input }: Tool, hash: string): Promise<void> {
  using stdin = new Secret(Buffer.from(input));
  const { code, stderr, timedOut } = await host.processes
    .run(argv, { stdin, timeout: TOOL_TIMEOUT, confined: true })
    .catch((cause: unknown) => {
      throw new AgentError('GW_RUN_FAILED', [argv[0], messageOf(cause)], { cause });
    });
  if (timedOut) throw new AgentError('GW_RUN_FAILED', [argv[0], `it did not end in ${TOOL_TIMEOUT / 1000} s`]);
  if (code !== 0) throw new AgentError('GW_RUN_FAILED', [argv[0], whyFailed(code, stderr.replaceAll(hash, '<hash>'))]);
}

async function putUserBack(host: Host, before: HashFiles, user: string, hash: string, because: unknown): Promise<void> {
  try {
    const decide = (files: HashFiles): readonly PasswordEdit[] => putBack(files, before, user, hash);
    if (decide(await readHashFiles(host, user)).length === 0) return;
    await changeFiles(host, user, findHash(before, user), decide);
  } catch (error) {
    const cause = new AggregateError([because, error]);
    throw new AgentError(
      'GW_RUN_FAILED',
      ['setting the password', `${messageOf(because)}; putting back: ${messageOf(error)}`],
      {
        cause,
      },
    );
  }
}

function whyFailed(code: number, stderr: string): string {
  const said = stderr.trim().replaceAll(/\s+/g, ' ');
  return said === '' ? `exit code ${code}` : said.slice(0, TOOL_MESSAGE_LENGTH);
}

async function setInFiles(host: Host, wanted: NewPassword, hash: string): Promise<void> {
  await changeFiles(host, wanted.user, hash, (files) => {
    // Again: others may have changed the files before the lock was ours.
    checkAccount(files, wanted);
    return setHash(files, wanted.user, hash, wanted.now());
  });
}

/**
 * Writes what `decide` makes of the files under the system's locks; afterwards the user has the hash `result`, or the
 * files are as they were.
 */
async function changeFiles(
  host: Host,
  user: string,
  result: string | null,
  decide: (files: HashFiles) => readonly PasswordEdit[],
): Promise<void> {
  const lock = await host.accounts.lock();
  try {
    const files = await readHashFiles(host, user);
    const edits = decide(files);
    const commit = await host.files.commit(
      // The files are there, so they keep their own mode.
      edits.map(({ path, text }) => ({ type: 'write', path, content: Buffer.from(text, 'latin1'), mode: 0o600 })),
    );
    try {
      if (hashSystem(files) === 'master') await makeDatabases(host);
      if (findHash(await readHashFiles(host, user), user) !== result) {
        throw new AgentError('GW_FILE_FAILED', [
          edits[0]?.path ?? '',
          'it does not hold the new hash; it was put back',
        ]);
      }
      await commit.confirm();
    } finally {
      // Does nothing once the change is confirmed.
      await commit.rollback();
    }
  } finally {
    await lock[Symbol.asyncDispose]();
  }
}

/** FreeBSD's logins read databases, and other programs the passwd file, which are both made of master.passwd. */
async function makeDatabases(host: Host): Promise<void> {
  const { code, stderr } = await host.processes.run(['pwd_mkdb', '-p', FILES.master], { timeout: TOOL_TIMEOUT });
  if (code !== 0) throw new AgentError('GW_RUN_FAILED', ['pwd_mkdb', whyFailed(code, stderr)]);
}

async function readAll(host: Host, paths: readonly string[]): Promise<readonly string[]> {
  const texts = await Promise.all(paths.map((path) => host.files.readText(path)));
  return texts.filter((text) => text !== null);
}
