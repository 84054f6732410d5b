/** Which programs of the administrator's stand before and after a command, and which of them may be run. */
import type { Files } from '../api/host.js';

export type Stage = 'before' | 'after';
export const STAGES: readonly Stage[] = ['before', 'after'];

/** The folder of programs for every serial command. */
export const FOR_ALL = 'all';

export interface Hook {
  /** Below the hook folder, as in `before/resetnetwork/10-vpn`. */
  readonly name: string;
  readonly path: string;
  /** False for a file that nobody may execute: it is switched off. */
  readonly executable: boolean;
  /** Why it must not be run, or null. */
  readonly unfit: string | null;
}

interface Found {
  readonly file: string;
  readonly hook: Hook;
}

/** Hidden files and what editors and package managers leave behind: what systemd and run-parts pass over. */
const IGNORED =
  /^[.#]|~$|,v$|\.(dpkg-\w+|ucf-\w+|rpm(save|new|orig)|pac(save|new|orig)|cfsaved|bak|old|new|orig|rej|swp)$/;
const EXECUTE = 0o111;
const WRITE_FOR_OTHERS = 0o022;
const STICKY = 0o1000;

/** Hooks of one stage in the folders named, in the order of their file names; of two alike that of the earlier folder. */
export async function findHooks(
  files: Files,
  directory: string,
  stage: Stage,
  folders: readonly string[],
): Promise<readonly Hook[]> {
  const there = await files.list(`${directory}/${stage}`);
  const found: Found[] = [];
  for (const folder of folders.filter((candidate) => there.includes(candidate))) {
    const names = (await files.list(`${directory}/${stage}/${folder}`)).filter((name) => !IGNORED.test(name));
    if (names.length === 0) {
      found.push(...(await misplaced(files, directory, `${stage}/${folder}`)));
      continue;
    }
    const unsafe = await whyUnsafe(files, directory, [stage, folder]);
    for (const file of names) {
      const name = `${stage}/${folder}/${file}`;
      found.push({ file, hook: await judge(files, `${directory}/${name}`, name, unsafe) });
    }
  }
  // The sort is stable, and both lists are sorted as this is.
  return found.sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : 0)).map(({ hook }) => hook);
}

/** Folders of a stage, each of which is for the command of its name. */
export async function hookFolders(files: Files, directory: string, stage: Stage): Promise<readonly string[]> {
  return (await files.list(`${directory}/${stage}`)).filter((name) => !IGNORED.test(name));
}

/** A program in the place of the folder that it belongs into would be passed over without a word. */
async function misplaced(files: Files, directory: string, name: string): Promise<readonly Found[]> {
  const path = `${directory}/${name}`;
  const status = await files.status(path);
  if (status === null || status.type === 'directory') return [];
  return [{ file: '', hook: { name, path, executable: true, unfit: 'it is not a directory' } }];
}

async function judge(files: Files, path: string, name: string, unsafe: string | null): Promise<Hook> {
  const status = await files.status(path);
  const regular = status?.type === 'file';
  const executable = !regular || (status.mode & EXECUTE) !== 0;
  const others = status !== null && (status.uid !== 0 || (status.mode & WRITE_FOR_OTHERS) !== 0);
  const own = !regular ? 'it is not a regular file' : others ? 'others than root can change it' : null;
  return { name, path, executable, unfit: own ?? unsafe };
}

/**
 * Whoever can change a directory on the way to a program decides what root runs. In a sticky one above the hook folder,
 * such as /tmp, nobody can take away what is root's; in the folder itself it does not help, for files can be linked
 * into it.
 */
async function whyUnsafe(files: Files, directory: string, below: readonly string[]): Promise<string | null> {
  const parts = directory.split('/').filter((part) => part !== '');
  const all = [...parts, ...below];
  for (let count = 0; count <= all.length; count += 1) {
    const path = `/${all.slice(0, count).join('/')}`;
    const status = await files.status(path);
    if (status?.type !== 'directory') return `${path} is not a directory`;
    const sticky = count < parts.length && (status.mode & STICKY) !== 0;
    if (status.uid !== 0 || ((status.mode & WRITE_FOR_OTHERS) !== 0 && !sticky)) {
      return `others than root can change ${path}`;
    }
  }
  return null;
}
