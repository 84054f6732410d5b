import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseScheme, isCryptHash, type HashPolicyFacts } from '../../ts/accounts/hash-policy.js';

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

test('a hash is what crypt(3) of libxcrypt makes, and nothing else', () => {
  for (const hash of [
    '$1$abc$OGyl6dDvZCDiGmIVbeuCq/',
    '$5$abc$sCOGUciM.GdmYMCUvmUcgu03oRH87O0clF96.9mwWGB',
    '$6$rounds=1000$abc$zaWpAwySRl8PX4W2aEMJwxpN82bCKtDZP0RBdOD6W7BQlilBqAsWnAZuS10iUyJZneS8Ob1gxs1BZkqJi1nTi.',
    '$y$j9T$abcdefghijk.$5T/sb4WbDdU/DKPXSQcp4ZNMq3FQ3.VBZxMD0wbFl8/',
    '$gy$j9T$abcdefghijk.$gM4gIxD03eNkUuqbqC/Vlj04tcCMZMuXhnHyp4AAfG9',
    '$2b$04$abcdefghijklmnopqrstuuPp7HPfoAs8I2dCQCQ/fW7zEJv8I8C8e',
    '$7$CU..../....abcdefgh$19TzpFZ5AwP26vdEMbfvWacoVUfd2MfVusFAVFilh.C',
  ]) {
    assert.ok(isCryptHash(hash), hash);
    for (const broken of [hash.slice(0, -1), `${hash}.`, `!${hash}`, hash.replace(/^.[a-z0-9]+/, '$zz')]) {
      assert.ok(!isCryptHash(broken), broken);
    }
  }
  for (const text of ['$6$short', '$zz$aa$Text', '', '*', '$6$a$b', `$6$a:b$${'x'.repeat(86)}`])
    assert.ok(!isCryptHash(text));
});
