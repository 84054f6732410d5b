import { randomBytes } from 'node:crypto';
import { access, constants } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type FileMarks, type FilePlace, FileTree, type FileTarget } from '#binding';
import { AgentError, type Commit, type FileChange, type Files, type Recovered } from '../../api/index.js';
import { codeOf } from '../../api/errors.js';
import { FileJournal, type JournalEntry, KEPT_SETS, type Before, sha256, sum } from './file-journal.js';
import { reason } from '../shared/reason.js';

const DEFAULT_DIRECTORY_MODE = 0o755;
/** Of a file's name, how much goes into its temporary one: that must not exceed the 255 bytes of a name either. */
const TEMP_NAME_LENGTH = 40;
/** Whose a file is where nothing else is said. */
const OURS = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };

/**
 * The files below `root`, as a chroot there would see them. Backups and the journal of changes are kept in
 * `stateDirectory`, which is a path of this machine, for root's eyes only; `keptSets` changes can be looked up there.
 *
 * How paths are gone down and files changed is the crate `files`' business; here is in which order, and how it is undone.
 */
export function createFiles(root: string, stateDirectory: string, keptSets = KEPT_SETS): Files {
  const tree = new FileTree(root);
  const read = (path: string): Promise<Buffer | null> => shown(path, tree.read(path));
  return {
    read,
    readInHome: (path, home) => told(tree.readInHome(path, home)),
    readText: async (path) => (await read(path))?.toString('utf8') ?? null,
    readPart: (path, offset, length) => shown(path, tree.readPart(path, offset, length)),
    list: (path) => shown(path, tree.list(path)),
    status: (path) => shown(path, tree.status(path)),
    resolve: (path) => shown(path, tree.resolve(path)),
    sealed: async (path) => sealed(root, await shown(path, tree.resolve(path))),
    commit: (changes, journal) => commit(tree, join(stateDirectory, journal ?? ''), keptSets, changes),
    check: (changes, journal) => check(tree, join(stateDirectory, journal ?? ''), keptSets, changes),
    recover: (journal) => recoverFiles(root, join(stateDirectory, journal)),
  };
}

/** Puts back what a crash left half done or unconfirmed. To be called before the agent does anything else. */
export async function recoverFiles(root: string, stateDirectory: string): Promise<Recovered> {
  const tree = new FileTree(root);
  let recovered: Recovered = { restored: [], left: [] };
  for (const journal of await FileJournal.findOpen(tree, stateDirectory)) {
    recovered = sum(recovered, await journal.recover());
  }
  return recovered;
}

/** What a user has prepared, or keeps to himself, is no defect of the agent's. */
async function shown<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    if (!['FILE_REFUSED', 'EACCES'].includes(codeOf(cause) ?? '')) throw cause;
    throw new AgentError('GW_FILE_UNREADABLE', [path, reason(cause)], { cause });
  }
}

/** With the system's error in words, for those who pass its message on. */
async function told<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    throw new Error(reason(cause), { cause });
  }
}

/** access(2) tells root of these two alone. */
const SEALS: Readonly<Record<string, string>> = { EPERM: 'immutable', EROFS: 'on a read-only file system' };

/** `inside`: with all links followed, or null. */
async function sealed(root: string, inside: string | null): Promise<string | null> {
  if (inside === null) return null;
  try {
    await access(join(root, inside), constants.W_OK);
    return null;
  } catch (cause) {
    return SEALS[codeOf(cause) ?? ''] ?? null;
  }
}

/** A change with everything about it known, before anything is touched. */
interface PlannedChange {
  readonly change: FileChange;
  readonly place: FilePlace;
  readonly current: FileTarget | null;
  /** The name under which new content is staged. */
  readonly temp: string;
  /** Null for a removal. */
  readonly file: NewFile | null;
}

interface NewFile {
  readonly content: Buffer;
  readonly marks: FileMarks;
}

