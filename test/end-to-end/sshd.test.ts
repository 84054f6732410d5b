import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { type Host, type Reply } from '../../ts/api/index.js';
import { sshKeysCommands } from '../../ts/commands/sshkeys.js';
import { createProcesses } from '../../ts/host/unix/processes.js';
import { call } from '../support/command-context.js';
import { createScratchHost } from '../support/scratch-host.js';
import { createScratch, type Scratch } from '../support/scratch.js';

const UID = 1234;
const GID = 4321;

/** Puts the scratch system's users, homes and ssh settings in the place of this machine's, for whoever is inside. */
function mounts(scratch: Scratch): string {
  const at = (path: string): string => join(scratch.root, path);
  return [
    'mount -t tmpfs none /run',
    ...(existsSync(at('run/sshd')) ? ['mkdir -p /run/sshd'] : []),
    `mount --bind ${at('home')} /home`,
    `mount --bind ${at('etc/ssh')} /etc/ssh`,
    ...['passwd', 'group', 'shadow', 'nsswitch.conf'].map((name) => `mount --bind ${at(`etc/${name}`)} /etc/${name}`),
  ].join('\n');
}

/** Runs a shell script in mounts of its own. */
function inside(scratch: Scratch, script: string): { readonly status: number | null; readonly output: string } {
  const result = spawnSync('unshare', ['-m', 'sh', '-ec', `${mounts(scratch)}\n${script}`], { encoding: 'utf8' });
  return { status: result.status, output: `${result.stdout}${result.stderr}` };
}

/** The scratch system as one that runs, with this machine's programs. */
function liveHost(scratch: Scratch): Host {
  const processes = createProcesses();
  const run: Host['processes']['run'] = (argv, options) =>
    processes.run(['unshare', '-m', 'sh', '-ec', `${mounts(scratch)}\nexec "$@"`, 'sh', ...argv], options);
  return { ...createScratchHost(scratch), live: true, processes: { run } };
}

async function system(config: string): Promise<Scratch> {
  const scratch = await createScratch();
  await scratch.write(
    'etc/passwd',
    'root:x:0:0:root:/root:/bin/sh\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n' +
      `alice:x:${UID}:${GID}:Alice:/home/alice:/bin/sh\nbob:x:1235:1235:Bob:/home/bob:/bin/sh\n`,
  );
  await scratch.write('etc/group', `root:x:0:\nnogroup:x:65534:\nalice:x:${GID}:\nbob:x:1235:\nstaff:x:50:alice\n`);
  await scratch.write('etc/shadow', 'root:*:19700::::::\nalice:*:19700::::::\nbob:*:19700::::::\n', 0o600);
  await scratch.write('etc/nsswitch.conf', 'passwd: files\ngroup: files\nshadow: files\n');
  await scratch.write('etc/ssh/sshd_config', `HostKey /etc/ssh/host_key\n${config}`);
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(scratch.root, 'etc/ssh/host_key')]);
  for (const [user, uid, gid] of [
    ['alice', UID, GID],
    ['bob', 1235, 1235],
  ] as const) {
    mkdirSync(join(scratch.root, 'home', user), { recursive: true });
    chownSync(join(scratch.root, 'home', user), uid, gid);
  }
  mkdirSync(join(scratch.root, 'run/sshd'), { recursive: true });
  // Debian's sshd has rules of its own, and is the one that is asked here.
  await scratch.write('etc/os-release', readFileSync('/etc/os-release'));
  // Where it stands; what is run is this machine's.
  await scratch.write('usr/sbin/sshd', '');
  // mkdtemp's directory is closed, and sshd looks at keys as the user.
  chmodSync(scratch.directory, 0o755);
  return scratch;
}

const newKey = (scratch: Scratch, name: string): string => {
  const path = join(scratch.directory, name);
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', path]);
  return readFileSync(`${path}.pub`, 'utf8').trim();
};

/** What alice's ssh prints when sshd lets her in with the key of this name; null when it does not. */
function login(scratch: Scratch, name: string, user = 'alice', more: readonly string[] = []): string | null {
  const options = [
    'BatchMode=yes',
    'IdentitiesOnly=yes',
    'StrictHostKeyChecking=no',
    'UserKnownHostsFile=/dev/null',
    'ProxyCommand=/usr/sbin/sshd -i',
    ...more,
  ];
  const command = ['-F none', `-i ${join(scratch.directory, name)}`, ...options.map((option) => `-o '${option}'`)];
  const { status, output } = inside(scratch, `ssh ${command.join(' ')} ${user}@guest 'id -un; echo let in'`);
  if (status === 0) return output;
  if (/Permission denied|Connection closed by|This account is currently/.test(output)) return null;
  throw new Error(`ssh ended with ${String(status)}: ${output}`);
}

