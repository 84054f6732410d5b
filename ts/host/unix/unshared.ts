/** Who may change a file that root is about to run: nobody but root, and the user that the agent runs as. */
import type { Stats } from 'node:fs';
import { lstat, readdir, readlink, realpath, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;

/** What stands below a path that was looked at, so that a change can be told. */
export interface Examined {
  /** Null when only root can change what was looked at; else what is wrong. */
  readonly distrust: string | null;
  /** Differs when a file has changed. */
  readonly fingerprint: string;
}

/** Looks at `path`, at all below it when it is a directory, and at the directories above it. */
export async function examine(path: string): Promise<Examined> {
  const real = await realpath(path);
  const marks: string[] = [];
  const distrust = (await distrustWay(path)) ?? (await distrustAbove(real)) ?? (await distrustBelow(real, marks));
  return { distrust, fingerprint: marks.join('\n') };
}

/** What is wrong with `directory` itself or one above it, where nobody but root may change what stands in them; or null. */
export async function distrustDirectory(directory: string): Promise<string | null> {
  const real = await realpath(directory);
  return (await distrustWay(directory)) ?? judge(real, await stat(real)) ?? (await distrustAbove(real));
}

/** As many links as the kernel follows in one path. */
const MAX_LINKS = 40;

/** A link of a user's, or one that he can exchange for another, leads elsewhere by the time that what it led to is run. */
async function distrustWay(path: string): Promise<string | null> {
  const ahead = resolve(path).split('/').filter(Boolean);
  let done = '/';
  let links = 0;
  for (let part = ahead.shift(); part !== undefined; part = ahead.shift()) {
    const here = join(done, part);
    const status = await lstat(here);
    if (!status.isSymbolicLink()) {
      done = here;
      continue;
    }
    if (!isOurs(status)) return `${here} is a link of user ${status.uid}: wanted root's`;
    const reason = await distrustAbove(here);
    if (reason !== null) return reason;
    links += 1;
    if (links > MAX_LINKS) return `${path} has too many links`;
    const target = await readlink(here);
    if (target.startsWith('/')) done = '/';
    ahead.unshift(...target.split('/').filter(Boolean));
  }
  return null;
}

/** A directory that others can write lets them put another file in the place of ours, but for a sticky one, like /tmp. */
async function distrustAbove(path: string): Promise<string | null> {
  for (let directory = dirname(path); ; directory = dirname(directory)) {
    const status = await stat(directory);
    const reason = judge(directory, status);
    if (reason !== null && !((status.mode & STICKY) !== 0 && isOurs(status))) return reason;
    if (directory === dirname(directory)) return null;
  }
}

async function distrustBelow(path: string, marks: string[]): Promise<string | null> {
  const status = await lstat(path);
  if (status.isSymbolicLink()) return distrustLink(path, marks);
  marks.push(`${path} ${status.ino} ${status.size} ${status.mtimeMs}`);
  const reason = judge(path, status);
  if (reason !== null || !status.isDirectory()) return reason;
  for (const name of (await readdir(path)).sort()) {
    const below = await distrustBelow(join(path, name), marks);
    if (below !== null) return below;
  }
  return null;
}

/** Links are followed one step: where they lead has to be as safe, but its content is not walked, or a loop would be. */
async function distrustLink(path: string, marks: string[]): Promise<string | null> {
  marks.push(`${path} ${await readlink(path)}`);
  const target = await realpath(path).catch(() => null);
  if (target === null) return null;
  const status = await stat(target);
  if (status.isFile()) marks.push(`${target} ${status.ino} ${status.size} ${status.mtimeMs}`);
  return judge(target, status) ?? (await distrustAbove(target));
}

function judge(path: string, status: Stats): string | null {
  if (!isOurs(status)) return `${path} belongs to user ${status.uid}: wanted root's, which no other user can change`;
  if ((status.mode & WRITABLE_BY_OTHERS) === 0) return null;
  const mode = (status.mode & 0o7777).toString(8).padStart(4, '0');
  return `${path} has mode ${mode}: wanted one that only its owner can write (chmod go-w)`;
}

function isOurs({ uid }: Stats): boolean {
  return uid === 0 || uid === process.geteuid?.();
}
