/**
 * A user of the guest against the agent's root: what the host writes into his directories must not end up in root's, nor
 * must anything of root's come to him. `npm run test:races` runs each race for as long as the issue asked; here it lasts
 * seconds.
 */
import assert from 'node:assert/strict';
import { chmod, chown, lstat, mkdir, readFile, readdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { AgentError, type Commit, type FileChange } from '../../../ts/api/index.js';
import { createFiles, recoverFiles } from '../../../ts/host/unix/files.js';
import { Attacker, type Attack, compileAttacker } from '../../support/races/attacker.js';
import { createScratch, type Scratch, tree } from '../../support/scratch.js';

const ALICE = 65534;
const SECRET = 'root:$6$secret';
const FULL = process.env['GUESTWIRE_RACES'] === 'full';
/** How often at least the attacker does what he does, and the agent writes meanwhile. */
const EXCHANGES = FULL ? 10_000 : 100;
const ROUNDS = FULL ? 2000 : 100;

/** A system whose root has a secret, in a directory that is open to nobody else, and a user with a home. */
async function createVictim(): Promise<Scratch> {
  const scratch = await createScratch();
  // The attacker has to get there.
  await chmod(scratch.directory, 0o755);
  await scratch.write('etc/cron.d/job', SECRET, 0o600);
  await scratch.write('etc/shadow', SECRET, 0o600);
  await chmod(join(scratch.root, 'etc/cron.d'), 0o755);
  await mkdir(join(scratch.root, 'tmp'));
  await chmod(join(scratch.root, 'tmp'), 0o1777);
  const home = join(scratch.root, 'home/alice');
  await mkdir(join(home, 'app'), { recursive: true });
  for (const path of [home, join(home, 'app')]) await chown(path, ALICE, ALICE);
  await scratch.write('home/alice/app/job', 'his', 0o644);
  await chown(join(home, 'app/job'), ALICE, ALICE);
  await symlink('/etc/cron.d', join(home, 'away'));
  return scratch;
}

/** What the attacker must not change. */
async function rootsOwn(scratch: Scratch): Promise<unknown> {
  const described = await Promise.all(
    ['etc', 'etc/cron.d', 'etc/cron.d/job', 'etc/shadow'].map(async (path) => {
      const { mode, uid, gid, ino } = await lstat(join(scratch.root, path));
      return { path, mode, uid, gid, ino };
    }),
  );
  const contents = await Promise.all(
    ['etc/cron.d/job', 'etc/shadow'].map((path) => readFile(join(scratch.root, path), 'utf8')),
  );
  return { described, contents, names: await tree(join(scratch.root, 'etc')) };
}

function gone(error: NodeJS.ErrnoException): [] {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return [];
  throw error;
}

/** What the attacker must not get: the secret in a file below his home that is his or shows itself. */
async function leaked(directory: string): Promise<readonly string[]> {
  const found: string[] = [];
  // Files and directories come and go.
  for (const entry of await readdir(directory, { withFileTypes: true }).catch(gone)) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) found.push(...(await leaked(path)));
    else if (entry.isFile() && (await readFile(path, 'utf8').catch(() => '')).includes(SECRET)) found.push(path);
  }
  return found;
}

const write = (path: string, round: number): FileChange => ({
  type: 'write',
  path,
  content: `of the host, ${round}`,
  mode: 0o644,
});

interface Race {
  readonly name: string;
  readonly path: string;
  readonly attack: (root: string) => Attack;
  /** How each change ends. */
  readonly settle: (commit: Commit, scratch: Scratch) => Promise<void>;
}

const confirm = (commit: Commit): Promise<void> => commit.confirm();
const rollback = (commit: Commit): Promise<void> => commit.rollback();
/** As `confirm`, and the file goes: in a sticky directory he cannot take it away himself, and could plant nothing more. */
const confirmOnce = async (commit: Commit, { root }: Scratch): Promise<void> => {
  await commit.confirm();
  for (const path of commit.changed) await rm(join(root, path));
};
/** As after a crash: the commit is not settled, and the next start finds its journal. */
const recover = async (_commit: Commit, scratch: Scratch): Promise<void> => {
  await recoverFiles(scratch.root, scratch.state);
};

const exchange = (root: string): Attack => ({
  how: 'exchange',
  paths: [join(root, 'home/alice/app'), join(root, 'home/alice/away')],
});

const RACES: readonly Race[] = [
  { name: 'exchanges the directory for a link', path: '/home/alice/app/job', attack: exchange, settle: confirm },
  {
    name: 'exchanges the directory while a change is put back',
    path: '/home/alice/app/job',
    attack: exchange,
    settle: rollback,
  },
  {
    name: 'exchanges the directory when his file is about to be kept, and put back',
    path: '/home/alice/app/job',
    attack: (root) => ({ ...exchange(root), how: 'follow' }),
    settle: rollback,
  },
  {
    name: 'exchanges the directory while a crash is recovered from',
    path: '/home/alice/app/job',
    attack: exchange,
    settle: recover,
  },
  {
    name: 'puts a link in the place of a directory that was just made',
    path: '/home/alice/new/job',
    attack: (root) => ({ how: 'substitute', paths: [join(root, 'home/alice/new'), join(root, 'etc/shadow')] }),
    settle: confirm,
  },
  {
    name: 'puts a link to a directory in the place of one that was just made',
    path: '/home/alice/new/job',
    attack: (root) => ({ how: 'substitute', paths: [join(root, 'home/alice/new'), '/etc/cron.d'] }),
    settle: rollback,
  },
  {
    name: 'plants a link in a directory that all may write',
    path: '/tmp/report.conf',
    attack: (root) => ({ how: 'plant', paths: [join(root, 'tmp/report.conf'), '/etc/shadow'] }),
    settle: confirmOnce,
  },
  {
    name: 'plants a link in his home',
    path: '/home/alice/.profile',
    attack: (root) => ({ how: 'plant', paths: [join(root, 'home/alice/.profile'), '/etc/shadow'] }),
    settle: rollback,
  },
];

for (const { name, path, attack, settle } of RACES) {
  test(`a user who ${name} gains nothing`, { timeout: FULL ? 3_600_000 : 600_000 }, async (t) => {
    await using scratch = await createVictim();
    const before = await rootsOwn(scratch);
    const files = createFiles(scratch.root, scratch.state);
    const attacker = await Attacker.start(compileAttacker(scratch.directory), ALICE, attack(scratch.root));
    const counts = { written: 0, refused: 0 };
    let exchanges: number;
    try {
      for (let round = 0; round < ROUNDS || attacker.count < EXCHANGES; round += 1) {
        try {
          await settle(await files.commit([write(path, round)]), scratch);
          counts.written += 1;
        } catch (error) {
          // What cannot be put back in the midst of the race stays for the next start.
          assert.ok(error instanceof AgentError || (error as Error).cause !== undefined, String(error));
          counts.refused += 1;
        }
        if (round % 50 === 0) assert.deepEqual(await leaked(join(scratch.root, 'home')), []);
      }
    } finally {
      exchanges = await attacker.stop();
    }
    await recoverFiles(scratch.root, scratch.state);
    assert.deepEqual(await rootsOwn(scratch), before);
    // Without the attacker it works: what was refused was refused because of him.
    await (await files.commit([write('/home/alice/quiet', 0)])).confirm();
    assert.equal(await readFile(join(scratch.root, 'home/alice/quiet'), 'utf8'), 'of the host, 0');
    assert.deepEqual(await leaked(join(scratch.root, 'home')), []);
    t.diagnostic(`${exchanges} exchanges, ${counts.written} written, ${counts.refused} refused, 0 won`);
  });
}
