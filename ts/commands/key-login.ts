/** Whether the keys that were put into a user's file let him in. */
import type { Host } from '../api/index.js';
import { distinctKeys, listKeys, type PublicKey } from '../accounts/authorized-keys.js';
import type { LoginObstacles } from '../accounts/login-state.js';
import { type Account, groupsOf } from '../accounts/passwd.js';
import type { SshdSettings } from '../accounts/sshd-config.js';
import { namesGroups, whyKeyKeptOut, whyNoKeyLogin } from '../accounts/sshd-login.js';
import { type KeysFile, leadsTo } from './keys-file.js';

const OWNER_ENTERS = 0o100;
/** A group, or somebody of an access list, which shows in the same bit. */
const OTHERS_ENTER = 0o011;

/** What keeps the user out though `wanted` stand in the file, which holds `keys`. */
export async function keyObstacles(
  host: Host,
  { account, path }: KeysFile,
  settings: SshdSettings,
  wanted: readonly PublicKey[],
  keys: readonly PublicKey[],
): Promise<LoginObstacles> {
  const { user, uid } = account;
  const now = Date.now();
  const login = await host.accounts.loginState(user);
  const groups = namesGroups(settings) ? await readGroups(host, account) : null;
  const distinct = distinctKeys(wanted);
  const ofKeys = distinct.map((key, index) => {
    const name = distinct.length === 1 ? 'the key' : `key ${index + 1}`;
    return whyKeyKeptOut(settings, key, name, keys, { uid, now });
  });
  return {
    refused: [
      ...whyNoKeyLogin(settings, { user, uid, groups, locked: login.locked }),
      ...login.refused,
      ...(await whyClosed(host, account, path)),
      ...ofKeys.flatMap(({ refused }) => refused),
      ...(await whyRevoked(host, settings, distinct)),
    ],
    remarks: [
      // The one command that sshd has in itself needs no shell.
      ...(settings.get('forcecommand')?.[0] === 'internal-sftp' ? [] : login.remarks),
      ...ofKeys.flatMap(({ remarks }) => remarks),
    ],
  };
}

/** sshd opens the file as the user. */
async function whyClosed(host: Host, account: Account, path: string): Promise<readonly string[]> {
  if (account.uid === 0) return [];
  const parts = (await leadsTo(host, path)).split('/').slice(1, -1);
  for (let count = 0; count <= parts.length; count += 1) {
    const directory = `/${parts.slice(0, count).join('/')}`;
    const status = await host.files.status(directory);
    if (status === null) return [];
    const { uid, mode } = status;
    if ((mode & (uid === account.uid ? OWNER_ENTERS : OTHERS_ENTER)) === 0)
      return [`${directory} is closed to ${account.user} by its mode ${mode.toString(8)}`];
  }
  return [];
}

/** A list of keys as text; of the binary form nobody is asked. */
async function whyRevoked(host: Host, settings: SshdSettings, keys: readonly PublicKey[]): Promise<readonly string[]> {
  const path = settings.get('revokedkeys')?.[0] ?? 'none';
  if (path === 'none') return [];
  const text = (await host.files.read(path))?.toString('latin1') ?? null;
  if (text === null) return [`its RevokedKeys ${path} cannot be read, so it takes no key`];
  const revoked = new Set((await listKeys(text)).map(({ blob }) => blob.toString('base64')));
  return keys.some(({ blob }) => revoked.has(blob.toString('base64'))) ? [`RevokedKeys ${path} has the key`] : [];
}

/** Names of all the user's groups: of every source that the system has, where it can be asked. */
async function readGroups(host: Host, account: Account): Promise<readonly string[]> {
  if (host.live) {
    const { code, stdout } = await host.processes.run(['id', '-Gn', '--', account.user]);
    if (code === 0) return stdout.trim().split(/\s+/);
  }
  return groupsOf((await host.files.readText('/etc/group')) ?? '', account);
}
