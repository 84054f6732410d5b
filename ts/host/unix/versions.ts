/** The directory of versions: `versions/<version>/`, and `current`, the link to the one that is started. */
import { randomUUID } from 'node:crypto';
import { access, chmod, mkdir, readdir, readlink, realpath, rename, rm, symlink } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { AgentError } from '../../api/index.js';
import { reason } from '../shared/reason.js';
import { syncDirectory } from '../shared/durable.js';
import { absent } from '../shared/system-error.js';

const CURRENT = 'current';
const VERSIONS = 'versions';
/** No version's name starts with a dot. */
const STAGING = '.staging-';
/** Which version it is, an archive says only once it is unpacked. */
export const UNKNOWN_VERSION = 'in the archive';
const PROGRAM = 'dist/guestwire.js';

/** The version that `program` belongs to. Throws GW_UPDATE_REFUSED when `current` does not decide what it is. */
export async function runningVersion(directory: string, program: string): Promise<string> {
  const wanted = join(directory, CURRENT, PROGRAM);
  if (await leadsThrough(wanted, program)) {
    const top = dirname(dirname(await realpath(program)));
    if (dirname(top) === (await realpath(join(directory, VERSIONS)))) return basename(top);
  }
  throw new AgentError('GW_UPDATE_REFUSED', [
    `the agent was started as ${program}, wanted ${wanted}; whatever installed it has to update it`,
  ]);
}

/** Whether `path` is `wanted`, or a link to it, or a link to such a link. */
async function leadsThrough(wanted: string, path: string): Promise<boolean> {
  const [known, here] = await Promise.all([locate(wanted), locate(resolve(path))]);
  if (known === null || here === null) return false;
  if (known === here) return true;
  const target = await readlink(here).catch(() => null);
  return target !== null && leadsThrough(wanted, resolve(dirname(here), target));
}

/** A path below `current`, with the links before that followed; another path with its directory's links followed. */
async function locate(path: string): Promise<string | null> {
  const below = join(sep, CURRENT, PROGRAM);
  const name = path.endsWith(below) ? below : join(sep, basename(path));
  const directory = await realpath(path.slice(0, -name.length) || sep).catch(absent);
  return directory === null ? null : join(directory, name);
}

/** Makes an empty directory beside the versions, on their file system. Throws GW_UPDATE_FAILED. */
export async function makeStaging(directory: string): Promise<string> {
  const versions = join(directory, VERSIONS);
  const path = join(versions, `${STAGING}${randomUUID()}`);
  await failing(UNKNOWN_VERSION, versions, () => mkdir(path, { mode: 0o700 }));
  return path;
}

/** Moves an unpacked program to its place; one of the same version that stands there is gone. */
export async function installVersion(directory: string, unpacked: string, version: string): Promise<void> {
  const versions = join(directory, VERSIONS);
  await failing(version, versions, async () => {
    await chmod(unpacked, 0o755);
    await rm(join(versions, version), { recursive: true, force: true });
    await rename(unpacked, join(versions, version));
    await syncDirectory(versions);
  });
}

/** Makes `current` lead to an installed version. */
export async function linkVersion(directory: string, version: string): Promise<void> {
  await failing(version, directory, async () => {
    await access(join(directory, VERSIONS, version, PROGRAM));
    const temporary = join(directory, `.${CURRENT}-${randomUUID()}`);
    await symlink(join(VERSIONS, version), temporary);
    await rename(temporary, join(directory, CURRENT));
    await syncDirectory(directory);
  });
}

/** Removes what is not one of `keep`, and whatever half an update left. */
export async function pruneVersions(directory: string, keep: readonly string[]): Promise<void> {
  for (const name of (await readdir(join(directory, VERSIONS)).catch(absent)) ?? []) {
    if (!keep.includes(name)) await rm(join(directory, VERSIONS, name), { recursive: true, force: true });
  }
  await removeStarting(directory, `.${CURRENT}-`);
}

export async function removeStaging(directory: string): Promise<void> {
  await removeStarting(join(directory, VERSIONS), STAGING);
}

async function removeStarting(directory: string, prefix: string): Promise<void> {
  for (const name of (await readdir(directory).catch(absent)) ?? []) {
    if (name.startsWith(prefix)) await rm(join(directory, name), { recursive: true, force: true });
  }
}

/** Has GW_UPDATE_FAILED say what the system refused; `where` tells which disk it is that is full or read-only. */
export async function failing<T>(version: string, where: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof AgentError) throw cause;
    throw new AgentError('GW_UPDATE_FAILED', [version, `${where}: ${reason(cause)}`], { cause });
  }
}
