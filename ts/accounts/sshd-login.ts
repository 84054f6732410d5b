/** What keeps sshd from letting a user in with a key that stands in his file. */
import { type PublicKey, rsaBits } from './authorized-keys.js';
import { forcedCommand, isExpired } from './key-options.js';
import type { LoginObstacles } from './login-state.js';
import { matchesList, matchesPattern, type SshdSettings } from './sshd-config.js';

export interface SshdUser {
  readonly user: string;
  readonly uid: number;
  /** Names of all his groups; null when the settings name no groups. */
  readonly groups: readonly string[] | null;
  /** His password is locked. */
  readonly locked: boolean;
}

const RSA = ['rsa-sha2-512', 'rsa-sha2-256', 'ssh-rsa'];

/** Why sshd lets the user in with no key at all. */
export function whyNoKeyLogin(settings: SshdSettings, { user, uid, groups, locked }: SshdUser): readonly string[] {
  const is = (keyword: string, value: string): boolean => first(settings, keyword) === value;
  const list = (keyword: string): readonly string[] => settings.get(keyword) ?? [];
  const inGroups = (keyword: string): boolean =>
    list(keyword).some((pattern) => (groups ?? []).some((group) => matchesPattern(pattern, group)));
  const means = (pattern: string): boolean => matchesPattern(pattern.split('@')[0] ?? '', user);
  const methods = list('authenticationmethods');
  const reasons: readonly (readonly [boolean, string])[] = [
    [is('pubkeyauthentication', 'no'), 'PubkeyAuthentication is no'],
    [
      methods.length > 0 && !methods.some((chain) => /^(?:any|publickey)$/.test(chain)),
      `AuthenticationMethods does not accept a key alone: ${methods.join(' ')}`,
    ],
    [uid === 0 && is('permitrootlogin', 'no'), 'PermitRootLogin is no'],
    // Of one with a host behind it nobody knows whether it is meant.
    [list('denyusers').some((pattern) => !pattern.includes('@') && means(pattern)), `DenyUsers names ${user}`],
    [list('allowusers').length > 0 && !list('allowusers').some(means), `AllowUsers does not name ${user}`],
    [inGroups('denygroups'), `DenyGroups names a group of ${user}`],
    [list('allowgroups').length > 0 && !inGroups('allowgroups'), `AllowGroups names no group of ${user}`],
    [locked && !is('usepam', 'yes'), 'the account is locked, and UsePAM is no'],
  ];
  return reasons.filter(([holds]) => holds).map(([, reason]) => reason);
}

/** Whether the settings name groups, so that those of the user have to be known. */
export function namesGroups(settings: SshdSettings): boolean {
  return settings.has('allowgroups') || settings.has('denygroups');
}

/**
 * What of `key` is not as wanted in a file of `keys`; `name` is what the message calls it. `now` is milliseconds since
 * 1970.
 */
export function whyKeyKeptOut(
  settings: SshdSettings,
  key: PublicKey,
  name: string,
  keys: readonly PublicKey[],
  { uid, now }: { readonly uid: number; readonly now: number },
): LoginObstacles {
  const same = keys.filter(({ id }) => id === key.id);
  const open = same.filter(({ options }) => options.wrong === null && !isExpired(options, now));
  // Where it is from decides of a line with `from`, and then sshd goes on to the next: nobody knows here.
  const counts = open.find(({ options }) => !options.from && !options.principals);
  const unforced =
    uid === 0 && first(settings, 'permitrootlogin') === 'forced-commands-only' && !open.some(isForced)
      ? ['PermitRootLogin is forced-commands-only, and it has no command']
      : [];
  const refused = [
    ...whyAlgorithm(settings, key),
    ...(open.length === 0 ? ['its expiry-time has come'] : []),
    ...unforced,
  ];
  const remarks = [
    ...(key.options.unknown === null ? [] : [`its option ${key.options.unknown} may be unknown to sshd`]),
    ...(counts === undefined ? [] : whyOtherOptions(key, counts)),
  ];
  const named = (text: string): string => `${name}: ${text}`;
  return { refused: refused.map(named), remarks: remarks.map(named) };
}

function whyAlgorithm(settings: SshdSettings, key: PublicKey): readonly string[] {
  const keyword = key.options.authority ? 'casignaturealgorithms' : 'pubkeyacceptedalgorithms';
  const accepted = first(settings, keyword) ?? first(settings, 'pubkeyacceptedkeytypes');
  const names = key.type === 'ssh-rsa' ? RSA : [key.type];
  const bits = rsaBits(key);
  const least = Number(first(settings, 'requiredrsasize') ?? 0);
  return [
    ...(accepted !== undefined && !/^[-+^]/.test(accepted) && !names.some((name) => matchesList(accepted, name))
      ? [`sshd takes no key of type ${key.type}`]
      : []),
    ...(bits !== null && bits < least ? [`it has ${bits} bits, RequiredRSASize is ${least}`] : []),
  ];
}

/** sshd takes the first line of a key that lets it in, and what that says counts. */
function whyOtherOptions(wanted: PublicKey, counts: PublicKey): readonly string[] {
  if (forcedCommand(counts.options) !== forcedCommand(wanted.options)) {
    return [
      forcedCommand(counts.options) === null
        ? 'its line that was there runs any command'
        : 'its line that was there runs a command of its own',
    ];
  }
  const missing = wanted.options.list.filter((option) => !counts.options.list.includes(option));
  return missing.length === 0 ? [] : ['its line that was there has other options'];
}

function isForced({ options }: PublicKey): boolean {
  return forcedCommand(options) !== null;
}

function first(settings: SshdSettings, keyword: string): string | undefined {
  return settings.get(keyword)?.[0];
}
