import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkSignature, parsePublicKey } from '../../ts/crypto/minisign.js';
import { ScratchDirectory } from '../../ts/host/shared/scratch-directory.js';
import { Signer } from '../support/signer.js';

const CONTENT = 'version 1.2.3\n';

for (const form of ['prehashed', 'legacy'] as const) {
  test(`a ${form} signature of the real minisign is taken, and any change of it or of the content is not`, async () => {
    await using scratch = await ScratchDirectory.create();
    const signer = new Signer(scratch.path);
    const keys = [parsePublicKey(signer.publicKey)!];
    const signature = signer.sign(CONTENT, form);
    const algorithm = Buffer.from(signature.split('\n')[1]!, 'base64').toString('latin1', 0, 2);
    assert.equal(algorithm, form === 'legacy' ? 'Ed' : 'ED');
    const check = (content: string, text: string): string => {
      const result = checkSignature(Buffer.from(content), text, keys);
      return result.trusted ? 'trusted' : result.why;
    };
    assert.equal(check(CONTENT, signature), 'trusted');
    assert.equal(check(CONTENT, signature.replaceAll('\n', '\r\n')), 'trusted');
    assert.equal(check(`${CONTENT} `, signature), 'its signature is wrong');
    assert.equal(check('', signature), 'its signature is wrong');
    assert.equal(
      check(CONTENT, signature.replace('\ntrusted comment: ', '\ntrusted comment: not ')),
      'the signature of its trusted comment is wrong',
    );
    const [untrusted, first = '', comment, second = ''] = signature.split('\n');
    const changed = (line: string, at: number): string => {
      const bytes = Buffer.from(line, 'base64');
      bytes[at]! ^= 1;
      return bytes.toString('base64');
    };
    assert.equal(check(CONTENT, [untrusted, changed(first, 40), comment, second].join('\n')), 'its signature is wrong');
    assert.match(
      check(CONTENT, [untrusted, first, comment, changed(second, 3)].join('\n')),
      /trusted comment is wrong/,
    );
    assert.match(check(CONTENT, [untrusted, changed(first, 1), comment, second].join('\n')), /not in the form/);
    assert.match(check(CONTENT, [untrusted, changed(first, 2), comment, second].join('\n')), /not among update\.keys/);
    for (const cut of ['', 'x', '\n\n\n', signature.slice(0, 60), [untrusted, first, comment].join('\n')]) {
      assert.equal(check(CONTENT, cut), 'its signature is not in the form of minisign', cut);
    }
  });
}

test('a signature by another key is refused, and the refusal names the key as minisign prints it', async () => {
  await using scratch = await ScratchDirectory.create();
  const [one, other] = [new Signer(scratch.path, 'one'), new Signer(scratch.path, 'other')];
  const signature = other.sign(CONTENT);
  const result = checkSignature(Buffer.from(CONTENT), signature, [parsePublicKey(one.publicKey)!]);
  const [, id] = /minisign public key ([0-9A-F]+)/.exec(readFileSync(join(scratch.path, 'other.pub'), 'utf8'))!;
  assert.ok(!result.trusted);
  assert.ok(result.why.includes(id!.padStart(16, '0')), result.why);
  const both = [one, other].map((signer) => parsePublicKey(signer.publicKey)!);
  assert.deepEqual(checkSignature(Buffer.from(CONTENT), signature, both), { trusted: true });
});

test('what the agent takes is what the real minisign takes', async () => {
  await using scratch = await ScratchDirectory.create();
  const signer = new Signer(scratch.path);
  const file = join(scratch.path, 'file');
  for (const signature of [
    signer.sign(CONTENT),
    signer.sign(CONTENT).replace('\ntrusted comment: t', '\ntrusted comment: u'),
  ]) {
    writeFileSync(file, CONTENT);
    writeFileSync(`${file}.minisig`, signature);
    let real = true;
    try {
      execFileSync('minisign', ['-V', '-m', file, '-P', signer.publicKey], { stdio: 'ignore' });
    } catch {
      real = false;
    }
    const ours = checkSignature(Buffer.from(CONTENT), signature, [parsePublicKey(signer.publicKey)!]);
    assert.equal(ours.trusted, real);
  }
});

test('a public key is 42 bytes of base64 that start with Ed', async () => {
  await using scratch = await ScratchDirectory.create();
  const { publicKey } = new Signer(scratch.path);
  assert.notEqual(parsePublicKey(publicKey), null);
  for (const text of ['', 'RWQ', publicKey.slice(4), `AA${publicKey.slice(2)}`]) {
    assert.equal(parsePublicKey(text), null, text);
  }
});
