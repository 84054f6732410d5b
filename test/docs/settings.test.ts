/** UPDATE_PAGES=1, as `npm run pages` has it, writes the pages instead of holding them against the table. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { PAGES, renewed } from './settings-pages.js';

for (const page of PAGES) {
  test(`${page.path} has every setting as ts/daemon/settings.ts has it; npm run pages writes it anew`, () => {
    const text = readFileSync(page.path, 'utf8');
    const wanted = renewed(page, text);
    if (process.env['UPDATE_PAGES'] === '1') writeFileSync(page.path, wanted);
    else assert.equal(text, wanted);
  });
}
