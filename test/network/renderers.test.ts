/**
 * Every renderer's golden cases (cases.ts), re-read by a reader of its own (readers/). With UPDATE_CASES=1 the outcomes
 * are written instead of compared: read them before you commit them.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { suite, test } from 'node:test';
import { CASES, type Case, carriedOut, casesOf, planOf, readTree } from './cases.js';
import { described } from './describe.js';
import { inputNames } from './inputs.js';
import { READERS } from './readers/index.js';

const UPDATE = process.env['UPDATE_CASES'] === '1' && process.env['CI'] !== 'true';

function check({ renderer, facts, at }: Case): void {
  const plan = planOf(facts);
  const after = carriedOut(facts).files;
  const actions = { before: plan.before, after: plan.after, restore: plan.restore };
  if (UPDATE) {
    rmSync(at('after'), { recursive: true, force: true });
    for (const [path, text] of after) {
      mkdirSync(dirname(join(at('after'), path)), { recursive: true });
      writeFileSync(join(at('after'), path), text);
    }
    writeFileSync(at('actions.json'), `${JSON.stringify(actions, null, 2)}\n`);
  }
  assert.equal(plan.renderer, renderer);
  assert.deepEqual(Object.fromEntries(after), Object.fromEntries(readTree(at('after'))));
  assert.deepEqual(actions, JSON.parse(readFileSync(at('actions.json'), 'utf8')));
}

for (const renderer of readdirSync(CASES)) {
  const cases = casesOf(renderer);
  suite(`${renderer}: golden cases`, () => {
    for (const one of cases) {
      test(one.name, () => {
        check(one);
      });

      test(`${one.name}: a second run changes no file`, () => {
        assert.deepEqual(planOf(carriedOut(one.facts)).files, []);
      });

      const { input } = one;
      const reader = READERS[renderer];
      if (input === null || reader === undefined) continue;
      test(`${one.name}: read back, it is what was wanted`, () => {
        const found = reader.read(carriedOut(one.facts).files);
        for (const [name, wanted] of Object.entries(input.wanted)) {
          const config = found.get(name) ?? { addresses: [], routes: [] };
          // Inputs say what the kernel is to show, and it knows no servers of names.
          assert.deepEqual(described({ ...config, dns: [] }), described(reader.limited(wanted)));
        }
      });
    }

    test('every input has a case', () => {
      assert.deepEqual(
        inputNames().filter((input) => !cases.some(({ name }) => name === input)),
        [],
      );
    });
  });
}
