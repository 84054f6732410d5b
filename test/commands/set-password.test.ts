/** What the system's own program does wrong, and systems that cannot run here: fakes, in a scratch root. */
import assert from 'node:assert/strict';
import { chmod, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Host, type Reply, type RunResult, Secret } from '../../ts/api/index.js';
import { createProcesses } from '../../ts/host/unix/processes.js';
import { askForPassword, commandsFor } from '../support/password-client.js';
import { createScratchHost } from '../support/scratch-host.js';
import { createScratch, type Scratch } from '../support/scratch.js';

const NOW = Date.UTC(2026, 10, 24, 12);
const OK = { returncode: '0', message: '' };
const PASSWD = 'root:x:0:0:root:/root:/bin/sh\n';
const SHADOW = '# kept\nroot:$6$abcdefgh$old:19000:0:99999:7:::\nbin:*:19000::::::\n';
const MASTER = '# kept\nroot:*:0:0::1:0:Charlie &:/root:/bin/csh\ntoor:*:0:0::0:0::/root:\n';
/** Replaces the hash of a user in FILE; `root` is where the script is. */
const REPLACE =
  'replace() { awk -F: -v OFS=: -v user="$2" -v hash="$3" \'$1 == user { $2 = hash } { print }\' "$root$1" > "$root/new" && cat "$root/new" > "$root$1"; rm "$root/new"; }';
const HEAD = `#!/bin/sh\nroot=$(dirname "$0")/../..\necho "$(basename "$0") $*" >> "$root/ran"\n${REPLACE}\n`;
const PW = `${HEAD}read -r hash\nreplace /etc/master.passwd "$2" "$hash"\n`;
const PWD_MKDB = `${HEAD}cp "$root$2" "$root/etc/spwd.db"\n`;

interface LiveSystem extends AsyncDisposable {
  readonly host: Host;
  readonly scratch: Scratch;
}

/** A live system whose programs are those in the root's usr/sbin. */
async function live(files: Readonly<Record<string, string>>): Promise<LiveSystem> {
  const scratch = await createScratch();
  for (const [path, text] of Object.entries(files)) {
    const real = await scratch.write(path, text, 0o600);
    if (path.startsWith('usr/sbin/')) await chmod(real, 0o755);
  }
  const processes = createProcesses();
  const host: Host = {
    ...createScratchHost(scratch),
    live: true,
    processes: {
      run: ([program, ...args], options) => processes.run([join(scratch.root, 'usr/sbin', program), ...args], options),
    },
  };
  return { host, scratch, [Symbol.asyncDispose]: () => scratch[Symbol.asyncDispose]() };
}

function set(host: Host, user = 'root'): Promise<Reply> {
  return askForPassword(commandsFor(host, { users: ['toor', 'ghost'], now: () => NOW }), user, 'S3cret');
}

function read(scratch: Scratch, path: string): Promise<string> {
  return readFile(join(scratch.root, path), 'utf8');
}

test('chpasswd gets the hash on standard input only, as a secret, with a limit in time', async () => {
  await using system = await live({ 'etc/passwd': PASSWD, 'etc/shadow': SHADOW, 'usr/sbin/chpasswd': '' });
  const { host, scratch } = system;
  let input = '';
  const run: Host['processes']['run'] = (argv, options) => {
    assert.deepEqual(argv, ['chpasswd', '-e']);
    assert.ok(options?.stdin instanceof Secret);
    assert.equal(options.timeout, 20_000);
    input = options.stdin.reveal().toString();
    return Promise.resolve({ code: 1, stdout: '', stderr: `chpasswd: no place\n  for ${input}`, timedOut: false });
  };
  const reply = await set({ ...host, processes: { run } });
  assert.match(input, /^root:[$]6[$][^:\n]+\n$/);
  // Without the hash that it repeats.
  assert.deepEqual(reply, { returncode: '500', message: 'chpasswd failed: chpasswd: no place for root:<hash>' });
  assert.equal(await read(scratch, 'etc/shadow'), SHADOW);
});

