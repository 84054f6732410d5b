import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createCodec } from '../../../ts/communication/stream/codec.js';
import { parseExact, stringifyExact } from '../../../ts/communication/stream/json.js';

const codec = createCodec(1024);
const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const OK = { returncode: '0', message: 'done' } as const;
const FAILED = { returncode: '500', message: 'no' } as const;
const BOTH = /^\{"returncode":"500","message":"no","error":\{"class":"GenericError","desc":"no"\}\}\n$/;

/** A request, what is understood, and the answers to a success and to a failure. */
const DIALECTS: readonly (readonly [request: string, understood: object, success: string, failure: string])[] = [
  [
    '{"id":7,"name":"version","value":"agent"}',
    { name: 'version', value: 'agent' },
    '{"id":7,"returncode":"0","message":"done"}\n',
    '{"id":7,"returncode":"500","message":"no"}\n',
  ],
  [
    '{"name":"version"}',
    { name: 'version', value: '' },
    '{"returncode":"0","message":"done"}\n',
    '{"returncode":"500","message":"no"}\n',
  ],
  [
    '{"execute":"guest-ping"}',
    { name: 'guest-ping', value: {}, dialect: 'qemu' },
    '{"return":{}}\n',
    '{"error":{"class":"GenericError","desc":"no"}}\n',
  ],
  [
    '{"execute":"guest-file-read","arguments":{"handle":1},"id":{"a":[1]}}',
    { name: 'guest-file-read', value: { handle: 1 }, dialect: 'qemu' },
    '{"return":{},"id":{"a":[1]}}\n',
    '{"error":{"class":"GenericError","desc":"no"},"id":{"a":[1]}}\n',
  ],
  [
    '{"execute":"guest-sync-delimited","arguments":{"id":1}}',
    { name: 'guest-sync-delimited', value: { id: 1 }, dialect: 'qemu' },
    '\xff{"return":{}}\n',
    '{"error":{"class":"GenericError","desc":"no"}}\n',
  ],
];

for (const [request, understood, success, failure] of DIALECTS) {
  test(`${request} is understood and answered in its own dialect`, () => {
    assert.deepEqual(codec.decode(bytes(request)), understood);
    assert.equal(Buffer.from(codec.encode(OK, bytes(request))).toString('latin1'), success);
    assert.equal(Buffer.from(codec.encode(FAILED, bytes(request))).toString('latin1'), failure);
  });
}

const REFUSED: readonly (readonly [what: string, body: Buffer, why: RegExp])[] = [
  ['text', bytes('garbage'), /got text that is not JSON$/],
  ['half an object', bytes('{"execute":"guest-pi'), /got text that is not JSON$/],
  ['a list', bytes('[1]'), /got a list$/],
  ['a number of 70 digits', bytes('9'.repeat(70)), /got a bigint$/],
  ['an object of neither dialect', bytes('{"foo":1}'), /expected an object with 'name' or 'execute'/],
  ['other bytes than UTF-8', bytes('{"name":"\xc3\x28"}'), /got other bytes$/],
  ['a line that is too long', bytes(`{"name":"${'x'.repeat(1024)}"}`), /at most 1024 bytes, got a longer one$/],
];

for (const [what, body, why] of REFUSED) {
  test(`${what} is refused, with an answer that both dialects understand`, () => {
    assert.throws(() => codec.decode(body), { code: 'GW_REQUEST_MALFORMED', message: why });
    assert.match(Buffer.from(codec.encode(FAILED, body)).toString('utf8'), BOTH);
  });
}

test('a command that there is not has the class that libvirt asks for', () => {
  const answer = codec.encode({ returncode: '404', message: 'none' }, bytes('{"execute":"guest-fly"}'));
  assert.equal(Buffer.from(answer).toString(), '{"error":{"class":"CommandNotFound","desc":"none"}}\n');
});

test('names and arguments of another kind are refused in the dialect that asked', () => {
  for (const text of [
    '{"execute":5}',
    '{"execute":"a","arguments":[]}',
    '{"execute":"a","arguments":"b"}',
    '{"name":{}}',
  ]) {
    assert.throws(() => codec.decode(bytes(text)), { code: 'GW_REQUEST_MALFORMED' });
  }
});

test('a silent success is not answered, and a failure is', () => {
  const request = bytes('{"execute":"guest-shutdown"}');
  assert.equal(codec.encode({ ...OK, silent: true }, request).length, 0);
  assert.notEqual(codec.encode(FAILED, request).length, 0);
});

test('any bytes make one line of JSON, whatever was asked', () => {
  const body = fc.oneof(
    fc.uint8Array({ maxLength: 2000 }),
    fc.json().map((text) => Buffer.from(text)),
  );
  fc.assert(
    fc.property(body, fc.string(), (request, message) => {
      const answer = Buffer.from(codec.encode({ returncode: '500', message }, request)).toString('utf8');
      assert.equal(answer.indexOf('\n'), answer.length - 1);
      JSON.parse(answer);
    }),
    { numRuns: 2000 },
  );
});

test('whole numbers of 64 bits come back as they were sent', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n }), (number) => {
      const text = `{"id":${number},"text":"${number}"}`;
      assert.equal(stringifyExact(parseExact(text)), text);
    }),
  );
});

test('parsing with exact numbers is parsing as before for all that JavaScript holds', () => {
  const digits = fc.stringMatching(/^[0-9"\\u{}:,. ]{0,40}$/);
  fc.assert(
    fc.property(
      fc.oneof(
        fc.json({ stringUnit: 'binary' }),
        fc.record({ a: digits }).map((value) => JSON.stringify(value)),
      ),
      (text) => {
        assert.deepEqual(toNumbers(parseExact(text)), JSON.parse(text));
      },
    ),
    { numRuns: 1000 },
  );
});

function toNumbers(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? Number(inner) : inner)));
}
