import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmod, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type CommandModule, type Host, Secret } from '../../ts/api/index.js';
import { type PasswordOptions } from '../../ts/commands/password.js';
import { encryptPassword, type KeyDigest } from '../../ts/crypto/password.js';
import { decodeSealed, encodePasswordRequest, encodeSealed } from '../../ts/crypto/sealed.js';
import { createKeyExchange, createSealedExchange } from '../../ts/host/shared/key-exchange.js';
import { call } from '../support/command-context.js';
import { commandsFor } from '../support/password-client.js';
import { createScratchHost } from '../support/scratch-host.js';
import { createScratch } from '../support/scratch.js';

const LIFETIME = 300_000;
const NOW = Date.UTC(2026, 10, 24, 12);
const TODAY = '20781';
const SHADOW = `# kept\nroot:$6$abcdefgh$old:19000:0:99999:7:::\nbin:*:19000::::::\n`;

function commands(host: Host, options: Partial<PasswordOptions> = {}): CommandModule {
  return commandsFor(host, { keyLifetimeMs: LIFETIME, now: () => NOW, ...options });
}

/** The host's side: makes a key exchange with the agent and returns what encrypts under the shared key. */
async function exchange(module: CommandModule): Promise<(password: string, digest?: KeyDigest) => Promise<string>> {
  const ours = createKeyExchange();
  const reply = await call(module, 'keyinit', ours.publicKey);
  assert.equal(reply.returncode, 'D0');
  const shared = ours.sharedSecret(reply.message);
  return (password, digest = 'md5') => encryptPassword(new Secret(Buffer.from(password)), shared, digest);
}

/** The same in the strong form; what it returns serves once. `text` is sealed as it is. */
async function sealedExchange(module: CommandModule): Promise<(text: Secret) => string> {
  const ours = createSealedExchange();
  const reply = await call(module, 'keyinit', encodeSealed(ours.publicKey));
  assert.equal(reply.returncode, 'D0', reply.message);
  ours.agreeAsHost(decodeSealed(reply.message, 'public key')!);
  return (text) => encodeSealed(ours.seal(text));
}

function request(password: string, user: string | null = null): Secret {
  return encodePasswordRequest({ user, password: new Secret(Buffer.from(password)) });
}

function hashOf(shadow: string, user = 'root'): string {
  return new RegExp(`^${user}:([^:]*)`, 'm').exec(shadow)?.[1] ?? '';
}

function accepts(hash: string, password: string): boolean {
  const env = { ...process.env, PASSWORD: password, HASH: hash };
  return execFileSync('perl', ['-e', 'print crypt($ENV{PASSWORD}, $ENV{HASH})'], { env }).toString() === hash;
}

test('the host sets a password, with either digest, and crypt(3) accepts it', async () => {
  for (const digest of ['md5', 'sha256'] satisfies KeyDigest[]) {
    await using scratch = await createScratch();
    const path = await scratch.write('etc/shadow', SHADOW);
    await chmod(path, 0o640);
    const module = commands(createScratchHost(scratch));
    const encrypt = await exchange(module);
    assert.deepEqual(await call(module, 'password', await encrypt('pässwörd ☃', digest)), {
      returncode: '0',
      message: '',
    });
    const shadow = await readFile(path, 'utf8');
    assert.ok(accepts(hashOf(shadow), 'pässwörd ☃'));
    assert.equal(shadow, SHADOW.replace('$6$abcdefgh$old:19000', `${hashOf(shadow)}:${TODAY}`));
    assert.equal((await stat(path)).mode & 0o7777, 0o640);
    // Confirmed: the old file stays as a backup.
    assert.equal((await readdir(join(scratch.state, 'backup'))).length, 1);
  }
});

