/** What of the machine says whether a user can log in at all. */
import { posix } from 'node:path';
import type { Host } from '../api/index.js';
import {
  type LoginFacts,
  loginObstacles,
  type LoginObstacles,
  NOLOGIN_FILES,
  shellOf,
} from '../accounts/login-state.js';
import { findAccount } from '../accounts/passwd.js';
import { FILES, type HashFiles, hashSystem, tcbPath } from '../accounts/password-files.js';
import { lineOf } from '../accounts/shadow.js';

/** Every file that may hold a user's hash, and what says how long it counts. */
export async function readHashFiles(host: Host, user: string): Promise<HashFiles> {
  const read = async (path: string): Promise<string | null> =>
    (await host.files.read(path))?.toString('latin1') ?? null;
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
export async function findObstacles(host: Host, files: HashFiles, user: string, now: number): Promise<LoginObstacles> {
  const system = hashSystem(files);
  const shell = shellOf(files.passwd, user);
  const facts: LoginFacts = {
    uid: findAccount(files.passwd ?? '', user)?.uid ?? -1,
    shadow: lineOf('shadow', system === 'tcb' ? files.tcb : files.shadow, user),
    master: system === 'master' ? lineOf('master', files.master, user) : null,
    shell: shell ?? '',
    shellMode: shell === null ? 'unknown' : await modeOf(host, shell === '' ? '/bin/sh' : shell),
    nologin: await findNologin(host),
    now,
  };
  return loginObstacles(facts);
}

/** Unknown where the directory holds nothing, as in a copy of a system that is made of a few files. */
async function modeOf(host: Host, path: string): Promise<LoginFacts['shellMode']> {
  const real = await host.files.resolve(path);
  if (real !== null) return (await host.files.status(real))?.mode ?? null;
  return (await host.files.list(posix.dirname(path))).length === 0 ? 'unknown' : null;
}

async function findNologin(host: Host): Promise<string | null> {
  for (const path of NOLOGIN_FILES) if ((await host.files.status(path)) !== null) return path;
  return null;
}
