/** Accounts that are set where the system's own program sets them, and that a right password does not open. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { loginSuites } from '../support/debian-root.js';
import { askForPassword, commandsFor } from '../support/password-client.js';
import { LoginSystem } from './system.js';

const OK = { returncode: '0', message: '' };
const HASH = '$6$abcdefgh$x';
const FILES = ['etc/passwd', 'etc/shadow'];

const SETTINGS = [
  ...loginSuites().map((release) => ({ name: release, make: () => LoginSystem.debian(release), isDebian: true })),
  { name: 'musl and busybox', make: () => LoginSystem.musl(), isDebian: false },
];

/** The files with every hash that was made named alike, and its day. */
async function texts(system: LoginSystem): Promise<readonly string[]> {
  const read = await Promise.all(FILES.map((file) => system.read(file)));
  return read.map((text) => text.replaceAll(/^(\w+):[$][^:]+(:\d*)?/gm, '$1:<hash>$2'));
}

for (const { name, make, isDebian } of SETTINGS) {
  suite(name, { concurrency: true }, () => {
    for (const [what, passwd, shadow] of [
      ['without a line in the shadow file', 'x', '# kept\nroot:*:19000:0:99999:7:::\n+::::::::\n'],
      ['without a line in the shadow file and with a hash in passwd', '*', 'root:*:19000:0:99999:7:::\n'],
      ['of a system without a shadow file', 'x', null],
    ] as const) {
      test(`an account ${what} is set where chpasswd sets it, and su takes the password`, async () => {
        await using ours = await make();
        await using theirs = await make();
        await using written = await make();
        const systems = [ours, theirs, written];
        for (const system of systems) {
          await system.write('etc/passwd', `${await system.read('etc/passwd')}alice:${passwd}:2000:65534::/:/bin/sh\n`);
          if (shadow === null) await system.remove('etc/shadow');
          else await system.write('etc/shadow', shadow, 0o640);
        }
        const theirEnd = await theirs.run(['chpasswd', '-e'], `alice:${HASH}\n`);
        const ask = (system: LoginSystem): ReturnType<typeof askForPassword> =>
          askForPassword(commandsFor(system.host(), { users: ['alice'] }), 'alice', 'S3cret');
        assert.deepEqual(await ask(ours), OK);
        assert.deepEqual(ours.programs, [['chpasswd', '-e']]);
        assert.ok(await ours.accepts('alice', 'S3cret'));
        if (shadow === null) await theirs.write('etc/shadow', '');
        if (shadow === null) await ours.write('etc/shadow', '');
        assert.equal(theirEnd.code, 0, theirEnd.output);
        assert.deepEqual(await texts(ours), await texts(theirs));
        // Its own writing leads to a login, too.
        await written.remove('usr/sbin/chpasswd');
        assert.deepEqual(await ask(written), OK);
        assert.ok(await written.accepts('alice', 'S3cret'));
      });
    }

    test('an account that no password opens is named in the answer, though the password is set', async () => {
      await using system = await make();
      const accounts = [
        ['expired', '/bin/sh', '19000:0:99999:7::18263:', 'the account expired on 2020-01-02'],
        ['ending', '/bin/sh', '19000:0:99999:7::99999:', null],
        ['zero', '/bin/sh', '19000:0:99999:7::0:', 'the account expired on 1970-01-01'],
        ['aged', '/bin/sh', '18000:0:30:7:7::', null],
        ['forced', '/bin/sh', '0:0:99999:7:::', null],
        ['nologin', '/usr/sbin/nologin', '19000:0:99999:7:::', "the user's shell /usr/sbin/nologin ends every login"],
        ['false', '/bin/false', '19000:0:99999:7:::', "the user's shell /bin/false ends every login"],
        ['missing', '/bin/zsh', '19000:0:99999:7:::', "the user's shell /bin/zsh does not exist"],
        ['plain', '/etc/hostname', '19000:0:99999:7:::', "the user's shell /etc/hostname cannot be run"],
      ] as const;
      const passwd = accounts.map(([user, shell], index) => `${user}:x:${2000 + index}:65534::/:${shell}\n`);
      const shadow = accounts.map(([user, , fields]) => `${user}:!:${fields}\n`);
      await system.write('etc/hostname', 'guest\n');
      await system.write('etc/passwd', `${await system.read('etc/passwd')}${passwd.join('')}`);
      await system.write('etc/shadow', `${await system.read('etc/shadow')}${shadow.join('')}`, 0o640);
      const module = commandsFor(system.host(), { users: accounts.map(([user]) => user) });
      for (const [user, , , why] of accounts) {
        const message = why === null ? '' : `the password is set, but ${why}`;
        assert.deepEqual(await askForPassword(module, user, 'S3cret'), { returncode: '0', message });
        assert.match(await system.read('etc/shadow'), new RegExp(`^${user}:[$]`, 'm'));
        // busybox knows no account that expires; the agent's word is for whoever else takes the password, such as sshd.
        const opens = why === null || (!isDebian && why.includes('expired'));
        assert.equal(await system.accepts(user, 'S3cret'), opens, user);
      }
    });
  });
}

test('while nobody may log in, that is in the answer for everybody but root', async () => {
  await using system = await LoginSystem.musl();
  await system.write('etc/nologin', 'soon\n');
  await system.write('etc/passwd', `${await system.read('etc/passwd')}alice:x:2000:65534::/:/bin/sh\n`);
  const module = commandsFor(system.host(), { users: ['alice'] });
  assert.deepEqual(await askForPassword(module, 'root', 'S3cret'), OK);
  const message = 'the password is set, but /etc/nologin keeps everybody but root out';
  assert.deepEqual(await askForPassword(module, 'alice', 'S3cret'), { returncode: '0', message });
});
