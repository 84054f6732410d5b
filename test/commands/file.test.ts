import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmod, chown, lchown, mkdir, readdir, readFile, readlink, rm, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CommandModule, type Host, type Reply } from '../../ts/api/index.js';
import { fileOptions } from '../../ts/daemon/command-options.js';
import { type FileOptions, fileCommands } from '../../ts/commands/file.js';
import { covers } from '../../ts/commands/file-rules.js';
import { sshKeysCommands } from '../../ts/commands/sshkeys.js';
import { DEFAULTS } from '../../ts/daemon/config.js';
import { createFiles } from '../../ts/host/unix/files.js';
import { call } from '../support/command-context.js';
import { PUBLIC_KEY } from '../support/public-key.js';
import { createScratchHost } from '../support/scratch-host.js';
import { createScratch, type Scratch, tree } from '../support/scratch.js';

/** Of an agent without a configuration file, but for `changes`. */
function commandsOf(scratch: Scratch, changes: Partial<FileOptions> = {}): CommandModule {
  return fileCommands(createScratchHost(scratch), { ...fileOptions(DEFAULTS), ...changes });
}

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
    await check(await call(commandsOf(scratch), name, value), scratch);
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
    ['/link', 'Refused to write /link: it leads to /etc: it is a directory'],
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
  const module = commandsOf(scratch);
  const value = { b64_path: base64(Buffer.from([0x2f, 0xff])), b64_file: '' };
  assert.match((await call(module, 'file_inject', value)).message, /got bytes that are not UTF-8$/);
});

test('a request that is not of its form is refused', async () => {
  await using scratch = await createScratch();
  const module = commandsOf(scratch);
  const undecodable = 'Error doing base64 decoding of data';
  const object = 'Invalid file_inject value: expected an object with b64_path and b64_file, got';
  for (const [name, value, message] of [
    ['injectfile', base64('/etc/no-comma'), 'Invalid injectfile value: expected path,content, got no comma'],
    ['injectfile', '', 'Invalid injectfile value: expected path,content, got no comma'],
    ['injectfile', '*', undecodable],
    ['injectfile', 'abc', undecodable],
    ['injectfile', 5, undecodable],
    ['injectfile', null, undecodable],
    ['file_inject', 'x', `${object} text`],
    ['file_inject', null, `${object} null`],
    ['file_inject', [], `${object} a list`],
    ['file_inject', { b64_path: base64('/f') }, `${object} one without`],
    ['file_inject', { b64_path: base64('/f'), b64_file: 5 }, undecodable],
  ] as const) {
    assert.deepEqual(await call(module, name, value), { returncode: '500', message });
  }
  assert.deepEqual(await tree(scratch.root), []);
});

test('the patterns of the configuration cover what they match and all below it', () => {
  for (const [pattern, path, wanted] of [
    ['/', '/anything', true],
    ['/etc/app', '/etc/app', true],
    ['/etc/app/', '/etc/app/deep/f', true],
    ['/etc/app', '/etc/apple', false],
    ['/etc/*.conf', '/etc/a.conf', true],
    ['/etc/*.conf', '/etc/a/b.conf', false],
    ['/etc/*.conf', '/etc/a_conf', false],
    ['/home/*/.ssh', '/home/me/.ssh/authorized_keys', true],
    ['/home/*/.ssh', '/home/me/sub/.ssh/x', false],
    ['/**/secret', '/a/b/secret/c', true],
    ['/srv/v?', '/srv/v1', true],
    ['/srv/v?', '/srv/v/1', false],
    ['/a+(b)[c]', '/a+(b)[c]', true],
    ['/f', '/f\n/g', false],
  ] as const) {
    assert.equal(covers(pattern, path), wanted, `${pattern} ${path}`);
  }
});

test('what is denied stays refused when it is allowed, reached by a link, or new', async () => {
  const rules = { allow: ['/srv', '/etc/*.conf'], deny: ['/srv/keep', '/**/*.key'], own: ['/srv/agent'] };
  for (const [path, message] of [
    ['/srv/a', null],
    ['/etc/a.conf', null],
    ['/etc/passwd', 'files.allow does not have it'],
    ['/srv/keep/x', 'files.deny has /srv/keep'],
    ['/srv/a.key', 'files.deny has /**/*.key'],
    ['/srv/agent/x', '/srv/agent belongs to the agent'],
    ['/srv/out/new', 'it leads to /opt/new: files.allow does not have it'],
    ['/srv/out/new/deep/er', 'it leads to /opt/new/deep/er: files.allow does not have it'],
    ['/srv/kernel/sysrq-trigger', 'it leads to /proc/sysrq-trigger: /proc belongs to the kernel'],
    ['/srv/relative/x', 'it leads to /srv/keep/x: files.deny has /srv/keep'],
    ['/srv/file', 'it leads to /etc/shadow: files.allow does not have it'],
  ] as const) {
    await using scratch = await createScratch();
    const link = async (name: string, target: string): Promise<void> => {
      await symlink(target, join(scratch.root, 'srv', name));
    };
    for (const directory of ['srv', 'srv/keep', 'opt', 'proc', 'etc'])
      await mkdir(join(scratch.root, directory), { recursive: true });
    await scratch.write('etc/shadow', 'old');
    await link('out', '/opt');
    await link('kernel', '../proc');
    await link('relative', 'keep');
    await link('file', '/etc/shadow');
    const before = await tree(scratch.root);
    const reply = await call(commandsOf(scratch, { rules }), 'file_inject', { b64_path: base64(path), b64_file: '' });
    if (message === null) {
      assert.deepEqual(reply, SUCCESS, path);
    } else {
      assert.deepEqual(reply, { returncode: '500', message: `Refused to write ${path}: ${message}` });
      assert.deepEqual(await tree(scratch.root), before);
      assert.equal(await readFile(join(scratch.root, 'etc/shadow'), 'utf8'), 'old');
    }
  }
});

