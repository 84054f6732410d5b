import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmod, mkdir, readdir, readFile, readlink, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Reply } from '../../ts/api/index.js';
import { fileCommands } from '../../ts/commands/file.js';
import { call } from '../support/command-context.js';
import { createScratchHost } from '../support/scratch-host.js';
import { createScratch, type Scratch, tree } from '../support/scratch.js';

const SUCCESS: Reply = { returncode: '0', message: '' };
const base64 = (bytes: string | Buffer): string => Buffer.from(bytes).toString('base64');

/** Both forms of the request on roots of their own, as the host may send either. */
async function bothForms(
  path: string,
  content: string | Buffer,
  check: (reply: Reply, scratch: Scratch) => Promise<void>,
  prepare: (scratch: Scratch) => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const bytes = Buffer.from(content);
  for (const [name, value] of [
    ['injectfile', base64(Buffer.concat([Buffer.from(`${path},`), bytes]))],
    ['file_inject', { b64_path: base64(path), b64_file: base64(bytes) }],
  ] as const) {
    await using scratch = await createScratch();
    await prepare(scratch);
    await check(await call(fileCommands(createScratchHost(scratch)), name, value), scratch);
  }
}

const modeOf = async (scratch: Scratch, path: string): Promise<number> =>
  (await stat(join(scratch.root, path))).mode & 0o7777;

test('a new file is written for root alone, with its directories', async () => {
  await bothForms('/opt/a/b/new.conf', 'hello,world\n', async (reply, scratch) => {
    assert.deepEqual(reply, SUCCESS);
    assert.equal(await readFile(join(scratch.root, 'opt/a/b/new.conf'), 'utf8'), 'hello,world\n');
    assert.equal(await modeOf(scratch, 'opt/a/b/new.conf'), 0o600);
    assert.equal(await modeOf(scratch, 'opt/a/b'), 0o755);
  });
});

test('any bytes come through, commas among them', async () => {
  const bytes = Buffer.from(Array.from({ length: 512 }, (_, i) => i % 256));
  for (const content of [bytes, Buffer.from(',,'), Buffer.alloc(0)]) {
    await bothForms('/f', content, async (reply, scratch) => {
      assert.deepEqual(reply, SUCCESS);
      assert.deepEqual(await readFile(join(scratch.root, 'f')), content);
    });
  }
});

test('an existing file keeps its mode, and its old content is kept in the state directory, not beside it', async () => {
  for (const mode of [0o644, 0o600, 0o755]) {
    await bothForms(
      '/etc/existing.conf',
      'new content\n',
      async (reply, scratch) => {
        assert.deepEqual(reply, SUCCESS);
        assert.equal(await readFile(join(scratch.root, 'etc/existing.conf'), 'utf8'), 'new content\n');
        assert.equal(await modeOf(scratch, 'etc/existing.conf'), mode);
        assert.deepEqual(await readdir(join(scratch.root, 'etc')), ['existing.conf']);
        const [set = ''] = await readdir(join(scratch.state, 'backup'));
        assert.equal(await readFile(join(scratch.state, 'backup', set, '0'), 'utf8'), 'old');
      },
      async (scratch) => {
        await chmod(await scratch.write('etc/existing.conf', 'old'), mode);
      },
    );
  }
});

test('a link is followed, not replaced', async () => {
  await bothForms(
    '/etc/link.conf',
    'new',
    async (reply, scratch) => {
      assert.deepEqual(reply, SUCCESS);
      assert.equal(await readlink(join(scratch.root, 'etc/link.conf')), 'real.conf');
      assert.equal(await readFile(join(scratch.root, 'etc/real.conf'), 'utf8'), 'new');
    },
    async (scratch) => {
      await scratch.write('etc/real.conf', 'old');
      await symlink('real.conf', join(scratch.root, 'etc/link.conf'));
    },
  );
});

