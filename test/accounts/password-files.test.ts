import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setMasterHash } from '../../ts/accounts/master-passwd.js';
import { findHash, type HashFiles, hashSystem, putBack, setHash, tcbPath } from '../../ts/accounts/password-files.js';

const NOW = Date.UTC(2026, 10, 24, 12);
const SECONDS = NOW / 1000;
const NONE: HashFiles = { passwd: null, shadow: null, master: null, tcb: null };
const HASH = '$6$abcdefgh$new';
/** As FreeBSD installs it. */
const MASTER = [
  '# $FreeBSD$',
  '#',
  'root:$6$abcdefgh$old:0:0::0:0:Charlie &:/root:/bin/csh',
  'toor:*:0:0::0:0:Bourne-again Superuser:/root:',
  'daemon:*:1:1::0:0:Owner of many system processes:/root:/usr/sbin/nologin',
  'locked:*LOCKED*$6$abcdefgh$old:1001:1001:staff:0:0:K\xf6rn:/home/locked:/bin/sh',
  '+:::::::::',
  '',
].join('\n');

test('in master.passwd only the hash is replaced, byte for byte', () => {
  for (const [user, old] of [
    ['root', '$6$abcdefgh$old'],
    ['toor', '*'],
    ['locked', '*LOCKED*$6$abcdefgh$old'],
  ] as const) {
    assert.deepEqual(setMasterHash(MASTER, user, HASH, NOW), {
      path: '/etc/master.passwd',
      text: MASTER.replace(`\n${user}:${old}:`, () => `\n${user}:${HASH}:`),
    });
  }
});

test('a new password that was due is there, and the time is taken away; a later one stays', () => {
  const line = (hash: string, change: string): string => `root:${hash}:0:0:staff:${change}:99:Charlie:/root:/bin/csh\n`;
  for (const [before, after] of [
    ['0', '0'],
    ['', ''],
    ['1', '0'],
    [String(SECONDS), '0'],
    [String(SECONDS + 1), String(SECONDS + 1)],
    ['soon', 'soon'],
  ] as const) {
    assert.equal(setMasterHash(line('*', before), 'root', HASH, NOW).text, line(HASH, after), before);
  }
  assert.equal(setMasterHash(line('*', '86400'), 'root', HASH, 0).text, line(HASH, '86400'), 'a clock never set');
  assert.equal(setMasterHash('root:*:0\n', 'root', HASH, NOW).text, `root:${HASH}:0\n`);
});

test('a user whom master.passwd does not have is an error, and so is what is no name', () => {
  for (const user of ['ghost', '+', '#', '# $FreeBSD$', 'root:$6$abcdefgh$old', '']) {
    const wanted = { code: 'GW_USER_UNKNOWN', message: `No user '${user}' in /etc/master.passwd` };
    assert.throws(() => setMasterHash(MASTER, user, HASH, NOW), wanted);
  }
});

test('the hash is looked for where the system keeps it', () => {
  const passwd = 'root:x:0:0::/:/bin/sh\n';
  const shadow = 'root:inshadow:1::::::\n';
  const tcb = 'root:intcb:1::::::\n';
  for (const [files, system, hash] of [
    [{ ...NONE, passwd, shadow }, 'shadow', 'inshadow'],
    [{ ...NONE, passwd: 'root:inpasswd:0:0::/:/bin/sh\n' }, 'shadow', 'inpasswd'],
    [{ ...NONE, passwd: 'root:*:0:0::/:/bin/sh\n', master: MASTER }, 'master', '$6$abcdefgh$old'],
    [{ ...NONE, passwd, shadow, master: MASTER }, 'shadow', 'inshadow'],
    [{ ...NONE, passwd, shadow, tcb }, 'tcb', 'intcb'],
    [NONE, 'shadow', null],
  ] as const) {
    assert.equal(hashSystem(files), system);
    assert.equal(findHash(files, 'root'), hash);
  }
});

test('nothing is left to write once hash and day are there, and a tcb file is never ours to write', () => {
  const shadow = `root:${HASH}:20781:0:99999:7:::\n`;
  const files = { ...NONE, passwd: 'root:x:0:0::/:/bin/sh\n', shadow };
  assert.deepEqual(setHash(files, 'root', HASH, NOW), []);
  const late = { ...files, shadow: shadow.replace('20781', '19000') };
  assert.deepEqual(setHash(late, 'root', HASH, NOW), [{ path: '/etc/shadow', text: shadow }]);
  // As chpasswd leaves a passwd line that did not point to the shadow file.
  const open = { ...files, passwd: `root:${HASH}:0:0::/:/bin/sh\n` };
  assert.deepEqual(setHash(open, 'root', HASH, NOW), [{ path: '/etc/passwd', text: 'root:x:0:0::/:/bin/sh\n' }]);
  assert.deepEqual(setHash({ ...files, tcb: 'root:*:1::::::\n' }, 'root', HASH, NOW), []);
});

test('putting back touches the lines that have the hash, and keeps what others changed meanwhile', () => {
  const before = { ...NONE, passwd: 'root:x:0:0::/:/bin/sh\n', shadow: 'root:*:19000:0:9:7:::\nbin:*:1::::::\n' };
  const files = { ...before, shadow: `root:${HASH}:20781:0:9:7:::\nbin:!:2::::::\n` };
  assert.deepEqual(putBack(files, before, 'root', HASH), [
    { path: '/etc/shadow', text: 'root:*:19000:0:9:7:::\nbin:!:2::::::\n' },
  ]);
  assert.deepEqual(putBack(before, before, 'root', HASH), []);
  assert.deepEqual(putBack({ ...files, shadow: null }, before, 'root', HASH), []);
  // chpasswd made a line where there was none.
  assert.deepEqual(putBack(files, { ...before, shadow: 'bin:*:1::::::\n' }, 'root', HASH), [
    { path: '/etc/shadow', text: 'bin:!:2::::::\n' },
  ]);
  // And where there was one that the C library skips.
  const skipped = { ...before, shadow: 'root:!:19000\nbin:*:1::::::\n' };
  assert.deepEqual(
    putBack({ ...skipped, shadow: `${skipped.shadow}root:${HASH}:20781::::::\n` }, skipped, 'root', HASH),
    [{ path: '/etc/shadow', text: skipped.shadow }],
  );
  const master = MASTER.replace('root:$6$abcdefgh$old', () => `root:${HASH}`);
  assert.deepEqual(putBack({ ...NONE, master }, { ...NONE, master: MASTER }, 'root', HASH), [
    { path: '/etc/master.passwd', text: MASTER },
  ]);
});

test('no name leads out of /etc/tcb', () => {
  assert.equal(tcbPath('root'), '/etc/tcb/root/shadow');
  for (const user of ['', '.', '..', '../x', 'a/b', '/etc', 'a:b', 'a\nb', '+a'])
    assert.equal(tcbPath(user), null, user);
});
