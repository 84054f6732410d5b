import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentError } from '../../ts/api/errors.js';
import { printableUrl } from '../../ts/agent/updates.js';
import { beside, parseManifest, parseUpdateRequest } from '../../ts/commands/update-request.js';

const URL_TEXT = 'https://updates.example.org/guestwire.tar.gz';
const MD5 = '0123456789abcdef0123456789abcdef';
const SHA256 = MD5 + MD5;

function parsed(value: unknown): { url: string; digests: object } {
  const { url, digests } = parseUpdateRequest(value);
  return { url: url.href, digests };
}

test("nova's text is cut at its last comma, and a SHA-256 may stand in the place of the MD5", () => {
  assert.deepEqual(parsed(`${URL_TEXT},${MD5}`), { url: URL_TEXT, digests: { md5: MD5 } });
  assert.deepEqual(parsed(`${URL_TEXT}?a=1,2,${SHA256}`), { url: `${URL_TEXT}?a=1,2`, digests: { sha256: SHA256 } });
  assert.deepEqual(parsed(` ${URL_TEXT} , ${MD5.toUpperCase()}\n`), { url: URL_TEXT, digests: { md5: MD5 } });
});

test('an object has md5sum, sha256, both, or none where a manifest is to say it', () => {
  assert.deepEqual(parsed({ url: URL_TEXT, md5sum: MD5 }).digests, { md5: MD5 });
  assert.deepEqual(parsed({ url: URL_TEXT, sha256: SHA256.toUpperCase() }).digests, { sha256: SHA256 });
  assert.deepEqual(parsed({ url: URL_TEXT, md5sum: MD5, sha256: SHA256, x: 1 }).digests, { md5: MD5, sha256: SHA256 });
  assert.deepEqual(parsed({ url: URL_TEXT, md5sum: null }).digests, {});
});

const WRONG: readonly (readonly [value: unknown, message: string])[] = [
  [5, 'Invalid arguments: expected url,md5 or an object with url, got a number'],
  [null, 'Invalid arguments: expected url,md5 or an object with url, got null'],
  [[URL_TEXT, MD5], 'Invalid arguments: expected url,md5 or an object with url, got a list'],
  [URL_TEXT, 'Invalid arguments: expected url,md5, got text without a comma'],
  ['', 'Invalid arguments: expected url,md5, got text without a comma'],
  [{ md5sum: MD5 }, 'Invalid URL: expected text, got nothing'],
  [`nonsense,${MD5}`, 'Invalid URL: expected https://..., got something else'],
  [`file:///etc/passwd,${MD5}`, 'Invalid URL: expected https://..., got file: which is not taken'],
  [`ftp://example.org/x,${MD5}`, 'Invalid URL: expected https://..., got ftp: which is not taken'],
  [`${URL_TEXT},`, 'Invalid md5 sum: expected 32 hexadecimal digits, got 0 characters'],
  [`${URL_TEXT},${MD5}0`, 'Invalid md5 sum: expected 32 hexadecimal digits, got 33 characters'],
  [`${URL_TEXT},${MD5.replace('0', 'g')}`, 'Invalid md5 sum: expected 32 hexadecimal digits, got 32 characters'],
  [{ url: URL_TEXT, sha256: MD5 }, 'Invalid sha256 sum: expected 64 hexadecimal digits, got 32 characters'],
  [{ url: URL_TEXT, sha256: 5 }, 'Invalid sha256 sum: expected 64 hexadecimal digits, got a number'],
];
for (const [value, message] of WRONG) {
  test(`refused: ${JSON.stringify(value)}`, () => {
    assert.throws(
      () => parseUpdateRequest(value),
      (error) => error instanceof AgentError && error.message === message,
    );
  });
}

test('a manifest has a version, a digest and a size, in any order, and lines of later versions', () => {
  const lines = ['version 1.2.3-rc.1+x', `sha256 ${SHA256.toUpperCase()}`, 'size 12', 'needs something', '# x', ''];
  const manifest = { version: '1.2.3-rc.1+x', sha256: SHA256, size: 12, scope: null };
  assert.deepEqual(parseManifest(lines.join('\n')), manifest);
  assert.deepEqual(parseManifest(lines.toReversed().join('\r\n')), manifest);
  for (const left of [0, 1, 2]) assert.equal(parseManifest(lines.toSpliced(left, 1).join('\n')), null);
  for (const version of ['../../etc', '.', '-x', 'a/b', 'x'.repeat(65), '']) {
    assert.equal(parseManifest([`version ${version}`, ...lines.slice(1)].join('\n')), null, version);
  }
  assert.equal(parseManifest(lines.join('\n').replace('size 12', 'size -1')), null);
});

test('a manifest says product, architecture and expiry, or none of them; nothing twice', () => {
  const lines = ['product p', 'architecture linux-x64', 'expires 2030-01-31T12:00:00Z'];
  const old = ['version 1.2.3', `sha256 ${SHA256}`, 'size 12'];
  const scope = { product: 'p', architecture: 'linux-x64', expires: Date.UTC(2030, 0, 31, 12) };
  assert.deepEqual(parseManifest([...lines, ...old].join('\n'))?.scope, scope);
  for (const left of [0, 1, 2]) assert.equal(parseManifest([...lines.toSpliced(left, 1), ...old].join('\n')), null);
  for (const twice of [...lines, ...old, 'later x']) {
    assert.equal(parseManifest([...lines, ...old, 'later x', twice].join('\n')), null, twice);
  }
  for (const time of ['2030-01-31', '2030-01-31T12:00:00', '2030-01-31T12:00:00+01:00', '2030-13-01T00:00:00Z', '1']) {
    assert.equal(parseManifest([...lines, ...old].join('\n').replace(/(?<=expires ).*/, time)), null, time);
  }
});

test('what stands beside an archive has its path and its query, and neither query nor user is printed', () => {
  const url = new URL('https://user:password@example.org:8443/a/b.tar.gz?token=secret#x');
  assert.equal(beside(url, '.manifest').pathname, '/a/b.tar.gz.manifest');
  assert.equal(beside(url, '.manifest').search, '?token=secret');
  assert.equal(printableUrl(url), 'https://example.org:8443/a/b.tar.gz');
});