/** Whether sshd lets the user in with the key of this name. */
function letsIn(scratch: Scratch, name: string, user = 'alice', more: readonly string[] = []): boolean {
  return login(scratch, name, user, more)?.includes(`${user}\nlet in`) === true;
}

const CLOSED = 'PasswordAuthentication no\nKbdInteractiveAuthentication no\n';

interface Asked {
  readonly scratch: Scratch;
  send(action: string, keys: readonly string[], user?: string): Promise<Reply>;
}

/** A live system and its agent. */
async function live(config: string): Promise<Asked & AsyncDisposable> {
  const scratch = await system(`${CLOSED}${config}`);
  const module = sshKeysCommands(liveHost(scratch), { user: 'alice' });
  return {
    scratch,
    send: (action, keys, user = 'alice') => call(module, 'sshkeys', { action, keys, user }),
    [Symbol.asyncDispose]: () => scratch[Symbol.asyncDispose](),
  };
}

/** Writes alice's file of keys, as she could. */
async function own(scratch: Scratch, text: string, path = 'home/alice/.ssh/authorized_keys'): Promise<void> {
  const real = await scratch.write(path, text, 0o600);
  chownSync(real, UID, GID);
  for (let at = dirname(real); at !== join(scratch.root, 'home'); at = dirname(at)) chownSync(at, UID, GID);
}

const added: Reply = { returncode: '0', message: 'added 1, there already 0' };
const there: Reply = { returncode: '0', message: 'added 0, there already 1' };

for (const config of [
  '',
  'AuthorizedKeysFile .keys/%u\n',
  'AuthorizedKeysFile /etc/ssh/keys/%u\n',
  'AuthorizedKeysFile .no\nMatch User alice\nAuthorizedKeysFile .alice/%U\n',
  'Match Group staff\nAuthorizedKeysFile ".of staff/keys" .no\n',
]) {
  test(`sshd lets in whoever has a merged key, until it is removed: ${config.trim() || 'its default file'}`, async () => {
    await using asked = await live(config);
    const { scratch } = asked;
    const [one, two] = [newKey(scratch, 'one'), newKey(scratch, 'two')];
    const send = async (action: string, keys: readonly string[], message: string): Promise<void> => {
      assert.deepEqual(await asked.send(action, keys), { returncode: '0', message });
    };
    assert.ok(!letsIn(scratch, 'one'));
    await send('merge', [one], 'added 1, there already 0');
    await send('merge', [two], 'added 1, there already 0');
    assert.ok(letsIn(scratch, 'one') && letsIn(scratch, 'two'));
    await send('remove', [one], 'removed 1, not there 0');
    assert.ok(!letsIn(scratch, 'one') && letsIn(scratch, 'two'));
    await send('replace', [one], 'replaced 1 by 1');
    assert.ok(letsIn(scratch, 'one') && !letsIn(scratch, 'two'));
  });
}

