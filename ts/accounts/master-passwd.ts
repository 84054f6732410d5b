import { AgentError } from '../api/index.js';
import { edit, field, type PasswordEdit } from './shadow.js';

/** FreeBSD's file of hashes; a login reads the databases that pwd_mkdb(8) makes of it. */
export const MASTER_PASSWD = '/etc/master.passwd';
/** `name:hash:uid:gid:class:change:expire:gecos:home:shell`, passwd(5) of FreeBSD. */
const CHANGE = 5;

/** The user's hash in master.passwd, or null when the user is not in it. */
export function masterHash(text: string, user: string): string | null {
  return field('master', text, user);
}

/**
 * Gives `user` a new hash in the text of master.passwd; all else stays as it is, byte for byte. `change` is the time,
 * in seconds since 1970, at which a login demands a new password. A time that has come is taken away, because the new
 * password is here; one that is still to come is the administrator's and stays. A clock that was never set cannot tell
 * one from the other, so nothing is taken away then.
 *
 * Throws AgentError GW_USER_UNKNOWN.
 */
export function setMasterHash(text: string, user: string, hash: string, now: number): PasswordEdit {
  if (masterHash(text, user) === null) throw new AgentError('GW_USER_UNKNOWN', [user, MASTER_PASSWD]);
  const changed = edit('master', text, user, (fields) => {
    const due = Number(fields[CHANGE] ?? '');
    const over = due > 0 && due * 1000 <= now;
    return over ? fields.with(1, hash).with(CHANGE, '0') : fields.with(1, hash);
  });
  return { path: MASTER_PASSWD, text: changed };
}
