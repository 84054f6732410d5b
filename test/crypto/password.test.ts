import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Secret } from '../../ts/api/index.js';
import { decodeCiphertext, decryptPassword, encryptPassword, type KeyDigest } from '../../ts/crypto/password.js';

interface Vector {
  readonly shared_decimal: string;
  readonly plaintext_json: string;
  readonly password_set: string;
  readonly password_request: { readonly value: string };
  readonly password_value_wrapped_64: string;
  readonly openssl_1_1_default_digest_ciphertext: string;
}

const { vectors } = JSON.parse(readFileSync('test/fixtures/password-vectors.json', 'utf8')) as { vectors: Vector[] };

const secret = (text: string): Secret => new Secret(Buffer.from(text));

async function decrypted(base64: string, shared: string): Promise<string> {
  return (await decryptPassword(decodeCiphertext(base64), secret(shared))).reveal().toString('utf8');
}

function openssl(plain: string | Buffer, shared: string, ...more: string[]): string {
  const args = ['aes-128-cbc', '-A', '-a', '-pass', `pass:${shared}`, '-nosalt', ...more];
  return execFileSync('openssl', args, { input: plain, stdio: ['pipe', 'pipe', 'ignore'] }).toString();
}

test('every known ciphertext is read, of either digest and however it is wrapped', async () => {
  assert.ok(vectors.length >= 6);
  for (const vector of vectors) {
    for (const value of [
      vector.password_request.value,
      vector.password_value_wrapped_64,
      vector.openssl_1_1_default_digest_ciphertext,
    ]) {
      assert.equal(await decrypted(value, vector.shared_decimal), vector.password_set);
    }
  }
});

test('what the real openssl encrypts is read, with MD5 and with its default digest', async () => {
  const passwords = ['a', 'S3cret', 'fifteen letters', 'sixteen  letters', 'pässwörd ☃', 'x'.repeat(500)];
  for (const password of passwords) {
    for (const [index, digest] of [['-md', 'md5'], []].entries()) {
      const shared = `6041${password.length}${index}7`;
      assert.equal(await decrypted(openssl(`${password}\n`, shared, ...digest), shared), password);
    }
  }
});

test('the real openssl reads what is encrypted here', async () => {
  for (const digest of ['md5', 'sha256'] satisfies KeyDigest[]) {
    const encrypted = await encryptPassword(secret('pässwörd ☃'), secret('15625'), digest);
    assert.equal(openssl(encrypted, '15625', '-d', '-md', digest), 'pässwörd ☃\n');
  }
});

test('a password comes back whatever its length and digest', async () => {
  for (let length = 1; length <= 64; length++) {
    for (const digest of ['md5', 'sha256'] satisfies KeyDigest[]) {
      const encrypted = await encryptPassword(secret('p'.repeat(length)), secret(`7${length}`), digest);
      assert.equal(await decrypted(encrypted, `7${length}`), 'p'.repeat(length));
    }
  }
});

test('line breaks are taken off both ends and nothing else is', async () => {
  assert.equal(await decrypted(openssl('\n\n \tp q\r \n\n', '15625'), '15625'), ' \tp q\r ');
});

test('a password of line breaks only is empty, which is for the caller to refuse', async () => {
  assert.equal(await decrypted(openssl('\n', '15625'), '15625'), '');
});

test('padding is checked whole, not by its last byte', async () => {
  const raw = (bytes: number[]): string => openssl(Buffer.from(bytes), '15625', '-nopad');
  const text = [...Buffer.from('S3cret\n')];
  const withPadding = (padding: number[]): string => raw([...text, ...padding]);
  assert.equal(await decrypted(withPadding(Array<number>(9).fill(9)), '15625'), 'S3cret');
  for (const padding of [
    [9, 9, 9, 9, 8, 9, 9, 9, 9],
    [0, 0, 0, 0, 0, 0, 0, 0, 0],
    [17, 17, 17, 17, 17, 17, 17, 17, 17],
    [0, 0, 0, 0, 0, 0, 0, 0, 16],
  ]) {
    await assert.rejects(decrypted(withPadding(padding), '15625'), { code: 'GW_PASSWORD_UNREADABLE' });
  }
});

test('a password that is not UTF-8 is refused', async () => {
  const encrypted = openssl(Buffer.from([0x70, 0xff, 0xfe, 0x0a]), '15625');
  await assert.rejects(decrypted(encrypted, '15625'), { code: 'GW_PASSWORD_UNREADABLE' });
});

test('a password under another key is refused', async () => {
  const encrypted = openssl('S3cret of some length\n', '15625');
  await assert.rejects(decrypted(encrypted, '15626'), { code: 'GW_PASSWORD_UNREADABLE' });
});

test('ciphertext that is no number of whole blocks is refused', async () => {
  for (const bytes of [0, 1, 8, 15, 17]) {
    await assert.rejects(decryptPassword(Buffer.alloc(bytes), secret('15625')), {
      code: 'GW_PASSWORD_UNREADABLE',
      message: `Invalid password data received: expected blocks of 16 bytes, got ${bytes} bytes`,
    });
  }
});

test('base64 with foreign characters or wrong padding is refused', () => {
  for (const text of ['zz*z', 'abc', 'abcde', '====', 'ab=c', 'N1Cj-ioS']) {
    assert.throws(() => decodeCiphertext(text), { code: 'GW_PASSWORD_UNDECODABLE' }, text);
  }
});
