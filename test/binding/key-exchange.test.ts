import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeyExchange } from '#binding';

const P = 2n ** 107n - 1n;

test('two exchanges agree on a secret that fits the group', () => {
  for (let i = 0; i < 50; i++) {
    const [ours, theirs] = [KeyExchange.create(), KeyExchange.create()];
    const shared = ours.sharedSecret(theirs.publicKey).toString('ascii');
    assert.equal(theirs.sharedSecret(ours.publicKey).toString('ascii'), shared);
    assert.ok(BigInt(shared) > 0n && BigInt(shared) < P);
  }
});

test('the secret is what plain modular arithmetic gives', () => {
  const exchange = KeyExchange.create();
  let [base, exponent, power] = [BigInt(exchange.publicKey), 0x00010203040506070809n, 1n];
  for (; exponent > 0n; exponent >>= 1n) {
    if (exponent & 1n) power = (power * base) % P;
    base = (base * base) % P;
  }
  // The peer whose private key is that exponent, from test/fixtures/password-vectors.json.
  assert.equal(exchange.sharedSecret('46887519506361182317111286236520').toString('ascii'), String(power));
});

test('no two exchanges share a key', () => {
  const keys = Array.from({ length: 100 }, () => KeyExchange.create().publicKey);
  assert.equal(new Set(keys).size, keys.length);
});

test('a public key may stand between blanks', () => {
  const exchange = KeyExchange.create();
  assert.deepEqual(exchange.sharedSecret(' 25\n'), exchange.sharedSecret('25'));
});

test('what is no public key is refused with a code', () => {
  const exchange = KeyExchange.create();
  for (const text of ['', 'zzz', '-5', '0x19', '2.5', '1e3']) {
    assert.throws(() => exchange.sharedSecret(text), { code: 'DH_NOT_A_DECIMAL' }, text);
  }
  for (const number of [0n, 1n, P - 1n, P, P + 2n, 10n ** 60n]) {
    assert.throws(() => exchange.sharedSecret(String(number)), { code: 'DH_OUT_OF_RANGE' }, String(number));
  }
});