test('every old hash gives way to one that a login accepts, never MD5 and never a failure token', async () => {
  for (const [old, scheme] of [
    ['$6$abcdefgh$x', '$6$'],
    ['!', '$6$'],
    ['!$6$abcdefgh$x', '$6$'],
    ['$6$rounds=5000$abcdefgh$x', '$6$'],
    ['$y$j9T$salt$x', '$y$'],
    ['$2y$10$x', '$6$'],
    ['$1$x$y', '$6$'],
  ] as const) {
    await using scratch = await createScratch();
    const path = await scratch.write('etc/shadow', `root:${old}:19000:0:99999:7:::\n`, 0o600);
    const module = commands(createScratchHost(scratch));
    const encrypt = await exchange(module);
    assert.equal((await call(module, 'password', await encrypt('S3cret'))).returncode, '0', old);
    const hash = hashOf(await readFile(path, 'utf8'));
    assert.ok(hash.startsWith(scheme), `${old} became ${hash}`);
    assert.ok(accepts(hash, 'S3cret'), hash);
  }
});

test("the system's policy chooses the scheme of a first hash", async () => {
  await using scratch = await createScratch();
  const path = await scratch.write('etc/shadow', 'root:*:19000:0:99999:7:::\n', 0o600);
  await scratch.write(
    'etc/pam.d/common-password',
    'password [success=1 default=ignore] pam_unix.so obscure yescrypt\n',
  );
  const module = commands(createScratchHost(scratch));
  await call(module, 'password', await (await exchange(module))('S3cret'));
  assert.match(hashOf(await readFile(path, 'utf8')), /^[$]y[$]/);
});

test('a key serves one password, and any number of tries until then', async () => {
  await using scratch = await createScratch();
  await scratch.write('etc/shadow', SHADOW, 0o600);
  const module = commands(createScratchHost(scratch));
  const missing = { returncode: '500', message: 'Password without key exchange' };
  assert.deepEqual(await call(module, 'password', 'N1CjYioSnoHhlnfwF6M6MA=='), missing);
  const encrypt = await exchange(module);
  assert.equal((await call(module, 'password', 'N1CjYioSnoHhlnfwF6M6MA==')).returncode, '500');
  assert.deepEqual(await call(module, 'password', await encrypt('S3cret')), { returncode: '0', message: '' });
  assert.deepEqual(await call(module, 'password', await encrypt('S3cret')), missing);
});

test('a new key exchange replaces the key', async () => {
  await using scratch = await createScratch();
  await scratch.write('etc/shadow', SHADOW, 0o600);
  const module = commands(createScratchHost(scratch));
  const [first, second] = [await exchange(module), await exchange(module)];
  assert.equal((await call(module, 'password', await first('S3cret'))).returncode, '500');
  assert.equal((await call(module, 'password', await second('S3cret'))).returncode, '0');
});

test('a key is dropped when its time is over, by the timer or by the clock', async (t) => {
  await using scratch = await createScratch();
  const path = await scratch.write('etc/shadow', SHADOW, 0o600);
  const host = createScratchHost(scratch);
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const byTimer = commands(host);
  const encrypt = await exchange(byTimer);
  t.mock.timers.tick(LIFETIME);
  assert.equal((await call(byTimer, 'password', await encrypt('S3cret'))).message, 'Password without key exchange');

  let now = NOW;
  const byClock = commands(host, { now: () => now });
  const encryptLater = await exchange(byClock);
  now += LIFETIME + 1;
  assert.equal(
    (await call(byClock, 'password', await encryptLater('S3cret'))).message,
    'Password without key exchange',
  );
  assert.equal(await readFile(path, 'utf8'), SHADOW);
});

test('an empty password, and one that a login prompt cannot take, is refused', async () => {
  await using scratch = await createScratch();
  const path = await scratch.write('etc/shadow', SHADOW, 0o600);
  const module = commands(createScratchHost(scratch));
  const encrypt = await exchange(module);
  const wanted = 'Invalid password: expected text of at most 511 bytes in one line, got';
  for (const [password, message] of [
    ['', 'Refused: the new password is empty'],
    ['\n\n', 'Refused: the new password is empty'],
    ['a\nb', `${wanted} a line break or a NUL inside`],
    ['a\0b', `${wanted} a line break or a NUL inside`],
    ['x'.repeat(512), `${wanted} 512 bytes`],
  ] as const) {
    assert.deepEqual(await call(module, 'password', await encrypt(password)), { returncode: '500', message });
  }
  assert.equal(await readFile(path, 'utf8'), SHADOW);
});

