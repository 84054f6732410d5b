/** The agent's own writing and the system's own programs keep one another out. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createPrimitives } from '../../ts/host/unix/accounts.js';
import { takeLockFiles } from '../../ts/host/unix/lock-files.js';
import { loginSuites } from '../support/debian-root.js';
import { askForPassword, commandsFor } from '../support/password-client.js';
import { LoginSystem, type Running } from './system.js';

const OK = { returncode: '0', message: '' };
/** An editor for vipw that is at work until /done is there. */
const EDITOR = '#!/bin/sh\n: > /editing\nwhile [ ! -e /done ]; do sleep 0.05; done\n';

async function appears(system: LoginSystem, path: string): Promise<void> {
  for (let tries = 0; !existsSync(join(system.root, path)); tries += 1) {
    assert.ok(tries < 200, `${path} appears`);
    await sleep(50);
  }
}

/** vipw at work. */
async function startEditing(system: LoginSystem): Promise<Running> {
  await system.write('bin/slow-editor', EDITOR, 0o755);
  const vipw = system.start(['env', 'EDITOR=/bin/slow-editor', 'vipw', '-s']);
  await appears(system, 'editing');
  return vipw;
}

for (const release of loginSuites()) {
  suite(release, { concurrency: true }, () => {
    test('while the agent holds the locks, chpasswd and usermod wait, and are not lost', async () => {
      await using system = await LoginSystem.debian(release);
      const lock = await createPrimitives(system.root).lock();
      const before = await system.read('etc/shadow');
      const tools = [
        system.start(['chpasswd', '-e'], 'root:$6$abcdefgh$x\n'),
        system.start(['usermod', '-L', 'daemon']),
      ];
      await Promise.race([sleep(1500), ...tools.map(({ ended }) => ended)]);
      assert.equal(await system.read('etc/shadow'), before);
      await lock[Symbol.asyncDispose]();
      for (const { ended } of tools) assert.deepEqual(await ended, { code: 0, output: '' });
      const shadow = await system.read('etc/shadow');
      assert.match(shadow, /^root:[$]6[$]abcdefgh[$]x:/m);
      assert.match(shadow, /^daemon:!/m);
    });

    test('the lock files alone keep them out, too', async () => {
      await using system = await LoginSystem.debian(release);
      const letGo = await takeLockFiles(system.root, Date.now());
      for (const [argv, input, file] of [
        [['chpasswd', '-e'], 'root:$6$abcdefgh$x\n', 'passwd'],
        [['usermod', '-L', 'daemon'], '', 'passwd'],
        [['chage', '-d', '0', 'root'], '', 'passwd'],
        [['vipw', '-s'], '', ''],
      ] as const) {
        const { code, output } = await system.run(argv, input);
        assert.notEqual(code, 0, argv.join(' '));
        assert.match(output, /lock/, argv.join(' '));
        assert.ok(output.includes(file), output);
      }
      await letGo();
      assert.deepEqual(await system.run(['chpasswd', '-e'], 'root:$6$abcdefgh$x\n'), { code: 0, output: '' });
    });

    test('while vipw is at work the agent waits, says so in time, and goes on afterwards', async () => {
      await using system = await LoginSystem.debian(release);
      await system.remove('usr/sbin/chpasswd');
      const vipw = await startEditing(system);
      const before = await system.read('etc/shadow');
      const message = /^Could not write \/etc\/.*lock: .* holds it; waited for 0[.]3 s$/;
      const reply = await askForPassword(commandsFor(system.host(300)), 'root', 'S3cret');
      assert.equal(reply.returncode, '500');
      assert.match(reply.message, message);
      assert.equal(await system.read('etc/shadow'), before);
      const waiting = askForPassword(commandsFor(system.host(10_000)), 'root', 'S3cret');
      await system.write('done', '');
      assert.deepEqual(await waiting, OK);
      await vipw.ended;
      assert.ok(await system.accepts('root', 'S3cret'));
    });

    test('what a vipw that was killed has left is no hindrance', async () => {
      await using system = await LoginSystem.debian(release);
      await system.remove('usr/sbin/chpasswd');
      const vipw = await startEditing(system);
      vipw.kill();
      // The editor lives on, and with it what waits for the end of its output.
      await system.write('done', '');
      await vipw.ended;
      assert.ok((await system.list('etc')).includes('shadow.lock'), 'it leaves its lock file');
      assert.deepEqual(await askForPassword(commandsFor(system.host(2000)), 'root', 'S3cret'), OK);
      assert.ok(!(await system.list('etc')).includes('shadow.lock'));
      assert.ok(await system.accepts('root', 'S3cret'));
    });

    test('an error of chpasswd is told, and the files are as before', async () => {
      await using system = await LoginSystem.debian(release);
      await system.write('etc/passwd.lock', `${process.pid}\0`, 0o600);
      const before = await system.read('etc/shadow');
      const reply = await askForPassword(commandsFor(system.host()), 'root', 'S3cret');
      assert.equal(reply.returncode, '500');
      assert.match(reply.message, /^chpasswd failed: .*cannot lock \/etc\/passwd; try again later/);
      assert.equal(await system.read('etc/shadow'), before);
      await system.remove('etc/passwd.lock');
      assert.deepEqual(await askForPassword(commandsFor(system.host()), 'root', 'S3cret'), OK);
    });
  });
}
