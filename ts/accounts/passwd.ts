/** A user as passwd(5) has it. */
export interface Account {
  readonly user: string;
  readonly uid: number;
  /** The primary group. */
  readonly gid: number;
  readonly home: string;
}

/** The first line of `user`, which is the one that the C library takes; null when there is none that can be used. */
export function findAccount(passwd: string, user: string): Account | null {
  return accounts(passwd).find((account) => account.user === user) ?? null;
}

/** Names of the user's groups by the text of group(5), the primary one among them. */
export function groupsOf(group: string, { user, gid }: Account): readonly string[] {
  return group.split('\n').flatMap((line) => {
    const [name = '', , id = '', members = ''] = line.split(':');
    return id === String(gid) || members.split(',').includes(user) ? [name] : [];
  });
}

/**
 * Whether the group of this number is the user's alone, as Debian's sshd judges: it is his primary one and nobody else's,
 * and has no other member.
 */
export function isPrivateGroup(passwd: string, group: string, gid: number, { user, uid }: Account): boolean {
  const line = group.split('\n').find((candidate) => candidate.split(':')[2] === String(gid));
  const members = (line?.split(':')[3] ?? '').split(',').filter((name) => name !== '');
  const primary = accounts(passwd).filter((account) => account.gid === gid);
  if (line === undefined || members.length + primary.length === 0) return false;
  return primary.every((account) => account.uid === uid) && members.every((name) => name === user);
}

/** All who are somebody else than `account`. */
export function otherAccounts(passwd: string, { uid }: Account): readonly Account[] {
  return accounts(passwd).filter((account) => account.uid !== uid);
}

/** The first user in whose home `path` is the usual file of ssh keys. */
export function ownerOfKeysFile(passwd: string, path: string): Account | null {
  return (
    accounts(passwd).find(({ home }) => whyNoHome(home) === null && `${home}/.ssh/authorized_keys` === path) ?? null
  );
}

/** Why a user cannot keep files in `home`, or null. */
export function whyNoHome(home: string): string | null {
  if (home === '') return 'it has no home';
  if (/^\/+nonexistent(\/|$)/.test(home) || home.split('/').every((part) => part === '' || part === '.')) {
    return `its home is ${home}`;
  }
  if (!home.startsWith('/') || home.split('/').includes('..')) return `its home is ${home}, wanted an absolute path`;
  return null;
}

function accounts(passwd: string): readonly Account[] {
  return passwd.split('\n').flatMap((line) => {
    const [user = '', , uid = '', gid = '', , home = ''] = line.split(':');
    if (!/^\d{1,10}$/.test(uid) || !/^\d{1,10}$/.test(gid)) return [];
    return [
      { user, uid: Number(uid), gid: Number(gid), home: home.length > 1 ? home.replace(/\/+$/, '') || '/' : home },
    ];
  });
}
