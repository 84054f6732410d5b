import assert from 'node:assert/strict';
import { createPublicKey, diffieHellman, generateKeyPairSync, hkdfSync, createCipheriv } from 'node:crypto';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { SealedExchange } from '#binding';

/** What comes before the 32 bytes of an X25519 public key in SPKI, RFC 8410. */
const SPKI = Buffer.from('302a300506032b656e032100', 'hex');

function open(exchange: SealedExchange, message: Uint8Array): string {
  const place = Buffer.alloc(message.length);
  return place.toString('utf8', 0, exchange.open(message, place));
}

function agreed(): { host: SealedExchange; agent: SealedExchange } {
  const [host, agent] = [new SealedExchange(), new SealedExchange()];
  const [hostKey, agentKey] = [host.begin(), agent.begin()];
  host.agreeAsHost(agentKey);
  agent.agreeAsAgent(hostKey);
  return { host, agent };
}

test('the agent opens what the host sealed', () => {
  for (const text of ['', 'S3cret', 'x'.repeat(3000)]) {
    const { host, agent } = agreed();
    assert.equal(open(agent, host.seal(Buffer.from(text))), text);
  }
});

test('the agent opens what OpenSSL seals as docs/protocol.md says', () => {
  const agent = new SealedExchange();
  const agentKey = agent.begin();
  const own = generateKeyPairSync('x25519');
  const ownKey = own.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  agent.agreeAsAgent(ownKey);
  const peer = createPublicKey({ key: Buffer.concat([SPKI, agentKey]), format: 'der', type: 'spki' });
  const shared = diffieHellman({ privateKey: own.privateKey, publicKey: peer });
  const info = Buffer.concat([Buffer.from('guestwire password x25519-v1'), ownKey, agentKey]);
  const material = Buffer.from(hkdfSync('sha256', shared, '', info, 44));
  const cipher = createCipheriv('chacha20-poly1305', material.subarray(0, 32), material.subarray(32), {
    authTagLength: 16,
  });
  const message = Buffer.concat([cipher.update('S3cret'), cipher.final(), cipher.getAuthTag()]);
  assert.equal(open(agent, message), 'S3cret');
});

test('each step erases what the one before left, so that no key serves twice', () => {
  const notBegun = { code: 'DH_NOT_BEGUN' };
  const exchange = new SealedExchange();
  assert.throws(() => {
    exchange.agreeAsAgent(Buffer.alloc(32, 9));
  }, notBegun);
  const { host, agent } = agreed();
  const message = host.seal(Buffer.from('S3cret'));
  assert.throws(() => host.seal(Buffer.from('another')), notBegun);
  assert.equal(open(agent, message), 'S3cret');
  assert.throws(() => open(agent, message), notBegun);
  // Neither side can do the other's work.
  const other = agreed();
  assert.throws(() => other.agent.seal(Buffer.from('S3cret')), notBegun);
  assert.throws(() => open(other.host, message), notBegun);
});

test('a message that is refused erases the key', () => {
  const { host, agent } = agreed();
  const message = host.seal(Buffer.from('S3cret'));
  message[0]! ^= 1;
  assert.throws(() => open(agent, message), { code: 'SEAL_BROKEN' });
  message[0]! ^= 1;
  assert.throws(() => open(agent, message), { code: 'DH_NOT_BEGUN' });
  const second = agreed();
  assert.throws(() => open(second.agent, Buffer.alloc(15)), { code: 'SEAL_BROKEN' });
  const third = agreed();
  assert.throws(() => third.agent.open(third.host.seal(Buffer.from('S3cret')), Buffer.alloc(1)), {
    code: 'DH_NO_ROOM',
  });
});

test('erase forgets a key at any stage', () => {
  const { host, agent } = agreed();
  const message = host.seal(Buffer.from('S3cret'));
  agent.erase();
  agent.erase();
  assert.throws(() => open(agent, message), { code: 'DH_NOT_BEGUN' });
  agent.begin();
  agent.erase();
  assert.throws(
    () => {
      agent.agreeAsAgent(Buffer.alloc(32, 9));
    },
    { code: 'DH_NOT_BEGUN' },
  );
});

test('what is no public key is refused with a code, and erases the private key', () => {
  const exchange = new SealedExchange();
  for (const [peer, code] of [
    [Buffer.alloc(0), 'DH_BAD_LENGTH'],
    [Buffer.alloc(31, 9), 'DH_BAD_LENGTH'],
    [Buffer.alloc(33, 9), 'DH_BAD_LENGTH'],
    [Buffer.alloc(32), 'DH_LOW_ORDER'],
    [Buffer.from(`01${'00'.repeat(31)}`, 'hex'), 'DH_LOW_ORDER'],
  ] as const) {
    for (const agree of ['agreeAsHost', 'agreeAsAgent'] as const) {
      exchange.begin();
      assert.throws(
        () => {
          exchange[agree](peer);
        },
        { code },
      );
      assert.throws(
        () => {
          exchange[agree](Buffer.alloc(32, 9));
        },
        { code: 'DH_NOT_BEGUN' },
      );
    }
  }
});

test('no two exchanges share a key, and none is printed', () => {
  const exchange = new SealedExchange();
  const keys = Array.from({ length: 100 }, () => exchange.begin().toString('hex'));
  assert.equal(new Set(keys).size, keys.length);
  exchange.begin();
  assert.deepEqual(Object.keys(exchange), []);
  assert.equal(JSON.stringify(exchange), '{}');
  assert.equal(inspect(exchange, { showHidden: true }), 'SealedExchange {}');
});
