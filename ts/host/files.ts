import { randomBytes } from 'node:crypto';
import { type Stats } from 'node:fs';
import { chmod, lstat, mkdir, readdir, readlink, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { AgentError, type Commit, type FileChange, type Files, type FileStatus, type Home } from '../api/index.js';
import { FileJournal, type JournalEntry, KEPT_SETS, sha256 } from './file-journal.js';
import { checkFile, PinnedDirectory, readInHome, resolveInHome } from './pinned.js';
import { moveOver, type NewFile, readRegular, readRegularPart, stage, syncDirectory } from './replace.js';
import { reason } from './reason.js';
import { absent, type ResolvedPath, resolveInRoot } from './root-path.js';

const DEFAULT_DIRECTORY_MODE = 0o755;
const PERMISSIONS = 0o7777;
/** Of a file's name, how much goes into its temporary one: that must not exceed the 255 bytes of a name either. */
const TEMP_NAME_LENGTH = 40;

/**
 * The files below `root`, as a chroot there would see them. Backups and the journal of changes are kept in
 * `stateDirectory`, which is a path of this machine, for root's eyes only; `keptSets` changes can be looked up there.
 */
export function createFiles(root: string, stateDirectory: string, keptSets = KEPT_SETS): Files {
  return {
    read: (path) => read(root, path),
    readInHome: (path, home) => readInHome(root, path, home),
    readText: async (path) => (await read(root, path))?.toString('utf8') ?? null,
    readPart: (path, offset, length) => readPart(root, path, offset, length),
    list: (path) => list(root, path),
    status: (path) => statusOf(root, path),
    resolve: (path) => resolve(root, path),
    commit: (changes, journal) =>
      withPins((pins) => commit(root, join(stateDirectory, journal ?? ''), keptSets, changes, pins)),
    recover: (journal) => recoverFiles(root, join(stateDirectory, journal)),
  };
}

/**
 * Puts back what a crash left half done or unconfirmed. To be called before the agent does anything else; returns
 * the paths inside the root that were put back.
 */
export async function recoverFiles(root: string, stateDirectory: string): Promise<readonly string[]> {
  const restored: string[] = [];
  for (const journal of await FileJournal.findOpen(root, stateDirectory))
    restored.push(...(await journal.rollback(true)));
  return restored;
}

async function read(root: string, path: string): Promise<Buffer | null> {
  try {
    const { real, exists } = await resolveInRoot(root, path, 'follow');
    return exists ? await readRegular(real) : null;
  } catch (error) {
    return absent(error);
  }
}

async function readPart(root: string, path: string, offset: number, length: number): Promise<Buffer | null> {
  try {
    const { real, exists } = await resolveInRoot(root, path, 'follow');
    return exists ? await readRegularPart(real, offset, length) : null;
  } catch (error) {
    return absent(error);
  }
}

async function list(root: string, path: string): Promise<readonly string[]> {
  try {
    const { real, exists } = await resolveInRoot(root, path, 'follow');
    return exists ? (await readdir(real)).sort() : [];
  } catch (error) {
    absent(error);
    return [];
  }
}

async function resolve(root: string, path: string): Promise<string | null> {
  try {
    const resolved = await resolveInRoot(root, path, 'follow');
    return resolved.exists ? resolved.inside : null;
  } catch (error) {
    return absent(error);
  }
}

async function statusOf(root: string, path: string): Promise<FileStatus | null> {
  try {
    const resolved = await resolveInRoot(root, path, 'keep');
    const status = resolved.exists ? await lstat(resolved.real) : null;
    if (status === null) return null;
    const { uid, gid, size } = status;
    const target = status.isSymbolicLink() ? await readlink(resolved.real) : null;
    return { type: typeOf(status), mode: permissions(status), uid, gid, size, target };
  } catch (error) {
    return absent(error);
  }
}

function typeOf(status: Stats): FileStatus['type'] {
  if (status.isFile()) return 'file';
  if (status.isDirectory()) return 'directory';
  return status.isSymbolicLink() ? 'link' : 'other';
}

function permissions(status: Stats): number {
  return status.mode & PERMISSIONS;
}

/** A change with everything about it known, before anything is touched. */
interface PlannedChange {
  readonly change: FileChange;
  readonly resolved: ResolvedPath;
  readonly current: Stats | null;
  /** Where new content is staged. */
  readonly temp: string;
  /** What holds a file in a home; null for any other. */
  readonly pinned: Pin | null;
  /** Null for a removal. */
  readonly file: NewFile | null;
}

interface Pin {
  readonly directory: PinnedDirectory;
  /** The home, inside the root. */
  readonly home: string;
}

interface PlannedDirectory {
  readonly real: string;
  readonly inside: string;
  readonly mode: number;
}

/** Lets go of what `work` had to hold open. */
async function withPins<T>(work: (pins: Pin[]) => Promise<T>): Promise<T> {
  const pins: Pin[] = [];
  try {
    return await work(pins);
  } finally {
    for (const { directory } of pins) await directory[Symbol.asyncDispose]();
  }
}

async function commit(
  root: string,
  stateDirectory: string,
  keptSets: number,
  changes: readonly FileChange[],
  pins: Pin[],
): Promise<Commit> {
  const planned: PlannedChange[] = [];
  for (const change of changes) {
    const plan = await atPath(change, () => planChange(root, change, pins));
    if (plan === null) continue;
    if (planned.some(({ resolved }) => resolved.inside === plan.resolved.inside)) {
      throw new AgentError('GW_FILE_FAILED', [change.path, 'two changes lead to this file']);
    }
    planned.push(plan);
  }
  const [first] = planned;
  if (first === undefined) return { changed: [], confirm: nothing, rollback: nothing };

  const { journal, entries } = await atPath(first.change, () => openJournal(root, stateDirectory, keptSets, planned));
  try {
    for (const plan of planned) await atPath(plan.change, () => prepare(root, plan));
    for (const [plan, entry] of entries) await atPath(plan.change, () => apply(plan, entry, journal));
  } catch (error) {
    await undo(journal, error);
    throw error;
  }
  return settleOnce(
    planned.map(({ change }) => change.path),
    journal,
  );
}

/** A rollback that fails leaves the journal open: the next start of the agent tries again. */
async function undo(journal: FileJournal, because: unknown): Promise<void> {
  try {
    await journal.rollback();
  } catch (error) {
    const both = new AggregateError([because, error]);
    throw new AgentError('GW_FILE_FAILED', ['the files', `${reason(because)}; putting back: ${reason(error)}`], {
      cause: both,
    });
  }
}

/** Null when the file is right already. */
async function planChange(root: string, change: FileChange, pins: Pin[]): Promise<PlannedChange | null> {
  if (change.type === 'write' && change.home !== undefined) return planInHome(root, change, change.home, pins);
  const resolved = await resolveInRoot(root, change.path, change.type === 'write' ? 'follow' : 'keep');
  if (change.type === 'write' && change.leadsTo !== undefined && resolved.inside !== change.leadsTo) {
    throw new Error(`it led to ${change.leadsTo} before, and now leads to ${resolved.inside}`);
  }
  const current = resolved.exists ? await lstat(resolved.real) : null;
  if (current?.isDirectory() === true) throw new Error('it is a directory');
  if (current !== null && !current.isFile() && !current.isSymbolicLink()) throw new Error('it is not a regular file');
  const name = basename(resolved.real).slice(0, TEMP_NAME_LENGTH);
  const temp = join(dirname(resolved.real), `.${name}.guestwire-${randomBytes(4).toString('hex')}`);
  const pinned = null;
  if (change.type === 'remove')
    return current === null ? null : { change, resolved, current, temp, pinned, file: null };

  const content = Buffer.from(change.content);
  const file: NewFile = {
    content,
    mode: current === null || change.exactMode === true ? change.mode : permissions(current),
    // A directory with the set-gid bit would give a new file its own group.
    owner: change.owner ?? {
      uid: current?.uid ?? process.geteuid?.() ?? 0,
      gid: current?.gid ?? process.getegid?.() ?? 0,
    },
    attributesFrom: current === null ? null : resolved.real,
  };
  if (current !== null && (await isRight(current, file, resolved.real))) return null;
  return { change, resolved, current, temp, pinned, file };
}

async function isRight(current: Stats, { mode, owner, content }: NewFile, real: string): Promise<boolean> {
  if (mode !== permissions(current) || current.uid !== owner?.uid || current.gid !== owner.gid) return false;
  return (await readRegular(real)).equals(content);
}

/** As `planChange`, by way of directories that are held open. */
async function planInHome(
  root: string,
  change: Extract<FileChange, { type: 'write' }>,
  owner: Home,
  pins: Pin[],
): Promise<PlannedChange | null> {
  const { home, parent, name } = await resolveInHome(root, change.path, owner.path);
  const pinned: Pin = { directory: await PinnedDirectory.open(root, home, parent, owner), home };
  pins.push(pinned);
  const { directory } = pinned;
  const tempName = `.${name.slice(0, TEMP_NAME_LENGTH)}.guestwire-${randomBytes(4).toString('hex')}`;
  const current = directory.missing.length > 0 ? null : await lstat(join(directory.path, name)).catch(absent);
  if (current !== null) checkFile(current, owner);
  const mode = current === null || change.exactMode === true ? change.mode : permissions(current);
  // Attributes are copied by name, which the user could give to something else meanwhile.
  const file: NewFile = { content: Buffer.from(change.content), mode, owner, attributesFrom: null };
  await directory.tighten();
  if (current !== null && (await isRight(current, file, join(directory.path, name)))) return null;
  // Names that hold only once the missing directories are made.
  const resolved: ResolvedPath = {
    get real() {
      return join(directory.path, name);
    },
    inside: join(parent, name),
    exists: current !== null,
  };
  return {
    change,
    resolved,
    current,
    get temp() {
      return join(directory.path, tempName);
    },
    pinned,
    file,
  };
}

interface OpenJournal {
  readonly journal: FileJournal;
  readonly entries: ReadonlyMap<PlannedChange, JournalEntry>;
}

/** Backs everything up and writes down what is about to happen. */
async function openJournal(
  root: string,
  stateDirectory: string,
  keptSets: number,
  planned: readonly PlannedChange[],
): Promise<OpenJournal> {
  const directory = await FileJournal.createDirectory(stateDirectory);
  const entries = new Map<PlannedChange, JournalEntry>();
  const directories = new Set<string>();
  for (const plan of planned) {
    const { resolved, file } = plan;
    const before = await backUp(plan, directory, String(entries.size));
    const after = file === null ? null : sha256(file.content);
    const entry: JournalEntry = { path: resolved.inside, before, temp: basename(plan.temp), after, inPlace: false };
    entries.set(plan, plan.pinned === null ? entry : { ...entry, home: plan.pinned.home });
    for (const missing of await missingDirectories(root, plan)) directories.add(missing.inside);
  }
  const journal = await FileJournal.open(root, directory, [...entries.values()], [...directories], keptSets);
  return { journal, entries };
}

async function backUp(
  { resolved, current }: PlannedChange,
  directory: string,
  name: string,
): Promise<JournalEntry['before']> {
  if (current === null) return { type: 'nothing' };
  if (current.isSymbolicLink()) return { type: 'link', target: await readlink(resolved.real) };
  const backup = join(directory, name);
  const content = await readRegular(resolved.real);
  await stage(backup, { content, mode: 0o600, owner: null, attributesFrom: resolved.real });
  return { type: 'file', backup: name, mode: permissions(current), owner: { uid: current.uid, gid: current.gid } };
}

/** The directories above a file that have to be made, outermost first. */
async function missingDirectories(root: string, plan: PlannedChange): Promise<PlannedDirectory[]> {
  const { resolved, pinned } = plan;
  const mode = directoryMode(plan);
  if (pinned !== null) {
    const { missing } = pinned.directory;
    let inside = dirname(resolved.inside);
    return missing
      .map(() => {
        const directory = { real: join(root, inside), inside, mode };
        inside = dirname(inside);
        return directory;
      })
      .reverse();
  }
  const missing: PlannedDirectory[] = [];
  for (let inside = dirname(resolved.inside); inside !== '/'; inside = dirname(inside)) {
    const real = join(root, inside);
    if ((await lstat(real).catch(absent)) !== null) break;
    missing.unshift({ real, inside, mode });
  }
  return missing;
}

function directoryMode({ change }: PlannedChange): number {
  return (change.type === 'write' ? change.directoryMode : undefined) ?? DEFAULT_DIRECTORY_MODE;
}

async function prepare(root: string, plan: PlannedChange): Promise<void> {
  if (plan.file === null) return;
  if (plan.pinned !== null) {
    await plan.pinned.directory.make(directoryMode(plan));
    await stage(plan.temp, plan.file);
    return;
  }
  for (const { real, mode } of await missingDirectories(root, plan)) {
    await mkdir(real, { mode: 0o700 });
    // Not by mkdir, whose mode the umask cuts down.
    await chmod(real, mode);
    await syncDirectory(dirname(real));
  }
  await stage(plan.temp, plan.file);
}

async function apply(plan: PlannedChange, entry: JournalEntry, journal: FileJournal): Promise<void> {
  const { real } = plan.resolved;
  if (plan.file === null) await unlink(real);
  else {
    await moveOver(plan.temp, real, plan.file, async () => {
      // Not atomic, so the user could put something else in the file's place.
      if (plan.pinned !== null) throw new Error('something is mounted on it');
      await journal.markInPlace(entry);
    });
  }
  await syncDirectory(dirname(real));
}

/** Of `confirm` and `rollback`, the first that is called counts; so a rollback may stand in a `finally`. */
function settleOnce(changed: readonly string[], journal: FileJournal): Commit {
  let settled = false;
  const settle = (act: () => Promise<unknown>) => async (): Promise<void> => {
    if (settled) return;
    settled = true;
    await act();
  };
  return { changed, confirm: settle(() => journal.confirm()), rollback: settle(() => journal.rollback()) };
}

async function nothing(): Promise<void> {
  // Nothing was changed.
}

/** Turns a system error into one that names the path as the caller knows it. */
async function atPath<T>(change: FileChange, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof AgentError) throw cause;
    throw new AgentError('GW_FILE_FAILED', [change.path, reason(cause)], { cause });
  }
}
