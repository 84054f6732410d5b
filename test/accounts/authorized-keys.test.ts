import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import {
  type Edited,
  listKeys,
  mergeKeys,
  parseNewKey,
  type PublicKey,
  removeKeys,
} from '../../ts/accounts/authorized-keys.js';

const directory = mkdtempSync(join(tmpdir(), 'gw-keys-'));
after(() => {
  rmSync(directory, { recursive: true });
});

const generate = (type: string, bits: string | null, comment: string): string => {
  const path = join(directory, `${type}${bits ?? ''}`);
  const size = bits === null ? [] : ['-b', bits];
  execFileSync('ssh-keygen', ['-q', '-t', type, ...size, '-N', '', '-C', comment, '-f', path]);
  return readFileSync(`${path}.pub`, 'utf8').trim();
};
const string = (bytes: string | Buffer): Buffer => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, Buffer.from(bytes)]);
};
const blobOf = (key: string): Buffer => Buffer.from(key.split(' ')[1]!, 'base64');

const ED25519 = generate('ed25519', null, 'alice@host');
const RSA = generate('rsa', '2048', 'bob');
const ECDSA = ['256', '384', '521'].map((bits) => generate('ecdsa', bits, `curve ${bits}`));
/** Made without the hardware: `ssh-keygen` judges whether these are keys. */
const SK = [
  ['sk-ssh-ed25519@openssh.com', [string(blobOf(ED25519).subarray(-32)), string('ssh:')]],
  [
    'sk-ecdsa-sha2-nistp256@openssh.com',
    [blobOf(ECDSA[0]!).subarray(4 + 'ecdsa-sha2-nistp256'.length), string('ssh:')],
  ],
].map(([type, parts]) => {
  const blob = Buffer.concat([string(type as string), ...(parts as Buffer[])]);
  return `${type as string} ${blob.toString('base64')} token`;
});
const ALL = [ED25519, RSA, ...ECDSA, ...SK];

const key = (text: string): PublicKey => {
  const parsed = parseNewKey(text);
  assert.ok(!('wrong' in parsed), JSON.stringify(parsed));
  return parsed;
};
const wrong = (text: string): string => {
  const parsed = parseNewKey(text);
  assert.ok('wrong' in parsed, text);
  return parsed.wrong;
};

