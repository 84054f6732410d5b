import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseManifest } from '../../ts/commands/update-request.js';
import { checkSignature, parsePublicKey } from '../../ts/crypto/minisign.js';
import { ScratchDirectory } from '../../ts/host/shared/scratch-directory.js';
import { BUILT_VERSION } from '../support/release.js';
import { Signer } from '../support/signer.js';

const EPOCH = Date.UTC(2026, 10, 27) / 1000;
const NAME = `guestwire-${BUILT_VERSION}-${process.platform}-${process.arch}.tar.gz`;

/** Packs this checkout's build. */
function pack(
  args: readonly string[],
  epoch = String(EPOCH),
): { readonly status: number | null; stdout: string; stderr: string } {
  const env = { PATH: process.env['PATH'], SOURCE_DATE_EPOCH: epoch };
  return spawnSync(process.execPath, ['packaging/archive.js', ...args], { encoding: 'utf8', env });
}

test('what is packed has a manifest for this product and architecture and a year, and the same build gives the same bytes', async () => {
  await using scratch = await ScratchDirectory.create();
  const [one, other] = [join(scratch.path, 'one'), join(scratch.path, 'other')];
  for (const directory of [one, other]) assert.equal(pack([directory]).status, 0);
  for (const name of [NAME, `${NAME}.manifest`]) {
    assert.deepEqual(readFileSync(join(one, name)), readFileSync(join(other, name)));
  }
  const archive = readFileSync(join(one, NAME));
  assert.deepEqual(parseManifest(readFileSync(join(one, `${NAME}.manifest`), 'utf8')), {
    version: BUILT_VERSION,
    sha256: createHash('sha256').update(archive).digest('hex'),
    size: archive.length,
    scope: {
      product: 'guestwire',
      architecture: `${process.platform}-${process.arch}`,
      expires: Date.UTC(2027, 10, 27),
    },
  });
});

test('the command that is printed signs what the agent then trusts', async () => {
  await using scratch = await ScratchDirectory.create();
  const signer = new Signer(scratch.path);
  const { stdout } = pack(['--expires', '2030-01-31T00:00:00Z', scratch.path]);
  const manifest = readFileSync(join(scratch.path, `${NAME}.manifest`), 'utf8');
  assert.equal(parseManifest(manifest)?.scope?.expires, Date.UTC(2030, 0, 31));
  assert.ok(stdout.includes(manifest), stdout);
  const command = stdout.trimEnd().split('\n').at(-1)!.replace('KEY', join(scratch.path, 'signer.key')).split(' ');
  assert.equal(command[0], 'minisign');
  assert.equal(spawnSync('minisign', command.slice(1)).status, 0);
  const signature = readFileSync(join(scratch.path, `${NAME}.manifest.minisig`), 'utf8');
  assert.deepEqual(checkSignature(Buffer.from(manifest), signature, [parsePublicKey(signer.publicKey)!]), {
    trusted: true,
  });
});

test('an expiry or a date that is none is an error, and nothing is written', async () => {
  await using scratch = await ScratchDirectory.create();
  const directory = join(scratch.path, 'x');
  for (const [args, epoch, wanted] of [
    [
      ['--expires', '2030-01-31', directory],
      String(EPOCH),
      /^--expires: wanted a time such as 2030-01-31T00:00:00Z, got 2030-01-31\n/,
    ],
    [['--expires', '2030-02-30T00:00:00Z', directory], String(EPOCH), /^--expires: wanted/],
    [[directory], 'today', /^SOURCE_DATE_EPOCH: wanted seconds since 1970, got today\n/],
  ] as const) {
    const { status, stderr } = pack(args, epoch);
    assert.equal(status, 1);
    assert.match(stderr, wanted);
    assert.ok(!existsSync(directory));
  }
});