async function commit(
  tree: FileTree,
  stateDirectory: string,
  keptSets: number,
  changes: readonly FileChange[],
): Promise<Commit> {
  const staged = await stage(tree, stateDirectory, keptSets, changes);
  if (staged === null) return { changed: [], confirm: nothing, rollback: nothing };
  const { planned, journal, close } = staged;
  try {
    await undoing(journal, async () => {
      for (const plan of planned) await atPath(plan.change, () => apply(plan, journal));
    });
    return settleOnce(
      planned.map(({ change }) => change.path),
      journal,
      close,
    );
  } catch (error) {
    close();
    throw error;
  }
}

/** The first half of a commit, and back again. */
async function check(
  tree: FileTree,
  stateDirectory: string,
  keptSets: number,
  changes: readonly FileChange[],
): Promise<void> {
  const staged = await stage(tree, stateDirectory, keptSets, changes);
  if (staged === null) return;
  const { journal, close } = staged;
  try {
    await journal.rollback();
  } finally {
    close();
  }
}

/** Changes that only have to be moved to their places. */
interface Staged {
  readonly planned: readonly PlannedChange[];
  readonly journal: FileJournal;
  readonly close: () => void;
}

/** Everything that can fail before a file is changed. Null when all files are right already. */
async function stage(
  tree: FileTree,
  stateDirectory: string,
  keptSets: number,
  changes: readonly FileChange[],
): Promise<Staged | null> {
  const places: FilePlace[] = [];
  const close = (): void => {
    for (const place of places) place.close();
  };
  try {
    const planned = await planChanges(tree, changes, places);
    const [first] = planned;
    if (first === undefined) {
      close();
      return null;
    }
    const journal = await atPath(first.change, () => openJournal(tree, stateDirectory, keptSets, planned));
    await undoing(journal, async () => {
      for (const plan of planned) await atPath(plan.change, () => prepare(plan));
    });
    return { planned, journal, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** What is to be done; files that are right already are left out. `places` gets all that has to be closed. */
async function planChanges(
  tree: FileTree,
  changes: readonly FileChange[],
  places: FilePlace[],
): Promise<readonly PlannedChange[]> {
  const planned: PlannedChange[] = [];
  for (const change of changes) {
    const plan = await atPath(change, () => planChange(tree, change, places));
    if (plan === null) continue;
    if (planned.some(({ place }) => place.inside === plan.place.inside)) {
      throw new AgentError('GW_FILE_FAILED', [change.path, 'two changes lead to this file']);
    }
    planned.push(plan);
  }
  return planned;
}

/** Null when the file is right already. */
async function planChange(tree: FileTree, change: FileChange, places: FilePlace[]): Promise<PlannedChange | null> {
  const writes = change.type === 'write';
  const home = writes ? (change.home ?? null) : null;
  const place = await tree.place(change.path, { last: writes ? 'follow' : 'keep', home, expected: null });
  places.push(place);
  const current = place.target;
  const temp = `.${basename(place.inside).slice(0, TEMP_NAME_LENGTH)}.guestwire-${randomBytes(4).toString('hex')}`;
  if (!writes) return current === null ? null : { change, place, current, temp, file: null };

  if (change.leadsTo !== undefined && place.inside !== change.leadsTo) {
    throw new Error(`it led to ${change.leadsTo} before, and now leads to ${place.inside}`);
  }
  await place.tighten();
  const file = newFile(change, place.trust === 'shared' ? null : current);
  // Where others may write, one of them may hold the file open and change it later.
  const isRight = current !== null && place.trust !== 'shared' && isMarked(current, file.marks);
  if (isRight && (await place.holds(file.content))) return null;
  return { change, place, current, temp, file };
}

/**
 * `kept` is the file whose mode and owner stay; null where there is none, and where others than root may have moved one
 * of root's to its place, to have what comes shown to them.
 */
function newFile(change: Extract<FileChange, { type: 'write' }>, kept: FileTarget | null): NewFile {
  const { content, mode, exactMode = false, owner, home } = change;
  const whose = owner ?? home ?? kept;
  return {
    content: Buffer.from(content),
    marks: {
      mode: kept === null || exactMode ? mode : kept.mode,
      owner: whose === null ? null : { uid: whose.uid, gid: whose.gid },
    },
  };
}

function isMarked({ mode, uid, gid }: FileTarget, marks: FileMarks): boolean {
  const owner = marks.owner ?? OURS;
  return mode === marks.mode && uid === owner.uid && gid === owner.gid;
}

/** Does `work`; what it leaves when it fails is undone. */
async function undoing(journal: FileJournal, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    await undo(journal, error);
    throw error;
  }
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

/** Backs everything up and writes down what is about to happen. */
async function openJournal(
  tree: FileTree,
  stateDirectory: string,
  keptSets: number,
  planned: readonly PlannedChange[],
): Promise<FileJournal> {
  const directory = await FileJournal.createDirectory(stateDirectory);
  try {
    const entries = new Map<JournalEntry, FilePlace>();
    const directories = new Set<string>();
    for (const plan of planned) {
      const before = await backUp(plan, directory, String(entries.size));
      entries.set(entryOf(plan, before), plan.place);
      for (const missing of missingDirectories(plan.place)) directories.add(missing);
    }
    return await FileJournal.open(tree, directory, entries, [...directories], keptSets);
  } catch (error) {
    // Half a backup would keep a full disk full.
    await FileJournal.removeDirectory(directory);
    throw error;
  }
}

async function backUp({ place, current }: PlannedChange, directory: string, name: string): Promise<Before> {
  if (current === null) return { type: 'nothing' };
  const { link, mode, uid, gid } = current;
  if (link !== null) return { type: 'link', target: link, owner: { uid, gid } };
  await place.backUp(directory, name);
  return { type: 'file', backup: name, mode, owner: { uid, gid } };
}

function entryOf({ change, place, temp, file }: PlannedChange, before: Before): JournalEntry {
  const after = file === null ? null : sha256(file.content);
  const { inside, trust, anchor } = place;
  // A directory that is made for the user of a home in one of root's is his.
  const becomesHis = change.type === 'write' && (change.home?.uid ?? 0) !== 0 && place.missing > 0;
  return {
    ...{ path: inside, before, temp, after, inPlace: false, trust: becomesHis ? 'owner' : trust },
    ...(trust === 'root' ? {} : { anchor }),
  };
}

/** The directories above a file that have to be made, outermost first. */
function missingDirectories(place: FilePlace): readonly string[] {
  const missing: string[] = [];
  let directory = dirname(place.inside);
  for (let left = place.missing; left > 0; left -= 1) {
    missing.unshift(directory);
    directory = dirname(directory);
  }
  return missing;
}

async function prepare({ change, place, current, temp, file }: PlannedChange): Promise<void> {
  if (file === null) {
    await place.checkChangeable();
    return;
  }
  const directoryMode = change.type === 'write' ? change.directoryMode : undefined;
  await place.make(directoryMode ?? DEFAULT_DIRECTORY_MODE);
  await place.checkChangeable();
  await place.stage(temp, file.content, file.marks, current !== null && place.trust !== 'shared');
}

async function apply({ place, temp, file }: PlannedChange, journal: FileJournal): Promise<void> {
  if (file === null) {
    await place.remove();
    journal.noteApplied(place);
    return;
  }
  if (await place.put(temp, true)) {
    journal.noteApplied(place);
    return;
  }
  await journal.markInPlace(place);
  journal.noteApplied(place);
  await place.writeInPlace(file.content, file.marks);
  await place.unstage(temp);
}

/** Of `confirm` and `rollback`, the first that is called counts; so a rollback may stand in a `finally`. */
function settleOnce(changed: readonly string[], journal: FileJournal, close: () => void): Commit {
  let settled = false;
  const settle = (act: () => Promise<unknown>) => async (): Promise<void> => {
    if (settled) return;
    settled = true;
    try {
      await act();
    } finally {
      close();
    }
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
    const code = codeOf(cause) === 'FILE_REFUSED' ? 'GW_FILE_REFUSED' : 'GW_FILE_FAILED';
    throw new AgentError(code, [change.path, reason(cause)], { cause });
  }
}
