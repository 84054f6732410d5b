export type HashScheme = 'yescrypt' | 'sha512';

/**
 * What crypt(3) makes, crypt(5): any other text is the hash of no password, so it would lock the user out. Of DES nothing is
 * taken: its 13 letters may as well be a password that was not hashed.
 */
const HASHES: readonly RegExp[] = [
  /^\$1\$[^$:\s]{0,8}\$[./0-9A-Za-z]{22}$/,
  /^\$2[abxy]\$(?:0[4-9]|[12]\d|3[01])\$[./0-9A-Za-z]{53}$/,
  /^\$5\$(?:rounds=[1-9]\d{3,8}\$)?[^$:\s]{0,16}\$[./0-9A-Za-z]{43}$/,
  /^\$6\$(?:rounds=[1-9]\d{3,8}\$)?[^$:\s]{0,16}\$[./0-9A-Za-z]{86}$/,
  /^\$7\$[./0-9A-Za-z]{11}[^$:\s]*\$[./0-9A-Za-z]{43}$/,
  /^\$g?y\$[./0-9A-Za-z]+\$[./0-9A-Za-z]{0,86}\$[./0-9A-Za-z]{43}$/,
];

/** Whether crypt(3) can have made it, with one of the schemes of libxcrypt that begin with `$`. */
export function isCryptHash(text: string): boolean {
  return HASHES.some((form) => form.test(text));
}

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
