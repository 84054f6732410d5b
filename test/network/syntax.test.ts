/** Files that a shell sources: the shell itself checks what the golden cases end in. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { suite, test } from 'node:test';
import { CASES, casesOf, readTree } from './cases.js';

/** By renderer: the shell that reads the files, and which files. */
const SOURCED: Readonly<Record<string, readonly [shell: 'sh' | 'bash', files: RegExp]>> = {
  ifcfg: ['bash', /^\/etc\/sysconfig\/network(-scripts\/ifcfg-.*)?$/],
  netctl: ['bash', /^\/etc\/netctl\/[^/]+$/],
  netifrc: ['sh', /^\/etc\/conf\.d\/[^/]+$/],
  rcconf: ['sh', /^\/etc\/rc\.conf/],
  slackware: ['bash', /^\/etc\/rc\.d\//],
  wicked: ['sh', /^\/etc\/sysconfig\/network\/(ifcfg-.*|config)$/],
};

for (const renderer of readdirSync(CASES)) {
  const sourced = SOURCED[renderer];
  if (sourced === undefined) continue;
  const [shell, files] = sourced;
  suite(`${renderer}: files are good ${shell}`, () => {
    for (const { name, at } of casesOf(renderer)) {
      test(name, () => {
        const found = [...readTree(at('after'))].filter(([path]) => files.test(path));
        assert.notEqual(found.length, 0);
        for (const [path, text] of found) {
          const { status, stderr } = spawnSync(shell, ['-n'], { input: text, encoding: 'utf8' });
          assert.equal(status, 0, `${path}: ${stderr}`);
        }
      });
    }
  });
}
