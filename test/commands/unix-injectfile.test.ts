/** The Unix agent's recorded file injections: each is met, or not as it was for a defect that is named here. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, readdir, readlink, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { readFileSync } from 'node:fs';
import type { Reply } from '../../ts/api/index.js';
import { fileOptions } from '../../ts/daemon/command-options.js';
import { fileCommands } from '../../ts/commands/file.js';
import { DEFAULTS } from '../../ts/daemon/config.js';
import { call } from '../support/command-context.js';
import { createScratchHost } from '../support/scratch-host.js';
import { createScratch, type Scratch, tree } from '../support/scratch.js';

interface Case {
  readonly path?: string;
  readonly value?: string;
  readonly content?: string;
  readonly reply: readonly [returncode: string, message: string];
}

interface Injected {
  readonly scratch: Scratch;
  readonly reply: Reply;
  /** What the Unix agent answered. */
  readonly old: Reply;
  /** A path below the root, as this machine sees it. */
  readonly at: (path: string) => string;
}

interface Handled {
  /** Null: met. */
  readonly defect: string | null;
  /** What the host sends; of the case's path and content when absent. */
  readonly value?: unknown;
  readonly mode?: number;
  readonly prepare?: (scratch: Scratch) => Promise<unknown>;
  readonly check: (injected: Injected) => Promise<void> | void;
}

const run = promisify(execFile);
const { cases } = JSON.parse(readFileSync('test/fixtures/unix-injectfile-cases.json', 'utf8')) as {
  readonly cases: readonly Case[];
};
const base64 = (text: string): string => Buffer.from(text).toString('base64');
const keyOf = ({ path, value }: Case): string => path ?? value ?? '';
/** Without the remark behind it; the blank before it belongs to the path of one case. */
const pathOf = ({ path = '' }: Case): string => path.replace(/ \(.*\)$/, '');
const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o7777;

/** Refused, with nothing left behind. */
const refused =
  (message: string, left: readonly string[]) =>
  async ({ reply, scratch }: Injected): Promise<void> => {
    assert.deepEqual(reply, { returncode: '500', message });
    assert.deepEqual(await tree(scratch.root), left);
  };

const PYTHON = 'the message was an exception of its language';

const HANDLED: Readonly<Record<string, Handled>> = {
  '/opt/a/b/new.conf': {
    // Without files.mode a new file is root's alone: docs/commands/file_inject.md.
    defect: null,
    mode: 0o644,
    async check({ reply, old, at }) {
      assert.deepEqual(reply, old);
      assert.equal(await readFile(at('opt/a/b/new.conf'), 'utf8'), 'hello,world\n');
      assert.equal(await modeOf(at('opt/a/b/new.conf')), 0o644);
      const { uid, gid } = await stat(at('opt/a/b/new.conf'));
      assert.deepEqual([uid, gid], [0, 0]);
      assert.equal(await modeOf(at('opt/a/b')), 0o755);
    },
  },

  '/etc/existing.conf': {
    defect: 'the old file stayed beside the new one, where programs read whole folders',
    prepare: async (scratch) => chmod(await scratch.write('etc/existing.conf', 'old'), 0o644),
    async check({ reply, old, at, scratch }) {
      assert.deepEqual(reply, old);
      assert.equal(await modeOf(at('etc/existing.conf')), 0o644);
      assert.deepEqual(await readdir(at('etc')), ['existing.conf']);
      const [change = ''] = await readdir(join(scratch.state, 'backup'));
      assert.equal(await readFile(join(scratch.state, 'backup', change, '0'), 'utf8'), 'old');
    },
  },

  '/etc/secret': {
    defect: 'everybody could read the new content until the mode of the temporary file was set',
    prepare: async (scratch) => chmod(await scratch.write('etc/secret', 'old'), 0o600),
    async check({ reply, old, at, scratch }) {
      assert.deepEqual(reply, old);
      assert.equal(await modeOf(at('etc/secret')), 0o600);
      assert.equal(await modeOf(scratch.state), 0o700, 'nobody reaches the backup');
      for (const mode of await modesWhenMade(scratch)) assert.equal(mode & 0o077, 0, `made with ${mode.toString(8)}`);
    },
  },

  '/etc/link.conf (symlink to real.conf)': {
    defect: 'the link was replaced, and the file that it leads to stayed as it was',
    async prepare(scratch) {
      await scratch.write('etc/real.conf', 'old');
      await symlink('real.conf', join(scratch.root, 'etc/link.conf'));
    },
    async check({ reply, old, at }) {
      assert.deepEqual(reply, old);
      assert.equal(await readlink(at('etc/link.conf')), 'real.conf');
      assert.equal(await readFile(at('etc/real.conf'), 'utf8'), 'content');
    },
  },

  '/home/r/.ssh/authorized_keys (absent)': {
    defect: 'sshd takes no keys from a folder and a file that are open to others',
    async check({ reply, old, at }) {
      assert.deepEqual(reply, old);
      assert.equal(await modeOf(at('home/r/.ssh')), 0o700);
      assert.equal(await modeOf(at('home/r/.ssh/authorized_keys')), 0o600);
    },
  },

  '/etc (a directory)': {
    defect: 'the directory was renamed away and replaced by a file',
    prepare: (scratch) => scratch.write('etc/passwd', ''),
    check: refused('Refused to write /etc: it is a directory', ['etc', 'etc/passwd']),
  },

  'foo (relative)': {
    defect: PYTHON,
    check: refused('Invalid path: expected an absolute path of a file, got foo', []),
  },

  ' /etc/space.conf (leading blank)': {
    defect: 'the file was written below the directory in which the agent was started',
    check: refused('Invalid path: expected an absolute path of a file, got  /etc/space.conf', []),
  },

  '/etc/trailing/': {
    defect: `${PYTHON}, and a temporary file stayed`,
    prepare: (scratch) => mkdir(join(scratch.root, 'etc')),
    check: refused('Invalid path: expected an absolute path of a file, got /etc/trailing/, a directory', ['etc']),
  },

  'base64 without a comma': {
    defect: PYTHON,
    value: base64('/etc/motd'),
    check: refused('Invalid injectfile value: expected path,content, got no comma', []),
  },

  'bad base64 or a number': {
    defect: null,
    value: 'no base64!',
    async check({ reply, old, scratch }) {
      assert.deepEqual(reply, old);
      assert.deepEqual(await inject(scratch, 5), old);
    },
  },
};

