/** What the system's sshd is set to, for one user. */
import { AgentError, type Host, messageOf } from '../api/index.js';
import type { Account } from '../accounts/passwd.js';
import {
  matchesGlob,
  parseSshdOutput,
  readSshdConfig,
  settingsOf,
  type SshdSettings,
  type Statement,
} from '../accounts/sshd-config.js';
import { posix } from '../host/shared/runtime/path.js';

export interface Sshd {
  readonly settings: SshdSettings;
  /** What an answer has to say of it besides; none when sshd itself told its settings. */
  readonly remarks: readonly string[];
}

/** Where distributions keep it: Debian, Red Hat and Alpine; SUSE; from source; NixOS. */
const PROGRAMS = [
  '/usr/sbin/sshd',
  '/sbin/sshd',
  '/usr/bin/sshd',
  '/usr/lib/ssh/sshd',
  '/usr/local/sbin/sshd',
  '/run/current-system/sw/bin/sshd',
];
/** Where openSUSE keeps the file that an administrator may override. */
const CONFIGS = ['/etc/ssh/sshd_config', '/usr/etc/ssh/sshd_config'];
/** sshd's own limit of files that include one another. */
const MAX_INCLUDES = 16;
/** Where a connection is said to come from: an address of nobody's, RFC 5737. */
const CONNECTION = 'host=guestwire.invalid,addr=192.0.2.1,laddr=192.0.2.2,lport=22';
/** What is missing until the service starts for the first time, and what an answer says of it: nothing of the directory. */
const NOT_READY = [
  [/Missing privilege separation directory/, []],
  [/no hostkeys available/, ['sshd has no host keys yet']],
  [/sshd_config: No such file or directory/, ['sshd has no configuration yet']],
] as const;
const SSHD_TIMEOUT = 20_000;

/**
 * Asks the real sshd on a live system. On a copy, and where there is no sshd or it is not ready to run, the files of its
 * configuration tell the same as long as no `Match` sets where the keys are.
 *
 * Throws AgentError GW_KEYS_REFUSED, with sshd's own message where it has one.
 */
export async function askSshd(host: Host, { user }: Account): Promise<Sshd> {
  const statements = await readStatements(host, user);
  if (!host.live) return fromFiles(user, statements, 'this is a copy of a system', []);
  const program = await findProgram(host);
  if (program === null) return fromFiles(user, statements, 'there is no sshd', ['no sshd was found on this system']);
  // sshd takes a comma for the end of the name.
  if (user.includes(',')) throw refused(user, 'its name has a comma, so sshd cannot be asked about it');
  const answer = await run(host, program, user, '');
  const said = answer.text.includes("'rdomain' not in connection test")
    ? await run(host, program, user, ',rdomain=')
    : answer;
  if (said.ok) return { settings: parseSshdOutput(said.text, statements), remarks: [] };
  const missing = NOT_READY.find(([message]) => message.test(said.text));
  if (missing === undefined) throw refused(user, `sshd does not tell where it looks for keys: ${said.text}`);
  return fromFiles(user, statements, said.text, missing[1]);
}

/** What the files say, unless it is for some connections only. */
function fromFiles(user: string, statements: readonly Statement[], why: string, remarks: readonly string[]): Sshd {
  if (statements.some(({ keyword, conditional }) => conditional && keyword === 'authorizedkeysfile')) {
    throw refused(user, `a Match block sets AuthorizedKeysFile, which only a sshd that runs can judge, and ${why}`);
  }
  return { settings: settingsOf(statements), remarks };
}

async function run(
  host: Host,
  program: string,
  user: string,
  more: string,
): Promise<{ readonly ok: boolean; readonly text: string }> {
  try {
    const argv = [program, '-T', '-C', `user=${user},${CONNECTION}${more}`] as const;
    const { code, stdout, stderr, timedOut } = await host.processes.run(argv, { timeout: SSHD_TIMEOUT });
    if (code === 0) return { ok: true, text: stdout };
    const lines = stderr.trim().split(/[\r\n]+/);
    return { ok: false, text: timedOut ? 'it did not end in 20 s' : lines.join('; ') || `exit status ${code}` };
  } catch (error) {
    return { ok: false, text: messageOf(error) };
  }
}

async function findProgram(host: Host): Promise<string | null> {
  for (const path of PROGRAMS) if ((await host.files.resolve(path)) !== null) return path;
  return null;
}

async function readStatements(host: Host, user: string): Promise<readonly Statement[]> {
  const read = async (path: string): Promise<string | null> => {
    try {
      return await host.files.readText(path);
    } catch (cause) {
      throw new AgentError('GW_KEYS_REFUSED', [user, `${path}: ${messageOf(cause)}`], { cause });
    }
  };
  const withIncludes = async (text: string, conditional: boolean, depth: number): Promise<readonly Statement[]> => {
    const statements: Statement[] = [];
    for (const statement of readSshdConfig(text)) {
      const inside = conditional || statement.conditional;
      if (statement.keyword !== 'include') statements.push({ ...statement, conditional: inside });
      else if (depth < MAX_INCLUDES) {
        const patterns = statement.words.map((pattern) => expand(host, posix.resolve('/etc/ssh', pattern)));
        for (const path of (await Promise.all(patterns)).flat()) {
          statements.push(...(await withIncludes((await read(path)) ?? '', inside, depth + 1)));
        }
      }
    }
    return statements;
  };
  for (const path of CONFIGS) {
    const text = await read(path);
    if (text !== null) return withIncludes(text, false, 0);
  }
  return [];
}

/** Every path that a pattern means, in order. */
async function expand(host: Host, pattern: string): Promise<readonly string[]> {
  let found: readonly string[] = [''];
  for (const part of pattern.split('/').slice(1)) {
    const next = found.map(async (directory) =>
      /[*?[\\]/.test(part)
        ? (await host.files.list(directory === '' ? '/' : directory))
            .filter((name) => matchesGlob(part, name))
            .map((name) => `${directory}/${name}`)
        : [`${directory}/${part}`],
    );
    found = (await Promise.all(next)).flat();
  }
  return found;
}

function refused(user: string, why: string): AgentError {
  return new AgentError('GW_KEYS_REFUSED', [user, why]);
}