test('the file is the one that sshd itself says that it reads, on a live system and on a copy', async () => {
  const include = 'Include /etc/ssh/sshd_config.d/*.conf\n';
  for (const [main, dropIns] of [
    ['', {}],
    ['# AuthorizedKeysFile .no\nauthorizedkeysfile\t.keys/%u   .ssh/authorized_keys # both\n', {}],
    ['AuthorizedKeysFile="my keys/%u"\n', {}],
    ["AuthorizedKeysFile 'my keys/%u' a\\ b\n", {}],
    ['AuthorizedKeysFile = %h/100%%\n', {}],
    ['AuthorizedKeysFile .one\nAuthorizedKeysFile .two\n', {}],
    ['Match User bob\nAuthorizedKeysFile .bob\n', {}],
    ['AuthorizedKeysFile .main\nMatch User bob,al*\nAuthorizedKeysFile .bob\n', {}],
    ['AuthorizedKeysFile .main\nMatch User bob\nMatch all\nAuthorizedKeysFile .all\n', {}],
    ['AuthorizedKeysFile .main\nMatch RDomain x\nAuthorizedKeysFile .x\nMatch LocalPort 22\nBanner none\n', {}],
    [`${include}AuthorizedKeysFile .main\n`, { '20.conf': 'AuthorizedKeysFile .20\n', '10.conf': 'Port 22\n' }],
    [`${include}AuthorizedKeysFile .main\n`, { '10.conf': 'Match User bob\nAuthorizedKeysFile .bob\n' }],
    [`${include}AuthorizedKeysFile .main\n`, { '10.conf': 'Match User alice\nAuthorizedKeysFile .alice\n' }],
    [`${include}AuthorizedKeysFile .main\n`, { '10.conf.bak': 'AuthorizedKeysFile .bak\n' }],
    ['Include sshd_config.d/1?.conf\n', { '10.conf': 'AuthorizedKeysFile .10\n' }],
    [
      'Include sshd_config.[a-d]/[!0-8]*.conf\n',
      { '10.conf': 'AuthorizedKeysFile .10\n', '9.conf': 'AuthorizedKeysFile .9\n' },
    ],
  ] as const) {
    for (const isLive of [true, false]) {
      await using scratch = await system(main);
      for (const [name, text] of Object.entries(dropIns)) await scratch.write(`etc/ssh/sshd_config.d/${name}`, text);
      const spec = 'user=alice,host=h,addr=192.0.2.1,laddr=192.0.2.2,lport=22,rdomain=';
      const { status, output } = inside(scratch, `/usr/sbin/sshd -T -C ${spec}`);
      assert.equal(status, 0, output);
      const theirs = /^authorizedkeysfile (.*)$/m.exec(output)![1]!;
      const tokens = new Map([
        ['u', 'alice'],
        ['h', '/home/alice'],
      ]);
      const expanded = theirs.replaceAll(/%(.)/g, (_, token: string) => tokens.get(token) ?? '%');
      const key = newKey(scratch, 'key');
      const host = isLive ? liveHost(scratch) : createScratchHost(scratch);
      const reply = await call(sshKeysCommands(host, { user: 'alice' }), 'sshkeys', { action: 'merge', keys: [key] });
      const conditional = /^match[^]*authorizedkeysfile/im.test(main + Object.values(dropIns).join(''));
      if (!isLive && conditional) {
        assert.match(reply.message, /a Match block sets AuthorizedKeysFile/, main);
        continue;
      }
      assert.deepEqual(reply, added, main);
      const found = execFileSync('grep', ['-rlF', key, join(scratch.root, 'home')], { encoding: 'utf8' }).trim();
      const path = found.slice(scratch.root.length);
      const inHome = path.slice('/home/alice/'.length);
      assert.ok(
        [path, inHome].some((name) => expanded === name || expanded.startsWith(`${name} `)),
        `${path}: ${theirs}`,
      );
    }
  }
});

test('a key that its line keeps out lets in after a merge, and is gone after a removal', async () => {
  await using asked = await live('');
  const { scratch } = asked;
  const key = newKey(scratch, 'key');
  for (const options of [
    'expiry-time="20200101"',
    'expiry-time="202001011200Z"',
    'expiry-time="20200101120059"',
    'from="192.0.2.7"',
    'from="*,!UNKNOWN"',
    'cert-authority',
    'principals="alice"',
    'no-pty,command="x",command="y"',
    'nonsense',
  ]) {
    await own(scratch, `${options} ${key}\n`);
    assert.ok(!letsIn(scratch, 'key'), options);
    assert.deepEqual(await asked.send('merge', [key]), added, options);
    assert.ok(letsIn(scratch, 'key'), options);
    assert.deepEqual(await asked.send('merge', [key]), there, options);
    assert.deepEqual(await asked.send('remove', [key]), { returncode: '0', message: 'removed 1, not there 0' });
    assert.ok(!letsIn(scratch, 'key'), options);
  }
  for (const options of ['expiry-time="20990101"', 'restrict', 'no-pty,environment="A=b"']) {
    await own(scratch, `${options} ${key}\n`);
    assert.ok(letsIn(scratch, 'key'), options);
    await asked.send('merge', [key]);
    assert.ok(letsIn(scratch, 'key'), options);
  }
});

