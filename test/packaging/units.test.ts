/** packaging/systemd as the systemd of each release reads it, in its own root. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { suite, test } from 'node:test';
import { debianRoot, run, suites } from '../support/debian-root.js';
import { documentedDropIns } from '../support/documented-drop-ins.js';

const UNITS = resolve('packaging/systemd');
/** Of 10; what the comment in the unit says, too. */
const EXPOSURE = '3.5';

/** Runs a script in the root of a release, with the units at /tmp/units and an agent that can be started. */
function inRoot(release: string, script: string): string {
  const mounts = [
    'mount --bind "$1" "$1"',
    'cd "$1"',
    'mount -t tmpfs tmpfs tmp',
    'mkdir tmp/units tmp/upper tmp/work',
    'cp "$2"/* tmp/units',
    // Its own directory stays as it is.
    'mount -t overlay -o lowerdir=usr/bin,upperdir=tmp/upper,workdir=tmp/work overlay usr/bin',
    'touch usr/bin/guestwire && chmod 755 usr/bin/guestwire',
    'mount -t proc proc proc',
    'exec chroot . sh -c "$3"',
  ].join('\n');
  return run('unshare', ['-m', '-p', '-f', 'sh', '-ec', mounts, 'sh', debianRoot(release), UNITS, script]);
}

suite('the units', () => {
  for (const release of suites()) {
    test(`have an exposure of ${EXPOSURE}, and no more, for systemd-analyze of ${release}`, () => {
      const analyzed = inRoot(
        release,
        'systemd-analyze security --no-pager --offline=true /tmp/units/guestwire.service',
      );
      assert.match(
        analyzed,
        new RegExp(`Overall exposure level for guestwire.service: ${EXPOSURE.replace('.', '\\.')} `),
      );
    });

    test(`are without a fault for systemd-analyze of ${release}`, () => {
      assert.equal(
        inRoot(release, 'cd /tmp/units && systemd-analyze verify --man=no guestwire.service *.socket 2>&1'),
        '',
      );
    });
  }

  for (const release of suites()) {
    test(`can be changed by the documented drop-ins, for systemd-analyze of ${release}`, () => {
      const dropIns = documentedDropIns();
      assert.equal(dropIns.length, 2);
      for (const dropIn of dropIns) {
        const directory = '/tmp/units/guestwire.service.d';
        const script = `mkdir ${directory} && printf %s '${dropIn}' > ${directory}/x.conf && cd /tmp/units`;
        assert.equal(inRoot(release, `${script} && systemd-analyze verify --man=no guestwire.service 2>&1`), '');
      }
    });
  }

  test('say in a comment why, of everything that is left to the service and that systemd-analyze marks', () => {
    const unit = readFileSync(`${UNITS}/guestwire.service`, 'utf8');
    const lines = unit.split('\n');
    const comment = lines.filter((line) => line.startsWith('#')).join('\n');
    assert.ok(comment.includes(`gives ${EXPOSURE}.`));
    const values = (directive: string): readonly string[] =>
      lines.filter((line) => line.startsWith(`${directive}=`)).flatMap((line) => line.split('=')[1]!.split(' '));
    const lists = ['CapabilityBoundingSet', 'RestrictAddressFamilies'];
    const args = ['security', '--json=short', '--offline=true', `${UNITS}/guestwire.service`];
    const rows = JSON.parse(run('systemd-analyze', args)) as readonly {
      readonly set: boolean | null;
      readonly name: string;
    }[];
    const marked = rows.filter(({ set }) => set === false).map(({ name }) => name.split('=')[0]!);
    assert.ok(marked.includes('User') && marked.includes('ProcSubset'), marked.join(' '));
    const left = [...new Set(marked)].flatMap((name) => (lists.includes(name) ? values(name) : [name]));
    assert.deepEqual(
      left.filter((name) => !new RegExp(`\\b${name}\\b`).test(comment)),
      [],
    );
  });
});
