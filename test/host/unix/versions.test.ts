import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, readdirSync, readlinkSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ScratchDirectory } from '../../../ts/host/shared/scratch-directory.js';
import {
  installVersion,
  linkVersion,
  makeStaging,
  pruneVersions,
  removeStaging,
  runningVersion,
} from '../../../ts/host/unix/versions.js';

const PROGRAM = 'dist/guestwire.js';

/** Versions 1 and 2, and a link to 1. */
async function createVersions(): Promise<ScratchDirectory> {
  const scratch = await ScratchDirectory.create();
  await scratch.write({
    [`lib/versions/1/${PROGRAM}`]: 'one',
    [`lib/versions/2/${PROGRAM}`]: 'two',
    [`package/${PROGRAM}`]: 'of a distribution',
  });
  symlinkSync('versions/1', join(scratch.path, 'lib/current'));
  symlinkSync(`lib/current/${PROGRAM}`, join(scratch.path, 'guestwire'));
  symlinkSync('guestwire', join(scratch.path, 'again'));
  symlinkSync('lib', join(scratch.path, 'library'));
  symlinkSync(`lib/versions/1/${PROGRAM}`, join(scratch.path, 'lib-1'));
  return scratch;
}

test('the running version is that of the link which the program was started through', async () => {
  await using scratch = await createVersions();
  const lib = join(scratch.path, 'lib');
  assert.equal(await runningVersion(lib, join(lib, 'current', PROGRAM)), '1');
  for (const link of ['guestwire', 'again', `library/current/${PROGRAM}`]) {
    assert.equal(await runningVersion(lib, join(scratch.path, link)), '1');
  }
});

test('a program that a new link would not change is not to be updated', async () => {
  await using scratch = await createVersions();
  const lib = join(scratch.path, 'lib');
  for (const program of [
    join(scratch.path, 'package', PROGRAM),
    join(lib, 'versions/1', PROGRAM),
    join(scratch.path, 'lib-1'),
    join(lib, 'none'),
    join(scratch.path, 'lib/current/package.json'),
    '',
  ]) {
    await assert.rejects(runningVersion(lib, program), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'GW_UPDATE_REFUSED');
      assert.ok(error.message.includes(`wanted ${lib}/current/dist/guestwire.js`), error.message);
      return true;
    });
  }
  await assert.rejects(runningVersion(join(scratch.path, 'none'), join(lib, 'current', PROGRAM)), {
    code: 'GW_UPDATE_REFUSED',
  });
});

test('a version is installed in one step, over one of the same name, and linked in one step', async () => {
  await using scratch = await createVersions();
  const lib = join(scratch.path, 'lib');
  const staging = await makeStaging(lib);
  mkdirSync(join(staging, 'x'));
  await scratch.write({ [`${staging.slice(scratch.path.length + 1)}/x/${PROGRAM}`]: 'new' });
  await installVersion(lib, join(staging, 'x'), '2');
  assert.equal(readFileSync(join(lib, 'versions/2', PROGRAM), 'utf8'), 'new');
  assert.equal(readlinkSync(join(lib, 'current')), 'versions/1');
  await linkVersion(lib, '2');
  assert.equal(readlinkSync(join(lib, 'current')), 'versions/2');
  await removeStaging(lib);
  assert.deepEqual(readdirSync(lib).sort(), ['current', 'versions']);
  assert.deepEqual(readdirSync(join(lib, 'versions')).sort(), ['1', '2']);
});

test('a version that is not there is not linked', async () => {
  await using scratch = await createVersions();
  const lib = join(scratch.path, 'lib');
  await assert.rejects(linkVersion(lib, '3'), { code: 'GW_UPDATE_FAILED' });
  assert.equal(readlinkSync(join(lib, 'current')), 'versions/1');
});

test('all versions go but those that are to stay, and what a crash left', async () => {
  await using scratch = await createVersions();
  const lib = join(scratch.path, 'lib');
  await makeStaging(lib);
  symlinkSync('versions/2', join(lib, '.current-x'));
  await pruneVersions(lib, ['1']);
  assert.deepEqual(readdirSync(join(lib, 'versions')), ['1']);
  assert.deepEqual(readdirSync(lib).sort(), ['current', 'versions']);
});
