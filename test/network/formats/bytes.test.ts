import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { decode, encode } from '../../../ts/network/formats/bytes.js';

suite('texts that are not all UTF-8', () => {
  test('any bytes come back as they were', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        assert.deepEqual(Buffer.from(encode(decode(Buffer.from(bytes)))), Buffer.from(bytes));
      }),
    );
    for (const hex of ['42fc726f', 'c3bc', 'f09f9880', 'edb280', 'e282', 'c0af', 'ff0a41', 'f09f98']) {
      const bytes = Buffer.from(hex, 'hex');
      assert.deepEqual(Buffer.from(encode(decode(bytes))), bytes, hex);
    }
  });

  test('what is UTF-8 is the text itself, and edits beside other bytes leave these alone', () => {
    assert.equal(decode(Buffer.from('Büro 😀\n')), 'Büro 😀\n');
    assert.equal(encode('Büro 😀\n'), 'Büro 😀\n');
    const text = decode(Buffer.from('up ip link set eth1 alias B\xfcro\nauto eth0\n', 'latin1'));
    assert.deepEqual(
      Buffer.from(encode(text.replace('auto eth0\n', '😀'))).toString('latin1'),
      `up ip link set eth1 alias B\xfcro\n${Buffer.from('😀').toString('latin1')}`,
    );
  });
});
