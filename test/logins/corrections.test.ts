/** What the agent puts right behind the real chpasswd, and what its own writing keeps. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { loginSuites } from '../support/debian-root.js';
import { askForPassword, commandsFor } from '../support/password-client.js';
import { LoginSystem } from './system.js';

const OK = { returncode: '0', message: '' };
const RELEASE = loginSuites().at(-1)!;
const LABEL = 'system_u:object_r:shadow_t:s0';

function python(code: string, ...args: readonly string[]): string {
  return execFileSync('python3', ['-c', `import os, sys\n${code}`, ...args], { encoding: 'utf8' }).trim();
}

test('a busybox that fails between shadow and passwd is undone, and told in its own words', async () => {
  await using system = await LoginSystem.musl();
  // As one that was killed leaves it; busybox waits for three seconds for its end.
  await system.write('etc/passwd+', '');
  const before = await system.read('etc/shadow');
  const reply = await askForPassword(commandsFor(system.host()), 'root', 'S3cret');
  assert.equal(reply.returncode, '500');
  assert.match(reply.message, /^chpasswd failed: .*can't create '\/etc\/passwd[+]': File exists/);
  assert.equal(await system.read('etc/shadow'), before);
  assert.notEqual(await system.read('etc/shadow-'), '', 'it had got that far');
  assert.ok(!(await system.accepts('root', 'S3cret')));
  await system.remove('etc/passwd+');
  assert.deepEqual(await askForPassword(commandsFor(system.host()), 'root', 'S3cret'), OK);
  assert.ok(await system.accepts('root', 'S3cret'));
});

test('on a clock that was never set the day that chpasswd writes is taken away', async () => {
  await using system = await LoginSystem.debian(RELEASE);
  const module = commandsFor(system.host(), { now: () => 86_400_000 });
  assert.deepEqual(await askForPassword(module, 'root', 'S3cret'), OK);
  assert.deepEqual(system.programs, [['chpasswd', '-e']]);
  assert.match(await system.read('etc/shadow'), /^root:[$]y[$][^:]+::0:99999:7:::$/m);
  assert.ok(await system.accepts('root', 'S3cret'));
});

test('a passwd line with a hash of its own is made to point to the shadow file, which has the new one', async () => {
  await using system = await LoginSystem.debian(RELEASE);
  const passwd = await system.read('etc/passwd');
  await system.write('etc/passwd', passwd.replace('root:x:', 'root:*:'));
  assert.deepEqual(await askForPassword(commandsFor(system.host()), 'root', 'S3cret'), OK);
  assert.equal(await system.read('etc/passwd'), passwd);
  assert.match(await system.read('etc/shadow'), /^root:[$]y[$]/m);
  assert.ok(await system.accepts('root', 'S3cret'));
});

test('its own writing keeps the label of SELinux', async () => {
  await using system = await LoginSystem.musl();
  await system.remove('usr/sbin/chpasswd');
  const path = join(system.root, 'etc/shadow');
  python('os.setxattr(sys.argv[1], "security.selinux", sys.argv[2].encode())', path, LABEL);
  assert.deepEqual(await askForPassword(commandsFor(system.host()), 'root', 'S3cret'), OK);
  assert.equal(python('print(os.getxattr(sys.argv[1], "security.selinux").decode())', path), LABEL);
  assert.ok(await system.accepts('root', 'S3cret'));
});
