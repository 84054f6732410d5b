/** What a subcommand makes, replaces and removes by a path that somebody typed. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { stateDirectory } from '../../ts/cli/system-root.js';
import { loadConfig } from '../../ts/daemon/config.js';
import { endProcess } from '../support/cleanup.js';
import { PROGRAM, runCli } from '../support/run-cli.js';
import { createScratch, tree } from '../support/scratch.js';

/** Starts `guestwire store` and resolves once it serves. */
async function startStore(socket: string): Promise<{ readonly stop: (signal: NodeJS.Signals) => Promise<void> }> {
  const child = spawn(process.execPath, [PROGRAM, 'store', '--socket', socket, '--domain', '7'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  return {
    async stop(signal) {
      const ended = once(child, 'exit');
      child.kill(signal);
      await ended;
      await endProcess(child);
    },
  };
}

suite('guestwire store --socket', () => {
  test('leaves a regular file, a link and a directory where they are, and ends with the reason', async () => {
    await using scratch = await createScratch();
    const at = (name: string): string => join(scratch.directory, name);
    writeFileSync(at('passwd'), 'root:x:0:0\n');
    symlinkSync(at('passwd'), at('link'));
    for (const [name, kind] of [
      ['passwd', 'a regular file'],
      ['link', 'a symbolic link'],
      ['root', 'a directory'],
    ] as const) {
      const { code, stderr } = await runCli(['store', '--socket', at(name)]);
      assert.equal(code, 1);
      assert.equal(
        stderr,
        `guestwire: listening at ${at(name)}: ${kind} of user 0 stands there: wanted nothing, or a socket of user 0 that nobody listens at\n`,
      );
    }
    // The guest's socket is made by the name of the first, which is gone again when that fails.
    writeFileSync(at('socket.7'), 'keep');
    const { code, stderr } = await runCli(['store', '--socket', at('socket'), '--domain', '7']);
    assert.equal(code, 1);
    assert.match(stderr, /adding a domain at .*socket\.7: a regular file of user 0 stands there/);
    assert.equal(readFileSync(at('passwd'), 'utf8'), 'root:x:0:0\n');
    assert.equal(readFileSync(at('socket.7'), 'utf8'), 'keep');
    assert.deepEqual(await tree(scratch.directory), ['link', 'passwd', 'root', 'socket.7']);
  });

  test('replaces a socket that a killed one left, and none that somebody serves', async () => {
    await using scratch = await createScratch();
    const socket = join(scratch.directory, 'socket');
    await (await startStore(socket)).stop('SIGKILL');
    assert.ok(lstatSync(socket).isSocket());
    const next = await startStore(socket);
    assert.equal(lstatSync(socket).mode & 0o777, 0o600);
    const { code, stderr } = await runCli(['store', '--socket', socket]);
    assert.deepEqual([code, stderr], [1, `guestwire: listening at ${socket}: another program listens there\n`]);
    await next.stop('SIGTERM');
    assert.deepEqual(await tree(scratch.directory), ['root']);
  });

  test("leaves another user's socket, which nobody serves any more", async () => {
    await using scratch = await createScratch();
    const socket = join(scratch.directory, 'socket');
    const server = createServer().listen(socket);
    await once(server, 'listening');
    renameSync(socket, `${socket}.kept`);
    server.close();
    await once(server, 'close');
    renameSync(`${socket}.kept`, socket);
    chownSync(socket, 65534, 65534);
    const { code, stderr } = await runCli(['store', '--socket', socket]);
    assert.equal(code, 1);
    assert.match(stderr, /a socket of user 65534 stands there/);
    assert.equal(lstatSync(socket).uid, 65534);
  });

  test('takes away at its end only the sockets that it made', async () => {
    await using scratch = await createScratch();
    const socket = join(scratch.directory, 'socket');
    const store = await startStore(socket);
    renameSync(socket, `${socket}.old`);
    writeFileSync(socket, 'keep');
    await store.stop('SIGTERM');
    assert.equal(readFileSync(socket, 'utf8'), 'keep');
    assert.deepEqual(await tree(scratch.directory), ['root', 'socket', 'socket.old']);
  });
});

suite('--root', () => {
  const SUBCOMMANDS = [
    ['run', '--wire', 'stream', '--listen', '/nowhere/socket'],
    ['plan', 'network'],
    ['apply', 'network'],
    ['doctor'],
    ['commands'],
    ['config'],
  ];
  for (const args of SUBCOMMANDS) {
    test(`that is no directory is wrong usage of ${args[0]!}, and nothing is made there`, async () => {
      await using scratch = await createScratch();
      writeFileSync(join(scratch.directory, 'file'), 'keep');
      for (const name of ['misyped', 'file', 'misyped/deeper', 'file/deeper']) {
        const path = join(scratch.directory, name);
        const { code, stderr } = await runCli([...args, '--root', path]);
        assert.equal(code, 2, stderr);
        assert.equal(stderr.split('\n')[0], `guestwire: --root: ${path} is not a directory`);
      }
      assert.deepEqual(readdirSync(scratch.directory).sort(), ['file', 'root']);
    });
  }
});

suite('state.directory', () => {
  const start = async (
    scratch: { readonly root: string; write(path: string, content: string): Promise<string> },
    directory: string | null,
  ): Promise<{ readonly code: number; readonly stderr: string }> => {
    const text = directory === null ? '' : `[state]\ndirectory = "${directory}"\n`;
    const config = await scratch.write('guestwire.toml', text);
    // Without a wire it ends, after it has looked at its state.
    return runCli(['run', '--wire', 'stream', '--config', config, '--root', scratch.root]);
  };

  test('is made when it is missing, but nothing is made on the way to one that was written', async () => {
    await using scratch = await createScratch();
    const missing = await start(scratch, '/var/lib/misyped/state');
    assert.equal(missing.code, 78, missing.stderr);
    assert.match(
      missing.stderr,
      /guestwire\.toml:2: state\.directory: found "\/var\/lib\/misyped\/state", but there is no directory .*\/root\/var\/lib\/misyped to make it in\n$/,
    );
    assert.ok(!existsSync(join(scratch.root, 'var')));
    // The default's own way is made: a minimal system need not have it.
    assert.equal((await start(scratch, null)).code, 69);
    mkdirSync(join(scratch.root, 'var/lib'), { recursive: true });
    assert.equal((await start(scratch, '/var/lib/state')).code, 69);
  });

  test('that is a file is told, and the file stays', async () => {
    await using scratch = await createScratch();
    await scratch.write('var/lib/guestwire', 'keep');
    for (const directory of [null, '/var/lib/guestwire']) {
      const { code, stderr } = await start(scratch, directory);
      assert.equal(code, 78);
      assert.match(
        stderr,
        /state\.directory: found "\/var\/lib\/guestwire", but .*\/var\/lib\/guestwire is no directory\n$/,
      );
    }
    assert.equal(readFileSync(join(scratch.root, 'var/lib/guestwire'), 'utf8'), 'keep');
  });

  test('that is the root itself is refused: the agent would take away what is not its own', async () => {
    await using scratch = await createScratch();
    for (const directory of ['/', '//', '/.', '/var/..']) {
      const { code, stderr } = await start(scratch, directory);
      assert.equal(code, 78, stderr);
      assert.match(
        stderr,
        /guestwire\.toml:2: state\.directory: found "[^"]*", but the agent wants a directory of its own\n$/,
      );
    }
  });

  test('that another user could change is not used on a live system', async () => {
    await using scratch = await createScratch();
    const theirs = join(scratch.directory, 'theirs');
    mkdirSync(theirs);
    // Not by the program: one that did not refuse would serve this machine.
    const live = async (directory: string): Promise<string> =>
      stateDirectory('/', await loadConfig([], [['state', 'directory', directory, 'a test']]), true);
    assert.equal(await live(theirs), theirs);
    chownSync(theirs, 65534, 65534);
    for (const directory of [theirs, join(theirs, 'state')]) {
      await assert.rejects(live(directory), {
        code: 'GW_CONFIG_INVALID',
        message: /theirs belongs to user 65534: wanted root's, which no other user can change$/,
      });
    }
    chownSync(theirs, 0, 0);
    chmodSync(theirs, 0o770);
    await assert.rejects(live(theirs), { message: /theirs has mode 0770: wanted one that only its owner can write/ });
    assert.deepEqual(readdirSync(theirs), []);
  });
});
