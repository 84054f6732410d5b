import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Manifest } from '../../ts/commands/update-request.js';
import { highestOf } from '../../ts/commands/comparable-versions.js';
import { type Situation, refusal } from '../../ts/commands/update-rules.js';

/** In the order of https://semver.org/#spec-item-11, whose example is its middle. */
const ASCENDING = [
  '0.0.9',
  '0.0.10',
  '0.9.0',
  '0.10.0',
  '1.0.0-0',
  '1.0.0-9',
  '1.0.0-10',
  '1.0.0-alpha',
  '1.0.0-alpha.1',
  '1.0.0-alpha.beta',
  '1.0.0-beta',
  '1.0.0-beta.2',
  '1.0.0-beta.11',
  '1.0.0-rc.1',
  '1.0.0',
  '1.0.1-rc.1',
  '2.0.0',
  '10.0.0',
];
const DAY = 24 * 3600 * 1000;
const NOW = Date.UTC(2026, 10, 27);

const manifest = (version: string, expires = NOW + DAY): Manifest => ({
  version,
  sha256: '',
  size: 1,
  scope: { product: 'guestwire', architecture: 'linux-x64', expires },
});
const situation = (changed: Partial<Situation>): Situation => ({
  clock: NOW,
  builtAt: 0,
  record: { highest: null, scopedOnly: false },
  highest: '1.0.0',
  allowDowngrade: [],
  ...changed,
});

test('of two versions the one is a downgrade that semver.org says is lower, and no other', () => {
  for (const [place, highest] of ASCENDING.entries()) {
    for (const [other, version] of ASCENDING.entries()) {
      const why = refusal(manifest(version), situation({ highest }));
      assert.equal(why !== null, other < place, `${version} after ${highest}`);
      if (why !== null) assert.ok(why.startsWith(`version ${version} is older than ${highest}, `), why);
    }
    assert.equal(highestOf([...ASCENDING.slice(0, place + 1)].reverse()), highest);
  }
});

test('a build is as high as another of the same version', () => {
  assert.equal(refusal(manifest('1.0.0+2'), situation({ highest: '1.0.0+10' })), null);
  assert.equal(refusal(manifest('1.0.0'), situation({ highest: '1.0.0+10' })), null);
});

test('what is no version by the rules is never taken, and is never the highest', () => {
  for (const version of ['1', '1.2', 'v1.2.3', '=1.2.3', '1.2.3.4', '01.2.3', '1.2.3-01', '1.2.3_4', 'next']) {
    const why = refusal(manifest(version), situation({ highest: null }));
    assert.equal(why, `version ${version} cannot be compared with another, wanted one such as 1.2.3`);
    assert.equal(highestOf([version, '0.0.1', null]), '0.0.1');
  }
  assert.equal(highestOf(['next', null]), null);
});

test('update.allow-downgrade lists versions by name, or by their beginning', () => {
  const taken = (version: string, ...allowDowngrade: readonly string[]): boolean =>
    refusal(manifest(version), situation({ allowDowngrade })) === null;
  assert.ok(taken('0.9.4', '0.8.0', '0.9.4'));
  assert.ok(!taken('0.9.40', '0.9.4'));
  assert.ok(!taken('0.9.4-rc.1', '0.9.4'));
  assert.ok(taken('0.9.4', '0.9.*'));
  assert.ok(taken('0.9.4-rc.1', '0.9.*'));
  assert.ok(!taken('0.91.0', '0.9.*'));
  assert.ok(!taken('0.8.9', '0.9.*'));
  assert.ok(taken('0.0.1', '*'));
});

test('a manifest has expired at its time, by the clock or by the date of the build, whichever is later', () => {
  const expired = (clock: number, builtAt: number): string | null =>
    refusal(manifest('1.0.0', NOW), situation({ clock, builtAt }));
  assert.equal(expired(NOW - 1, 0), null);
  assert.equal(expired(NOW - 1, NOW - 1), null);
  assert.equal(expired(NOW, 0), 'the manifest expired at 2026-11-27T00:00:00Z, and it is 2026-11-27T00:00:00Z');
  assert.equal(
    expired(0, NOW + DAY),
    'the manifest expired at 2026-11-27T00:00:00Z, before this agent was built at 2026-11-28T00:00:00Z; the clock says 1970-01-01T00:00:00Z',
  );
});

test('an older version that is allowed has to be in time all the same', () => {
  const why = refusal(manifest('0.9.0', NOW), situation({ allowDowngrade: ['*'] }));
  assert.match(why ?? '', /^the manifest expired/);
});