test('ssh keys get a directory and a file that ssh trusts', async () => {
  await bothForms('/root/.ssh/authorized_keys', 'ssh-ed25519 AAAA\n', async (reply, scratch) => {
    assert.deepEqual(reply, SUCCESS);
    assert.equal(await modeOf(scratch, 'root/.ssh'), 0o700);
    assert.equal(await modeOf(scratch, 'root/.ssh/authorized_keys'), 0o600);
  });
});

test('directories and devices are refused', async () => {
  const prepare = async (scratch: Scratch): Promise<void> => {
    await mkdir(join(scratch.root, 'etc'));
    execFileSync('mkfifo', [join(scratch.root, 'etc/pipe')]);
    await symlink('/etc', join(scratch.root, 'link'));
  };
  for (const [path, message] of [
    ['/etc', 'Refused to write /etc: it is a directory'],
    ['/etc/pipe', 'Refused to write /etc/pipe: it is a device, a pipe or a socket'],
    ['/link', 'Could not write /link: it is a directory'],
    ['/proc/sysrq-trigger', 'Refused to write /proc/sysrq-trigger: /proc belongs to the kernel'],
    ['//sys/./power/state', 'Refused to write /sys/power/state: /sys belongs to the kernel'],
    ['/dev/sda', 'Refused to write /dev/sda: /dev belongs to the kernel'],
    ['/proc', 'Refused to write /proc: /proc belongs to the kernel'],
  ] as const) {
    await bothForms(
      path,
      'x',
      async (reply, scratch) => {
        assert.deepEqual(reply, { returncode: '500', message });
        assert.deepEqual(await tree(scratch.root), ['etc', 'etc/pipe', 'link']);
      },
      prepare,
    );
  }
});

test('only absolute paths of files are taken', async () => {
  for (const [path, got] of [
    ['', 'nothing'],
    ['foo', 'foo'],
    [' /etc/space.conf', ' /etc/space.conf'],
    ['/etc/trailing/', '/etc/trailing/, a directory'],
    ['/', '/, a directory'],
    ['/etc/../passwd', '/etc/../passwd'],
    ['/..', '/..'],
    ['/etc/a\0b', 'a NUL inside'],
  ] as const) {
    await bothForms(path, 'x', async (reply, scratch) => {
      const message = `Invalid path: expected an absolute path of a file, got ${got}`;
      assert.deepEqual(reply, { returncode: '500', message });
      assert.deepEqual(await tree(scratch.root), []);
    });
  }
});

test('a file named in other bytes than UTF-8 is refused', async () => {
  await using scratch = await createScratch();
  const module = fileCommands(createScratchHost(scratch));
  const value = { b64_path: base64(Buffer.from([0x2f, 0xff])), b64_file: '' };
  assert.match((await call(module, 'file_inject', value)).message, /got bytes that are not UTF-8$/);
});

test('a request that is not of its form is refused', async () => {
  await using scratch = await createScratch();
  const module = fileCommands(createScratchHost(scratch));
  const undecodable = 'Error doing base64 decoding of data';
  const object = 'Invalid file_inject value: expected an object with b64_path and b64_file, got';
  for (const [name, value, message] of [
    ['injectfile', base64('/etc/no-comma'), 'Invalid injectfile value: expected path,content, got no comma'],
    ['injectfile', '', 'Invalid injectfile value: expected path,content, got no comma'],
    ['injectfile', '*', undecodable],
    ['injectfile', 'abc', undecodable],
    ['injectfile', 5, undecodable],
    ['injectfile', null, undecodable],
    ['file_inject', 'x', `${object} string`],
    ['file_inject', null, `${object} object`],
    ['file_inject', [], `${object} a list`],
    ['file_inject', { b64_path: base64('/f') }, `${object} one without`],
    ['file_inject', { b64_path: base64('/f'), b64_file: 5 }, undecodable],
  ] as const) {
    assert.deepEqual(await call(module, name, value), { returncode: '500', message });
  }
  assert.deepEqual(await tree(scratch.root), []);
});