test('fingerprints and comments are those of ssh-keygen, for every type and behind options', async () => {
  const options = ['', 'no-pty ', 'command="echo \\"a b\\" # c",no-pty ', 'from="10.0.0.0/8,!10.1.2.3",restrict\t'];
  const lines = ALL.flatMap((line) => options.map((option) => `${option}${line}`));
  const path = join(directory, 'authorized_keys');
  writeFileSync(path, `# comment\n\n${lines.join('\n')}\nnonsense\n`);
  const printed = execFileSync('ssh-keygen', ['-lf', path], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const theirs = [...printed.matchAll(/^\d+ (SHA256:\S+) (.*) \(\S+\)$/gm)].map(([, hash, comment]) => [hash, comment]);
  assert.equal(theirs.length, ALL.length * options.length);
  const ours = (await listKeys(readFileSync(path, 'latin1'))).map(({ fingerprint, comment }) => [fingerprint, comment]);
  assert.deepEqual(ours, theirs);
});

test('every type is taken as a new key, with options before it', () => {
  for (const line of ALL) {
    assert.equal(key(line).line, line);
    assert.equal(key(`  restrict,command="x y" ${line} `).id, key(line).id);
  }
});

test('what ssh-keygen does not take for a key is refused with the reason, and so is what sshd no longer takes', () => {
  const [type = '', base64 = ''] = ED25519.split(' ');
  const blob = blobOf(ED25519);
  const as = (bytes: Buffer): string => `${type} ${bytes.toString('base64')}`;
  const isKey = (text: string): boolean => {
    const path = join(directory, 'one');
    writeFileSync(path, `${text}\n`);
    try {
      execFileSync('ssh-keygen', ['-lf', path], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  };
  for (const [text, reason] of [
    ['', 'no key'],
    ['# comment', 'no key'],
    ['hello world', 'no type that is known'],
    [base64, 'no type that is known'],
    [type, 'a key that is not base64'],
    [`${type} !!!!`, 'a key that is not base64'],
    [`${type} ${base64.slice(0, -3)}`, 'a key that is not base64'],
    [as(blob.subarray(0, -3)), 'a key that is no ssh-ed25519 key or cut off'],
    [as(Buffer.concat([blob, Buffer.alloc(3)])), 'a key with more bytes than a ssh-ed25519 key has'],
    [as(Buffer.from('AAAA')), 'a truncated key'],
    [`ssh-rsa ${base64}`, 'a key of another type inside than ssh-rsa'],
    [`command="x ${ED25519}`, `a key of another type inside than ${type}`],
    [
      `ecdsa-sha2-nistp384 ${Buffer.concat([string('ecdsa-sha2-nistp384'), string('nistp256'), string(Buffer.alloc(97))]).toString('base64')}`,
      'a key of another curve than ecdsa-sha2-nistp384',
    ],
    [
      `ssh-rsa ${Buffer.concat([string('ssh-rsa'), string('\x01\x00\x01'), string(Buffer.alloc(64, 0x7f))]).toString('base64')}`,
      'an RSA key of fewer than 1024 bits',
    ],
  ] as const) {
    if (text !== `command="x ${ED25519}`) assert.equal(wrong(text), reason, text);
    else assert.ok(wrong(text));
    assert.ok(!isKey(text), text);
  }
  const dsa = Buffer.concat([string('ssh-dss'), ...[1, 2, 3, 4].map((byte) => string(Buffer.alloc(20, byte)))]);
  assert.equal(wrong(`ssh-dss ${dsa.toString('base64')}`), 'a key of type ssh-dss, which is not supported');
});

test('a new key cannot bring a second line with it', () => {
  for (const text of [
    `${ED25519}\n${RSA}`,
    `${ED25519}\r${RSA}`,
    `${ED25519}\0`,
    `${ED25519} \x1b[2J`,
    `\n${ED25519}`,
  ]) {
    assert.equal(wrong(text), 'a line break or another control character in it');
  }
});

/** Without the list of keys, which the text tells. */
const edited = async (edit: Promise<Edited>): Promise<Pick<Edited, 'text' | 'count'>> => {
  const { text, count, keys } = await edit;
  assert.deepEqual(
    keys.map(({ line }) => line),
    (await listKeys(text)).map(({ line }) => line),
  );
  return { text, count };
};

test('merge keeps every line that is there, adds what is new at the end, once, and ends with a newline', async () => {
  const there = `# mine \xe9\r\n\n  no-pty ${ED25519} \nnonsense\n${RSA}`;
  const again = ED25519.replace('alice@host', 'renamed');
  const wanted = [key(again), key(ECDSA[0]!), key(`restrict ${ECDSA[0]!}`), key(ECDSA[1]!)];
  const { text, count } = await edited(mergeKeys(there, wanted));
  assert.equal(text, `${there}\n${ECDSA[0]!}\n${ECDSA[1]!}\n`);
  assert.equal(count, 2);
  assert.deepEqual(await edited(mergeKeys(text, ALL.slice(0, 4).map(key))), { text, count: 0 });
  assert.deepEqual(await edited(mergeKeys('', [key(RSA)])), { text: `${RSA}\n`, count: 1 });
});

test('a comment in UTF-8 comes into the file as it is', async () => {
  const wanted = key(ED25519.replace('alice@host', 'Zoë'));
  const text = Buffer.from((await mergeKeys('', [wanted])).text, 'latin1').toString('utf8');
  assert.equal(text, `${ED25519.replace('alice@host', 'Zoë')}\n`);
});

test('remove takes every line of a key, whatever its options and comment, and nothing else', async () => {
  const there = `# ${ED25519}\nno-pty ${ED25519}\n${RSA}\nexpiry-time="20200101" ${ED25519}\n\n${ED25519.replace('alice@host', 'again')}`;
  assert.deepEqual(await edited(removeKeys(there, [key(ED25519), key(ECDSA[0]!)])), {
    text: `# ${ED25519}\n${RSA}\n\n`,
    count: 1,
  });
  assert.deepEqual(await edited(removeKeys(`${RSA}\n`, [key(RSA)])), { text: '', count: 1 });
});

test('a key that signs certificates is another than the same key that logs in, to merge and to remove', async () => {
  const authority = `cert-authority ${ED25519}`;
  assert.deepEqual(await edited(mergeKeys(`${authority}\n`, [key(ED25519)])), {
    text: `${authority}\n${ED25519}\n`,
    count: 1,
  });
  const both = `${ED25519}\nCert-Authority,principals="x" ${ED25519}\n`;
  assert.deepEqual(await edited(mergeKeys(both, [key(authority)])), { text: `${both}${authority}\n`, count: 1 });
  assert.deepEqual(await edited(removeKeys(both, [key(ED25519)])), {
    text: both.slice(ED25519.length + 1),
    count: 1,
  });
  assert.deepEqual(await edited(removeKeys(both, [key(authority)])), { text: `${ED25519}\n`, count: 1 });
});

test('a line whose options may keep the key out is not there already, unless it says the same', async () => {
  for (const options of [
    'expiry-time="20200101"',
    'expiry-time="209901010000Z"',
    'from="10.0.0.0/8"',
    'no-pty,FROM="!10.0.0.1,*"',
    'principals="alice"',
    'command="a",command="b"',
    'expiry-time="tomorrow"',
    'somethingnew',
    'no-pty,',
  ]) {
    const there = `${options} ${ED25519}\n`;
    assert.deepEqual(
      await edited(mergeKeys(there, [key(ED25519)])),
      { text: `${there}${ED25519}\n`, count: 1 },
      options,
    );
    const [same] = await listKeys(there);
    assert.deepEqual(await edited(mergeKeys(there, [same!])), { text: there, count: 0 }, options);
  }
  for (const options of ['no-pty', 'restrict,pty', 'command="a \\"b\\", c"', 'environment="A=from=b"']) {
    const there = `${options} ${ED25519}\n`;
    assert.deepEqual(await edited(mergeKeys(there, [key(ED25519)])), { text: there, count: 0 }, options);
  }
  const renewed = [`expiry-time="20990101" ${ED25519}`, `from="b" ${RSA}`];
  const old = `expiry-time="20200101" ${ED25519}\nfrom="a" ${RSA}\n`;
  assert.deepEqual(await edited(mergeKeys(old, renewed.map(key))), { text: `${old}${renewed.join('\n')}\n`, count: 2 });
  // What has its place once: the order of options is nobody's business.
  const [turned] = await listKeys(`from="a",no-pty ${RSA}`);
  assert.equal((await mergeKeys(`no-pty,from="a" ${RSA}\n`, [turned!])).count, 0);
});

test('a new key with options for which sshd would pass over its line is refused with the reason', () => {
  for (const [options, reason] of [
    ['command="a",command="b"', 'the option command more than once'],
    ['expiry-time="20991301"', 'an expiry-time that is not a valid time'],
    ['principals="a"', 'the option principals without cert-authority'],
    ['no-pty,', 'options that end in a comma'],
    ['command=a', 'options that are not of their form'],
    ['command', 'an option command that is not of its form'],
    ['pty="x"', 'an option pty that is not of its form'],
  ] as const) {
    assert.equal(wrong(`${options} ${ED25519}`), reason, options);
  }
});

test('a vertical tab before a key makes it no key, as sshd has it', async () => {
  assert.equal((await listKeys(`\v${ED25519}\n`)).length, 0);
  assert.equal((await listKeys(` \t${ED25519}\n`)).length, 1);
});

test('a value that sshd refuses is refused, and a line with it is not there already', async () => {
  for (const [name, refused, taken] of [
    ['environment', ['A', '=b', 'A-B=c', ''], ['A=b', 'a_1=', 'A=b=c']],
    ['tunnel', ['', 'x', '-1', '1:2', '99999999999'], ['0', '7', 'any']],
    ['permitopen', ['', 'host', 'host:', 'host:0', 'host:65536', ':22', '22'], ['host:22', '*:*', '[2001:db8::1]:22']],
    ['permitlisten', ['', 'host:', '0', '65536', 'host:x'], ['8080', 'localhost:8080', '*:8080', '[::1]:*']],
    ['from', ['', '10.0.0.0/33', '2001:db8::/129', '10.0.0.0/x'], ['10.0.0.0/8', '!10.0.0.1,*', '2001:db8::/32']],
  ] as const) {
    for (const value of refused) {
      const line = `${name}="${value}" ${ED25519}`;
      assert.equal(wrong(line), `a value of ${name} that sshd refuses`, line);
      assert.equal((await mergeKeys(`${line}\n`, [key(ED25519)])).count, 1, line);
    }
    for (const value of taken) assert.ok('id' in parseNewKey(`${name}="${value}" ${ED25519}`), `${name} ${value}`);
  }
});

test('no name that JavaScript knows is a type of key', () => {
  for (const type of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
    const blob = Buffer.concat([string(type), string(Buffer.alloc(32, 1))]).toString('base64');
    assert.match(wrong(`${type} ${blob}`), /^(a key of type|no type that is known)/);
  }
});

test('a hundred thousand keys are read in pieces, between which others have their turn', async () => {
  const line = (index: number): string => {
    const bytes = Buffer.alloc(32);
    bytes.writeUInt32BE(index);
    return `ssh-ed25519 ${Buffer.concat([string('ssh-ed25519'), string(bytes)]).toString('base64')}`;
  };
  const text = Array.from({ length: 100_000 }, (_, index) => line(index)).join('\n');
  let turns = 0;
  const timer = setInterval(() => (turns += 1), 1);
  const keys = await listKeys(text);
  clearInterval(timer);
  assert.equal(keys.length, 100_000);
  assert.ok(turns > 5, `others had ${turns} turns`);
});

test('a line of a quarter of a million options is read in time that grows with its length alone', async () => {
  const time = async (count: number): Promise<number> => {
    const start = performance.now();
    assert.equal((await listKeys(`${'pty,'.repeat(count)}pty ${ED25519}`)).length, 1);
    return performance.now() - start;
  };
  await time(1000);
  const [short, long] = [await time(16_000), await time(256_000)];
  assert.ok(long < short * 100 + 500, `16,000 took ${short} ms, 256,000 took ${long} ms`);
});
