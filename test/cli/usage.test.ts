import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { AGENT_VERSION } from '../../ts/commands/version.js';
import { SUBCOMMANDS } from '../../ts/cli/index.js';
import { ScratchDirectory } from '../../ts/host/shared/scratch-directory.js';
import { PROGRAM, runCli } from '../support/run-cli.js';

test('--version tells the version of package.json', async () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  assert.equal(AGENT_VERSION, version);
  const { code, stdout } = await runCli(['--version']);
  assert.equal(code, 0);
  assert.ok(stdout.startsWith(`guestwire ${version} (`), stdout);
});

test('--help lists every subcommand', async () => {
  const { code, stdout } = await runCli(['--help']);
  assert.equal(code, 0);
  assert.ok(stdout.startsWith('guestwire - guest agent for XenServer, XCP-ng and KVM\n'), stdout);
  for (const [name, { summary }] of Object.entries(SUBCOMMANDS)) {
    assert.match(stdout, new RegExp(`^  ${name} +${summary}`, 'm'));
  }
});

for (const name of Object.keys(SUBCOMMANDS)) {
  test(`${name} --help explains every option, in lines that fit a terminal`, async () => {
    const { code, stdout } = await runCli([name, '--help']);
    assert.equal(code, 0);
    const subcommand = await SUBCOMMANDS[name]!.load();
    for (const option of Object.keys(subcommand.options)) assert.ok(stdout.includes(`  --${option}`), option);
    for (const line of stdout.split('\n').filter((text) => !text.includes('guestwire run')))
      assert.ok(line.length <= 80, line);
  });
}

test('no option takes a password: arguments are visible to every user of the machine', async () => {
  for (const entry of Object.values(SUBCOMMANDS)) {
    for (const option of Object.keys((await entry.load()).options)) assert.doesNotMatch(option, /pass|secret|key/);
  }
});

const WRONG: readonly (readonly [args: readonly string[], complaint: string])[] = [
  [[], 'a subcommand is missing'],
  [['serve'], "unknown subcommand 'serve'; wanted one of run, call"],
  [['toString'], "unknown subcommand 'toString'"],
  [['run', '--nope'], "Unknown option '--nope'"],
  [['run', 'now'], "unexpected argument 'now'"],
  [['run', '--domain', 'x'], "--domain: wanted a whole number from 0 to 32751, got 'x'"],
  [['run', '--domain', '40000'], "--domain: wanted a whole number from 0 to 32751, got '40000'"],
  [['run', '--log-level', 'loud'], "--log-level: wanted trace, debug, info, warn, error, fatal, silent, got 'loud'"],
  [['store'], '--socket is required'],
  [['plan'], "plan: 'network' is missing"],
  [['apply', 'disk'], "apply: expected 'network', got 'disk'"],
  [['call', '--domain', '1'], 'a command is missing'],
  [['call', 'version'], '--domain is required'],
  [['call', '--domain', '1', 'agentupdate'], 'agentupdate: wanted URL [DIGEST], got none'],
  [['call', '--domain', '1', 'reboot'], "unknown command 'reboot'; to send it all the same: raw reboot"],
  [['call', '--domain', '1', 'file_inject', 'x'], 'file_inject: wanted LOCAL and REMOTE, got x'],
  [['call', '--domain', '1', '--digest', 'sha1', 'password'], "--digest: wanted md5, sha256, got 'sha1'"],
  [['call', '--domain', '1', '--exchange', 'best', 'password'], "--exchange: wanted strong, weak, got 'best'"],
  [['call', '--domain', '1', '--exchange', 'weak', '--user', 'x', 'password'], '--user: the weak form has no place'],
  [['call', '--domain', '1', '--exchange', 'strong', '--digest', 'md5', 'password'], '--digest: the strong form has'],
  [['call', '--domain', '1', '--digest', 'md5', '--user', 'x', 'password'], '--user is for the strong form'],
  [['call', '--domain', '1', '--user', 'x', 'version'], '--user is for password'],
  [['call', '--domain', '1', '--timeout', '0', 'version'], "--timeout: wanted a whole number from 1 to 86400, got '0'"],
];
for (const [args, complaint] of WRONG) {
  test(`wrong usage exits with 2 and says what was wrong: guestwire ${args.join(' ')}`, async () => {
    const { code, stdout, stderr } = await runCli(args);
    assert.equal(code, 2, stderr);
    assert.equal(stdout, '');
    assert.ok(stderr.startsWith(`guestwire: ${complaint}`), stderr);
    assert.match(stderr, /\nSee guestwire .*--help\.\n$/);
  });
}

test('a wrong configuration exits with 78 and names file, line and key', async () => {
  await using scratch = await ScratchDirectory.create();
  await scratch.write({ 'etc/guestwire/guestwire.toml': '[log]\nlevel = "loud"\n' });
  for (const subcommand of ['run', 'config']) {
    const { code, stderr } = await runCli([subcommand, '--root', scratch.path]);
    assert.equal(code, 78, stderr);
    assert.ok(stderr.includes(`${scratch.path}/etc/guestwire/guestwire.toml:2: log.level: found "loud"`), stderr);
  }
});

test('a configuration file that cannot be read is a wrong configuration: no start mends it', async () => {
  await using scratch = await ScratchDirectory.create();
  const missing = `${scratch.path}/missing.toml`;
  for (const [path, why] of [
    [missing, 'there is no such file'],
    [`${missing}/deeper`, 'there is no such file'],
    [scratch.path, 'it is a directory'],
  ] as const) {
    for (const subcommand of ['run', 'config', 'commands']) {
      const { code, stderr } = await runCli([subcommand, '--root', scratch.path, '--config', path]);
      assert.equal(stderr, `guestwire: Could not read the configuration file ${path}: ${why}\n`);
      assert.equal(code, 78);
    }
  }
  await scratch.write({ 'etc/guestwire/guestwire.toml/file': '' });
  const { code, stderr } = await runCli(['config', '--root', scratch.path]);
  assert.match(stderr, /Could not read the configuration file .*guestwire\.toml: it is a directory\n$/);
  assert.equal(code, 78);
});

test('config prints what a configuration file could hold, and where each key came from', async () => {
  await using scratch = await ScratchDirectory.create();
  await scratch.write({ 'etc/guestwire/guestwire.toml': '[xenstore]\nanswer-lifetime = "90s"\n' });
  const first = await runCli(['config', '--root', scratch.path]);
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stdout, /^answer-lifetime = "90s" +# .*\/guestwire\.toml:2$/m);
  assert.match(first.stdout, /^poll = "loop" +# default$/m);
  await scratch.write({ 'again.toml': first.stdout });
  const second = await runCli(['config', '--config', `${scratch.path}/again.toml`]);
  assert.equal(second.code, 0, second.stderr);
  const withoutSources = (text: string): string => text.replaceAll(/ +#.*$/gm, '');
  assert.equal(withoutSources(second.stdout), withoutSources(first.stdout));
});

test('a reader that is gone ends the program without a word', async () => {
  await using scratch = await ScratchDirectory.create();
  // It goes on after its first line, so that the error has the time to come.
  const script = '"$0" "$1" store --socket "$2" | true';
  const { stderr } = spawnSync('sh', ['-c', script, process.execPath, PROGRAM, `${scratch.path}/s`], {
    encoding: 'utf8',
    timeout: 30_000,
  });
  assert.equal(stderr, '');
});