test('a chpasswd that fails, hangs or lies after it has set the hash is undone', async () => {
  const failed: RunResult = { code: 3, stdout: '', stderr: '', timedOut: false };
  for (const [result, message] of [
    [failed, 'chpasswd failed: exit code 3'],
    [{ ...failed, code: 137, timedOut: true }, 'chpasswd failed: it did not end in 20 s'],
  ] as const) {
    const chpasswd = `${HEAD}IFS=: read -r user hash\nreplace /etc/shadow "$user" "$hash"\n`;
    await using system = await live({ 'etc/passwd': PASSWD, 'etc/shadow': SHADOW, 'usr/sbin/chpasswd': chpasswd });
    const { host, scratch } = system;
    const run: Host['processes']['run'] = async (argv, options) => {
      assert.equal((await host.processes.run(argv, options)).code, 0);
      assert.notEqual(await read(scratch, 'etc/shadow'), SHADOW, 'the hash is set');
      return result;
    };
    assert.deepEqual(await set({ ...host, processes: { run } }), { returncode: '500', message });
    assert.equal(await read(scratch, 'etc/shadow'), SHADOW);
    assert.deepEqual(await set(host), OK);
  }

  await using system = await live({ 'etc/passwd': PASSWD, 'etc/shadow': SHADOW, 'usr/sbin/chpasswd': HEAD });
  const { host, scratch } = system;
  const message = 'chpasswd failed: it reported success, but the password files do not contain the new hash';
  assert.deepEqual(await set(host), { returncode: '500', message });
  assert.equal(await read(scratch, 'etc/shadow'), SHADOW);
});

test('a line that the C library skips is no hindrance to chpasswd, which makes another', async () => {
  const shadow = 'root:!:19000\nbin:*:19000::::::\n';
  const chpasswd = `${HEAD}IFS=: read -r user hash\necho "$user:$hash:20781::::::" >> "$root/etc/shadow"\n`;
  await using system = await live({ 'etc/passwd': PASSWD, 'etc/shadow': shadow, 'usr/sbin/chpasswd': chpasswd });
  const { host, scratch } = system;
  assert.deepEqual(await set(host), OK);
  const after = await read(scratch, 'etc/shadow');
  assert.ok(after.startsWith(shadow));
  assert.match(after.slice(shadow.length), /^root:[$]6[$][^:]+:20781::::::\n$/);
});

test('a chpasswd that cannot be started is an error', async () => {
  await using system = await live({ 'etc/passwd': PASSWD, 'etc/shadow': SHADOW, 'usr/sbin/chpasswd': HEAD });
  const { host, scratch } = system;
  await chmod(join(scratch.root, 'usr/sbin/chpasswd'), 0o644);
  const reply = await set(host);
  assert.equal(reply.returncode, '500');
  assert.match(reply.message, /^chpasswd failed: spawn .*EACCES$/);
  assert.equal(await read(scratch, 'etc/shadow'), SHADOW);
});

