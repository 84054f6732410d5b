import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, test } from 'node:test';
import { fnmatch, matchesPath } from '../../../ts/network/formats/glob.js';

const NAMES = [
  'eth0',
  'eth1',
  'eth10',
  'enX0',
  'ens3',
  'en-p1',
  'a*b',
  'a[b',
  'a]b',
  'a^b',
  'a!b',
  'a.b',
  'a+b',
  'Eth0',
];
const PATTERNS = [
  ...['*', 'eth0', 'eth*', 'eth?', 'e*0', 'eth[01]', 'eth[!0]', 'eth[^0]', 'eth[0-9]', 'eth[0-9]*', 'a\\*b', 'a[*]b'],
  ...['a[]]b', 'a[!]]b', 'a[[]b', 'a[]^]b', 'a.b', 'a+b', 'a(b|c)', 'e[[:alpha:]]*', 'eth[[:digit:]]', 'a[[:punct:]]b'],
  ...['[!e]*', '*[0-9]', '[a-e]*', 'eth{0,1}', 'en[X-]*', 'en[!-]*', '\\eth0'],
];

const directory = mkdtempSync(join(tmpdir(), 'guestwire-glob-'));
after(() => {
  rmSync(directory, { recursive: true });
});
for (const name of NAMES) writeFileSync(join(directory, name), '');

// find(1) asks fnmatch(3).
for (const pattern of PATTERNS) {
  test(`${pattern} is met by what fnmatch(3) says`, () => {
    const env = { ...process.env, LC_ALL: 'C' };
    const found = execFileSync('find', [directory, '-mindepth', '1', '-name', pattern], { encoding: 'utf8', env });
    const wanted = found.split('\n').filter((line) => line !== '');
    assert.deepEqual(
      NAMES.filter((name) => fnmatch(pattern, name)),
      NAMES.filter((name) => wanted.some((path) => basename(path) === name)),
    );
  });
}

test('in a path a star stays within one part, and a dot at its start is met only by a dot', () => {
  assert.equal(matchesPath('/etc/network/*.d/*', '/etc/network/interfaces.d/eth0'), true);
  assert.equal(matchesPath('/etc/network/*', '/etc/network/interfaces.d/eth0'), false);
  assert.equal(matchesPath('/etc/network/*', '/etc/network/.hidden'), false);
  assert.equal(matchesPath('/etc/network/.*', '/etc/network/.hidden'), true);
});
