/**
 * The same story, told by the stock xenstore tools to the embedded store and to Debian's C xenstored, must be answered
 * word for word alike. Where they differ, the real one is right.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { buildExample } from '../support/programs.js';
import { xenPrograms } from '../support/xenstored.js';
import { GUEST, HOME, startStores, type Place, type Stores } from './stores.js';

/** Who says it, and the command line after `xenstore-`. */
type Line = readonly [as: 'dom0' | 'guest', program: string, ...args: string[]];

const STORIES: Readonly<Record<string, readonly Line[]>> = {
  'values, empty values and missing nodes': [
    ['dom0', 'write', '/a/b', 'one', '/a/c', ''],
    ['dom0', 'read', '/a/b'],
    ['dom0', 'read', '/a/c'],
    ['dom0', 'read', '/a/none'],
    ['dom0', 'read', '/a'],
    ['dom0', 'list', '/a'],
    ['dom0', 'exists', '/a/b'],
    ['dom0', 'exists', '/a/none'],
    ['dom0', 'ls', '-f', '-p', '/a'],
  ],
  'bytes of every kind': [
    ['dom0', 'write', '/bytes', 'tab\\tnewline\\nquote"\\xff'],
    ['dom0', 'read', '/bytes'],
    ['dom0', 'read', '-R', '/bytes'],
  ],
  'removing a tree, what is gone, and what never was': [
    ['dom0', 'write', '/r/x/y', '1', '/r/xx', '2'],
    ['dom0', 'rm', '/r/x'],
    ['dom0', 'ls', '-f', '/r'],
    ['dom0', 'rm', '/r/x'],
    ['dom0', 'rm', '/nothing/here'],
    ['dom0', 'rm', '-t', '/r/xx'],
    ['dom0', 'ls', '-f', '/r'],
  ],
  'paths that are not legal': [
    ['dom0', 'read', '//'],
    ['dom0', 'read', '/a/'],
    ['dom0', 'write', '/a b', '1'],
    ['dom0', 'read', `/${'x'.repeat(3071)}`],
    ['dom0', 'read', `/${'x'.repeat(3072)}`],
  ],
  'relative paths of a guest': [
    ['guest', 'write', 'data/x', 'hello'],
    ['guest', 'read', 'data/x'],
    ['guest', 'read', `${HOME}/data/x`],
    ['dom0', 'read', `${HOME}/data/x`],
    ['dom0', 'ls', '-f', '-p', `${HOME}/data`],
    ['guest', 'list', ''],
  ],
  'what a guest may not do': [
    ['guest', 'write', '/tool/x', '1'],
    ['guest', 'read', '/local/domain/0/name'],
    ['guest', 'list', '/local/domain'],
    ['guest', 'write', 'name', 'me'],
    ['guest', 'rm', 'domid'],
    ['guest', 'read', 'none'],
    ['guest', 'rm', 'data/none'],
    ['guest', 'chmod', 'data', 'b0'],
  ],
  permissions: [
    ['dom0', 'write', `${HOME}/data/p`, '1', '/p', '1'],
    ['dom0', 'chmod', `${HOME}/data/p`, `n${GUEST}`, 'r0'],
    ['dom0', 'ls', '-f', '-p', `${HOME}/data`],
    ['guest', 'read', '/p'],
    ['dom0', 'chmod', '/p', 'r0'],
    ['guest', 'read', '/p'],
    ['guest', 'write', '/p', '2'],
    ['dom0', 'chmod', '/p', 'n0', `b${GUEST}`],
    ['guest', 'write', '/p', '2'],
    ['dom0', 'read', '/p'],
    ['guest', 'write', '/p/below', '3'],
    ['dom0', 'ls', '-f', '-p', '/p'],
  ],
  'how large a node of a guest may be': [
    ['guest', 'write', 'data/large', 'x'.repeat(1900)],
    ['guest', 'write', 'data/large', 'x'.repeat(2100)],
    ['dom0', 'write', '/large', 'x'.repeat(4000)],
    ['dom0', 'write', '/large', 'x'.repeat(4096)],
  ],
};

function tell({ dom0, guest }: Place, [as, program, ...args]: Line): string {
  const env = { ...process.env, XENSTORED_PATH: as === 'dom0' ? dom0 : guest };
  const { status, stdout, stderr } = spawnSync(`xenstore-${program}`, args, { env, encoding: 'utf8', timeout: 3000 });
  return `${as} ${program} ${args.join(' ').slice(0, 60)}: ${String(status)} ${stdout}${stderr}`;
}

suite('the embedded store and xenstored answer alike', () => {
  const conformance = buildExample('conformance');
  let stores: Stores;

  before(async () => {
    stores = await startStores();
  });
  after(() => stores[Symbol.asyncDispose]());

  for (const [name, lines] of Object.entries(STORIES)) {
    test(name, () => {
      for (const line of lines) assert.equal(tell(stores.embedded, line), tell(stores.xenstored, line));
    });
  }

  for (const name of ['embedded', 'xenstored', 'oxenstored'] as const) {
    const places = [
      ['dom0', '/conformance'],
      ['guest', 'data/conformance'],
    ] as const;
    for (const [as, base] of places) {
      test(`the conformance suite passes on ${name}, as ${as}`, () => {
        const { status, stdout, stderr } = spawnSync(conformance, [stores[name][as], base], { encoding: 'utf8' });
        assert.equal(status, 0, stdout + stderr);
      });
    }
  }

  test("Xen's own test-xenstore passes on the embedded store", () => {
    const env = { ...process.env, XENSTORED_PATH: stores.embedded.dom0 };
    const { status, stdout, stderr } = spawnSync(join(xenPrograms(), 'test-xenstore'), ['-i', '50'], {
      env,
      encoding: 'utf8',
    });
    assert.equal(status, 0, stdout + stderr);
  });
});
