import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseScheme, type HashPolicyFacts } from '../../ts/accounts/hash-policy.js';

const nothing: HashPolicyFacts = { present: null, pam: [], loginDefs: [] };
const DEBIAN_12 =
  '# comment yescrypt\npassword\t[success=1 default=ignore]\tpam_unix.so obscure yescrypt\npassword requisite pam_deny.so\n';
const EL_9 =
  'auth sufficient pam_unix.so nullok\npassword    sufficient  pam_unix.so sha512 shadow nullok use_authtok\n';

test('the present hash says it first, locked or not', () => {
  const facts = { pam: [EL_9], loginDefs: ['ENCRYPT_METHOD SHA512\n'] };
  assert.equal(chooseScheme({ ...facts, present: '$y$j9T$salt$hash' }), 'yescrypt');
  assert.equal(chooseScheme({ ...facts, present: '!$y$j9T$salt$hash' }), 'yescrypt');
  assert.equal(chooseScheme({ present: '$6$salt$hash', pam: [DEBIAN_12], loginDefs: [] }), 'sha512');
});

test('then PAM, then login.defs, then SHA-512', () => {
  assert.equal(chooseScheme({ ...nothing, pam: [DEBIAN_12], loginDefs: ['ENCRYPT_METHOD SHA512'] }), 'yescrypt');
  assert.equal(chooseScheme({ ...nothing, pam: [EL_9], loginDefs: ['ENCRYPT_METHOD YESCRYPT'] }), 'sha512');
  assert.equal(
    chooseScheme({ ...nothing, loginDefs: ['#ENCRYPT_METHOD SHA512\nENCRYPT_METHOD YESCRYPT\n'] }),
    'yescrypt',
  );
  assert.equal(chooseScheme(nothing), 'sha512');
});

test('MD5, DES and bcrypt are never kept', () => {
  for (const present of ['$1$salt$hash', 'ab01FAX.bQRSU', '$2y$10$hash', '*', '!', '', '*0']) {
    assert.equal(chooseScheme({ ...nothing, present }), 'sha512', present);
    assert.equal(chooseScheme({ ...nothing, present, pam: [DEBIAN_12] }), 'yescrypt', present);
  }
  const weak = { pam: ['password required pam_unix.so md5\n'], loginDefs: ['ENCRYPT_METHOD MD5\n'] };
  assert.equal(chooseScheme({ ...nothing, ...weak }), 'sha512');
});

test('a word about passwords in another module or another stack says nothing', () => {
  const pam = ['password requisite pam_pwhistory.so yescrypt\nauth required pam_unix.so yescrypt\n'];
  assert.equal(chooseScheme({ ...nothing, pam }), 'sha512');
});
