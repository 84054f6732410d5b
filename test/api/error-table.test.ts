import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { ADDON_ENTRIES } from './error-table/addon-errors.js';
import { AGENT_ENTRIES } from './error-table/agent-errors.js';
import { Guest } from './error-table/guest.js';

const DOCS = readFileSync('docs/errors.md', 'utf8');
const [AGENT_PART = '', ADDON_PART = ''] = DOCS.split('## Codes of the addon');
const [ADDON_TABLE = ''] = ADDON_PART.split('\n## ');

const agentRows = [...AGENT_PART.matchAll(/^\| `(GW_\w+)` \| (\d+) \| `(.*)` \|/gm)].map(
  ([, code = '', returncode = '', template = '']) => ({ code, returncode, template }),
);
const addonCodes = [...ADDON_TABLE.matchAll(/^\| (`.*?`) \|/gm)].flatMap(([, codes = '']) =>
  [...codes.matchAll(/`(\w+)`/g)].map(([, code = '']) => code),
);

/** The documented message with what an entry says in the places of `%s`. */
function filled(template: string, says: readonly (string | RegExp)[]): RegExp {
  const parts = template.split('%s').map(literal);
  assert.equal(says.length, parts.length - 1, `the message has ${parts.length - 1} places`);
  const sources = says.map((text) => (typeof text === 'string' ? literal(text) : text.source));
  return new RegExp(`^${parts.map((part, index) => part + (sources[index] ?? '')).join('')}$`);
}

function literal(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);
}

test('every code of docs/errors.md is provoked below, and no other', () => {
  assert.deepEqual(
    Object.keys(AGENT_ENTRIES),
    agentRows.map(({ code }) => code),
    'in the order of the docs',
  );
  assert.deepEqual(Object.keys(ADDON_ENTRIES), addonCodes, 'in the order of the docs');
});

suite('errors of the agent, as the host is told them', { concurrency: 2 }, () => {
  for (const { code, returncode, template } of agentRows) {
    test(code, async () => {
      const entry = AGENT_ENTRIES[code];
      assert.ok(entry, `nothing provokes ${code}: add an entry to test/api/error-table/agent-errors.ts`);
      await using guest = await Guest.prepare(entry);
      const told = await entry.provoke(guest);
      assert.deepEqual([told.code, told.returncode], [code, returncode], told.message);
      assert.match(told.message, filled(template, entry.says));
    });
  }
});

suite('errors of the addon, as JavaScript catches them', () => {
  for (const code of addonCodes) {
    test(code, async () => {
      const entry = ADDON_ENTRIES[code];
      assert.ok(entry, `nothing provokes ${code}: add an entry to test/api/error-table/addon-errors.ts`);
      // What throws at once rejects, too.
      const outcome = new Promise((resolve) => {
        resolve(entry.provoke());
      });
      await assert.rejects(outcome, { code, message: entry.says });
    });
  }
});
