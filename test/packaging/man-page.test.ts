/** packaging/guestwire.8.scd as a reader sees it: made by the real scdoc, shown by the real man. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, suite, test } from 'node:test';
import { SUBCOMMANDS } from '../../ts/cli/index.js';
import { DEFAULTS } from '../../ts/daemon/config.js';
import { createScratch } from '../support/scratch.js';

/** What `program` printed; throws when it fails or complains. */
function output(program: string, args: readonly string[], input = ''): string {
  // Wide enough for the longest line of the synopsis.
  const env = { PATH: process.env['PATH'], LC_ALL: 'C.UTF-8', MANWIDTH: '180', MANOPT: '--nh --nj' };
  const { status, stdout, stderr } = spawnSync(program, args, { input, env, encoding: 'utf8' });
  assert.equal(stderr, '', program);
  assert.equal(status, 0, program);
  return stdout;
}

/** A section's lines, without the indentation. */
function section(page: string, heading: string): readonly string[] {
  const [, text = ''] = page.split(new RegExp(`^${heading}$`, 'm'));
  const [own = ''] = text.split(/^(?=\S)/m);
  return own.split('\n').map((line) => line.trim());
}

suite('the manual page', () => {
  let page = '';

  before(async () => {
    await using scratch = await createScratch();
    const file = join(scratch.directory, 'guestwire.8');
    writeFileSync(file, output('scdoc', [], readFileSync('packaging/guestwire.8.scd', 'utf8')));
    page = output('man', ['--warnings=w', '-l', file]);
  });

  test('begins and ends as one of section 8', () => {
    assert.match(page, /^guestwire\(8\) .* guestwire\(8\)\n/);
    assert.match(page, /\n\s*\d{4}-\d\d-\d\d\s+guestwire\(8\)\n*$/);
    assert.equal(section(page, 'NAME')[1], 'guestwire - guest agent for XenServer, XCP-ng and KVM');
  });

  test('shows no markup', () => {
    assert.doesNotMatch(page, /\\|\+\+$|(^|\s)[*_]\w/m);
  });

  test('has a paragraph of its own for each entry: scdoc joins one to the text right above it', () => {
    const lines = readFileSync('packaging/guestwire.8.scd', 'utf8').split('\n');
    const entries = lines.flatMap((line, index) =>
      /^[*_]/.test(line) && lines[index + 1]?.startsWith('\t') === true ? [{ line, above: lines[index - 1] }] : [],
    );
    assert.notEqual(entries.length, 0);
    assert.deepEqual(
      entries.filter(({ above }) => above !== ''),
      [],
    );
  });

  for (const name of Object.keys(SUBCOMMANDS)) {
    test(`shows how to call ${name}, as --help does, and all its options`, async () => {
      const { synopsis, options } = await SUBCOMMANDS[name]!.load();
      const lines = section(page, 'SYNOPSIS');
      const shown = lines.filter((line) => line.split(' ')[1] === name);
      assert.deepEqual(
        shown,
        synopsis.map((line) => `guestwire ${line}`),
      );
      const heading = new RegExp(String.raw`^OPTIONS OF .*\b${name.toUpperCase()}\b.*$`, 'm').exec(page)?.[0];
      const explained = heading === undefined ? [] : section(page, heading);
      for (const [option, { type, ...rest }] of Object.entries(options)) {
        const line = type === 'string' && 'argument' in rest ? `--${option} ${rest.argument}` : `--${option}`;
        assert.ok(explained.includes(line), `${line} is missing below ${heading ?? 'any heading'}`);
      }
    });
  }

  test('names every key of the configuration, once, and no other', () => {
    const keys = Object.entries(DEFAULTS).flatMap(([name, values]) =>
      Object.keys(values as object).map((key) => `${name}.${key}`),
    );
    const shown = section(page, 'CONFIGURATION').flatMap(
      (line) => /^([a-z]+\.[a-z-]+) (?:=|is not set)/.exec(line)?.slice(1) ?? [],
    );
    assert.deepEqual(shown.toSorted(), keys.toSorted());
  });

  test('has the exit statuses of docs/errors.md', () => {
    const [, table = ''] = readFileSync('docs/errors.md', 'utf8').split('## Exit statuses');
    const documented = [...table.matchAll(/^\| (\d+) \|/gm)].map(([, status]) => status);
    const shown = [
      ...section(page, 'EXIT STATUS')
        .join(' ')
        .matchAll(/\b(\d+) [a-z]/g),
    ].map(([, status]) => status);
    assert.deepEqual(shown, documented);
  });
});
