/**
 * The same story, told by the stock xenstore tools to the embedded store and to Debian's C xenstored, must be answered
 * word for word alike. Where they differ, the real one is right.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { StoreServer } from '#binding';
import { Cleanup } from '../support/cleanup.js';
import { buildExample } from '../support/programs.js';
import { startXenstored, xenPrograms } from '../support/xenstored.js';

const GUEST = 7;
const HOME = `/local/domain/${GUEST}`;

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

interface Place {
  readonly dom0: string;
  readonly guest: string;
}

function tell({ dom0, guest }: Place, [as, program, ...args]: Line): string {
  const env = { ...process.env, XENSTORED_PATH: as === 'dom0' ? dom0 : guest };
  const { status, stdout, stderr } = spawnSync(`xenstore-${program}`, args, { env, encoding: 'utf8', timeout: 3000 });
  return `${as} ${program} ${args.join(' ').slice(0, 60)}: ${String(status)} ${stdout}${stderr}`;
}

suite('the embedded store and xenstored answer alike', () => {
  const folder = mkdtempSync(join(tmpdir(), 'guestwire-store-'));
  const conformance = buildExample('conformance');
  let embedded: { place: Place };
  let real: { place: Place };

  const cleanup = new Cleanup();
  cleanup.add(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  before(async () => {
    const server = StoreServer.listen(join(folder, 'embedded'));
    cleanup.add(() => {
      server.close();
    });
    const place = { dom0: join(folder, 'embedded'), guest: join(folder, 'guest') };
    server.addDomain(GUEST, place.guest);
    embedded = { place };
    const store = await startXenstored('c', folder);
    cleanup.add(() => store[Symbol.asyncDispose]());
    real = { place: { dom0: store.socket, guest: await store.addDomain(GUEST) } };
    // A toolstack makes a guest's home; the embedded store has done so by itself.
    const home: readonly Line[] = [
      ['dom0', 'write', `${HOME}/domid`, String(GUEST), `${HOME}/data`, ''],
      ['dom0', 'chmod', HOME, 'n0', `r${GUEST}`],
      ['dom0', 'chmod', `${HOME}/domid`, 'n0', `r${GUEST}`],
      ['dom0', 'chmod', `${HOME}/data`, `n${GUEST}`],
    ];
    for (const line of home) assert.match(tell(real.place, line), /: 0 /);
    for (const name of ['attr', 'control', 'feature', 'vm-data']) {
      assert.match(tell(real.place, ['dom0', 'write', `${HOME}/${name}`, '']), /: 0 /);
      assert.match(tell(real.place, ['dom0', 'chmod', `${HOME}/${name}`, `n${GUEST}`]), /: 0 /);
    }
  });

  after(() => cleanup[Symbol.asyncDispose]());

  for (const [name, lines] of Object.entries(STORIES)) {
    test(name, () => {
      for (const line of lines) assert.equal(tell(embedded.place, line), tell(real.place, line));
    });
  }

  const places: readonly (readonly [name: string, socket: () => string, base: string])[] = [
    ['the embedded store, dom0', () => embedded.place.dom0, '/conformance'],
    ['the embedded store, a guest', () => embedded.place.guest, 'data/conformance'],
    ['xenstored, dom0', () => real.place.dom0, '/conformance'],
    ['xenstored, a guest', () => real.place.guest, 'data/conformance'],
  ];
  for (const [name, socket, base] of places) {
    test(`the conformance suite passes on ${name}`, () => {
      const { status, stdout, stderr } = spawnSync(conformance, [socket(), base], { encoding: 'utf8' });
      assert.equal(status, 0, stdout + stderr);
    });
  }

  test('the conformance suite passes on oxenstored', async () => {
    await using store = await startXenstored('ocaml', mkdtempSync(join(folder, 'o-')));
    const { status, stdout, stderr } = spawnSync(conformance, [store.socket, '/conformance'], { encoding: 'utf8' });
    assert.equal(status, 0, stdout + stderr);
  });

  test("Xen's own test-xenstore passes on the embedded store", () => {
    const env = { ...process.env, XENSTORED_PATH: embedded.place.dom0 };
    const { status, stdout, stderr } = spawnSync(join(xenPrograms(), 'test-xenstore'), ['-i', '50'], {
      env,
      encoding: 'utf8',
    });
    assert.equal(status, 0, stdout + stderr);
  });
});
