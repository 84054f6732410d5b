import {
  type Accounts,
  AgentError,
  type Argv,
  type Host,
  messageOf,
  type NewPassword,
  Secret,
} from '../../api/index.js';
import { chooseScheme } from '../../accounts/hash-policy.js';
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
} from '../../accounts/password-files.js';
import { isLocked, type PasswordEdit } from '../../accounts/shadow.js';
import { findObstacles, readHashFiles } from './login-facts.js';
import { SEARCH_PATH } from './processes.js';

/** What it takes to set a password. */
export interface Machine extends Pick<Host, 'live' | 'files' | 'processes'> {
  readonly accounts: Pick<Accounts, 'hashPassword' | 'lock'>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

interface Wanted extends NewPassword {
  readonly user: string;
  readonly password: Secret;
}

/** libxcrypt takes no more. */
const MAX_PASSWORD_BYTES = 511;
/** In the order in which their say counts: Debian and SUSE, Red Hat, Arch. */
const PAM_STACKS = ['/etc/pam.d/common-password', '/etc/pam.d/password-auth', '/etc/pam.d/system-auth'];
const LOGIN_DEFS = ['/etc/login.defs', '/usr/etc/login.defs'];
/** Milliseconds: chpasswd itself waits 15 s for lckpwdf(3), and the host half a minute for the answer. */
const TOOL_TIMEOUT = 20_000;
const TOOL_MESSAGE_LENGTH = 200;

/** A program that sets a hash and takes the system's locks itself; the hash goes to its standard input. */
interface Tool {
  readonly argv: Argv;
  readonly input: string;
}

/** Refuses what crypt(3) or a login prompt would cut off: the user could never type it. */
function checkPassword(password: Secret): void {
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
 * See {@link Accounts.setPassword}. Through the system's own program where the system is live and has it, else by writing
 * the files under the system's locks. Afterwards the hash stands where a login looks for it, or everything is as it was.
 */
export async function setPassword(
  machine: Machine,
  user: string,
  password: Secret,
  options: NewPassword,
): Promise<readonly string[]> {
  const wanted = { ...options, user, password };
  if (wanted.crypted !== true) checkPassword(password);
  const files = await readHashFiles(machine.files, user);
  checkAccount(files, wanted);
  const system = hashSystem(files);
  const program = system === 'master' ? 'pw' : 'chpasswd';
  const hasTool = machine.live && (await hasProgram(machine, program));
  if (!hasTool) checkWritable(machine, system, user);
  const hash = wanted.crypted === true ? password.reveal().toString('latin1') : await makeHash(machine, files, wanted);
  if (hasTool) await setByTool(machine, toolOf(system, user, hash), files, wanted, hash);
  else await setInFiles(machine, wanted, hash);
  const after = await readHashFiles(machine.files, user);
  const { refused, remarks } = await findObstacles(machine.files, after, user, machine.now());
  return [...refused, ...remarks];
}

async function makeHash(machine: Machine, files: HashFiles, { user, password }: Wanted): Promise<string> {
  // FreeBSD's crypt(3) knows no yescrypt.
  if (hashSystem(files) === 'master') return machine.accounts.hashPassword(password, 'sha512');
  const scheme = chooseScheme({
    present: findHash(files, user),
    pam: await readAll(machine, PAM_STACKS),
    loginDefs: await readAll(machine, LOGIN_DEFS),
  });
  return machine.accounts.hashPassword(password, scheme);
}

/** Throws GW_USER_UNKNOWN, GW_ACCOUNT_LOCKED. */
function checkAccount(files: HashFiles, { user, unlock }: Wanted): void {
  if (!isKnown(files, user)) throw new AgentError('GW_USER_UNKNOWN', [user, whereUnknown(files)]);
  const present = findHash(files, user);
  if (unlock === 'never' && present !== null && isLocked(present)) throw new AgentError('GW_ACCOUNT_LOCKED', [user]);
}

/** Throws GW_PASSWORD_UNSUPPORTED for what only the system's own program may change, or can bring into effect. */
function checkWritable(machine: Machine, system: HashSystem, user: string): void {
  const refuse = (why: string): AgentError => new AgentError('GW_PASSWORD_UNSUPPORTED', [user, why]);
  if (system === 'tcb') throw refuse('its hash is in /etc/tcb, which wants chpasswd in a system that runs');
  if (system === 'master' && !machine.live) {
    throw refuse('logins read the databases that pwd_mkdb makes, which wants a system that runs');
  }
}

function toolOf(system: HashSystem, user: string, hash: string): Tool {
  if (system === 'master') return { argv: ['pw', 'usermod', user, '-H', '0'], input: `${hash}\n` };
  return { argv: ['chpasswd', '-e'], input: `${user}:${hash}\n` };
}

async function hasProgram(machine: Machine, name: string): Promise<boolean> {
  const found = await Promise.all(
    SEARCH_PATH.split(':').map((directory) => machine.files.resolve(`${directory}/${name}`)),
  );
  return found.some((path) => path !== null);
}

async function setByTool(machine: Machine, tool: Tool, before: HashFiles, wanted: Wanted, hash: string): Promise<void> {
  const { user } = wanted;
  try {
    await runTool(machine, tool, hash);
    const after = await readHashFiles(machine.files, user);
    if (findHash(after, user) !== hash) {
      throw new AgentError('GW_RUN_FAILED', [
        tool.argv[0],
        'it reported success, but the password files do not contain the new hash',
      ]);
    }
    // Such as the day of the change where the tool left it, or a passwd line that has the hash for all to read.
    const complete = (files: HashFiles): readonly PasswordEdit[] => setHash(files, user, hash, machine.now());
    if (complete(after).length > 0) await changeFiles(machine, user, hash, complete);
  } catch (error) {
    // A tool that failed half way, or was killed, may have set the hash all the same.
    await putUserBack(machine, before, user, hash, error);
    throw error;
  }
}

async function runTool(machine: Machine, { argv, input }: Tool, hash: string): Promise<void> {
  using stdin = new Secret(Buffer.from(input));
  const { code, stderr, timedOut } = await machine.processes
    .run(argv, { stdin, timeout: TOOL_TIMEOUT, confined: true })
    .catch((cause: unknown) => {
      throw new AgentError('GW_RUN_FAILED', [argv[0], messageOf(cause)], { cause });
    });
  if (timedOut) throw new AgentError('GW_RUN_FAILED', [argv[0], `it did not end in ${TOOL_TIMEOUT / 1000} s`]);
  if (code !== 0) throw new AgentError('GW_RUN_FAILED', [argv[0], whyFailed(code, stderr.replaceAll(hash, '<hash>'))]);
}

async function putUserBack(
  machine: Machine,
  before: HashFiles,
  user: string,
  hash: string,
  because: unknown,
): Promise<void> {
  try {
    const decide = (files: HashFiles): readonly PasswordEdit[] => putBack(files, before, user, hash);
    if (decide(await readHashFiles(machine.files, user)).length === 0) return;
    await changeFiles(machine, user, findHash(before, user), decide);
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

async function setInFiles(machine: Machine, wanted: Wanted, hash: string): Promise<void> {
  await changeFiles(machine, wanted.user, hash, (files) => {
    // Again: others may have changed the files before the lock was ours.
    checkAccount(files, wanted);
    return setHash(files, wanted.user, hash, machine.now());
  });
}

/**
 * Writes what `decide` makes of the files under the system's locks; afterwards the user has the hash `result`, or the
 * files are as they were.
 */
async function changeFiles(
  machine: Machine,
  user: string,
  result: string | null,
  decide: (files: HashFiles) => readonly PasswordEdit[],
): Promise<void> {
  const lock = await machine.accounts.lock();
  try {
    const files = await readHashFiles(machine.files, user);
    const edits = decide(files);
    const commit = await machine.files.commit(
      // The files are there, so they keep their own mode.
      edits.map(({ path, text }) => ({ type: 'write', path, content: Buffer.from(text, 'latin1'), mode: 0o600 })),
    );
    try {
      if (hashSystem(files) === 'master') await makeDatabases(machine);
      if (findHash(await readHashFiles(machine.files, user), user) !== result) {
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
async function makeDatabases(machine: Machine): Promise<void> {
  const { code, stderr } = await machine.processes.run(['pwd_mkdb', '-p', FILES.master], { timeout: TOOL_TIMEOUT });
  if (code !== 0) throw new AgentError('GW_RUN_FAILED', ['pwd_mkdb', whyFailed(code, stderr)]);
}

async function readAll(machine: Machine, paths: readonly string[]): Promise<readonly string[]> {
  const texts = await Promise.all(paths.map((path) => machine.files.readText(path)));
  return texts.filter((text) => text !== null);
}