test("the agent's own directories are refused by default", async () => {
  await using scratch = await createScratch();
  for (const path of ['/etc/guestwire/guestwire.toml', '/var/lib/guestwire/backup/x/manifest.json']) {
    const reply = await call(commandsOf(scratch), 'file_inject', { b64_path: base64(path), b64_file: '' });
    assert.match(reply.message, /belongs to the agent$/);
  }
  assert.deepEqual(await tree(scratch.root), []);
});

test('a link that is swapped after it was judged is not followed', async () => {
  await using scratch = await createScratch();
  await mkdir(join(scratch.root, 'good'));
  await mkdir(join(scratch.root, 'bad'));
  await symlink('good', join(scratch.root, 'link'));
  const host = createScratchHost(scratch);
  const swapping: Host = {
    ...host,
    files: {
      ...host.files,
      async commit(changes, journal) {
        await rm(join(scratch.root, 'link'));
        await symlink('bad', join(scratch.root, 'link'));
        return host.files.commit(changes, journal);
      },
    },
  };
  const value = { b64_path: base64('/link/f'), b64_file: base64('x') };
  assert.deepEqual(await call(fileCommands(swapping, fileOptions(DEFAULTS)), 'file_inject', value), {
    returncode: '500',
    message: 'Could not write /link/f: it led to /good/f before, and now leads to /bad/f',
  });
  assert.deepEqual(await tree(scratch.root), ['bad', 'good', 'link']);
});

test('new files get the configured mode, and those of ssh never more than 0600', async () => {
  for (const [path, mode] of [
    ['/etc/new', 0o644],
    ['/root/.ssh/id', 0o600],
  ] as const) {
    await using scratch = await createScratch();
    const module = commandsOf(scratch, { mode: 0o644 });
    assert.deepEqual(await call(module, 'file_inject', { b64_path: base64(path), b64_file: '' }), SUCCESS);
    assert.equal(await modeOf(scratch, path), mode);
  }
});

test('a file that is larger than the configuration allows is refused, in one piece and at the first part', async () => {
  await using scratch = await createScratch();
  const module = commandsOf(scratch, { maxSize: 4 });
  const message = 'Refused to write /f: it has 5 bytes, files.max-size is 4';
  assert.deepEqual(await call(module, 'injectfile', base64('/f,12345')), { returncode: '500', message });
  const part = { b64_path: base64('/f'), b64_file: base64('1'), offset: 0, total: 5 };
  assert.deepEqual(await call(module, 'file_inject', part), { returncode: '500', message });
  assert.deepEqual(await call(module, 'injectfile', base64('/f,1234')), SUCCESS);
  assert.deepEqual(await readdir(scratch.state), ['backup']);
});

test('as many backups are kept as the configuration says, the newest', async () => {
  for (const backups of [0, 2]) {
    await using scratch = await createScratch();
    const host = { ...createScratchHost(scratch), files: createFiles(scratch.root, scratch.state, backups) };
    const module = fileCommands(host, fileOptions(DEFAULTS));
    for (let n = 0; n < 5; n += 1) {
      assert.deepEqual(await call(module, 'injectfile', base64(`/f,${n}`)), SUCCESS);
      // Their names tell milliseconds.
      await sleep(2);
    }
    const sets = (await readdir(join(scratch.state, 'backup'))).sort();
    const kept = await Promise.all(sets.map((set) => readFile(join(scratch.state, 'backup', set, '0'), 'utf8')));
    assert.deepEqual(kept.sort(), ['2', '3'].slice(0, backups));
  }
});

/** Alice has a home; her uid and group are her own. */
async function withAlice(scratch: Scratch): Promise<void> {
  await scratch.write('etc/passwd', 'alice:x:1234:4321::/home/alice:/bin/sh\n');
  await scratch.write('etc/shadow', 'secret', 0o600);
  await mkdir(join(scratch.root, 'home/alice'), { recursive: true });
  await chown(join(scratch.root, 'home/alice'), 1234, 4321);
}

test('what is made in a home is its user’s, so that the next merge of keys finds its place', async () => {
  await bothForms(
    '/home/alice/.ssh/config',
    'Host x\n',
    async (reply, scratch) => {
      assert.deepEqual(reply, SUCCESS);
      for (const [path, mode] of [
        ['home/alice/.ssh', 0o700],
        ['home/alice/.ssh/config', 0o600],
      ] as const) {
        const status = await stat(join(scratch.root, path));
        assert.deepEqual([status.uid, status.gid, status.mode & 0o7777], [1234, 4321, mode], path);
      }
      const keys = sshKeysCommands(createScratchHost(scratch), { user: 'root' });
      const value = { user: 'alice', action: 'merge', keys: [PUBLIC_KEY] };
      assert.match((await call(keys, 'sshkeys', value)).message, /^added 1/);
    },
    withAlice,
  );
});

test('a link that a user planted is refused, with the reason, and nothing behind it is touched', async () => {
  await bothForms(
    '/home/alice/.bashrc',
    'of the host',
    async (reply, scratch) => {
      assert.deepEqual(reply, {
        returncode: '500',
        message:
          'Refused to write /home/alice/.bashrc: a link of uid 1234 leads to /etc/shadow, in a directory of uid 0',
      });
      assert.equal(await readFile(join(scratch.root, 'etc/shadow'), 'utf8'), 'secret');
    },
    async (scratch) => {
      await withAlice(scratch);
      await symlink('/etc/shadow', join(scratch.root, 'home/alice/.bashrc'));
      await lchown(join(scratch.root, 'home/alice/.bashrc'), 1234, 4321);
    },
  );
});