test('sshd and the agent read the time of a key in the same zone', async () => {
  await using asked = await live('');
  const { scratch } = asked;
  const key = newKey(scratch, 'key');
  const at = (minutes: number, zone: string): string => {
    const time = new Date(Date.now() + minutes * 60_000);
    const shifted = zone === '' ? new Date(time.getTime() - time.getTimezoneOffset() * 60_000) : time;
    return `expiry-time="${shifted.toISOString().replaceAll(/\D/g, '').slice(0, 12)}${zone}" ${key}`;
  };
  for (const zone of ['', 'Z']) {
    for (const [minutes, answer] of [
      [-2, 'added 1, there already 0; but sshd will refuse: the key: its expiry-time has come'],
      [30, 'added 1, there already 0'],
    ] as const) {
      await own(scratch, '');
      assert.deepEqual(await asked.send('merge', [at(minutes, zone)]), { returncode: '0', message: answer });
      assert.equal(letsIn(scratch, 'key'), minutes > 0, `${minutes} ${zone}`);
    }
  }
});

test('a line that stays and says something else is told', async () => {
  await using asked = await live('');
  const { scratch } = asked;
  const key = newKey(scratch, 'key');
  await own(scratch, `command="echo forced" ${key}\n`);
  assert.deepEqual(await asked.send('merge', [key]), {
    returncode: '0',
    message: 'added 0, there already 1; but the key: its line that was there runs a command of its own',
  });
  assert.match(login(scratch, 'key') ?? '', /^forced$/m);
  await own(scratch, `${key}\n`);
  assert.deepEqual(await asked.send('merge', [`command="echo forced" ${key}`]), {
    returncode: '0',
    message: 'added 0, there already 1; but the key: its line that was there runs any command',
  });
  assert.deepEqual(await asked.send('merge', [`restrict ${key}`]), {
    returncode: '0',
    message: 'added 0, there already 1; but the key: its line that was there has other options',
  });
  assert.ok(letsIn(scratch, 'key'));
});

test('a key and the same key as an authority are two, for sshd and for the agent', async () => {
  await using asked = await live('');
  const { scratch } = asked;
  const [authority, user] = [newKey(scratch, 'authority'), newKey(scratch, 'user')];
  assert.match(user, /^ssh-ed25519 /);
  const sign = ['-q', '-s', join(scratch.directory, 'authority'), '-I', 'alice', '-n', 'alice'];
  execFileSync('ssh-keygen', [...sign, join(scratch.directory, 'user.pub')]);
  const signed = [`CertificateFile=${join(scratch.directory, 'user-cert.pub')}`];
  await own(scratch, `${authority}\n`);
  assert.ok(letsIn(scratch, 'authority') && !letsIn(scratch, 'user', 'alice', signed));
  assert.deepEqual(await asked.send('merge', [`cert-authority ${authority}`]), added);
  assert.ok(letsIn(scratch, 'authority') && letsIn(scratch, 'user', 'alice', signed));
  assert.deepEqual(await asked.send('remove', [authority]), { returncode: '0', message: 'removed 1, not there 0' });
  assert.ok(!letsIn(scratch, 'authority') && letsIn(scratch, 'user', 'alice', signed));
});

const locked = 'root:*:19700::::::\nalice:!:19700::::::\nbob:*:19700::::::\n';
/** Settings that keep alice out, what the answer says of them, and what changes besides. */
const REFUSALS: readonly (readonly [config: string, why: string, files?: Readonly<Record<string, string>>])[] = [
  ['PubkeyAuthentication no\n', 'PubkeyAuthentication is no'],
  ['Match User alice\nPubkeyAuthentication no\n', 'PubkeyAuthentication is no'],
  ['AllowUsers bob root\n', 'AllowUsers does not name alice'],
  ['DenyUsers al?ce\n', 'DenyUsers names alice'],
  ['AllowGroups bob\n', 'AllowGroups names no group of alice'],
  ['DenyGroups sta*\n', 'DenyGroups names a group of alice'],
  [
    'AuthenticationMethods publickey,keyboard-interactive\nKbdInteractiveAuthentication yes\n',
    'AuthenticationMethods does not accept a key alone: publickey,keyboard-interactive',
  ],
  ['PubkeyAcceptedAlgorithms rsa-sha2-512,ecdsa-*\n', 'the key: sshd takes no key of type ssh-ed25519'],
  ['PubkeyAcceptedAlgorithms -ssh-ed25519\n', 'the key: sshd takes no key of type ssh-ed25519'],
  ['', 'the account is locked, and UsePAM is no', { 'etc/shadow': locked }],
  [
    '',
    'the account expired on 2020-01-02',
    { 'etc/shadow': locked.replace('alice:!:19700::::::', 'alice:*:19700:::::18263:') },
  ],
];

