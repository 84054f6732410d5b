import assert from 'node:assert/strict';
import {
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hkdfSync,
  type KeyObject,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Secret } from '../../ts/api/index.js';
import { decodePasswordRequest, decodeSealed, encodePasswordRequest, encodeSealed } from '../../ts/crypto/sealed.js';

const PROTOCOL = readFileSync('docs/protocol.md', 'utf8');
/** What comes before the 32 bytes of an X25519 private key in PKCS#8, RFC 8410. */
const PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex');

/** A cell of the worked example in docs/protocol.md. */
function example(name: string): string {
  const start = `| ${name} | \``;
  const row = PROTOCOL.split('\n').find((line) => line.startsWith(start));
  if (row?.endsWith('` |') !== true) throw new Error(`docs/protocol.md has no ${name}`);
  return row.slice(start.length, -'` |'.length);
}

function privateKey(hex: string): KeyObject {
  return createPrivateKey({ key: Buffer.concat([PKCS8, Buffer.from(hex, 'hex')]), format: 'der', type: 'pkcs8' });
}

function publicBytes(key: KeyObject): Buffer {
  return createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32);
}

function decodedText(text: string | Uint8Array): { user: string | null; password: string } {
  const { user, password } = decodePasswordRequest(new Secret(Buffer.from(text)));
  return { user, password: password.reveal().toString('utf8') };
}

test("the protocol's worked example comes out with OpenSSL, which is another implementation", () => {
  const [host, agent] = [privateKey(example("host's private key")), privateKey(example("agent's private key"))];
  assert.equal(publicBytes(host).toString('hex'), example("host's public key"));
  assert.equal(publicBytes(agent).toString('hex'), example("agent's public key"));
  const shared = diffieHellman({ privateKey: agent, publicKey: createPublicKey(host) });
  assert.equal(shared.toString('hex'), example('shared secret'));
  const info = Buffer.concat([Buffer.from('guestwire password x25519-v1'), publicBytes(host), publicBytes(agent)]);
  const material = Buffer.from(hkdfSync('sha256', shared, '', info, 44));
  const [key, nonce] = [material.subarray(0, 32), material.subarray(32)];
  assert.equal(key.toString('hex'), example('key'));
  assert.equal(nonce.toString('hex'), example('nonce'));
  assert.equal(encodeSealed(publicBytes(host)), example('value of `keyinit`'));
  assert.equal(encodeSealed(publicBytes(agent)), example('its answer'));
  const message = decodeSealed(example('value of `password`'), 'password')!;
  const decipher = createDecipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 });
  decipher.setAuthTag(message.subarray(-16));
  const text = Buffer.concat([decipher.update(message.subarray(0, -16)), decipher.final()]);
  assert.equal(text.toString('utf8'), example('text'));
  assert.deepEqual(decodedText(text), { user: 'alice', password: 'pässwörd' });
});

test('values of the other form are told apart, and another version is an error', () => {
  for (const value of ['', '25', 'N1CjYioSnoHhlnfwF6M6MA==', 'x25519', 'x25519-v1', 25, null, undefined, {}, ['x']]) {
    assert.equal(decodeSealed(value, 'public key'), null);
  }
  assert.deepEqual(decodeSealed('x25519-v1:\nAA\nEC ', 'public key'), Buffer.from([0, 1, 2]));
  for (const [value, got] of [
    ['x25519-v2:AAEC', 'the unknown form x25519-v2'],
    [`x25519-${'9'.repeat(100)}:AAEC`, `the unknown form x25519-${'9'.repeat(33)}`],
    ['x25519-v1:AAE', 'something else than base64'],
    ['x25519-v1:AA*=', 'something else than base64'],
  ] as const) {
    const message = `Invalid public key: expected x25519-v1: and base64, got ${got}`;
    assert.throws(() => decodeSealed(value, 'public key'), { code: 'GW_ARGUMENT_INVALID', message });
  }
});

test('a request comes back, and the length of its text tells nothing of the password', () => {
  const lengths = new Set<number>();
  for (const password of ['a', 'S3cret', 'pässwörd ☃', '{"user":"root"}', ' \t', 'x'.repeat(200)]) {
    for (const user of [null, 'alice']) {
      const text = encodePasswordRequest({ user, password: new Secret(Buffer.from(password)) });
      lengths.add(text.reveal().length);
      assert.deepEqual(decodedText(text.reveal()), { user, password });
    }
  }
  assert.deepEqual([...lengths], [256]);
});

test('user may be absent or null, other keys are ignored, and of a repeated key the last counts', () => {
  const root = { user: null, password: 'x' };
  for (const text of ['{"password":"x"}', '{"user":null,"password":"x"}', ' {"a":[1],"password":"x"}\n']) {
    assert.deepEqual(decodedText(text), root);
  }
  assert.deepEqual(decodedText('{"password":"y","password":"x"}'), root);
});

test('a text that holds no request is refused, and the error says nothing of it', () => {
  const noObject = 'Invalid password data received: no JSON object is in it';
  const noText = 'Invalid password data received: its password is no text';
  const noName = 'Invalid password data received: its user is no name';
  for (const [text, message] of [
    ['', noObject],
    ['S3cret', noObject],
    ['"S3cret"', noObject],
    ['["S3cret"]', noObject],
    ['null', noObject],
    [Buffer.from([0x7b, 0xff, 0x7d]), noObject],
    ['{"password":"S3cret"', noObject],
    ['{}', noText],
    ['{"password":5}', noText],
    ['{"password":"S3cret\\ud800"}', noText],
    ['{"user":"","password":"S3cret"}', noName],
    ['{"user":5,"password":"S3cret"}', noName],
  ] as const) {
    assert.throws(() => decodedText(text), { code: 'GW_PASSWORD_UNREADABLE', message });
  }
});