test('base64 is checked before the key, as hosts know it', async () => {
  await using scratch = await createScratch();
  const module = commands(createScratchHost(scratch));
  for (const value of ['***', 'abc', 5, null, undefined, {}, ['x']]) {
    const reply = await call(module, 'password', value);
    assert.deepEqual(reply, { returncode: '500', message: "Couldn't decode base64 data" });
  }
});

test('ciphertext of no whole blocks is refused, and an empty one', async () => {
  await using scratch = await createScratch();
  const module = commands(createScratchHost(scratch));
  await exchange(module);
  for (const [value, bytes] of [
    ['', 0],
    ['AAAAAAAAAAA=', 8],
  ] as const) {
    const message = `Invalid password data received: expected blocks of 16 bytes, got ${bytes} bytes`;
    assert.deepEqual(await call(module, 'password', value), { returncode: '500', message });
  }
});

test('a missing user and missing password files are errors that change nothing', async () => {
  for (const [files, message] of [
    [{ 'etc/shadow': 'daemon:*:1::::::\n' }, "No user 'root' in /etc/shadow"],
    [{ 'etc/passwd': 'daemon:x:1:1::/:\n' }, "No user 'root' in /etc/passwd"],
  ] as const) {
    await using scratch = await createScratch();
    for (const [path, content] of Object.entries(files)) await scratch.write(path, content);
    const module = commands(createScratchHost(scratch));
    const encrypt = await exchange(module);
    assert.deepEqual(await call(module, 'password', await encrypt('S3cret')), { returncode: '500', message });
    for (const [path, content] of Object.entries(files)) {
      assert.equal(await readFile(join(scratch.root, path), 'utf8'), content);
    }
  }
});

test('a hash that does not come back as written is put back and told', async () => {
  await using scratch = await createScratch();
  const path = await scratch.write('etc/shadow', SHADOW, 0o600);
  const host = createScratchHost(scratch);
  let reads = 0;
  // Somebody else writes the file between our write and our look at it.
  const read = (name: string): Promise<Buffer | null> =>
    name === '/etc/shadow' && ++reads > 1 ? Promise.resolve(Buffer.from('root:*:1::::::\n')) : host.files.read(name);
  const module = commands({ ...host, files: { ...host.files, read } });
  const encrypt = await exchange(module);
  const reply = await call(module, 'password', await encrypt('S3cret'));
  assert.deepEqual(reply, {
    returncode: '500',
    message: 'Could not write /etc/shadow: it does not hold the new hash; it was put back',
  });
  assert.equal(await readFile(path, 'utf8'), SHADOW);
});

test('keyinit takes a number as well as text, and refuses what is no public key', async () => {
  await using scratch = await createScratch();
  const module = commands(createScratchHost(scratch));
  for (const value of ['25', ' 25\n', 25, 25n]) {
    const reply = await call(module, 'keyinit', value);
    assert.equal(reply.returncode, 'D0');
    assert.match(reply.message, /^[0-9]{1,33}$/);
  }
  const notText = 'Invalid public key: expected a decimal number as text, got';
  const notKey = 'Invalid public key: expected a decimal number between 2 and p-2, got';
  for (const [value, message] of [
    ['zzz', `${notKey} something else`],
    ['', `${notKey} something else`],
    ['0', `${notKey} a number out of range`],
    [1, `${notKey} a number out of range`],
    ['162259276829213363391578010288126', `${notKey} a number out of range`],
    [1e31, `${notText} a number that JSON does not carry exactly`],
    [2.5, `${notText} a number that JSON does not carry exactly`],
    [null, `${notText} null`],
    [[25], `${notText} a list`],
    [{}, `${notText} an object`],
    [true, `${notText} a boolean`],
  ] as const) {
    assert.deepEqual(await call(module, 'keyinit', value), { returncode: '500', message });
  }
});

test('a refused key exchange leaves the key that was there', async () => {
  await using scratch = await createScratch();
  await scratch.write('etc/shadow', SHADOW, 0o600);
  const module = commands(createScratchHost(scratch));
  const encrypt = await exchange(module);
  assert.equal((await call(module, 'keyinit', '1')).returncode, '500');
  assert.equal((await call(module, 'password', await encrypt('S3cret'))).returncode, '0');
});

