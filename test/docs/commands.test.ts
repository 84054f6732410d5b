import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { AGENT_ERRORS } from '../../ts/api/errors.js';
import { Guest } from '../api/error-table/guest.js';
import { runCli } from '../support/run-cli.js';
import { createScratch } from '../support/scratch.js';

const PAGES = 'docs/commands';
const TABLE = join(PAGES, 'README.md');
/** What every page has, whatever else it has. */
const SECTIONS = ['Request', 'Answer', 'Errors', 'What it changes', 'Settings', 'Undoing it'];

const read = (path: string): string => readFileSync(path, 'utf8');
const pages = readdirSync(PAGES).filter((name) => name.endsWith('.md') && name !== 'README.md');
const documents = [
  ...readdirSync('.').filter((name) => name.endsWith('.md')),
  ...readdirSync('docs', { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];

/** The headings of a document, `depth` signs before each. */
function headings(text: string, depth: string): readonly string[] {
  return [...withoutCode(text).matchAll(new RegExp(`^${depth} (.*)$`, 'gm'))].map(([, heading = '']) => heading);
}

function withoutCode(text: string): string {
  return text.replaceAll(/^```[\s\S]*?^```$/gm, '');
}

/** As the places where these pages are shown make one of a heading. */
function anchor(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
}

let printed: Promise<ReadonlyMap<string, string>> | null = null;

/** Every key with its default, as `guestwire config` prints them. */
async function printDefaults(): Promise<ReadonlyMap<string, string>> {
  await using scratch = await createScratch();
  const { stdout } = await runCli(['config', '--root', scratch.root]);
  const defaults = new Map<string, string>();
  let section = '';
  for (const line of stdout.split('\n')) {
    section = /^\[(\w+)\]$/.exec(line)?.[1] ?? section;
    const [, key, value] = /^([\w-]+) = (.*?) +# default$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined) defaults.set(`${section}.${key}`, value);
    const [, absent] = /^# ([\w-]+) is not set +# default$/.exec(line) ?? [];
    if (absent !== undefined) defaults.set(`${section}.${absent}`, 'not set');
  }
  return defaults;
}

test('every command that features tells has its page, and every further form a line', async () => {
  await using guest = await Guest.prepare({});
  await guest.start();
  const told = (await guest.succeeds('features', '')).split(',');
  const [commands = '', forms = ''] = read(TABLE).split('## Forms');
  const linked = new Map(
    [...commands.matchAll(/\[(\w+)\]\((\w+\.md)\)/g)].map(([, command = '', page = '']) => [command, page]),
  );
  const named = [...forms.matchAll(/^\| `(\w+)` \|/gm)].map(([, form = '']) => form);
  assert.deepEqual([...linked.keys(), ...named].sort(), told.toSorted());
  for (const [command, page] of linked) {
    const [title = ''] = headings(read(join(PAGES, page)), '#');
    assert.ok(title.split(', ').includes(command), `${page} is titled ${title}, not ${command}`);
  }
  assert.deepEqual([...new Set(linked.values())].sort(), pages.toSorted());
});

for (const page of pages) {
  test(`${page} has the sections of every page`, () => {
    const own = headings(read(join(PAGES, page)), '##');
    assert.deepEqual(SECTIONS.filter((section) => !own.includes(section)), []);
    assert.deepEqual([own[0], own.at(-1)], [SECTIONS[0], SECTIONS.at(-1)], 'begins and ends as the others');
  });

  test(`${page} names only keys of the configuration that there are, with their defaults`, async () => {
    const defaults = await (printed ??= printDefaults());
    const [, settings = ''] = read(join(PAGES, page)).split('\n## Settings\n');
    for (const [, key = '', value] of settings.matchAll(/^\| `(\w+\.[\w-]+)` \| `?([^`|]*?)`? \|/gm)) {
      assert.equal(value, defaults.get(key), key);
    }
  });
}

for (const document of documents) {
  test(`${document} names only errors that there are`, () => {
    for (const [code] of read(document).matchAll(/\bGW_[A-Z]+(?:_[A-Z]+)*\b/g)) {
      assert.ok(Object.hasOwn(AGENT_ERRORS, code), `there is no ${code}`);
    }
  });

  test(`the links of ${document} lead to files and headings that are there`, () => {
    for (const [, target = ''] of withoutCode(read(document)).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path = '', fragment] = target.split('#');
      const file = path === '' ? document : normalize(join(dirname(document), path));
      assert.ok(existsSync(file), `${target}: there is no ${file}`);
      if (fragment === undefined) continue;
      const anchors = headings(read(file), '#+').map(anchor);
      assert.ok(anchors.includes(fragment), `${target}: ${file} has no such heading`);
    }
  });
}
