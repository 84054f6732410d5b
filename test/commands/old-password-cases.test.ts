/** What the old agent did with password files, case by case: kept where it was right, better where it was not. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, readFile } from 'node:fs/promises';
import { suite, test } from 'node:test';
import type { AgentHost } from '../../ts/agent/host.js';
import { type CommandModule, type Host, type Reply } from '../../ts/api/index.js';
import { createKeyExchange } from '../../ts/host/shared/key-exchange.js';
import { createProcesses } from '../../ts/host/unix/processes.js';
import { call } from '../support/command-context.js';
import { commandsFor } from '../support/password-client.js';
import { createScratchHost } from '../support/scratch-host.js';
import { createScratch, type Scratch } from '../support/scratch.js';

interface Case {
  readonly before?: string;
  readonly ciphertext?: string;
  /** The old agent was wrong there. */
  readonly arguable_bug?: string;
}

const { cases } = JSON.parse(readFileSync('test/fixtures/unix-shadow-cases.json', 'utf8')) as {
  readonly cases: readonly Case[];
};
const NEW = 'S3cret';
const NOW = Date.UTC(2026, 10, 24, 12);
const OK = { returncode: '0', message: '' };
const SHADOW = 'root:$6$abcdefgh$old:19000:0:99999:7:::\n';
const UNREADABLE = 'Invalid password data received: neither an MD5 nor a SHA-256 key fits';
/** Text that with its padding is one block. */
const TEXT = [...Buffer.from('S3cret\n')];

type Check = (scratch: Scratch) => Promise<void>;

interface Session {
  readonly module: CommandModule;
  /** Encrypts as nova does, with the padding given instead of openssl's own. */
  readonly encrypt: (bytes: readonly number[], ...options: string[]) => string;
}

async function begin(host: Host): Promise<Session> {
  const module = commandsFor(host, { now: () => NOW });
  const ours = createKeyExchange();
  const { message } = await call(module, 'keyinit', ours.publicKey);
  const shared = ours.sharedSecret(message).reveal().toString();
  const encrypt = (bytes: readonly number[], ...options: string[]): string => {
    const args = ['aes-128-cbc', '-A', '-a', '-nosalt', '-md', 'md5', '-pass', `pass:${shared}`, ...options];
    return execFileSync('openssl', args, { input: Buffer.from(bytes), stdio: ['pipe', 'pipe', 'ignore'] }).toString();
  };
  return { module, encrypt };
}

async function ask(scratch: Scratch, host = createScratchHost(scratch)): Promise<Reply> {
  const { module, encrypt } = await begin(host);
  return call(module, 'password', encrypt(TEXT));
}

function accepts(hash: string, password: string): boolean {
  const env = { ...process.env, PASSWORD: password, HASH: hash };
  return execFileSync('perl', ['-e', 'print crypt($ENV{PASSWORD}, $ENV{HASH})'], { env }).toString() === hash;
}

/** A hash of root that gives way to one of `scheme`, which a login takes; owner and mode stay, the day is today's. */
function replaced(old: string, scheme: RegExp): Check {
  return async (scratch) => {
    const path = await scratch.write('etc/shadow', `root:${old}:19000:0:99999:7:::\nbin:*:1::::::\n`);
    await chmod(path, 0o640);
    assert.deepEqual(await ask(scratch), OK);
    const [, hash = '', rest = ''] = /^root:([^:]*):(.*)$/s.exec(await readFile(path, 'utf8')) ?? [];
    assert.match(hash, scheme);
    assert.ok(accepts(hash, NEW), hash);
    assert.equal(rest, '20781:0:99999:7:::\nbin:*:1::::::\n');
  };
}

/** A message that is refused, with the file as it was; the right one is taken afterwards. */
function refused(spoil: (session: Session) => string, message: string): Check {
  return async (scratch) => {
    const path = await scratch.write('etc/shadow', SHADOW, 0o600);
    const session = await begin(createScratchHost(scratch));
    assert.deepEqual(await call(session.module, 'password', spoil(session)), { returncode: '500', message });
    assert.equal(await readFile(path, 'utf8'), SHADOW);
    assert.deepEqual(await call(session.module, 'password', session.encrypt(TEXT)), OK, 'the key is kept');
  };
}

const SHA512 = /^[$]6[$][./0-9A-Za-z]{16}[$][./0-9A-Za-z]{86}$/;
const YESCRYPT = /^[$]y[$]j9T[$]/;