test('in the strong form the host sets the password of the user that is configured', async () => {
  await using scratch = await createScratch();
  const path = await scratch.write('etc/shadow', SHADOW, 0o600);
  const module = commands(createScratchHost(scratch));
  // Not taken apart: it is the password, whatever it looks like.
  for (const password of ['pässwörd ☃', '{"user":"bin","password":"x"}', ' blanks around ']) {
    const seal = await sealedExchange(module);
    assert.deepEqual(await call(module, 'password', seal(request(password))), { returncode: '0', message: '' });
    assert.ok(accepts(hashOf(await readFile(path, 'utf8')), password), password);
  }
});

test("in nova's form a password that looks like a request is a password", async () => {
  await using scratch = await createScratch();
  const path = await scratch.write('etc/shadow', SHADOW, 0o600);
  const module = commands(createScratchHost(scratch), { users: ['bin'] });
  const password = '{"user":"bin","password":"x"}';
  assert.equal((await call(module, 'password', await (await exchange(module))(password))).returncode, '0');
  const shadow = await readFile(path, 'utf8');
  assert.ok(accepts(hashOf(shadow), password));
  assert.equal(hashOf(shadow, 'bin'), '*');
});

test('a request names another user where the configuration allows it, and no one else', async () => {
  await using scratch = await createScratch();
  const path = await scratch.write('etc/shadow', SHADOW, 0o600);
  const module = commands(createScratchHost(scratch), { users: ['bin', 'ghost'] });
  const set = async (user: string): Promise<unknown> =>
    call(module, 'password', (await sealedExchange(module))(request('S3cret', user)));
  const ok = { returncode: '0', message: '' };
  for (const user of ['daemon', 'bin:x', 'root\n', 'BIN']) {
    const message = `Refused: the password of '${user}' is not among those that the host may set`;
    assert.deepEqual(await set(user), { returncode: '500', message });
  }
  assert.deepEqual(await set('ghost'), { returncode: '500', message: "No user 'ghost' in /etc/shadow" });
  assert.equal(await readFile(path, 'utf8'), SHADOW);
  assert.deepEqual(await set('bin'), ok);
  const shadow = await readFile(path, 'utf8');
  assert.ok(accepts(hashOf(shadow, 'bin'), 'S3cret'));
  assert.equal(hashOf(shadow), hashOf(SHADOW));
  assert.deepEqual(await set('root'), ok);
  assert.ok(accepts(hashOf(await readFile(path, 'utf8')), 'S3cret'));
});

test('a strong key serves one message, whatever that was worth', async () => {
  await using scratch = await createScratch();
  const path = await scratch.write('etc/shadow', SHADOW, 0o600);
  const module = commands(createScratchHost(scratch));
  const missing = { returncode: '500', message: 'Password without key exchange' };
  const broken = 'sealed with another key, or changed on the way';
  for (const [text, spoil, message] of [
    [request('S3cret'), (good: string) => `${good.slice(0, -4)}AAAA`, broken],
    [request('S3cret'), () => encodeSealed(Buffer.alloc(3)), broken],
    [new Secret(Buffer.from('S3cret')), (good: string) => good, 'no JSON object is in it'],
  ] as const) {
    const good = (await sealedExchange(module))(text);
    const unreadable = { returncode: '500', message: `Invalid password data received: ${message}` };
    assert.deepEqual(await call(module, 'password', spoil(good)), unreadable);
    assert.deepEqual(await call(module, 'password', good), missing);
  }
  assert.equal(await readFile(path, 'utf8'), SHADOW);
  const sealed = (await sealedExchange(module))(request('S3cret'));
  assert.equal((await call(module, 'password', sealed)).returncode, '0');
  assert.deepEqual(await call(module, 'password', sealed), missing);
});

test('a strong key is dropped when its time is over, by the timer or by the clock', async (t) => {
  await using scratch = await createScratch();
  const path = await scratch.write('etc/shadow', SHADOW, 0o600);
  const host = createScratchHost(scratch);
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const byTimer = commands(host);
  const early = (await sealedExchange(byTimer))(request('S3cret'));
  t.mock.timers.tick(LIFETIME);
  assert.equal((await call(byTimer, 'password', early)).message, 'Password without key exchange');
  let now = NOW;
  const byClock = commands(host, { now: () => now });
  const late = (await sealedExchange(byClock))(request('S3cret'));
  now += LIFETIME + 1;
  assert.equal((await call(byClock, 'password', late)).message, 'Password without key exchange');
  assert.equal(await readFile(path, 'utf8'), SHADOW);
});

