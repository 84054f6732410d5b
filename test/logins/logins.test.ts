/** New passwords in systems of several releases and C libraries: the real su takes the new one and refuses the old. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { loginSuites } from '../support/debian-root.js';
import { askForPassword, commandsFor } from '../support/password-client.js';
import { LoginSystem } from './system.js';

const OLD = 'the old one';
const NEW = 'the new ønе ☃';
const OK = { returncode: '0', message: '' };
const LOCKED_MESSAGE = (user: string): string =>
  `Refused: the account '${user}' is locked and is not to be unlocked; nothing was changed`;
/** What the system's own tools leave beside the files; chpasswd keeps the old ones. */
const LEFT = ['.pwd.lock', 'passwd-', 'shadow-'];

function crypt(salt: string): string {
  const env = { ...process.env, PASSWORD: OLD, SALT: salt };
  const hash = execFileSync('perl', ['-e', 'print crypt($ENV{PASSWORD}, $ENV{SALT})'], { env }).toString();
  assert.ok(hash.startsWith(salt), hash);
  return hash;
}

interface Account {
  readonly user: string;
  readonly hash: string;
  /** Whether the old password opens the account. */
  readonly open: boolean;
}

const SHA512 = crypt('$6$abcdefgh$');
const ACCOUNTS: readonly Account[] = [
  { user: 'root', hash: SHA512, open: true },
  { user: 'sha512', hash: crypt('$6$rounds=6000$abcdefgh$'), open: true },
  { user: 'md5', hash: crypt('$1$abcdefgh$'), open: true },
  { user: 'des', hash: crypt('ab'), open: true },
  { user: 'star', hash: '*', open: false },
  { user: 'bang', hash: '!', open: false },
  { user: 'locked', hash: `!${SHA512}`, open: false },
];
/** What musl does not know. */
const YESCRYPT: Account = { user: 'yescrypt', hash: crypt('$y$j9T$abcdefghijklmnopqrstu/$'), open: true };
const OTHERS = ['# a comment', '+@admins::::::::', '-guest', 'bystander:!:19000:0:99999:7:::', '+::::::::', ''];

interface Setting {
  readonly name: string;
  readonly make: () => Promise<LoginSystem>;
  readonly accounts: readonly Account[];
  /** Whether pwck(8) is there to look at the result. */
  readonly checks: boolean;
}

const SETTINGS: readonly Setting[] = [
  ...loginSuites().map((release) => ({
    name: release,
    make: () => LoginSystem.debian(release),
    accounts: [...ACCOUNTS, YESCRYPT],
    checks: true,
  })),
  { name: 'musl and busybox', make: () => LoginSystem.musl(), accounts: ACCOUNTS, checks: false },
];

/** Gives the system the accounts; returns the lines of the shadow file. */
async function addAccounts(system: LoginSystem, accounts: readonly Account[]): Promise<readonly string[]> {
  const users = accounts.filter(({ user }) => user !== 'root').map(({ user }) => user);
  const passwd = [...users, 'bystander'].map((user, index) => {
    const id = String(2000 + index);
    return `${user}:x:${id}:65534::/:/bin/sh\n`;
  });
  await system.write('etc/passwd', (await system.read('etc/passwd')) + passwd.join(''));
  const lines = accounts.map(({ user, hash }) => `${user}:${hash}:19000:0:99999:7:::`);
  const kept = (await system.read('etc/shadow')).split('\n').filter((line) => line !== '' && !line.startsWith('root:'));
  const all = [...kept, ...lines, ...OTHERS];
  await system.write('etc/shadow', all.join('\n'), 0o640);
  return all;
}

/** Asks su for every account at once: after a wrong password it waits for two seconds. */
async function opened(system: LoginSystem, accounts: readonly Account[], password: string): Promise<readonly string[]> {
  const answers = await Promise.all(accounts.map(({ user }) => system.accepts(user, password)));
  return accounts.filter((_, index) => answers[index]).map(({ user }) => user);
}

for (const { name, make, accounts, checks } of SETTINGS) {
  suite(name, { concurrency: true }, () => {
    for (const [way, hasTool] of [
      ['chpasswd', true],
      ['its own writing where there is no chpasswd', false],
    ] as const) {
      test(`by ${way} every account gets a password that su takes, and no other`, { timeout: 600_000 }, async () => {
        await using system = await make();
        if (!hasTool) await system.remove('usr/sbin/chpasswd');
        const lines = await addAccounts(system, accounts);
        const users = accounts.map(({ user }) => user);
        const path = join(system.root, 'etc/shadow');
        const before = {
          etc: await system.list('etc'),
          passwd: await system.read('etc/passwd'),
          status: await stat(path),
        };
        const complaints = checks ? await system.run(['pwck', '-r', '-q']) : null;
        const open = accounts.filter((account) => account.open).map(({ user }) => user);
        assert.deepEqual(await opened(system, accounts, OLD), open, 'su takes the old ones');

        const never = commandsFor(system.host(), { users, unlock: 'never' });
        for (const { user } of accounts.filter((account) => !account.open)) {
          const refused = { returncode: '500', message: LOCKED_MESSAGE(user) };
          assert.deepEqual(await askForPassword(never, user, NEW), refused);
        }
        assert.equal(await system.read('etc/shadow'), lines.join('\n'));
        const module = commandsFor(system.host(), { users: [...users, 'ghost'] });
        const ghost = { returncode: '500', message: "No user 'ghost' in /etc/shadow" };
        assert.deepEqual(await askForPassword(module, 'ghost', NEW), ghost);
        assert.deepEqual(system.programs, [], 'refused before anything ran');

        const day = Math.floor(Date.now() / 86_400_000);
        for (const user of users) assert.deepEqual(await askForPassword(module, user, NEW), OK, user);
        assert.deepEqual(system.programs, hasTool ? users.map(() => ['chpasswd', '-e']) : []);

        assert.deepEqual(await opened(system, accounts, NEW), users);
        assert.deepEqual(await opened(system, accounts, OLD), []);
        const after = (await system.read('etc/shadow')).split('\n');
        const plain = after.map((line) => line.replace(/^(\w+):[$](6|y)[$][^:]+:(\d+):/, '$1:<hash>:$3:'));
        const wanted = lines.map((line) => {
          const user = users.find((candidate) => line.startsWith(`${candidate}:`));
          return user === undefined ? line : `${user}:<hash>:${day}:0:99999:7:::`;
        });
        assert.deepEqual(plain, wanted, 'nothing else changed');
        assert.equal(await system.read('etc/passwd'), before.passwd);
        const { mode, uid, gid } = await stat(path);
        assert.deepEqual(
          { mode, uid, gid },
          { mode: before.status.mode, uid: before.status.uid, gid: before.status.gid },
        );
        const left = (await system.list('etc')).filter((file) => !before.etc.includes(file));
        assert.deepEqual(
          left.filter((file) => !LEFT.includes(file)),
          [],
        );
        if (complaints !== null) assert.deepEqual(await system.run(['pwck', '-r', '-q']), complaints);
      });
    }
  });
}
