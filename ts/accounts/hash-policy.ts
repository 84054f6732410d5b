export type HashScheme = 'yescrypt' | 'sha512';

export interface HashPolicyFacts {
  /** The user's hash as it is, with whatever marks a locked account; null for none. */
  readonly present: string | null;
  /** Texts of PAM's password stacks, such as /etc/pam.d/common-password, the most specific first. */
  readonly pam: readonly string[];
  /** Texts of login.defs(5), the most specific first. */
  readonly loginDefs: readonly string[];
}

/**
 * The scheme for a user's new hash: that of the present one, else what PAM makes new hashes with, else what
 * login.defs says, else SHA-512. yescrypt only where one of them names it, which proves that the C library knows it:
 * musl and older systems do not, and a hash they do not know locks the user out. MD5 and DES are never kept.
 */
export function chooseScheme(facts: HashPolicyFacts): HashScheme {
  const stated = [
    schemeOfHash(facts.present),
    ...facts.pam.map(schemeOfPam),
    ...facts.loginDefs.map(schemeOfLoginDefs),
  ];
  return stated.find((scheme) => scheme !== null) ?? 'sha512';
}

function schemeOfHash(hash: string | null): HashScheme | null {
  const unlocked = (hash ?? '').replace(/^!+/, '');
  // $gy$ is yescrypt inside a GOST hash: the C library that made it knows both.
  if (unlocked.startsWith('$y$') || unlocked.startsWith('$gy$')) return 'yescrypt';
  return unlocked.startsWith('$6$') ? 'sha512' : null;
}

/** pam_unix(8) takes the scheme as a bare word among its arguments. */
function schemeOfPam(text: string): HashScheme | null {
  const line = lines(text).find((words) => /^-?password$/.test(words[0] ?? '') && words.some(isPamUnix));
  return schemeOfWord(line?.find((word) => schemeOfWord(word) !== null));
}

function isPamUnix(word: string): boolean {
  return /(^|\/)pam_unix[.]so$/.test(word);
}

function schemeOfLoginDefs(text: string): HashScheme | null {
  const line = lines(text).findLast((words) => words[0] === 'ENCRYPT_METHOD');
  return schemeOfWord(line?.[1]?.toLowerCase());
}

function schemeOfWord(word: string | undefined): HashScheme | null {
  if (word === 'yescrypt' || word === 'gost_yescrypt') return 'yescrypt';
  return word === 'sha512' ? 'sha512' : null;
}

/** Words of the lines that say something. */
function lines(text: string): readonly (readonly string[])[] {
  return text.split('\n').map((line) => line.replace(/#.*/, '').trim().split(/\s+/));
}
