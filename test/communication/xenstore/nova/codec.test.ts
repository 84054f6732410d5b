import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { AGENT_ERRORS, AgentError, type AgentErrorCode } from '../../../../ts/api/errors.js';
import { codec } from '../../../../ts/communication/xenstore/nova/codec.js';
import { novaView, xenstoreRead, type HostView } from '../../../support/host-view.js';

const view = JSON.parse(readFileSync('test/fixtures/host-view.json', 'utf8')) as HostView;

function bytes(text: string): Buffer {
  const python = /^b'(.*)\\x00'$/s.exec(text)?.[1];
  return Buffer.from(python === undefined ? text : `${python}\0`);
}

const refused = (code: AgentErrorCode) => (error: unknown) => error instanceof AgentError && error.code === code;

for (const reply of view.replies) {
  test(`the test's own host sees as the real one did: ${reply.case}`, () => {
    const value = bytes(reply.guest_writes);
    assert.equal(xenstoreRead(value), reply.xenstore_read);
    const codes = reply.case.startsWith('keyinit')
      ? ['D0']
      : reply.case.startsWith('resetnetwork')
        ? ['0', '500']
        : ['0'];
    const seen = novaView(value, codes);
    if (reply.nova === null) assert.equal(seen, null);
    else if (reply.nova === 'ok') assert.deepEqual(seen, { kind: 'ok', message: reply.nova_message });
    else assert.ok(seen?.kind === 'error' && reply.nova.startsWith(seen.why), JSON.stringify(seen));
  });

  test(`the host reads the message that was meant, however odd: ${reply.case}`, () => {
    const seen = novaView(Buffer.from(codec.encode({ returncode: '0', message: reply.guest_writes })), ['0']);
    const wanted = reply.guest_writes
      .replaceAll('"', "'")
      .replaceAll('\\', '/')
      .replace(/[^ -~]/gu, '?');
    assert.deepEqual(seen, { kind: 'ok', message: wanted });
  });
}

test('any message at all reaches nova as one line of ASCII text within the quota of a node', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 3000 }), fc.string({ maxLength: 10 }), (message, returncode) => {
      const answer = Buffer.from(codec.encode({ returncode, message }));
      assert.match(answer.toString('latin1'), /^[\x20-\x7e]+$/);
      assert.ok(answer.length <= 1900);
      const parsed = JSON.parse(xenstoreRead(answer)) as Record<string, unknown>;
      assert.deepEqual(Object.keys(parsed), ['returncode', 'message']);
      assert.equal(typeof parsed['message'], 'string');
    }),
    { numRuns: 2000 },
  );
});

test('a message that is too long is cut at 1,900 bytes and says so', () => {
  const answer = Buffer.from(codec.encode({ returncode: '500', message: 'x'.repeat(5000) }));
  assert.equal(answer.length, 1900);
  assert.ok(answer.toString().endsWith('xxx..."}'));
});

for (const request of view.requests) {
  test(`a request is read as tolerantly as the tools of dom0 demand: ${request.case}`, () => {
    const body = Buffer.from(`{"name": "x", "value": ${request.guest_reads}}`);
    const brokenQuotes = request.case === 'label with quote';
    if (brokenQuotes) assert.throws(() => codec.decode(body), refused('GW_REQUEST_MALFORMED'));
    else assert.equal(codec.decode(body).name, 'x');
  });
}

test('raw control characters inside a string are part of it, between tokens they are blanks', () => {
  const { name, value } = codec.decode(Buffer.from('{\t"name":\n"x",\u0000"value": "a\nb\tc\\"d\u0001"}\r\n\u0000'));
  assert.deepEqual({ name, value }, { name: 'x', value: 'a\nb\tc"d\u0001' });
});

const REFUSED: readonly (readonly [what: string, body: string | Uint8Array, code: AgentErrorCode])[] = [
  ['nothing', '', 'GW_REQUEST_MALFORMED'],
  ['text that is not JSON', 'abc', 'GW_REQUEST_MALFORMED'],
  ['a list', '[1,2]', 'GW_REQUEST_MALFORMED'],
  ['a string', '"version"', 'GW_REQUEST_MALFORMED'],
  ['a number', '5', 'GW_REQUEST_MALFORMED'],
  ['null', 'null', 'GW_REQUEST_MALFORMED'],
  ['bytes that are not UTF-8', Uint8Array.of(0x7b, 0xff, 0x7d), 'GW_REQUEST_MALFORMED'],
  ['a name that is a list', '{"name":["x"]}', 'GW_REQUEST_MALFORMED'],
  ['a name that is null', '{"name":null}', 'GW_REQUEST_MALFORMED'],
  ['an object without a name', '{"value":""}', 'GW_REQUEST_NO_NAME'],
  ['a name that only the prototype has', '{"__proto__":{"name":"version"}}', 'GW_REQUEST_NO_NAME'],
  ['brackets nested to the limit', '['.repeat(4000), 'GW_REQUEST_MALFORMED'],
];
for (const [what, body, code] of REFUSED) {
  test(`${what} is refused with ${code}, without quoting the request`, () => {
    assert.throws(
      () => codec.decode(Buffer.from(body)),
      (error) => refused(code)(error) && !/abc|1,2/.test((error as Error).message),
    );
  });
}

test('of a repeated key the last wins, other keys are ignored, an absent value is empty text', () => {
  assert.deepEqual(codec.decode(Buffer.from('{"name":"version","id":7,"name":"features"}')), {
    name: 'features',
    value: '',
  });
});

test('random bytes never make the codec throw anything but an error of the table', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 4096 }), (body) => {
      try {
        codec.decode(body);
      } catch (error) {
        assert.ok(error instanceof AgentError && error.code in AGENT_ERRORS);
      }
    }),
    { numRuns: 2000 },
  );
});

test('a request whose value lies too deep in itself is refused for that', () => {
  const deep = (levels: number): string => `{"name":"version","value":${'['.repeat(levels)}${']'.repeat(levels)}}`;
  assert.equal(codec.decode(deep(63)).name, 'version');
  for (const levels of [64, 20_000]) {
    const why = { code: 'GW_REQUEST_MALFORMED', message: /expected JSON of at most 64 levels, got more$/ };
    assert.throws(() => codec.decode(deep(levels)), why);
    // Raw line feeds of dom0's tools do not hide it.
    assert.throws(() => codec.decode(deep(levels).replace('version', 'ver\nsion')), why);
  }
});
