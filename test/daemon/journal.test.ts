import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { test } from 'node:test';
import { FileJournal } from '../../ts/daemon/journal.js';
import { ScratchDirectory } from '../../ts/host/shared/scratch-directory.js';
import { type AppendOnlyFile, appendOnlyFile } from '../../ts/host/shared/system.js';

async function open(scratch: ScratchDirectory): Promise<{ file: AppendOnlyFile; journal: FileJournal }> {
  const file = appendOnlyFile(`${scratch.path}/journal`);
  return { file, journal: await FileJournal.open(file) };
}

test('what was started and not finished is known to the next run, what was finished is not', async () => {
  await using scratch = await ScratchDirectory.create();
  const first = await open(scratch);
  await first.journal.started('a', 'password');
  await first.journal.started('b', 'resetnetwork');
  await first.journal.answered('b');
  await first.journal.started('c', 'injectfile');
  await first.journal.answered('c');
  await first.journal.done('c');
  await first.file[Symbol.asyncDispose]();

  const second = await open(scratch);
  assert.deepEqual(second.journal.earlier('a'), { state: 'started', command: 'password' });
  assert.deepEqual(second.journal.earlier('b'), { state: 'answered', command: 'resetnetwork' });
  assert.equal(second.journal.earlier('c'), null);
  assert.equal((await second.file.read()).trim().split('\n').length, 2, 'finished entries are not carried along');
  await second.file[Symbol.asyncDispose]();
});

test('a last line cut by a crash, at any byte, loses nothing that was written before', async () => {
  const whole = `{"id":"a","state":"started","command":"password","time":${Date.now()}}\n`;
  const next = `{"id":"b","state":"started","command":"password","time":${Date.now()}}\n`;
  for (let length = 0; length < next.length - 1; length += 7) {
    await using scratch = await ScratchDirectory.create();
    await scratch.write({ journal: whole + next.slice(0, length) });
    const { file, journal } = await open(scratch);
    assert.equal(journal.earlier('a')?.state, 'started');
    assert.equal(journal.earlier('b'), null);
    await journal.started('c', 'password');
    await file[Symbol.asyncDispose]();
    const again = await open(scratch);
    assert.equal(again.journal.earlier('c')?.state, 'started');
    await again.file[Symbol.asyncDispose]();
  }
});

test('lines that are not entries are skipped', async () => {
  await using scratch = await ScratchDirectory.create();
  const good = JSON.stringify({ id: 'a', state: 'started', command: 'x', time: Date.now() });
  await scratch.write({
    journal: `null\n[1]\n{"id":5}\n{"id":"q","state":"odd","command":"x","time":1}\n\0\0\n${good}\n`,
  });
  const { file, journal } = await open(scratch);
  assert.equal(journal.earlier('a')?.command, 'x');
  assert.equal(journal.earlier('q'), null);
  await file[Symbol.asyncDispose]();
});

test('an entry of yesterday is forgotten: no host waits so long', async () => {
  await using scratch = await ScratchDirectory.create();
  const time = Date.now() - 25 * 3600 * 1000;
  await scratch.write({ journal: `${JSON.stringify({ id: 'a', state: 'started', command: 'x', time })}\n` });
  const { file, journal } = await open(scratch);
  assert.equal(journal.earlier('a'), null);
  await file[Symbol.asyncDispose]();
});

test('the journal does not grow with the number of requests', async () => {
  let lines = 0;
  let largest = 0;
  const file: AppendOnlyFile = {
    read: () => Promise.resolve(''),
    append: () => {
      largest = Math.max(largest, ++lines);
      return Promise.resolve();
    },
    replace: (text) => {
      lines = text.split('\n').length - 1;
      return Promise.resolve();
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const journal = await FileJournal.open(file);
  for (let index = 0; index < 5000; index += 1) {
    await journal.started(`r${index}`, 'x');
    await journal.answered(`r${index}`);
    await journal.done(`r${index}`);
  }
  assert.ok(largest <= 1002, String(largest));
});

test('the journal and its directory are for root alone', async () => {
  await using scratch = await ScratchDirectory.create();
  const file = appendOnlyFile(`${scratch.path}/state/journal`);
  const journal = await FileJournal.open(file);
  await journal.started('a', 'x');
  await file[Symbol.asyncDispose]();
  assert.equal((await stat(`${scratch.path}/state`)).mode & 0o777, 0o700);
  assert.equal((await stat(`${scratch.path}/state/journal`)).mode & 0o777, 0o600);
});
