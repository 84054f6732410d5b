import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { blockOf, withBlock } from '../../../ts/network/formats/block.js';

const BEGIN = '# BEGIN guestwire: written by the guest agent, changes inside are lost\n';
const END = '# END guestwire\n';
const line = fc.stringMatching(/^[\w #="]*$/);
const lines = fc
  .array(line.filter((text) => !text.startsWith('# ')))
  .map((list) => list.map((text) => `${text}\n`).join(''));
const content = lines.filter((text) => text !== '');

suite('the marked block of a shared file', () => {
  test('stands at the end, after a blank line', () => {
    assert.equal(withBlock('a\n', 'b\n'), `a\n\n${BEGIN}b\n${END}`);
    assert.equal(withBlock('a', 'b\n'), `a\n\n${BEGIN}b\n${END}`);
    assert.equal(withBlock('a\n\n', 'b\n'), `a\n\n${BEGIN}b\n${END}`);
    assert.equal(withBlock('', 'b\n'), `${BEGIN}b\n${END}`);
  });

  test('stands where it is told to, between blank lines', () => {
    assert.equal(withBlock('#!\na\n', 'b\n', 3), `#!\n\n${BEGIN}b\n${END}\na\n`);
    assert.equal(withBlock('#!\n\na\n', 'b\n', 3), `#!\n\n${BEGIN}b\n${END}\na\n`);
  });

  test('stays where it is, whatever others wrote below', () => {
    const text = `a\n\n${BEGIN}b\n${END}c\n`;
    assert.equal(withBlock(text, 'd\n', 0), `a\n\n${BEGIN}d\n${END}c\n`);
    assert.equal(blockOf(text), 'b\n');
    assert.equal(withBlock(text, ''), 'a\nc\n');
  });

  test('without an end it is no block', () => {
    assert.equal(blockOf(`${BEGIN}b\n`), '');
    assert.equal(withBlock(`${BEGIN}b\n`, ''), `${BEGIN}b\n`);
  });

  test('comes, changes and goes again with nothing else changed', () => {
    fc.assert(
      fc.property(lines, content, content, (text, first, second) => {
        const once = withBlock(text, first);
        assert.equal(blockOf(once), first);
        assert.equal(withBlock(once, first), once);
        assert.equal(withBlock(once, second), withBlock(text, second));
        assert.equal(withBlock(once, '').trimEnd(), text.trimEnd());
      }),
    );
  });
});
