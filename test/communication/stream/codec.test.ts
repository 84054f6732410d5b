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
      assert.equal(stringifyExact(parseExact(text) as object), text);
    }),
  );
});

test('a text that looks like a mark of the reader stays the text that it is', () => {
  const texts = ['\0integer:5', '"\0integer:5', '\\"\0integer:12345678901234567890"', '12345678901234567890'];
  for (const text of texts) {
    const request = Buffer.from(`{"id":[${JSON.stringify(text)},12345678901234567890],"name":"version"}`);
    const answer = Buffer.from(codec.encode({ ...OK, message: text }, request)).toString('utf8');
    const { id, message } = JSON.parse(answer) as { id: [string, number]; message: string };
    assert.deepEqual([id[0], message], [text, text]);
    assert.ok(answer.includes(',12345678901234567890]'), answer);
  }
});

test('writing is that of JSON for all that has a form there, exact numbers aside', () => {
  const text = fc.oneof(fc.string(), fc.constantFrom('\0integer:5', '"\0integer:5', '__proto__', 'toJSON'));
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      fc.oneof(text, fc.double(), fc.boolean(), fc.constantFrom(null, undefined), fc.date()),
      fc.bigInt(2n ** 54n, 2n ** 65n),
      fc.array(tie('value')),
      fc.dictionary(text, tie('value')),
    ),
  }));
  fc.assert(
    fc.property(value, (inner) => {
      const outer = { inner, more: 2n ** 60n };
      // Digits that JavaScript's numbers hold stand for the others, so that JSON.stringify can be asked.
      const text = stringifyExact(outer);
      assert.deepEqual(
        JSON.parse(text),
        JSON.parse(JSON.stringify(outer, (_, one: unknown) => (typeof one === 'bigint' ? Number(one) : one))),
      );
      assert.equal(stringifyExact(parseExact(text) as object), text);
    }),
    { numRuns: 2000 },
  );
});

test('a request whose parts lie too deep in one another is answered once, without its id', () => {
  const deep = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);
  const mixed = (levels: number): string => '{"a":['.repeat(levels / 2) + ']}'.repeat(levels / 2);
  const large = createCodec(1024 * 1024);
  for (const nested of [deep(64), deep(20_000), mixed(64), mixed(20_000), `${deep(100_000)} `]) {
    for (const text of [
      `{"id":${nested},"name":"version"}`,
      `{"name":"version","value":${nested}}`,
      `{"id":12345678901234567890,"name":"version","value":${nested}}`,
      `{"id":${nested},"execute":"guest-ping"}`,
      `{"execute":"guest-ping","arguments":{"a":${nested}},"id":1}`,
      nested,
    ]) {
      if (text === deep(64) || text === mixed(64)) continue;
      const why = { code: 'GW_REQUEST_MALFORMED', message: /expected JSON of at most 64 levels, got more$/ };
      assert.throws(() => large.decode(bytes(text)), why);
      assert.match(Buffer.from(large.encode(FAILED, bytes(text))).toString('utf8'), BOTH);
    }
  }
  const most = `{"id":${deep(63)},"name":"version","value":""}`;
  assert.deepEqual(large.decode(bytes(most)), { name: 'version', value: '' });
  assert.ok(
    Buffer.from(large.encode(OK, bytes(most)))
      .toString('utf8')
      .startsWith(`{"id":${deep(63)},`),
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
