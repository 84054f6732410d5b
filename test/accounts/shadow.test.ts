import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lastChangeDay, passwordHash, setPasswordHash } from '../../ts/accounts/shadow.js';

const shadow = (text: string) => ({ passwd: 'root:x:0:0:root:/root:/bin/sh\n', shadow: text });
const HASH = '$y$j9T$new';

test('only the hash and the day of the change are replaced', () => {
  const text =
    '# keep\n+@nis\nbin:*:1::::::\nroot:$6$abcdefgh$old:19000:0:99999:7:::\nr\xff:!:2::::::\n\nrooted:*:::::::';
  assert.deepEqual(setPasswordHash(shadow(text), 'root', HASH, '20000'), [
    { path: '/etc/shadow', text: text.replace('$6$abcdefgh$old:19000', `${HASH}:20000`) },
  ]);
});

test('every form of an old hash is replaced whole, which unlocks the account', () => {
  for (const old of ['', '!', '*', '!!', '!$6$abcdefgh$x', '$6$rounds=5000$abcdefgh$x', '$y$j9T$salt$x', '$2y$10$x']) {
    const [edit] = setPasswordHash(shadow(`root:${old}:19000:0:99999:7:::\n`), 'root', HASH, '20000');
    assert.equal(edit?.text, `root:${HASH}:20000:0:99999:7:::\n`, old);
  }
});

test('a user without a line is an error, and so are missing files', () => {
  const cases = [
    { files: { passwd: null, shadow: 'daemon:*:1:0:99999:7:::\n' }, file: '/etc/shadow' },
    { files: { passwd: 'bin:x:1:1::/:\n', shadow: '#root:*:1:0:99999:7:::\nroots:*:::::::\n' }, file: '/etc/shadow' },
    { files: { passwd: 'bin:x:1:1::/:\n', shadow: null }, file: '/etc/passwd' },
    { files: { passwd: null, shadow: null }, file: '/etc/passwd' },
  ];
  for (const { files, file } of cases) {
    const wanted = { code: 'GW_USER_UNKNOWN', message: `No user 'root' in ${file}` };
    assert.throws(() => setPasswordHash(files, 'root', HASH, '1'), wanted);
  }
});

test('a user whom passwd sends to the shadow file gets a line there, before the entries of NIS', () => {
  for (const [before, after] of [
    ['', `root:${HASH}:20000::::::\n`],
    ['bin:*:1::::::\n', `bin:*:1::::::\nroot:${HASH}:20000::::::\n`],
    ['bin:*:1::::::', `bin:*:1::::::\nroot:${HASH}:20000::::::\n`],
    ['bin:*:1::::::\n-guest\n+::::::::', `bin:*:1::::::\nroot:${HASH}:20000::::::\n-guest\n+::::::::`],
  ] as const) {
    assert.deepEqual(setPasswordHash(shadow(before), 'root', HASH, '20000'), [{ path: '/etc/shadow', text: after }]);
  }
});

test('where there is no shadow file the hash goes to passwd, whatever passwd says, as chpasswd has it', () => {
  assert.deepEqual(setPasswordHash({ ...shadow(''), shadow: null }, 'root', HASH, '20000'), [
    { path: '/etc/passwd', text: `root:${HASH}:0:0:root:/root:/bin/sh\n` },
  ]);
});

test('the first of two lines is the one that counts', () => {
  const [edit] = setPasswordHash(shadow('root:a:1::::::\nroot:b:2::::::\n'), 'root', HASH, '3');
  assert.equal(edit?.text, `root:${HASH}:3::::::\nroot:b:2::::::\n`);
});

test('a line with fields missing gets them, or the C library would skip it', () => {
  const [edit] = setPasswordHash(shadow('root:*'), 'root', HASH, '20000');
  assert.equal(edit?.text, `root:${HASH}:20000::::::`);
});

/** Lines that glibc skips, as sgetspent(3) of Debian 13 does. */
const SKIPPED = [
  'root:!',
  'root:!:19000',
  'root:!:19000::',
  'root:!:-1::::::',
  'root:!:19000:::::',
  'root:!:19000:0:99999:7:::0:',
  'root:!:soon:0:99999:7:::',
  'root:!:19000:0:99999:7:::\r',
];

test('a line that the C library skips is not the one that counts, but the first that it reads', () => {
  for (const line of SKIPPED) {
    const text = `${line}\nroot:$6$old:1::::::\nroot:b:2::::::\n`;
    assert.equal(passwordHash(shadow(text), 'root'), '$6$old', line);
    const [edit] = setPasswordHash(shadow(text), 'root', HASH, '3');
    assert.equal(edit?.text, `${line}\nroot:${HASH}:3::::::\nroot:b:2::::::\n`);
  }
  for (const line of ['root:a:1:2:3', 'root:a:1:2::', 'root:a:1:2:3:4::5', 'root:a: 1::::::', 'root:a:1::::::7']) {
    assert.equal(passwordHash(shadow(`${line}\nroot:b:2::::::\n`), 'root'), 'a', line);
  }
  const passwd = 'root:$1$a\nroot:$1$b:x:0::/:\nroot:$1$c:0:0::/:/bin/sh\n';
  assert.equal(passwordHash({ passwd, shadow: null }, 'root'), '$1$c');
});

test('where the C library skips every line of the user, the first is mended', () => {
  for (const line of SKIPPED) {
    const [edit] = setPasswordHash(shadow(`${line}\n`), 'root', HASH, '3');
    const [fields, mended] = [line.split(':'), edit?.text.trimEnd().split(':')];
    assert.equal(mended?.length, 9, line);
    assert.deepEqual(mended.slice(0, 3), ['root', HASH, '3']);
    assert.ok(mended.slice(3).every((text, index) => text === '' || text === fields[index + 3]));
    assert.equal(passwordHash(shadow(`${edit?.text ?? ''}root:b:2::::::\n`), 'root'), HASH);
  }
});

test('without shadow passwords the hash goes to passwd', () => {
  const files = { passwd: 'root:$6$old:0:0:root:/root:/bin/sh\nbin:*:1:1::/:\n', shadow: null };
  assert.equal(passwordHash(files, 'root'), '$6$old');
  assert.deepEqual(setPasswordHash(files, 'root', HASH, '20000'), [
    { path: '/etc/passwd', text: `root:${HASH}:0:0:root:/root:/bin/sh\nbin:*:1:1::/:\n` },
  ]);
});

test('a passwd line that hides the shadow line is made to point to it', () => {
  const files = { passwd: 'root::0:0:root:/root:/bin/sh\n', shadow: 'root:*:1::::::\n' };
  assert.equal(passwordHash(files, 'root'), '');
  const edits = setPasswordHash(files, 'root', HASH, '2');
  assert.deepEqual(edits, [
    { path: '/etc/shadow', text: `root:${HASH}:2::::::\n` },
    { path: '/etc/passwd', text: 'root:x:0:0:root:/root:/bin/sh\n' },
  ]);
});

test('the day of the change is counted in UTC', () => {
  assert.equal(lastChangeDay(Date.UTC(2026, 10, 24, 23, 59, 59)), '20781');
  assert.equal(lastChangeDay(Date.UTC(2026, 10, 25)), '20782');
});

test('a clock that was never set leaves the day empty: 0 would ask for a new password at once', () => {
  assert.equal(lastChangeDay(0), '');
  assert.equal(lastChangeDay(Date.UTC(2019, 11, 31)), '');
  assert.equal(lastChangeDay(Date.UTC(2020, 0, 1)), '18262');
});