for (const [config, why, files = {}] of REFUSALS) {
  test(`sshd refuses the login with the key, and the answer says so: ${why}`, async () => {
    // Of a keyword the first line counts.
    await using asked = await live('');
    const { scratch } = asked;
    const host = 'HostKey /etc/ssh/host_key\n';
    await scratch.write(
      'etc/ssh/sshd_config',
      `${host}${config.startsWith('Match') ? CLOSED : ''}${config}${config.startsWith('Match') ? '' : CLOSED}`,
    );
    for (const [path, text] of Object.entries(files)) await scratch.write(path, text, 0o600);
    const key = newKey(scratch, 'key');
    const message = `added 1, there already 0; but sshd will refuse: ${why}`;
    assert.deepEqual(await asked.send('merge', [key]), { returncode: '0', message });
    assert.ok(!letsIn(scratch, 'key'));
    // As the administrator makes it right.
    await scratch.write('etc/ssh/sshd_config', `${host}${CLOSED}`);
    await scratch.write('etc/shadow', locked.replace('!', '*'), 0o600);
    assert.deepEqual(await asked.send('merge', [key]), there);
    assert.ok(letsIn(scratch, 'key'));
  });
}

test('settings that let the key in are no reason to say anything', async () => {
  for (const config of [
    'AllowUsers a* bob\nAllowGroups root sta?f\nDenyUsers bob root@*\nDenyGroups bob\n',
    'AuthenticationMethods publickey,password publickey\n',
    'PubkeyAcceptedAlgorithms ssh-ed25519*\n',
    'PermitRootLogin no\n',
  ]) {
    await using asked = await live(config);
    const key = newKey(asked.scratch, 'key');
    assert.deepEqual(await asked.send('merge', [key]), added, config);
    assert.ok(letsIn(asked.scratch, 'key'), config);
  }
});

test('an RSA key is judged by its size and by the signatures that sshd takes', async () => {
  for (const [config, why] of [
    ['RequiredRSASize 3072\n', 'it has 2048 bits, RequiredRSASize is 3072'],
    ['PubkeyAcceptedAlgorithms ssh-ed25519\n', 'sshd takes no key of type ssh-rsa'],
    ['PubkeyAcceptedAlgorithms rsa-sha2-256\n', null],
  ] as const) {
    await using asked = await live(config);
    const { scratch } = asked;
    const path = join(scratch.directory, 'key');
    execFileSync('ssh-keygen', ['-q', '-t', 'rsa', '-b', '2048', '-N', '', '-f', path]);
    const { message } = await asked.send('merge', [readFileSync(`${path}.pub`, 'utf8').trim()]);
    assert.equal(message, `${added.message}${why === null ? '' : `; but sshd will refuse: the key: ${why}`}`);
    // Older clients go by what the server can do, not by what it takes.
    assert.equal(letsIn(scratch, 'key', 'alice', ['PubkeyAcceptedAlgorithms=rsa-sha2-256']), why === null);
  }
});

test('of a key in the list of those that are revoked the answer says so', async () => {
  await using asked = await live('RevokedKeys /etc/ssh/revoked\n');
  const { scratch } = asked;
  const key = newKey(scratch, 'key');
  await scratch.write('etc/ssh/revoked', `${key}\n`);
  const message = `${added.message}; but sshd will refuse: RevokedKeys /etc/ssh/revoked has the key`;
  assert.deepEqual(await asked.send('merge', [key]), { returncode: '0', message });
  assert.ok(!letsIn(scratch, 'key'));
});

