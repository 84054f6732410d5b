import { MASTER_PASSWD, masterHash, setMasterHash } from './master-passwd.js';
import {
  field,
  hasHash,
  isName,
  lastChangeDay,
  passwordHash,
  type PasswordEdit,
  type PasswordFiles,
  setPasswordHash,
  withLinesOf,
} from './shadow.js';

/** Every file that may hold a user's hash; null where there is no such file. */
export interface HashFiles extends PasswordFiles {
  /** FreeBSD's /etc/master.passwd. */
  readonly master: string | null;
  /** The user's own file on a system with tcb(5). */
  readonly tcb: string | null;
}

/** How a system keeps its hashes: in the shadow file or passwd, in a file for each user, or as FreeBSD does. */
export type HashSystem = 'shadow' | 'tcb' | 'master';

export const FILES = { passwd: '/etc/passwd', shadow: '/etc/shadow', master: MASTER_PASSWD } as const;

/** Where tcb(5) keeps a user's line of the shadow file. */
export function tcbPath(user: string): string | null {
  return isName(user) && user !== '.' && user !== '..' ? `/etc/tcb/${user}/shadow` : null;
}

export function hashSystem(files: HashFiles): HashSystem {
  if (files.tcb !== null) return 'tcb';
  return files.shadow === null && files.master !== null ? 'master' : 'shadow';
}

/** Whether any file says that there is such a user: what may be set, the system's own program knows best. */
export function isKnown(files: HashFiles, user: string): boolean {
  if (files.tcb !== null) return true;
  if (hashSystem(files) === 'master') return masterHash(files.master ?? '', user) !== null;
  return field('passwd', files.passwd, user) !== null || field('shadow', files.shadow, user) !== null;
}

/** The file in which a user would be that is in none. */
export function whereUnknown(files: HashFiles): string {
  if (hashSystem(files) === 'master') return FILES.master;
  return files.shadow === null ? FILES.passwd : FILES.shadow;
}

/** The user's hash where a login looks for it, or null when the user is in none of the files. */
export function findHash(files: HashFiles, user: string): string | null {
  if (files.tcb !== null) return field('shadow', files.tcb, user);
  if (files.shadow === null && files.master !== null) return masterHash(files.master, user);
  return passwordHash(files, user);
}

/**
 * What gives `user` a new hash and the day of the change; nothing where it is all there already. A tcb file is not for
 * us to write. `now` is milliseconds since 1970.
 *
 * Throws AgentError GW_USER_UNKNOWN.
 */
export function setHash(files: HashFiles, user: string, hash: string, now: number): readonly PasswordEdit[] {
  if (files.tcb !== null) return [];
  const edits =
    files.shadow === null && files.master !== null
      ? [setMasterHash(files.master, user, hash, now)]
      : setPasswordHash(files, user, hash, lastChangeDay(now));
  const present = { [FILES.passwd]: files.passwd, [FILES.shadow]: files.shadow, [FILES.master]: files.master };
  return edits.filter(({ path, text }) => present[path] !== text);
}

/**
 * What gives `user` the lines as in `before` again, or none if there was none, in the files where `hash` stands. A tcb file
 * is not for us to write.
 */
export function putBack(files: HashFiles, before: HashFiles, user: string, hash: string): readonly PasswordEdit[] {
  return (['shadow', 'passwd', 'master'] as const).flatMap((name) => {
    const text = files[name];
    if (text === null || !hasHash(text, user, hash)) return [];
    return [{ path: FILES[name], text: withLinesOf(text, before[name], user) }];
  });
}
