import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { FileLock, hashPassword, notify, replaceProcess } from '#binding';
import { createScratch } from '../support/scratch.js';

/** crypt(3) of this machine; the arguments go in by the environment, as they may hold anything. */
function crypt(password: string, salt: string): string {
  const env = { ...process.env, PASSWORD: password, SALT: salt };
  return execFileSync('perl', ['-e', 'print crypt($ENV{PASSWORD}, $ENV{SALT})'], { env }).toString();
}

function python(code: string, ...args: string[]): string {
  return execFileSync('python3', ['-c', `import os, sys\n${code}`, ...args]).toString();
}

test('hashes are those of crypt(3), for any password', async () => {
  for (const password of ['S3cret', '', 'pässwörd ☃', 'x'.repeat(300)]) {
    const yescrypt = await hashPassword(Buffer.from(password), 'yescrypt');
    const sha512 = await hashPassword(Buffer.from(password), 'sha512');
    assert.match(yescrypt, /^[$]y[$]j9T[$][./0-9A-Za-z]{22}[$][./0-9A-Za-z]{43}$/);
    assert.match(sha512, /^[$]6[$][./0-9A-Za-z]{16}[$][./0-9A-Za-z]{86}$/);
    for (const hash of [yescrypt, sha512]) {
      assert.equal(crypt(password, hash), hash);
      assert.notEqual(crypt(`${password}x`, hash), hash);
    }
  }
});

test('every hash has its own salt', async () => {
  const hashes = await Promise.all(Array.from({ length: 4 }, () => hashPassword(Buffer.from('p'), 'sha512')));
  assert.equal(new Set(hashes.map((hash) => hash.split('$')[2])).size, hashes.length);
});

test('a lock is waited for, given up in time, and free after its release', async () => {
  await using scratch = await createScratch();
  const path = join(scratch.directory, '.pwd.lock');
  const lock = await FileLock.acquire(path, 1000);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  await assert.rejects(FileLock.acquire(path, 50), { code: 'LOCK_TIMEOUT' });
  const waiting = FileLock.acquire(path, 10_000);
  lock.release();
  lock.release();
  (await waiting).release();
});

test('a lock excludes the programs that lock as lckpwdf does, both ways', async (t) => {
  await using scratch = await createScratch();
  const path = join(scratch.directory, '.pwd.lock');
  const tryLock =
    'import fcntl\nf = open(sys.argv[1], "a")\ntry:\n fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB); print("free")\nexcept OSError: print("locked")';
  const lock = await FileLock.acquire(path, 1000);
  assert.equal(python(tryLock, path), 'locked\n');
  lock.release();
  assert.equal(python(tryLock, path), 'free\n');

  const holder =
    'import fcntl, sys\nf = open(sys.argv[1], "a")\nfcntl.lockf(f, fcntl.LOCK_EX)\nprint("held", flush=True)\nsys.stdin.read()';
  const child = spawn('python3', ['-c', holder, path], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  await assert.rejects(FileLock.acquire(path, 50), { code: 'LOCK_TIMEOUT' });
  child.stdin.end();
  await once(child, 'exit');
  (await FileLock.acquire(path, 1000)).release();
});

test('a lock whose directory is missing is an error that names the file', async () => {
  await using scratch = await createScratch();
  await assert.rejects(FileLock.acquire(join(scratch.directory, 'no/lock'), 50), /no\/lock: No such file/);
});

test('without a service manager there is nobody to notify', () => {
  assert.equal(process.env['NOTIFY_SOCKET'], undefined);
  assert.equal(notify('READY=1'), false);
});

test('a service manager is told the state, on a socket with a name or without', async (t) => {
  await using scratch = await createScratch();
  const receiver =
    'import socket\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1].replace("@", "\\0")); print("bound", flush=True)\nprint(s.recv(100).decode())';
  for (const socket of [join(scratch.directory, 'notify'), `@guestwire-test-${process.pid}`]) {
    const child = spawn('python3', ['-c', `import sys\n${receiver}`, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => child.kill('SIGKILL'));
    await once(child.stdout, 'data');
    process.env['NOTIFY_SOCKET'] = socket;
    try {
      assert.equal(notify('READY=1\nSTATUS=ready'), true);
    } finally {
      delete process.env['NOTIFY_SOCKET'];
    }
    assert.equal((await text(child.stdout)).trim(), 'READY=1\nSTATUS=ready');
  }
});

/** A node that opens a file and a socket, blocks and ignores nothing, and becomes `program`. */
function becomes(program: string, ...args: readonly string[]): ReturnType<typeof spawn> {
  const script = `
    const { openSync } = await import('node:fs');
    const { createServer } = await import('node:net');
    const { replaceProcess } = await import(process.argv[1]);
    await new Promise((resolve) => createServer().listen(0, '127.0.0.1', resolve));
    openSync('/etc/passwd');
    process.on('SIGTERM', () => undefined);
    console.log(process.pid);
    replaceProcess(process.argv[2], process.argv.slice(3));
  `;
  const loader = resolve('native/binding.js');
  return spawn(process.execPath, ['--input-type=module', '-e', script, loader, program, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], KEPT: 'kept' },
  });
}

test('another program takes the place of this one, with its number, environment and standard streams alone', async () => {
  const script =
    'echo $$ $KEPT; read line; echo $line; ls /proc/$$/fd; grep -E "^Sig(Blk|Ign)" /proc/self/status; echo end >&2';
  const child = becomes('/bin/sh', '-c', script);
  child.stdin!.end('through stdin\n');
  const [out, errors] = await Promise.all([text(child.stdout!), text(child.stderr!)]);
  const [before, after, line, ...rest] = out.trim().split('\n');
  assert.equal(after, `${before} kept`);
  assert.equal(before, String(child.pid));
  assert.equal(line, 'through stdin');
  assert.deepEqual(rest.slice(0, -2), ['0', '1', '2']);
  const [blocked, ignored] = rest.slice(-2).map((mask) => BigInt(`0x${mask.split('\t')[1]!}`));
  assert.equal(blocked, 0n);
  // Node ignores SIGXFSZ (25) for good; SIGHUP (1) is to be ignored until the new program handles it.
  assert.equal(ignored! & ~(1n << 24n), 1n);
  assert.equal(errors.trim(), 'end');
});

test('a program that is not there is an error that names it, and this one goes on', () => {
  assert.throws(() => {
    replaceProcess('/nowhere/program', []);
  }, /cannot run \/nowhere\/program: No such file/);
});
