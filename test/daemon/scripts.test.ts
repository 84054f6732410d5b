/** Scripts in a folder, run by the real system. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { chown, copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { type Reply } from '../../ts/api/index.js';
import { createProcesses } from '../../ts/host/unix/processes.js';
import { fakeHost } from '../../ts/testing/index.js';
import { context } from '../support/command-context.js';
import { type FolderOptions, type Folders, answers, createFolders, pluginText } from '../support/plugins.js';

const live = (options: FolderOptions = {}): Promise<Folders> =>
  createFolders({ host: { ...fakeHost(), processes: createProcesses() }, ...options });

const ask = async (folders: Folders, name: string, value: unknown = null): Promise<Reply> =>
  folders.registry.get(name).handle(value, context);

const sh = (text: string): string => `#!/bin/sh\n${text}\n`;

const ANSWERS: readonly (readonly [what: string, output: string, returncode: string, message: string])[] = [
  ['lines', 'echo 0; echo hello', '0', 'hello'],
  ['a code alone', 'echo 0', '0', ''],
  ['a code without a line feed', 'printf 404', '404', ''],
  ['several lines', "printf 'D0\\r\\na\\n\\nb\\n\\n'", 'D0', 'a\n\nb'],
  ['JSON', `echo '{"returncode": "0", "message": "x"}'`, '0', 'x'],
  ['JSON with a number and no message', `printf '\\n {"returncode": 5}'`, '5', ''],
];
for (const [what, output, returncode, message] of ANSWERS) {
  test(`a script answers by ${what}`, async () => {
    await using folders = await live();
    await folders.write('commands/hello', sh(output), 0o755);
    await folders.extensions.load();
    assert.deepEqual(await ask(folders, 'hello'), { returncode, message });
  });
}

const FAILURES: readonly (readonly [what: string, text: string, reason: string])[] = [
  ['ends with a status', sh('echo 0; exit 3'), 'exit status 3, wanted 0'],
  ['is killed', sh('kill -9 $$'), 'exit status 137, wanted 0'],
  ['prints nothing', sh(':'), 'first line: wanted a code such as 0, got nothing'],
  ['prints no code', sh('echo s3cret'), 'first line: wanted a code such as 0, got other text'],
  ['prints half of an object', sh('echo \'{"returncode"\''), 'wanted one JSON object, got { and what is no JSON'],
  ['gives a list as code', sh('echo \'{"returncode":[]}\''), 'returncode: wanted a code such as 0, got a object'],
  ['gives no code', sh('echo \'{"message":""}\''), 'returncode: wanted a code such as 0, got nothing'],
  ['gives a number as message', sh('echo \'{"returncode":0,"message":1}\''), 'message: wanted text, got a number'],
  ['prints too much', sh('printf {; yes | head -c 100000'), 'more output than 64 KiB'],
  [
    'runs a program that is not there',
    sh('exec /no/such'),
    'exit status 127: it, its interpreter or a program it runs was not found',
  ],
];
for (const [what, text, reason] of FAILURES) {
  test(`a script that ${what} is answered with the reason, without a word of its output`, async () => {
    await using folders = await live();
    await folders.write('commands/bad', text, 0o755);
    await folders.extensions.load();
    await assert.rejects(ask(folders, 'bad', 's3cret'), {
      code: 'GW_SCRIPT_FAILED',
      message: `Script bad failed: ${reason}`,
    });
    assert.ok(!JSON.stringify(folders.log).includes('s3cret'));
  });
}

test('a script gets the request as one line, a clean environment, no arguments, no shell and /', async () => {
  await using folders = await live();
  const seen = await folders.write('seen', '');
  process.env['GUESTWIRE_TEST_LEAK'] = 'x';
  try {
    await folders.write(
      'commands/look',
      sh(`cat > ${seen}; pwd >> ${seen}; echo "$# $0" >> ${seen}; env | sort >> ${seen}; echo 0`),
      0o755,
    );
    await folders.extensions.load();
    await ask(folders, 'look', { text: 'ä\n$(id) "', list: [1] });
  } finally {
    delete process.env['GUESTWIRE_TEST_LEAK'];
  }
  const [request = '', directory, called, ...environment] = readFileSync(seen, 'utf8').trimEnd().split('\n');
  assert.deepEqual(JSON.parse(request), { name: 'look', value: { text: 'ä\n$(id) "', list: [1] } });
  assert.equal(directory, '/');
  assert.equal(called, `0 ${folders.scripts}/look`);
  const names = environment.map((line) => line.split('=', 1)[0]).filter((name) => name !== '_');
  assert.deepEqual(names, ['LC_ALL', 'PATH', 'PWD']);
});

test('a script that takes too long is killed with all that it has started', async () => {
  await using folders = await live({ scriptTimeout: 300 });
  const alive = await folders.write('alive', '');
  await folders.write('commands/slow', sh(`(sleep 0.8; echo still > ${alive}) & sleep 5; echo 0`), 0o755);
  await folders.extensions.load();
  const begun = performance.now();
  await assert.rejects(ask(folders, 'slow'), { message: 'Script slow failed: no answer within 0.3 s' });
  assert.ok(performance.now() - begun < 2000);
  await sleep(900);
  assert.equal(readFileSync(alive, 'utf8'), '');
});

test('on a copy of a system no script is run', async () => {
  await using folders = await live({ host: { ...fakeHost({ live: false }), processes: createProcesses() } });
  const touched = join(folders.scripts, '../touched');
  await folders.write('commands/touch', sh(`touch ${touched}; echo 0`), 0o755);
  await folders.extensions.load();
  const message = 'Script touch failed: on a copy of a system (--root) nothing is run';
  await assert.rejects(ask(folders, 'touch'), { message });
  assert.ok(!existsSync(touched));
});

test('executable files with names of commands are scripts; the rest is named, or left alone where it is plainly not meant', async () => {
  await using folders = await live();
  for (const name of ['a', 'b-c_2', 'hello.sh', '.hidden', 'a~', 'a.bak', 'a.dpkg-new', 'README.md', 'x'.repeat(65)]) {
    await folders.write(`commands/${name}`, sh('echo 0'), 0o755);
  }
  await folders.write('commands/plain', sh('echo 0'));
  await folders.write('commands/bare', 'echo 0', 0o755);
  await copyFile('/bin/true', join(folders.scripts, 'elf'));
  await folders.write('commands/open', sh('echo 0'), 0o777);
  await chown(await folders.write('commands/foreign', sh('echo 0'), 0o755), 65_534, 65_534);
  await mkdir(join(folders.scripts, 'lib'));
  await folders.extensions.load();
  const scripts = folders.registry.list().filter(({ origin }) => origin.kind === 'script');
  assert.deepEqual(
    scripts.map(({ name, lane, origin }) => [name, lane, origin.where]),
    ['a', 'b-c_2', 'elf'].map((name) => [name, 'serial', join(folders.scripts, name)]),
  );
  const named = "its name cannot be a command's: wanted letters, digits, _ and -, at most 64";
  assert.deepEqual(folders.problems(), {
    'commands/bare': 'neither begins with #! nor is a program (ELF)',
    'commands/foreign': "belongs to user 65534: wanted root's, which no other user can change",
    'commands/hello.sh': named,
    'commands/open': 'has mode 0777: wanted one that only its owner can write (chmod go-w)',
    'commands/plain': 'is not executable (chmod +x)',
    [`commands/${'x'.repeat(65)}`]: named,
  });
});

test('a command of the agent or of a plugin goes before a script of its name, until it is gone', async () => {
  await using folders = await live();
  await folders.write('commands/version', sh('echo 0; echo script'), 0o755);
  await folders.write('commands/mine', sh('echo 0; echo script'), 0o755);
  await folders.extensions.load();
  assert.equal((await ask(folders, 'mine')).message, 'script');
  await folders.write('plugins/x.mjs', pluginText('x', { mine: answers("'plugin'") }));
  await folders.extensions.load();
  assert.equal((await ask(folders, 'mine')).message, 'plugin');
  assert.match((await ask(folders, 'version')).message, /^\d/);
  assert.deepEqual(
    folders.extensions.shadowed.map(({ name, by }) => [name, by.kind]),
    [
      ['mine', 'plugin'],
      ['version', 'native'],
    ],
  );
  assert.deepEqual(folders.problems(), {});
});

const HEADS: readonly (readonly [name: string, head: string, reason: string | null])[] = [
  ['absent', '#!/no/such -x\n', 'its interpreter /no/such is not there or not executable'],
  ['passive', '#!/etc/passwd\n', 'its interpreter /etc/passwd is not there or not executable'],
  ['empty', '#!\n', 'its first line names no interpreter: wanted one such as #!/bin/sh'],
  ['env', '#!/usr/bin/env no-such-interpreter\n', 'its interpreter no-such-interpreter is in none of the directories '],
  ['env-split', '#!/usr/bin/env -S A=1 no-such-interpreter -x\n', 'its interpreter no-such-interpreter is in none'],
  ['windows', '#!/bin/sh\r\necho 0\r\n', 'its first line ends with a carriage return: wanted line feeds alone'],
  ['windows-env', '#!/usr/bin/env sh\r\necho 0\r\n', 'its first line ends with a carriage return'],
  ['fine', '#! /bin/sh -e\necho 0\n', null],
  ['fine-env', '#!/usr/bin/env sh\necho 0\n', null],
  ['fine-split', '#!/usr/bin/env -S sh -e\necho 0\n', null],
];
for (const [name, head, reason] of HEADS) {
  test(`whether the interpreter of a script can be used is seen when the script is looked at: ${name}`, async () => {
    await using folders = await live();
    await folders.write(`commands/${name}`, head, 0o755);
    await folders.extensions.load();
    const problem = folders.problems()[`commands/${name}`];
    if (reason !== null) {
      assert.ok(problem?.startsWith(reason), problem);
      assert.ok(folders.log.some(({ level, reason: logged }) => level === 50 && logged === problem));
      return;
    }
    assert.equal(problem, undefined);
    // The kernel agrees.
    assert.deepEqual(await ask(folders, name), { returncode: '0', message: '' });
  });
}

test('on a copy of a system nobody asks this machine for the interpreter', async () => {
  await using folders = await createFolders({ host: fakeHost({ live: false }) });
  await folders.write('commands/other', '#!/no/such\n', 0o755);
  await folders.write('commands/windows', '#!/no/such\r\n', 0o755);
  await folders.extensions.load();
  assert.deepEqual(Object.keys(folders.problems()), ['commands/windows']);
});

test('a script may have a time limit of its own, and its standard error in the log', async () => {
  await using folders = await live({ scriptTimeout: 60_000 });
  await folders.write('commands/slow', '#!/bin/sh\n# guestwire: timeout=300ms\nsleep 30\n', 0o755);
  const loud = '#!/bin/sh\n#\n# guestwire: stderr=log timeout=1m\nprintf "no \\033 disk\\nat all\\n" >&2; echo 0\n';
  await folders.write('commands/loud', loud, 0o755);
  await folders.write('commands/quiet', sh('echo quietly >&2; echo 0'), 0o755);
  await folders.write('commands/wrong', '#!/bin/sh\n# guestwire: timeout=soon\n', 0o755);
  await folders.extensions.load();
  await assert.rejects(ask(folders, 'slow'), { message: 'Script slow failed: no answer within 0.3 s' });
  const log: { stderr?: string }[] = [];
  const logging = {
    ...context,
    log: pino({ base: null }, { write: (line: string) => void log.push(JSON.parse(line) as object) }),
  };
  for (const name of ['loud', 'quiet']) await folders.registry.get(name).handle(null, logging);
  assert.deepEqual(
    log.map(({ stderr }) => stderr),
    ['no ? disk\nat all'],
  );
  const wanted =
    "its line 'guestwire:' has 'timeout=soon': wanted timeout=DURATION, such as timeout=10m, or stderr=log";
  assert.deepEqual(folders.problems(), { 'commands/wrong': wanted });
});