test('the day of the change is set where chpasswd leaves it, and the hash is taken out of passwd', async () => {
  const chpasswd = `${HEAD}IFS=: read -r user hash\nreplace /etc/shadow "$user" "$hash"\nreplace /etc/passwd "$user" "$hash"\n`;
  await using system = await live({
    'etc/passwd': PASSWD.replace('x', '*'),
    'etc/shadow': SHADOW,
    'usr/sbin/chpasswd': chpasswd,
  });
  const { host, scratch } = system;
  assert.deepEqual(await set(host), OK);
  assert.equal(await read(scratch, 'etc/passwd'), PASSWD);
  const shadow = await read(scratch, 'etc/shadow');
  assert.match(shadow, /^# kept\nroot:[$]6[$][^:]+:20781:0:99999:7:::\nbin:\*:19000::::::\n$/);
});

test('a tcb file is set by chpasswd alone, and an error where it is not there', async () => {
  const chpasswd = `${HEAD}IFS=: read -r user hash\nreplace "/etc/tcb/$user/shadow" "$user" "$hash"\n`;
  const files = { 'etc/passwd': PASSWD, 'etc/tcb/root/shadow': 'root:*:19000::::::\n' };
  {
    await using system = await live({ ...files, 'usr/sbin/chpasswd': chpasswd });
    const { host, scratch } = system;
    assert.deepEqual(await set(host), OK);
    assert.match(await read(scratch, 'etc/tcb/root/shadow'), /^root:[$]6[$][^:]+:19000::::::\n$/);
    const message = "No user 'ghost' in /etc/passwd";
    assert.deepEqual(await set(host, 'ghost'), { returncode: '500', message });
  }
  await using system = await live(files);
  const { host, scratch } = system;
  const message =
    "Cannot set the password of 'root': its hash is in /etc/tcb, which wants chpasswd in a system that runs";
  for (const candidate of [host, { ...host, live: false }]) {
    assert.deepEqual(await set(candidate), { returncode: '500', message });
  }
  assert.equal(await read(scratch, 'etc/tcb/root/shadow'), files['etc/tcb/root/shadow']);
});

test('on FreeBSD pw sets the hash, and a time at which a new password was due is taken away', async () => {
  await using system = await live({
    'etc/master.passwd': MASTER,
    'etc/pam.d/common-password': 'password required pam_unix.so yescrypt\n',
    'usr/sbin/pw': PW,
    'usr/sbin/pwd_mkdb': PWD_MKDB,
  });
  const { host, scratch } = system;
  assert.deepEqual(await set(host, 'toor'), OK);
  assert.equal(await read(scratch, 'ran'), 'pw usermod toor -H 0\n');
  assert.deepEqual(await set(host), OK);
  assert.equal(
    await read(scratch, 'ran'),
    'pw usermod toor -H 0\npw usermod root -H 0\npwd_mkdb -p /etc/master.passwd\n',
  );
  const master = await read(scratch, 'etc/master.passwd');
  assert.match(
    master,
    /^# kept\nroot:[$]6[$][^:]+:0:0::0:0:Charlie &:\/root:\/bin\/csh\ntoor:[$]6[$][^:]+:0:0::0:0::\/root:\n$/,
  );
  assert.equal(await read(scratch, 'etc/spwd.db'), master);
});

test('on FreeBSD without pw the file is written and the databases are made of it', async () => {
  await using system = await live({ 'etc/master.passwd': MASTER, 'usr/sbin/pwd_mkdb': PWD_MKDB });
  const { host, scratch } = system;
  assert.deepEqual(await set(host, 'toor'), OK);
  assert.equal(await read(scratch, 'ran'), 'pwd_mkdb -p /etc/master.passwd\n');
  const master = await read(scratch, 'etc/master.passwd');
  assert.match(master, /^# kept\nroot:\*:0:0::1:0:Charlie &:\/root:\/bin\/csh\ntoor:[$]6[$][^:]+:0:0::0:0::\/root:\n$/);
  assert.equal(await read(scratch, 'etc/spwd.db'), master);
  const message = "No user 'ghost' in /etc/master.passwd";
  assert.deepEqual(await set(host, 'ghost'), { returncode: '500', message });
});

test('a copy of FreeBSD is refused: its databases cannot be made there', async () => {
  await using system = await live({ 'etc/master.passwd': MASTER, 'usr/sbin/pwd_mkdb': PWD_MKDB });
  const { host, scratch } = system;
  const message =
    "Cannot set the password of 'root': logins read the databases that pwd_mkdb makes, which wants a system that runs";
  assert.deepEqual(await set({ ...host, live: false }), { returncode: '500', message });
  assert.equal(await read(scratch, 'etc/master.passwd'), MASTER);
});

test("a copy of a system takes the agent's own writing, whatever programs it has", async () => {
  await using system = await live({ 'etc/passwd': PASSWD, 'etc/shadow': SHADOW, 'usr/sbin/chpasswd': HEAD });
  const { host, scratch } = system;
  assert.deepEqual(await set({ ...host, live: false }), OK);
  assert.match(await read(scratch, 'etc/shadow'), /^root:[$]6[$][^:]+:20781:/m);
  await assert.rejects(read(scratch, 'ran'), { code: 'ENOENT' });
});
