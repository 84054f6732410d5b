/** Files that a shell sources, re-read from what the shell makes of them: the readers get the same of both. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { suite, test } from 'node:test';
import { readShellFile } from '../../ts/network/formats/shell-file.js';
import { casesOf, readTree } from './cases.js';
import { READERS } from './readers/index.js';

/** By renderer: the shell, and its files in the order in which they are sourced. */
const SOURCED: Readonly<Record<string, readonly [shell: 'sh' | 'bash', paths: readonly string[]]>> = {
  rcconf: ['sh', ['', '.local', '.d/network', '.d/netif', '.d/routing'].map((end) => `/etc/rc.conf${end}`)],
  slackware: ['bash', ['/etc/rc.d/rc.inet1.conf']],
};

/** The values that the shell has in the end. It finds no program to run. */
function valuesIn(shell: 'sh' | 'bash', texts: readonly string[]): ReadonlyMap<string, string> {
  const keys = [
    ...new Set(texts.flatMap((text) => [...text.matchAll(/(\w+(?:\[\d+\])?)=/g)].map(([, key = '']) => key))),
  ];
  const print = keys.map((key) => `[ -z "\${${key}+set}" ] || printf '%s\\0%s\\0' '${key}' "\${${key}}"`);
  const input = ['PATH=/nonexistent', ...texts, ...print, ''].join('\n');
  const { status, stdout, stderr } = spawnSync(shell, { input, encoding: 'utf8' });
  assert.equal(stderr, '');
  assert.equal(status, 0);
  const words = stdout.split('\0').slice(0, -1);
  return new Map(words.flatMap((word, index) => (index % 2 === 0 ? [[word, words[index + 1] ?? '']] : [])));
}

for (const [renderer, [shell, paths]] of Object.entries(SOURCED)) {
  suite(`${renderer}: files as the shell reads them`, () => {
    for (const { name, at } of casesOf(renderer)) {
      test(name, () => {
        const files = readTree(at('after'));
        const texts = paths.map((path) => files.get(path) ?? '');
        const values = valuesIn(shell, texts);
        const assigned = readShellFile(texts.join('\n'));
        for (const [key, value] of assigned) if (!value.includes('$')) assert.equal(value, values.get(key), key);
        assert.deepEqual([...values.keys()].sort(), [...assigned.keys()].sort());
        const plain = [...values].filter(([, value]) => !/["'\n]/.test(value));
        const rest = [...files].filter(([path]) => !paths.includes(path));
        const again = new Map([...rest, [paths[0]!, plain.map(([key, value]) => `${key}="${value}"\n`).join('')]]);
        const reader = READERS[renderer]!;
        assert.deepEqual(Object.fromEntries(reader.read(files)), Object.fromEntries(reader.read(again)));
      });
    }
  });
}
