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
/** `name:hash:lastchg:min:max:warn:inactive:expire:flag`, shadow(5). */
const SHADOW_FIELDS = 9;
/** What glibc takes for a number. */
const NUMBER = /^\s*[+]?\d+$/;
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
  const inPasswd = field('passwd', files.passwd, user);
  if (inPasswd !== null && inPasswd !== 'x') return inPasswd;
  return field('shadow', files.shadow, user);
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
  const inPasswd = field('passwd', files.passwd, user);
  if (files.shadow !== null && field('shadow', files.shadow, user) !== null) {
    const shadow = edit('shadow', files.shadow, user, (fields) =>
      wholeShadowLine(fields).with(1, hash).with(2, lastChange),
    );
    const edits: PasswordEdit[] = [{ path: SHADOW, text: shadow }];
    if (files.passwd !== null && inPasswd !== null && inPasswd !== 'x') {
      edits.push({ path: PASSWD, text: edit('passwd', files.passwd, user, (fields) => fields.with(1, 'x')) });
    }
    return edits;
  }
  if (files.passwd === null || inPasswd === null) {
    throw new AgentError('GW_USER_UNKNOWN', [user, files.shadow === null ? PASSWD : SHADOW]);
  }
  if (files.shadow !== null && inPasswd === 'x') {
    return [{ path: SHADOW, text: addLine(files.shadow, `${user}:${hash}:${lastChange}::::::`) }];
  }
  return [{ path: PASSWD, text: edit('passwd', files.passwd, user, (fields) => fields.with(1, hash)) }];
}

/** False for what would find NIS entries, comments, or two fields of a line at once. */
export function isName(user: string): boolean {
  return user !== '' && !/^[+\-#]|[:\n/]/.test(user);
}

/** Which of the files a text is of: each has rules of its own for lines that are skipped. */
export type HashFile = 'passwd' | 'shadow' | 'master';

/** The second field of the user's line that counts. */
export function field(file: HashFile, text: string | null, user: string): string | null {
  return lineOf(file, text, user)?.split(':')[1] ?? null;
}

/**
 * The user's line that counts: the first that the C library does not skip, as getspnam(3) reads it and so PAM and
 * chpasswd do. Where it skips them all, the first.
 */
export function lineOf(file: HashFile, text: string | null, user: string): string | null {
  const lines = text?.split('\n') ?? [];
  return lines[indexOf(file, lines, user)] ?? null;
}

/** The text with the user's line that counts changed. */
export function edit(file: HashFile, text: string, user: string, change: (fields: string[]) => string[]): string {
  const lines = text.split('\n');
  const index = indexOf(file, lines, user);
  return lines.map((line, i) => (i === index ? change(line.split(':')).join(':') : line)).join('\n');
}

/** The text with the user's lines of `before` in the place of those that it has; lines that are more go. */
export function withLinesOf(text: string, before: string | null, user: string): string {
  const old = before?.split('\n').filter((line) => isLineOf(line, user)) ?? [];
  const lines = text.split('\n').flatMap((line) => (isLineOf(line, user) ? old.splice(0, 1) : [line]));
  return lines.join('\n');
}

/** Whether `hash` stands in any of the user's lines. */
export function hasHash(text: string, user: string, hash: string): boolean {
  return text.split('\n').some((line) => isLineOf(line, user) && line.split(':')[1] === hash);
}

function indexOf(file: HashFile, lines: readonly string[], user: string): number {
  const valid = lines.findIndex((line) => isLineOf(line, user) && isRead(file, line.split(':')));
  return valid >= 0 ? valid : lines.findIndex((line) => isLineOf(line, user));
}

/** Whether glibc reads such a line: its sgetspent() and fgetpwent(). pwd_mkdb(8) refuses a file with any other line. */
function isRead(file: HashFile, fields: readonly string[]): boolean {
  if (file === 'master') return true;
  if (file === 'passwd') return fields.slice(2, 4).filter((text) => NUMBER.test(text)).length === 2;
  const [, , ...numbers] = fields;
  if (fields.length > SHADOW_FIELDS || !numbers.every((text) => text === '' || NUMBER.test(text))) return false;
  // The old form ends behind `max`, with or without a colon; the flag may be left out together with its colon.
  if (numbers.length === 4) return numbers[3] === '';
  return numbers.length === 7 || ((numbers.length === 3 || numbers.length === 6) && numbers.at(-1) !== '');
}

/** A line that the C library would skip, mended: all fields, and nothing but numbers behind the hash. */
function wholeShadowLine(fields: string[]): string[] {
  if (isRead('shadow', fields) && fields.length === SHADOW_FIELDS) return fields;
  return Array.from({ length: SHADOW_FIELDS }, (_, index) => {
    const text = fields[index] ?? '';
    return index < 2 || NUMBER.test(text) ? text : '';
  });
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