test('a message of one form does not fit a key of the other, and leaves it', async () => {
  await using scratch = await createScratch();
  await scratch.write('etc/shadow', SHADOW, 0o600);
  const module = commands(createScratchHost(scratch));
  const missing = { returncode: '500', message: 'Password without key exchange' };
  const seal = await sealedExchange(module);
  const encrypt = await exchange(module);
  assert.deepEqual(await call(module, 'password', seal(request('S3cret'))), missing);
  assert.equal((await call(module, 'password', await encrypt('S3cret'))).returncode, '0');
  const sealAgain = await sealedExchange(module);
  assert.deepEqual(await call(module, 'password', 'N1CjYioSnoHhlnfwF6M6MA=='), missing);
  assert.equal((await call(module, 'password', sealAgain(request('S3cret')))).returncode, '0');
});

test('a public key of the strong form that is none is refused, and leaves the key that was there', async () => {
  await using scratch = await createScratch();
  await scratch.write('etc/shadow', SHADOW, 0o600);
  const module = commands(createScratchHost(scratch));
  const seal = await sealedExchange(module);
  for (const [value, expected, got] of [
    [encodeSealed(Buffer.alloc(32)), '32 bytes of X25519', 'a point of low order'],
    [encodeSealed(Buffer.alloc(31, 9)), '32 bytes of X25519', '31 bytes'],
    ['x25519-v1:', '32 bytes of X25519', '0 bytes'],
    ['x25519-v1:***', 'x25519-v1: and base64', 'something else than base64'],
    ['x25519-v2:AAAA', 'x25519-v1: and base64', 'the unknown form x25519-v2'],
  ] as const) {
    const message = `Invalid public key: expected ${expected}, got ${got}`;
    assert.deepEqual(await call(module, 'keyinit', value), { returncode: '500', message });
  }
  assert.equal((await call(module, 'password', seal(request('S3cret')))).returncode, '0');
});

test('the configuration refuses the weak key exchange and leaves the strong one', async () => {
  await using scratch = await createScratch();
  await scratch.write('etc/shadow', SHADOW, 0o600);
  const module = commands(createScratchHost(scratch), { weakExchange: false });
  const message = 'Refused: the 107-bit key exchange is switched off; features lists which is not';
  for (const value of ['25', 25, 'zzz']) {
    assert.deepEqual(await call(module, 'keyinit', value), { returncode: '500', message });
  }
  const seal = await sealedExchange(module);
  assert.equal((await call(module, 'keyinit', '25')).returncode, '500');
  assert.equal((await call(module, 'password', seal(request('S3cret')))).returncode, '0');
});

test('a locked account is unlocked by a new password, or left alone where the configuration says so', async () => {
  for (const [old, locked] of [
    ['*', true],
    ['!', true],
    ['!!', true],
    ['!$6$abcdefgh$x', true],
    ['*LK*', true],
    ['', false],
    ['$6$abcdefgh$x', false],
  ] as const) {
    await using scratch = await createScratch();
    const before = `root:${old}:19000:0:99999:7:::\n`;
    const path = await scratch.write('etc/shadow', before, 0o600);
    const host = createScratchHost(scratch);
    const never = commands(host, { unlock: 'never' });
    const reply = await call(never, 'password', (await sealedExchange(never))(request('S3cret')));
    if (locked) {
      const message = "Refused: the account 'root' is locked and is not to be unlocked; nothing was changed";
      assert.deepEqual(reply, { returncode: '500', message }, old);
      assert.equal(await readFile(path, 'utf8'), before);
    } else {
      assert.deepEqual(reply, { returncode: '0', message: '' }, old);
    }
    const always = commands(host);
    await call(always, 'password', await (await exchange(always))('an0ther'));
    assert.ok(accepts(hashOf(await readFile(path, 'utf8')), 'an0ther'), old);
  }
});
