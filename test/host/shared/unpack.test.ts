import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { AgentError } from '../../../ts/api/errors.js';
import { ScratchDirectory } from '../../../ts/host/shared/scratch-directory.js';
import { unpackArchive } from '../../../ts/host/shared/unpack.js';
import { tree } from '../../support/scratch.js';

type Header = Parameters<ReturnType<typeof pack>['entry']>[0];
type Part = readonly [header: Header, content?: string | Buffer | undefined];

const MIB = 1024 * 1024;
const PROGRAM: readonly Part[] = [
  [{ name: 'dist/guestwire.js', mode: 0o755 }, 'program'],
  [{ name: 'native/binding.js', mode: 0o640 }, 'addon'],
  [{ name: 'package.json' }, '{"name": "guestwire", "version": "1.2.3"}'],
];

async function tar(parts: readonly Part[]): Promise<Buffer> {
  const packed = pack();
  for (const [header, content] of parts) {
    if (content === undefined) packed.entry(header);
    else packed.entry(header, content);
  }
  packed.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of packed as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Unpacks in a directory of its own, and checks that nothing appears beside it. */
async function unpacked(
  archive: Buffer,
  check: (directory: string, result: Awaited<ReturnType<typeof unpackArchive>>) => void | Promise<void> = () =>
    undefined,
): Promise<void> {
  await using scratch = await ScratchDirectory.create();
  const file = join(scratch.path, 'archive');
  const deep = join(scratch.path, 'a/b/c');
  mkdirSync(deep, { recursive: true });
  writeFileSync(file, archive);
  try {
    await check(deep, await unpackArchive(file, deep, 8 * MIB));
  } finally {
    const outside = (await tree(scratch.path)).filter((path) => !path.startsWith('a/b/c'));
    assert.deepEqual(
      outside,
      ['a', 'a/b', 'archive'].filter((path) => !path.startsWith('b')),
    );
  }
}

for (const [form, top, compress] of [
  ['a gzipped tar with one folder at its top', 'guestwire-1.2.3/', gzipSync],
  ['a plain tar without one', '', (bytes: Buffer) => bytes],
  ['names that start with ./', './', gzipSync],
] as const) {
  test(`unpacked: ${form}`, async () => {
    const parts = PROGRAM.map(([header, content]) => [{ ...header, name: top + header.name }, content] as const);
    await unpacked(compress(await tar(parts)), (directory, result) => {
      const folder = top.startsWith('guestwire') ? join(directory, 'guestwire-1.2.3') : directory;
      assert.deepEqual(result, { directory: folder, version: '1.2.3' });
      assert.equal(readFileSync(join(folder, 'dist/guestwire.js'), 'utf8'), 'program');
      assert.equal(statSync(join(folder, 'dist/guestwire.js')).mode & 0o7777, 0o755);
      assert.equal(statSync(join(folder, 'native/binding.js')).mode & 0o7777, 0o644);
      assert.equal(statSync(join(folder, 'native')).mode & 0o7777, 0o755);
    });
  });
}

test('what GNU tar packs comes out as it went in, long names and directories too', async () => {
  await using scratch = await ScratchDirectory.create();
  const long = `dist/${'long-'.repeat(30)}/${'name-'.repeat(30)}.js`;
  const bytes = Buffer.alloc(300_000, 'guestwire ');
  await scratch.write({
    'x/package.json': '{"name": "guestwire", "version": "2"}',
    'x/dist/guestwire.js': 'program',
    'x/native/binding.js': 'addon',
    [`x/${long}`]: bytes.toString(),
  });
  for (const format of ['gnu', 'pax', 'ustar']) {
    // ustar has no room for a path of that length.
    const without = format === 'ustar' ? ['--exclude=*long-*'] : [];
    const args = ['cz', `--format=${format}`, ...without, '-C', scratch.path, 'x'];
    await unpacked(execFileSync('tar', args, { maxBuffer: 8 * MIB }), (_, { directory, version }) => {
      assert.equal(version, '2');
      if (format === 'ustar') return;
      const digest = (content: Buffer): string => createHash('sha256').update(content).digest('hex');
      assert.equal(digest(readFileSync(join(directory, long))), digest(bytes));
    });
  }
});

const link = (type: 'symlink' | 'link', linkname: string): Part => [{ name: 'dist/x', type, linkname }];
const REFUSED: readonly (readonly [what: string, parts: readonly Part[], reason: string])[] = [
  [
    'a path that climbs out',
    [[{ name: '../../../etc/evil' }, 'x']],
    'it has an entry that leads outside: ../../../etc/evil',
  ],
  ['.. in the middle', [[{ name: 'dist/../../x' }, 'x']], 'it has an entry that leads outside: dist/../../x'],
  ['a directory that climbs out', [[{ name: '../x/', type: 'directory' }]], 'it has an entry that leads outside: ../x'],
  ['an absolute path', [[{ name: '/etc/evil' }, 'x']], 'it has an entry that leads outside: /etc/evil'],
  ['a link to the outside', [link('symlink', '/etc')], 'dist/x is a symlink'],
  ['a link that climbs out', [link('symlink', '../../..')], 'dist/x is a symlink'],
  ['a hard link', [link('link', '/etc/shadow')], 'dist/x is a link'],
  ['a device', [[{ name: 'dist/x', type: 'block-device', devmajor: 8 }]], 'dist/x is a block-device'],
  ['a pipe', [[{ name: 'dist/x', type: 'fifo' }]], 'dist/x is a fifo'],
  ['a set-uid program', [[{ name: 'x', mode: 0o4755 }, 'x']], 'x has set-uid, set-gid or sticky bits'],
  ['a set-gid directory', [[{ name: 'x', type: 'directory', mode: 0o2755 }]], 'x has set-uid, set-gid or sticky bits'],
  [
    'a name twice',
    [
      [{ name: 'x' }, '1'],
      [{ name: 'x' }, '2'],
    ],
    'EEXIST',
  ],
  [
    'a file below a file',
    [
      [{ name: 'x' }, '1'],
      [{ name: 'x/y' }, '2'],
    ],
    'EEXIST',
  ],
  ['a control character', [[{ name: 'x\ny' }, '1']], 'it has an entry that leads outside: x'],
];
for (const [what, parts, wanted] of REFUSED) {
  test(`refused before anything is outside: ${what}`, async () => {
    await assert.rejects(unpacked(await tar([...parts, ...PROGRAM])), (error) => {
      assert.ok(error instanceof AgentError);
      assert.equal(error.code, 'GW_UPDATE_ARCHIVE');
      assert.ok(error.message.startsWith(`Unusable archive: ${wanted}`), error.message);
      return true;
    });
  });
}

const INCOMPLETE: readonly (readonly [what: string, parts: readonly Part[], reason: string])[] = [
  ['nothing', [], 'it has no dist/guestwire.js'],
  ['no package.json', PROGRAM.slice(0, 2), 'it has no package.json'],
  ['no addon', PROGRAM.toSpliced(1, 1), 'it has no native/binding.js'],
  ['no program', PROGRAM.slice(1), 'it has no dist/guestwire.js'],
  [
    'a package.json that is none',
    [...PROGRAM.slice(0, 2), [{ name: 'package.json' }, '{']],
    'its package.json is no JSON',
  ],
  ['null', [...PROGRAM.slice(0, 2), [{ name: 'package.json' }, 'null']], 'its package.json is not that of guestwire'],
  [
    'another program',
    [...PROGRAM.slice(0, 2), [{ name: 'package.json' }, '{"name": "x", "version": "1"}']],
    'its package.json is not that of guestwire',
  ],
  [
    'a version that leads elsewhere',
    [...PROGRAM.slice(0, 2), [{ name: 'package.json' }, '{"name": "guestwire", "version": "../x"}']],
    'its package.json has no version',
  ],
];
for (const [what, parts, wanted] of INCOMPLETE) {
  test(`no guestwire: ${what}`, async () => {
    await assert.rejects(unpacked(await tar(parts)), { message: `Unusable archive: ${wanted}` });
  });
}

test('a bomb of zeros ends at the limit, whether it is one file, many, or behind the end', async () => {
  const zeros = Buffer.alloc(9 * MIB);
  const program = await tar(PROGRAM);
  const bombs = [
    await tar([[{ name: 'dist/zeros' }, zeros], ...PROGRAM]),
    await tar(Array.from({ length: 20 }, (_, index) => [{ name: `dist/${index}` }, Buffer.alloc(MIB)] as const)),
    Buffer.concat([program, zeros]),
  ];
  for (const bomb of bombs) {
    const small = gzipSync(bomb);
    assert.ok(small.length < MIB / 8);
    await assert.rejects(unpacked(small), { message: `Unusable archive: unpacked it is larger than ${8 * MIB} bytes` });
  }
});

test('too many entries are refused', async () => {
  const many = Array.from({ length: 4097 }, (_, index) => [{ name: `dist/${index}` }, ''] as const);
  await assert.rejects(unpacked(gzipSync(await tar(many))), {
    message: 'Unusable archive: it has more than 4096 entries',
  });
});

test('an archive that is cut, damaged or none is refused', async () => {
  const whole = gzipSync(await tar([[{ name: 'dist/x' }, randomBytes(50_000)], ...PROGRAM]));
  const flipped = Buffer.from(whole);
  flipped[1000]! ^= 0xff;
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.from('<html>not found</html>'.repeat(100)),
    whole.subarray(0, whole.length / 2),
    (await tar(PROGRAM)).subarray(0, 700),
    flipped,
  ]) {
    await assert.rejects(unpacked(bytes), { code: 'GW_UPDATE_ARCHIVE' });
  }
});

test('an archive that is refused leaves no more than its directory', async () => {
  await using scratch = await ScratchDirectory.create();
  const directory = join(scratch.path, 'x');
  mkdirSync(directory);
  writeFileSync(join(scratch.path, 'archive'), await tar([[{ name: '../x2/y' }, 'x']]));
  await assert.rejects(unpackArchive(join(scratch.path, 'archive'), directory, MIB));
  assert.deepEqual(readdirSync(scratch.path), ['archive', 'x']);
});
