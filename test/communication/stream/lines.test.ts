import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { LineSplitter } from '../../../ts/communication/stream/lines.js';

/** What comes out when `text`, as latin1, goes in by pieces that end at `cuts`. */
function split(text: string, limit = 100, cuts: readonly number[] = []): readonly string[] {
  const splitter = new LineSplitter(limit);
  const bytes = Buffer.from(text, 'latin1');
  const ends = [...new Set([...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b);
  return ends.flatMap((end, index) => {
    const piece = bytes.subarray(ends[index - 1] ?? 0, end);
    return [...splitter.push(piece)].map((line) => line.toString('latin1'));
  });
}

const CASES: readonly (readonly [what: string, text: string, lines: readonly string[]])[] = [
  ['lines come one by one', 'a\nb\n', ['a', 'b']],
  ['a line without an end is none', 'a\nb', ['a']],
  ['blank lines are left out', '\n \t\r\na\n\n', ['a']],
  ['what stands before the sentinel is forgotten', 'half\xffa\n', ['a']],
  ['a sentinel forgets no line that has ended', 'a\nhalf\xff\xffb\n\xffc\n', ['a', 'b', 'c']],
  ['a sentinel alone is no line', '\xff\n', []],
];

for (const [what, text, lines] of CASES) {
  test(`${what}, however the bytes come`, () => {
    assert.deepEqual(split(text), lines);
    for (let cut = 0; cut < text.length; cut += 1) assert.deepEqual(split(text, 100, [cut]), lines);
    assert.deepEqual(
      split(
        text,
        100,
        Array.from(text, (_, index) => index),
      ),
      lines,
    );
  });
}

test('of a line that is too long one byte more than the limit is kept, and the next line is whole', () => {
  assert.deepEqual(split(`${'x'.repeat(5000)}\nnext\n`, 10), ['x'.repeat(11), 'next']);
  assert.deepEqual(split(`${' '.repeat(5000)}\nnext\n`, 10), [' '.repeat(11), 'next']);
  assert.deepEqual(split(`${'x'.repeat(10)}\n`, 10), ['x'.repeat(10)]);
});

test('half a line that is given up brings an empty one at its end, and the next is whole', () => {
  const splitter = new LineSplitter(100);
  const push = (text: string): readonly string[] =>
    [...splitter.push(Buffer.from(text, 'latin1'))].map((line) => line.toString('latin1'));
  assert.deepEqual(push('{"name":'), []);
  assert.ok(splitter.isWaiting);
  splitter.giveUp();
  assert.ok(!splitter.isWaiting);
  assert.deepEqual(push('{"name":"version"}'), []);
  splitter.giveUp();
  assert.deepEqual(push('\nnext\n'), ['', 'next']);
  assert.deepEqual(push('half'), []);
  splitter.giveUp();
  assert.deepEqual(push('more\xffnew\n'), ['new']);
  splitter.giveUp();
  assert.deepEqual(push('last\n'), ['last']);
});

test('a line that comes byte by byte costs what it holds', () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const held = (): number => {
    collect();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const length = 300_000;
  const splitter = new LineSplitter(4 * 1024 * 1024);
  const before = held();
  for (let sent = 0; sent < length; sent += 1) assert.deepEqual([...splitter.push(Buffer.from('x'))], []);
  const grown = held() - before;
  console.log(`${length} bytes one by one: ${(grown / 1e6).toFixed(2)} MB held`);
  // What the engine itself keeps of such a loop is more than the line.
  assert.ok(grown < 4_000_000, `${grown} bytes`);
  assert.equal([...splitter.push(Buffer.from('\n'))][0]?.length, length);
});

test('where the bytes are cut makes no difference', () => {
  const text = fc.array(fc.constantFrom('a', 'b', ' ', '\n', '\xff', 'long enough to be cut'), { maxLength: 60 });
  fc.assert(
    fc.property(text, fc.array(fc.nat()), (pieces, cuts) => {
      assert.deepEqual(split(pieces.join(''), 12, cuts), split(pieces.join(''), 12));
    }),
  );
});
