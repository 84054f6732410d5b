/** What of the machine says whether a user can log in at all. */
import { posix } from 'node:path';
import type { Files, LoginState } from '../../api/index.js';
import {
  type LoginFacts,
  loginObstacles,
  type LoginObstacles,
  NOLOGIN_FILES,
  shellOf,
} from '../../accounts/login-state.js';
import { findAccount } from '../../accounts/passwd.js';
import { FILES, type HashFiles, findHash, hashSystem, tcbPath } from '../../accounts/password-files.js';
import { lineOf } from '../../accounts/shadow.js';

/** Every file that may hold a user's hash, and what says how long it counts. */
export async function readHashFiles(files: Files, user: string): Promise<HashFiles> {
  const read = async (path: string): Promise<string | null> => (await files.read(path))?.toString('latin1') ?? null;
  const tcb = tcbPath(user);
  const [passwd, shadow, master, own] = await Promise.all([
    read(FILES.passwd),
    read(FILES.shadow),
    read(FILES.master),
    tcb === null ? null : read(tcb),
  ]);
  return { passwd, shadow, master, tcb: own };
}

/** What keeps `user` from logging in though the password or the key is right; `now` is milliseconds since 1970. */
export async function findObstacles(
  files: Files,
  hashes: HashFiles,
  user: string,
  now: number,
): Promise<LoginObstacles> {
  const system = hashSystem(hashes);
  const shell = shellOf(hashes.passwd, user);
  const facts: LoginFacts = {
    uid: findAccount(hashes.passwd ?? '', user)?.uid ?? -1,
    shadow: lineOf('shadow', system === 'tcb' ? hashes.tcb : hashes.shadow, user),
    master: system === 'master' ? lineOf('master', hashes.master, user) : null,
    shell: shell ?? '',
    shellMode: shell === null ? 'unknown' : await modeOf(files, shell === '' ? '/bin/sh' : shell),
    nologin: await findNologin(files),
    now,
  };
  return loginObstacles(facts);
}

export async function loginState(files: Files, user: string, now: number): Promise<LoginState> {
  const hashes = await readHashFiles(files, user);
  // As usermod -L marks it.
  const locked = findHash(hashes, user)?.startsWith('!') === true;
  return { ...(await findObstacles(files, hashes, user, now)), locked };
}

/** Unknown where the directory holds nothing, as in a copy of a system that is made of a few files. */
async function modeOf(files: Files, path: string): Promise<LoginFacts['shellMode']> {
  const real = await files.resolve(path);
  if (real !== null) return (await files.status(real))?.mode ?? null;
  return (await files.list(posix.dirname(path))).length === 0 ? 'unknown' : null;
}

async function findNologin(files: Files): Promise<string | null> {
  for (const path of NOLOGIN_FILES) if ((await files.status(path)) !== null) return path;
  return null;
}
