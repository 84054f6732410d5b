import { AgentError } from '../api/index.js';

/** The text of the password files; null where there is no such file. Bytes above 0x7f as latin1, to come back whole. */
export interface PasswordFiles {
  readonly passwd: string | null;
  readonly shadow: string | null;
}

/** A new text for one of the password files. */
export interface PasswordEdit {
  readonly path: '/etc/passwd' | '/etc/shadow' | '/etc/master.passwd';
  readonly text: string;
}

const PASSWD = '/etc/passwd';
const SHADOW = '/etc/shadow';
/** `name:hash:lastchg:min:max:warn:inactive:expire:flag`, shadow(5); the C library skips lines with fewer fields. */
const SHADOW_FIELDS = 9;
const DAY = 86_400_000;
/** A clock before this was never set: the machine has no battery behind it. */
const CLOCK_PLAUSIBLE = Date.UTC(2020, 0, 1);

/**
 * The day of the last password change for shadow(5): days since 1970 in UTC. Empty, which switches ageing off, when
 * the clock was never set: a small number there would demand a new password at once.
 */
export function lastChangeDay(now: number): string {
  return now < CLOCK_PLAUSIBLE ? '' : String(Math.floor(now / DAY));
}

/** The user's hash where a login looks for it, or null when the user is in neither file. */
export function passwordHash(files: PasswordFiles, user: string): string | null {
  const inPasswd = field(files.passwd, user);
  if (inPasswd !== null && inPasswd !== 'x') return inPasswd;
  return field(files.shadow, user);
}

/** No password fits such a hash: passwd(1) puts `!` before it, and accounts made without a password have `*`. */
export function isLocked(hash: string): boolean {
  return /^[!*]/.test(hash);
}

/**
 * Gives `user` a new hash; all else stays as it is, byte for byte. The hash goes where chpasswd(8) puts it: to the shadow
 * file where the user has a line there, or where his passwd line points there, for which a line is made; else to passwd.
 * A user in both whose passwd line does not point to the shadow file is made to point there: the C library looks at
 * passwd first.
 *
 * Throws AgentError GW_USER_UNKNOWN.
 */
export function setPasswordHash(
  files: PasswordFiles,
  user: string,
  hash: string,
  lastChange: string,
): readonly PasswordEdit[] {
  const inPasswd = field(files.passwd, user);
  if (files.shadow !== null && field(files.shadow, user) !== null) {
    const shadow = edit(files.shadow, user, (fields) => {
      const whole = [...fields, ...Array<string>(SHADOW_FIELDS).fill('')].slice(
        0,
        Math.max(fields.length, SHADOW_FIELDS),
      );
      return whole.with(1, hash).with(2, lastChange);
    });
    const edits: PasswordEdit[] = [{ path: SHADOW, text: shadow }];
    if (files.passwd !== null && inPasswd !== null && inPasswd !== 'x') {
      edits.push({ path: PASSWD, text: edit(files.passwd, user, (fields) => fields.with(1, 'x')) });
    }
    return edits;
  }
  if (files.passwd === null || inPasswd === null) {
    throw new AgentError('GW_USER_UNKNOWN', [user, files.shadow === null ? PASSWD : SHADOW]);
  }
  if (files.shadow !== null && inPasswd === 'x') {
    return [{ path: SHADOW, text: addLine(files.shadow, `${user}:${hash}:${lastChange}::::::`) }];
  }
  return [{ path: PASSWD, text: edit(files.passwd, user, (fields) => fields.with(1, hash)) }];
}

/** False for what would find NIS entries, comments, or two fields of a line at once. */
export function isName(user: string): boolean {
  return user !== '' && !/^[+\-#]|[:\n/]/.test(user);
}

/** The second field of the user's first line, which is the one that the C library takes. */
export function field(text: string | null, user: string): string | null {
  return lineOf(text, user)?.split(':')[1] ?? null;
}

/** The user's first line. */
export function lineOf(text: string | null, user: string): string | null {
  return text?.split('\n').find((candidate) => isLineOf(candidate, user)) ?? null;
}

/** The text with the user's first line changed. */
export function edit(text: string, user: string, change: (fields: string[]) => string[]): string {
  const lines = text.split('\n');
  const index = lines.findIndex((line) => isLineOf(line, user));
  return lines.map((line, i) => (i === index ? change(line.split(':')).join(':') : line)).join('\n');
}

/** The text without the user's first line. */
export function withoutLine(text: string, user: string): string {
  const lines = text.split('\n');
  const index = lines.findIndex((line) => isLineOf(line, user));
  return index < 0 ? text : lines.toSpliced(index, 1).join('\n');
}

/** What comes behind the first entry of NIS counts for nobody whom NIS knows. */
function addLine(text: string, line: string): string {
  const lines = text.split('\n');
  const nis = lines.findIndex((candidate) => /^[+-]/.test(candidate));
  const end = lines.at(-1) === '' ? lines.length - 1 : lines.length;
  const added = lines.toSpliced(nis < 0 ? end : nis, 0, line).join('\n');
  return added.endsWith('\n') || nis >= 0 ? added : `${added}\n`;
}

function isLineOf(line: string, user: string): boolean {
  return isName(user) && line.startsWith(`${user}:`);
}
