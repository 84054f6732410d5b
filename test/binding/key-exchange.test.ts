import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeyExchange } from '#binding';

const P = 2n ** 107n - 1n;

function finish(exchange: KeyExchange, peer: string): string {
  const bytes = Buffer.alloc(33);
  return bytes.toString('ascii', 0, exchange.finish(peer, bytes));
}

test('two exchanges agree on a secret that fits the group', () => {
  const [ours, theirs] = [new KeyExchange(), new KeyExchange()];
  for (let i = 0; i < 50; i++) {
    const [fromUs, fromThem] = [ours.begin(), theirs.begin()];
    const shared = finish(ours, fromThem);
    assert.equal(finish(theirs, fromUs), shared);
    assert.ok(BigInt(shared) > 0n && BigInt(shared) < P);
  }
});

test('the secret is what plain modular arithmetic gives', () => {
  const exchange = new KeyExchange();
  let [base, exponent, power] = [BigInt(exchange.begin()), 0x00010203040506070809n, 1n];
  for (; exponent > 0n; exponent >>= 1n) {
    if (exponent & 1n) power = (power * base) % P;
    base = (base * base) % P;
  }
  // The peer whose private key is that exponent, from test/fixtures/password-vectors.json.
  assert.equal(finish(exchange, '46887519506361182317111286236520'), String(power));
});

test('no two exchanges share a key', () => {
  const exchange = new KeyExchange();
  const keys = Array.from({ length: 100 }, () => exchange.begin());
  assert.equal(new Set(keys).size, keys.length);
});

test('a public key may stand between blanks', () => {
  const [ours, theirs] = [new KeyExchange(), new KeyExchange()];
  const [fromUs, fromThem] = [ours.begin(), theirs.begin()];
  assert.equal(finish(ours, ` ${fromThem}\n`), finish(theirs, `00${fromUs}`));
});

test('what is no public key is refused with a code', () => {
  const exchange = new KeyExchange();
  const refuses = (peer: string, code: string): void => {
    exchange.begin();
    assert.throws(() => finish(exchange, peer), { code }, peer);
  };
  for (const text of ['', 'zzz', '-5', '0x19', '2.5', '1e3']) refuses(text, 'DH_NOT_A_DECIMAL');
  for (const number of [0n, 1n, P - 1n, P, P + 2n, 2n ** 64n * P, 10n ** 60n])
    refuses(String(number), 'DH_OUT_OF_RANGE');
});

test('a private key serves once, and not at all before it is drawn', () => {
  const exchange = new KeyExchange();
  assert.throws(() => finish(exchange, '25'), { code: 'DH_NOT_BEGUN' });
  for (const peer of ['25', '1']) {
    exchange.begin();
    try {
      finish(exchange, peer);
    } catch {
      // 1 is no public key.
    }
    assert.throws(() => finish(exchange, '25'), { code: 'DH_NOT_BEGUN' });
  }
  exchange.begin();
  assert.throws(() => exchange.finish('1234567', Buffer.alloc(1)), { code: 'DH_NO_ROOM' });
});