test('a directory that others may change is refused as sshd refuses it, and is nothing to a sshd without StrictModes', async () => {
  await using asked = await live('AuthorizedKeysFile .a/.b/keys\n');
  const { scratch } = asked;
  await scratch.write('etc/group', `alice:x:${GID}:\nstaff:x:50:alice,bob\n`);
  const key = newKey(scratch, 'key');
  const at = (path: string): string => join(scratch.root, path);
  for (const [directory, mode, uid, gid] of [
    ['home/alice', 0o775, UID, 50],
    ['home/alice', 0o757, UID, GID],
    ['home/alice/.a', 0o777, UID, GID],
    ['home/alice', 0o755, 1235, GID],
  ] as const) {
    await own(scratch, `${key}\n`, 'home/alice/.a/.b/keys');
    for (const path of ['home/alice', 'home/alice/.a', 'home/alice/.a/.b']) chmodSync(at(path), 0o755);
    assert.ok(letsIn(scratch, 'key'));
    chownSync(at(directory), uid, gid);
    chmodSync(at(directory), mode);
    assert.ok(!letsIn(scratch, 'key'), directory);
    const { returncode, message } = await asked.send('merge', [key]);
    assert.equal(returncode, '500');
    assert.match(message, /^Refused the ssh keys of alice: .*\/home\/alice.* (has mode|belongs to)/);
  }
  // What Debian's sshd does, and no other: the group is nobody's but hers.
  await own(scratch, `${key}\n`, 'home/alice/.a/.b/keys');
  chmodSync(at('home/alice'), 0o775);
  assert.equal((await asked.send('merge', [key])).message === there.message, letsIn(scratch, 'key'));
  chmodSync(at('home/alice'), 0o777);
  await scratch.write(
    'etc/ssh/sshd_config',
    `HostKey /etc/ssh/host_key\n${CLOSED}AuthorizedKeysFile .a/.b/keys\nStrictModes no\n`,
  );
  assert.deepEqual(await asked.send('merge', [key]), there);
  assert.ok(letsIn(scratch, 'key'));
});

test('a file for all users is refused, and lets the others in as before', async () => {
  for (const config of [
    'AuthorizedKeysFile /etc/ssh/shared\n',
    'Match User alice,bob\nAuthorizedKeysFile /etc/ssh/shared\n',
  ]) {
    await using asked = await live(config);
    const { scratch } = asked;
    const [admin, key] = [newKey(scratch, 'admin'), newKey(scratch, 'key')];
    const path = await scratch.write('etc/ssh/shared', `${admin}\n`);
    assert.ok(letsIn(scratch, 'admin', 'bob') && letsIn(scratch, 'admin'));
    for (const action of ['merge', 'replace', 'remove']) {
      assert.deepEqual(await asked.send(action, [key]), {
        returncode: '500',
        message:
          'Refused the ssh keys of alice: /etc/ssh/shared is for all users: its AuthorizedKeysFile has no %u, %U or %h',
      });
    }
    assert.equal(readFileSync(path, 'utf8'), `${admin}\n`);
    assert.ok(letsIn(scratch, 'admin', 'bob') && letsIn(scratch, 'admin') && !letsIn(scratch, 'key', 'bob'));
  }
});

test('what sshd says of a configuration that it does not take is the error', async () => {
  await using asked = await live('NoSuchKeyword yes\n');
  const { returncode, message } = await asked.send('merge', [newKey(asked.scratch, 'key')]);
  assert.equal(returncode, '500');
  assert.match(message, /^Refused the ssh keys of alice: sshd does not tell .*Bad configuration option: NoSuchKeyword/);
});

test('before sshd is ready to run, its files tell where keys are, unless a Match does', async () => {
  for (const [missing, file, but] of [
    ['run/sshd', '.early', ''],
    ['etc/ssh/host_key', '.early', '; but sshd has no host keys yet'],
    ['etc/ssh/sshd_config', '.ssh/authorized_keys', '; but sshd has no configuration yet'],
    ['usr/sbin/sshd', '.early', '; but no sshd was found on this system'],
  ] as const) {
    await using asked = await live('AuthorizedKeysFile .early\n');
    const { scratch } = asked;
    const key = newKey(scratch, 'key');
    rmSync(join(scratch.root, missing), { recursive: true });
    assert.deepEqual(await asked.send('merge', [key]), { returncode: '0', message: `${added.message}${but}` });
    assert.equal(readFileSync(join(scratch.root, 'home/alice', file), 'utf8'), `${key}\n`);
    await scratch.write('etc/ssh/sshd_config', 'HostKey /etc/ssh/host_key\nMatch User alice\nAuthorizedKeysFile .a\n');
    if (missing === 'etc/ssh/sshd_config') rmSync(join(scratch.root, 'etc/ssh/host_key'));
    const refused = await asked.send('merge', [key]);
    assert.equal(refused.returncode, '500');
    assert.match(refused.message, /a Match block sets AuthorizedKeysFile/);
  }
});