function inject(scratch: Scratch, value: unknown, mode?: number): Promise<Reply> {
  const options = { ...fileOptions(DEFAULTS), ...(mode === undefined ? {} : { mode }) };
  return call(fileCommands(createScratchHost(scratch), options), 'injectfile', value);
}

/** With which modes files are made when /etc/secret is written once more, as the kernel was told. */
async function modesWhenMade(scratch: Scratch): Promise<readonly number[]> {
  const change = { type: 'write', path: '/etc/secret', content: 'newer', mode: 0o600 };
  const program = [
    'build/test/support/commit-once.js',
    scratch.root,
    scratch.state,
    JSON.stringify([change]),
    'confirm',
  ];
  const log = join(scratch.directory, 'strace');
  await run('strace', ['-f', '-qq', '-e', 'trace=openat', '-o', log, process.execPath, ...program]);
  assert.equal(await readFile(join(scratch.root, 'etc/secret'), 'utf8'), 'newer');
  const made = [...(await readFile(log, 'utf8')).matchAll(/"([^"]*)", O_\S*O_CREAT\S*, (0\d+)\) = \d/g)];
  const modes = made
    .filter(([, path = '']) => path.includes('secret'))
    .map(([, , mode = '']) => Number.parseInt(mode, 8));
  assert.ok(modes.length > 0, 'no temporary file was seen');
  return modes;
}

test('every recorded injection is met or has its old defect named', () => {
  assert.deepEqual(Object.keys(HANDLED), cases.map(keyOf));
});

for (const one of cases) {
  const handled = HANDLED[keyOf(one)];
  const defect = handled?.defect ?? null;
  test(`${keyOf(one)}: ${defect === null ? 'as the Unix agent' : `not as it was (${defect})`}`, async () => {
    assert.ok(handled, `nobody looks at ${keyOf(one)}`);
    await using scratch = await createScratch();
    await handled.prepare?.(scratch);
    const value = handled.value ?? base64(`${pathOf(one)},${one.content ?? 'content'}`);
    const reply = await inject(scratch, value, handled.mode);
    const [returncode, message] = one.reply;
    await handled.check({ scratch, reply, old: { returncode, message }, at: (path) => join(scratch.root, path) });
  });
}
