import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type CommandModule, type Reply } from '../../ts/api/index.js';
import { fileOptions } from '../../ts/daemon/command-options.js';
import { type FileOptions, fileCommands } from '../../ts/commands/file.js';
import { DEFAULTS } from '../../ts/daemon/config.js';
import { call } from '../support/command-context.js';
import { createScratchHost } from '../support/scratch-host.js';
import { createScratch, type Scratch, tree } from '../support/scratch.js';

const FILE = randomBytes(10_000);
const DIGEST = createHash('sha256').update(FILE).digest('hex');

function commandsOf(scratch: Scratch, changes: Partial<FileOptions> = {}): CommandModule {
  return fileCommands(createScratchHost(scratch), { ...fileOptions(DEFAULTS), ...changes });
}

interface PartRequest {
  readonly path?: string;
  readonly total?: number;
  readonly sha256?: string;
  readonly bytes?: Buffer;
}

/** Sends the bytes from `offset` to `end`; the last ones with the digest. */
async function part(module: CommandModule, offset: number, end: number, changes: PartRequest = {}): Promise<Reply> {
  const { path = '/opt/f', total = FILE.length, bytes = FILE.subarray(offset, end) } = changes;
  const sha256 = changes.sha256 ?? (end === FILE.length ? DIGEST : undefined);
  const value = {
    b64_path: Buffer.from(path).toString('base64'),
    b64_file: bytes.toString('base64'),
    offset,
    total,
    ...(sha256 === undefined ? {} : { sha256 }),
  };
  return call(module, 'file_inject', value);
}

const ok = (held: number): Reply => ({ returncode: '0', message: `${held} of ${FILE.length} bytes` });
const failed = (message: string): Reply => ({ returncode: '500', message });
const written = (scratch: Scratch): Promise<Buffer> => readFile(join(scratch.root, 'opt/f'));
const kept = async (scratch: Scratch): Promise<number> => (await readdir(join(scratch.state, 'uploads'))).length;

test('a file in parts is written once it is whole, in one change, and nothing of it is kept', async () => {
  await using scratch = await createScratch();
  await scratch.write('opt/f', 'old', 0o640);
  const module = commandsOf(scratch);
  assert.deepEqual(await part(module, 0, 4000), ok(4000));
  assert.deepEqual(await part(module, 4000, 9000), ok(9000));
  assert.equal((await written(scratch)).toString(), 'old');
  assert.deepEqual(await part(module, 9000, 10_000), ok(10_000));
  assert.deepEqual(await written(scratch), FILE);
  assert.equal(await kept(scratch), 0);
  assert.equal((await readdir(join(scratch.state, 'backup'))).length, 1);
});

test('one part may be the whole file, also an empty one', async () => {
  await using scratch = await createScratch();
  assert.deepEqual(await part(commandsOf(scratch), 0, 10_000), ok(10_000));
  assert.deepEqual(await written(scratch), FILE);
  const empty = createHash('sha256').digest('hex');
  const reply = await part(commandsOf(scratch), 0, 0, { total: 0, sha256: empty.toUpperCase() });
  assert.deepEqual(reply, { returncode: '0', message: '0 of 0 bytes' });
  assert.equal((await written(scratch)).length, 0);
});

test('an agent that was restarted goes on where it was, and an empty part asks where that is', async () => {
  await using scratch = await createScratch();
  assert.deepEqual(await part(commandsOf(scratch), 0, 3000), ok(3000));
  assert.deepEqual(await part(commandsOf(scratch), 0, 0), ok(3000));
  assert.deepEqual(await part(commandsOf(scratch), 3000, 7000), ok(7000));
  assert.deepEqual(await part(commandsOf(scratch), 7000, 10_000), ok(10_000));
  assert.deepEqual(await written(scratch), FILE);
});

test('a part that comes again, or overlaps, is fine when it says the same', async () => {
  await using scratch = await createScratch();
  const module = commandsOf(scratch);
  await part(module, 0, 4000);
  assert.deepEqual(await part(module, 0, 4000), ok(4000));
  assert.deepEqual(await part(module, 1000, 2000), ok(4000));
  assert.deepEqual(await part(module, 2000, 6000), ok(6000));
  assert.deepEqual(await part(module, 6000, 10_000), ok(10_000));
  // Its answer was lost, say: the last part of what is finished.
  assert.deepEqual(await part(module, 6000, 10_000), ok(10_000));
  assert.deepEqual(await written(scratch), FILE);
  assert.equal((await readdir(join(scratch.state, 'backup'))).length, 1);
});

test('a part that leaves a gap is refused with the offset that is wanted, and the upload stays', async () => {
  await using scratch = await createScratch();
  const module = commandsOf(scratch);
  const gap = 'Upload of /opt/f: wanted a part from offset';
  assert.deepEqual(await part(module, 10, 20), failed(`${gap} 0 or before, got one from 10`));
  await part(module, 0, 4000);
  assert.deepEqual(await part(module, 4001, 5000), failed(`${gap} 4000 or before, got one from 4001`));
  assert.deepEqual(await part(module, 4000, 10_000), ok(10_000));
  assert.deepEqual(await written(scratch), FILE);
});

