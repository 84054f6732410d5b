import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, lstat, mkdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { AgentError, type FileChange, type Home } from '../../../ts/api/index.js';
import { createFiles, recoverFiles } from '../../../ts/host/unix/files.js';
import { createScratch, type Scratch, tree } from '../../support/scratch.js';

const HOME: Home = { path: '/home/alice', uid: 1234, gid: 4321 };
const PATH = '/home/alice/.ssh/authorized_keys';
const ROUNDS = 300;

const write = (content: string): FileChange => {
  return {
    type: 'write',
    path: PATH,
    content,
    mode: 0o600,
    exactMode: true,
    directoryMode: 0o700,
    owner: HOME,
    home: HOME,
  };
};

async function withHome(scratch: Scratch): Promise<string> {
  const home = join(scratch.root, 'home/alice');
  await mkdir(home, { recursive: true });
  await chown(home, HOME.uid, HOME.gid);
  await mkdir(join(scratch.root, 'etc/cron.d'), { recursive: true });
  return home;
}

/** Swaps `a` and `b` at one blow, over and over, until it is stopped. */
const SWAP = `
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
a, b = (os.fsencode(path) for path in sys.argv[1:3])
print("ready", flush=True)
while True:
    # renameat2 with RENAME_EXCHANGE
    if libc.renameat2(-100, a, -100, b, 2) != 0: raise OSError(ctypes.get_errno())
`;

test(
  'a user who swaps his directory for a link at any moment gets root to write and read nowhere else',
  { timeout: 60_000 },
  async () => {
    await using scratch = await createScratch();
    const home = await withHome(scratch);
    await mkdir(join(home, '.ssh'), { mode: 0o700 });
    await chown(join(home, '.ssh'), HOME.uid, HOME.gid);
    await symlink('/etc/cron.d', join(home, 'away'));
    await writeFile(join(scratch.root, 'etc/cron.d/authorized_keys'), 'secret');
    const files = createFiles(scratch.root, scratch.state);
    const swapper = spawn('python3', ['-c', SWAP, join(home, '.ssh'), join(home, 'away')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(swapper.stdout, 'data');
    let written = 0;
    let refused = 0;
    try {
      for (let round = 0; round < ROUNDS; round += 1) {
        try {
          await (await files.commit([write(`keys ${round}\n`)])).confirm();
          written += 1;
        } catch (error) {
          assert.ok(
            error instanceof AgentError && ['GW_FILE_FAILED', 'GW_FILE_REFUSED'].includes(error.code),
            String(error),
          );
          refused += 1;
        }
        const content = await files.readInHome(PATH, HOME).catch(() => null);
        assert.notEqual(content?.toString(), 'secret');
      }
    } finally {
      swapper.kill();
      await once(swapper, 'close');
    }
    assert.deepEqual(await tree(join(scratch.root, 'etc')), ['cron.d', 'cron.d/authorized_keys']);
    assert.equal(await readFile(join(scratch.root, 'etc/cron.d/authorized_keys'), 'utf8'), 'secret');
    assert.equal((await stat(join(scratch.root, 'etc/cron.d'))).uid, 0);
    assert.ok(written > 0 && refused > 0, `${written} written, ${refused} refused: the race was not run`);
  },
);

test('a change in a home is put back with its directories, at once or by the next start', async () => {
  for (const how of ['rollback', 'crash']) {
    await using scratch = await createScratch();
    const home = await withHome(scratch);
    const files = createFiles(scratch.root, scratch.state);
    const back = async (commit: { rollback(): Promise<void> }): Promise<void> => {
      if (how === 'rollback') await commit.rollback();
      else assert.equal((await recoverFiles(scratch.root, scratch.state)).restored.length, 1);
    };
    await back(await files.commit([write('first')]));
    assert.deepEqual(await tree(home), []);
    await (await files.commit([write('first')])).confirm();
    await chown(join(home, '.ssh/authorized_keys'), HOME.uid, 77);
    await back(await files.commit([write('second')]));
    assert.equal(await readFile(join(home, '.ssh/authorized_keys'), 'utf8'), 'first');
    const { uid, gid } = await lstat(join(home, '.ssh/authorized_keys'));
    assert.deepEqual([uid, gid], [HOME.uid, 77]);
  }
});

test('putting back does not follow a link that the user made meanwhile', async () => {
  for (const first of [true, false]) {
    await using scratch = await createScratch();
    const home = await withHome(scratch);
    const files = createFiles(scratch.root, scratch.state);
    if (!first) await (await files.commit([write('first')])).confirm();
    const outside = join(scratch.root, 'etc/cron.d/authorized_keys');
    await writeFile(outside, 'second');
    const commit = await files.commit([write('second')]);
    await rename(join(home, '.ssh'), join(home, 'mine'));
    await symlink('/etc/cron.d', join(home, '.ssh'));
    await commit.rollback();
    assert.equal(await readFile(outside, 'utf8'), 'second');
    assert.deepEqual(await tree(join(scratch.root, 'etc')), ['cron.d', 'cron.d/authorized_keys']);
    // Where it was written, wherever that is now.
    assert.deepEqual(await tree(home), first ? ['.ssh', 'mine'] : ['.ssh', 'mine', 'mine/authorized_keys']);
    if (!first) assert.equal(await readFile(join(home, 'mine/authorized_keys'), 'utf8'), 'first');
  }
});

test('a home that is a link is followed: the path to it is not the user’s', async () => {
  await using scratch = await createScratch();
  const home = await withHome(scratch);
  await mkdir(join(scratch.root, 'srv'));
  await rename(home, join(scratch.root, 'srv/alice'));
  await symlink('/srv/alice', home);
  const files = createFiles(scratch.root, scratch.state);
  await (await files.commit([write('keys')])).confirm();
  assert.equal((await files.readInHome(PATH, HOME))?.toString(), 'keys');
  assert.equal(await readFile(join(scratch.root, 'srv/alice/.ssh/authorized_keys'), 'utf8'), 'keys');
  await rm(home);
  await assert.rejects(files.commit([write('keys')]), {
    code: 'GW_FILE_FAILED',
    message: /home \/home\/alice does not exist/,
  });
});