const CHECKS: Readonly<Record<string, Check>> = {
  // Kept: the scheme. Better: a salt of full length, and the day of the change.
  'root:$6$abcdefgh$...': replaced('$6$abcdefgh$old', SHA512),
  // Never MD5.
  'root:!': replaced('!', SHA512),
  'root:!$6$abcdefgh$...': replaced('!$6$abcdefgh$old', SHA512),
  'root:$6$rounds=5000$abcdefgh$...': replaced('$6$rounds=5000$abcdefgh$old', SHA512),
  // Never the failure token of crypt(3).
  'root:$y$j9T$<salt>$...': replaced('$y$j9T$abcdefgh$old', YESCRYPT),
  'root:$2y$10$...': replaced('$2y$10$abcdefgh', SHA512),
  async 'no root line'(scratch) {
    const path = await scratch.write('etc/shadow', 'bin:*:1::::::\n', 0o600);
    assert.deepEqual(await ask(scratch), { returncode: '500', message: "No user 'root' in /etc/shadow" });
    assert.equal(await readFile(path, 'utf8'), 'bin:*:1::::::\n');
  },
  // An error as before; the message names the file.
  async 'no /etc/shadow and no /etc/master.passwd'(scratch) {
    assert.deepEqual(await ask(scratch), { returncode: '500', message: "No user 'root' in /etc/passwd" });
  },
  // The file is whole before pwd_mkdb reads it, and as it was when that fails.
  async 'FreeBSD /etc/master.passwd'(scratch) {
    const before = '# kept\nroot:*:0:0::0:0:Charlie &:/root:/bin/csh\n';
    const path = await scratch.write('etc/master.passwd', before, 0o600);
    const program = await scratch.write('usr/sbin/pwd_mkdb', '#!/bin/sh\necho "$1 $2"; exec cat "$3"\n', 0o755);
    const processes = createProcesses();
    let printed = '';
    const host = (code: number): AgentHost => ({
      ...createScratchHost(scratch),
      live: true,
      processes: {
        async run([name, ...args], options) {
          assert.equal(name, 'pwd_mkdb');
          const ended = await processes.run([program, ...args, path], options);
          printed = ended.stdout;
          return { ...ended, code, stderr: code === 0 ? '' : 'pwd_mkdb: entry too large\n' };
        },
      },
    });
    const message = 'pwd_mkdb failed: pwd_mkdb: entry too large';
    assert.deepEqual(await ask(scratch, host(1)), { returncode: '500', message });
    assert.equal(await readFile(path, 'utf8'), before);
    assert.deepEqual(await ask(scratch, host(0)), OK);
    const after = await readFile(path, 'utf8');
    assert.equal(printed, `-p /etc/master.passwd\n${after}`);
    const [, hash = ''] = /^# kept\nroot:([^:]*):0:0::0:0:Charlie &:\/root:\/bin\/csh\n$/.exec(after) ?? [];
    assert.match(hash, SHA512);
    assert.ok(accepts(hash, NEW));
  },
  'last plaintext byte 0': refused(
    ({ encrypt }) => encrypt([...TEXT, ...Array<number>(9).fill(0)], '-nopad'),
    UNREADABLE,
  ),
  'last byte 1..16 but padding inconsistent': refused(
    ({ encrypt }) => encrypt([...TEXT, 9, 9, 9, 8, 9, 9, 9, 9, 9], '-nopad'),
    UNREADABLE,
  ),
  'last byte > 16': refused(({ encrypt }) => encrypt([...TEXT, ...Array<number>(9).fill(17)], '-nopad'), UNREADABLE),
  '8 bytes': refused(
    () => Buffer.alloc(8).toString('base64'),
    'Invalid password data received: expected blocks of 16 bytes, got 8 bytes',
  ),
  'empty string': refused(() => '', 'Invalid password data received: expected blocks of 16 bytes, got 0 bytes'),
  async 'second password after one keyinit'(scratch) {
    await scratch.write('etc/shadow', SHADOW, 0o600);
    const { module, encrypt } = await begin(createScratchHost(scratch));
    assert.deepEqual(await call(module, 'password', encrypt(TEXT)), OK);
    const message = 'Password without key exchange';
    assert.deepEqual(await call(module, 'password', encrypt(TEXT)), { returncode: '500', message });
  },
};

suite("the old agent's cases", () => {
  for (const { before, ciphertext, arguable_bug: defect } of cases) {
    const name = before ?? ciphertext ?? '';
    test(`${name} is ${defect === undefined ? 'met' : `better than: ${defect}`}`, async () => {
      await using scratch = await createScratch();
      const check = CHECKS[name];
      assert.ok(check, 'no test knows this case');
      await check(scratch);
    });
  }

  test('every check belongs to a case', () => {
    assert.deepEqual(Object.keys(CHECKS).sort(), cases.map((one) => one.before ?? one.ciphertext ?? '').sort());
  });
});