test('a contradiction says what was wanted and what was there, and drops the upload', async () => {
  const other = Buffer.from(FILE.subarray(0, 100));
  other[99]! ^= 1;
  const wrong = '0'.repeat(64);
  for (const [send, wanted, got] of [
    [(m: CommandModule) => part(m, 4000, 5000, { total: 9999 }), 'a total of 10000 bytes as before', '9999'],
    [(m: CommandModule) => part(m, 0, 100, { bytes: other }), 'the same bytes as before from 0 to 100', 'others'],
    [
      (m: CommandModule) => part(m, 4000, 9999, { bytes: Buffer.alloc(6001) }),
      '10000 bytes at most',
      'a part that ends at 10001',
    ],
    [
      (m: CommandModule) => part(m, 4000, 5000, { sha256: DIGEST }),
      'the part with sha256 to end at 10000',
      'one that ends at 5000',
    ],
    [(m: CommandModule) => part(m, 9000, 10_000), '9000 bytes before the last part', '4000'],
    [
      (m: CommandModule) => part(m, 4000, 10_000, { sha256: wrong }),
      `a file with SHA-256 ${wrong}`,
      `one with ${DIGEST}`,
    ],
  ] as const) {
    await using scratch = await createScratch();
    const module = commandsOf(scratch);
    await part(module, 0, 4000);
    assert.deepEqual(await send(module), failed(`Upload of /opt/f was dropped: wanted ${wanted}, got ${got}`));
    assert.equal(await kept(scratch), 0, wanted);
    assert.deepEqual(await tree(scratch.root), []);
    assert.deepEqual(await part(module, 0, 10_000), ok(10_000));
  }
});

test('a part that is not of its form is refused, and nothing is kept', async () => {
  await using scratch = await createScratch();
  const bytes = { b64_path: btoa('/opt/f'), b64_file: btoa('abc') };
  const count = 'expected a whole number of bytes, got';
  const digest = 'Invalid sha256: expected 64 hexadecimal digits with the last part, got';
  for (const [fields, message] of [
    [{ offset: 0 }, `Invalid total: ${count} none`],
    [{ total: 3 }, `Invalid offset: ${count} none`],
    [{ sha256: DIGEST }, `Invalid offset: ${count} none`],
    [{ offset: -1, total: 3 }, `Invalid offset: ${count} -1`],
    [{ offset: 0.5, total: 3 }, `Invalid offset: ${count} 0.5`],
    [{ offset: '0', total: '3x' }, `Invalid total: ${count} string`],
    [{ offset: 0, total: 1e300 }, `Invalid total: ${count} 1e+300`],
    [{ offset: 0, total: 3 }, `${digest} none`],
    [{ offset: 0, total: 3, sha256: 5 }, `${digest} number`],
    [{ offset: 0, total: 3, sha256: 'abc' }, `${digest} 3 characters`],
  ] as const) {
    assert.deepEqual(await call(commandsOf(scratch), 'file_inject', { ...bytes, ...fields }), failed(message));
  }
  assert.deepEqual(await tree(scratch.directory), ['root']);
});

test('no more files are unfinished than the configuration allows', async () => {
  await using scratch = await createScratch();
  const module = commandsOf(scratch, { uploads: 2 });
  await part(module, 0, 10, { path: '/a' });
  await part(module, 0, 10, { path: '/b' });
  const message = 'Upload of /opt/f refused: wanted fewer than 2 unfinished ones, got 2';
  assert.deepEqual(await part(module, 0, 10), failed(message));
  assert.deepEqual(await part(module, 10, 20, { path: '/a' }), ok(20));
  assert.deepEqual(await part(module, 20, 10_000, { path: '/a' }), ok(10_000));
  assert.deepEqual(await part(module, 0, 10), ok(10));
});

test('what nobody goes on with is forgotten after its time, and each part begins that time anew', async () => {
  await using scratch = await createScratch();
  const folder = join(scratch.state, 'uploads');
  const later = (seconds: number): CommandModule =>
    commandsOf(scratch, { uploadLifetimeMs: 60_000, now: () => Date.now() + seconds * 1000 });
  await part(later(0), 0, 10);
  const before = new Date(Date.now() - 50_000);
  for (const name of await readdir(folder)) await utimes(join(folder, name), before, before);
  assert.deepEqual(await part(later(0), 10, 20), ok(20));
  assert.deepEqual(await part(later(40), 0, 0), ok(20));
  assert.match((await part(later(70), 20, 30)).message, /wanted a part from offset 0 or before/);
  assert.equal(await kept(scratch), 0);
});

test('a target that is refused is refused at the first part', async () => {
  await using scratch = await createScratch();
  const message = 'Refused to write /proc/x: /proc belongs to the kernel';
  assert.deepEqual(await part(commandsOf(scratch), 0, 10, { path: '/proc/x' }), failed(message));
  assert.deepEqual(await tree(scratch.directory), ['root']);
});

test('bytes that a crash left without their record are not taken for the beginning of a file', async () => {
  await using scratch = await createScratch();
  await part(commandsOf(scratch), 0, 4000);
  const [record = ''] = await readdir(join(scratch.state, 'uploads'));
  await createScratchHost(scratch).state.remove(`uploads/${record}`);
  assert.deepEqual(await part(commandsOf(scratch), 0, 10), ok(10));
  assert.deepEqual(await part(commandsOf(scratch), 10, 10_000), ok(10_000));
  assert.deepEqual(await written(scratch), FILE);
});

test('a file whose place a user has taken keeps no place from others', async () => {
  await using scratch = await createScratch();
  const module = commandsOf(scratch, { uploads: 1 });
  assert.deepEqual(await part(module, 0, 4000), ok(4000));
  await mkdir(join(scratch.root, 'opt/f'), { recursive: true });
  assert.deepEqual(await part(module, 4000, 10_000), failed('Refused to write /opt/f: it is a directory'));
  assert.equal(await kept(scratch), 0);
  assert.deepEqual(await part(module, 0, 4000, { path: '/opt/other' }), ok(4000));
});
