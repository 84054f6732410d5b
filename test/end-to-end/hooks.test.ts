/** The agent on this very machine, whose configuration lets it touch nothing but a directory of the test's. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent } from '../support/agent.js';
import { documentedHooks } from '../support/documented-hooks.js';
import { type Cleanup, wholeOrUndone } from '../support/cleanup.js';
import { Dom0, localTools } from '../support/dom0.js';
import { runCli } from '../support/run-cli.js';
import { type Scratch, createScratch } from '../support/scratch.js';
import { startXenstored } from '../support/xenstored.js';

const DOMAIN = 7;

interface Machine extends AsyncDisposable {
  readonly scratch: Scratch;
  readonly dom0: Dom0;
  readonly trace: string;
  start(): Promise<Agent>;
  hook(name: string, script: string): void;
  /** Asks for a file of this name and gives the answer as the host sees it. */
  inject(name: string): Promise<string>;
}

function machine(): Promise<Machine> {
  return wholeOrUndone(createMachine);
}

async function createMachine(cleanup: Cleanup): Promise<Machine> {
  const scratch = await createScratch();
  cleanup.add(() => scratch[Symbol.asyncDispose]());
  const store = await startXenstored('c', scratch.directory);
  cleanup.add(() => store[Symbol.asyncDispose]());
  const dom0 = new Dom0(localTools(store.socket), DOMAIN);
  const config = await scratch.write(
    'guestwire.toml',
    [
      '[commands]\nallow = ["version", "file_inject"]',
      `[files]\nallow = ["${scratch.directory}"]`,
      `[hooks]\ndirectory = "${scratch.directory}/hooks"\ntimeout = "5s"`,
      `[state]\ndirectory = "${scratch.state}"`,
    ].join('\n'),
  );
  return {
    scratch,
    dom0,
    trace: join(scratch.directory, 'trace'),
    start: () => Agent.start({ store: store.socket, domain: DOMAIN, config }),
    hook(name, script) {
      const path = join(scratch.directory, 'hooks', name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, script);
      chmodSync(path, 0o755);
    },
    async inject(name) {
      const value = { b64_path: btoa(join(scratch.directory, name)), b64_file: btoa(name) };
      const id = await dom0.send(JSON.stringify({ name: 'file_inject', value }));
      return (JSON.parse(await dom0.answer(id)) as { message: string }).message;
    },
    [Symbol.asyncDispose]: () => cleanup[Symbol.asyncDispose](),
  };
}

test('the real agent runs hooks around a command, and the host sees a refusal', { timeout: 60_000 }, async () => {
  await using here = await machine();
  const { scratch, trace } = here;
  here.hook('before/file_inject/10-look', `#!/bin/sh\nls ${scratch.directory}/new 2>/dev/null >> ${trace}\nexit 0\n`);
  here.hook('after/all/x', `#!/bin/sh\necho "$GUESTWIRE_RETURNCODE $(cat ${scratch.directory}/new)" >> ${trace}\n`);
  await using agent = await here.start();
  assert.equal(await here.inject('new'), '');
  await agent.logged('"hook":"after/all/x"');
  assert.equal(readFileSync(trace, 'utf8'), '0 new\n');

  here.hook('before/all/20-no', '#!/bin/sh\necho not today >&2\nexit 1\n');
  assert.equal(await here.inject('other'), 'Refused by the hook before/all/20-no: not today');
  assert.ok(!existsSync(join(scratch.directory, 'other')));
  // The host must not write what runs as root, wherever it is.
  assert.match(await here.inject('hooks/after/all/y'), /^Refused/);
  assert.equal(await agent.stop(), 0);
});

test('the hook of the documentation refuses while a backup holds its lock', { timeout: 60_000 }, async (t) => {
  await using here = await machine();
  const lock = join(here.scratch.directory, 'backup.lock');
  const [name, script] = [...documentedHooks()].find(([candidate]) => candidate.includes('backup'))!;
  here.hook(name, script.replace('/run/backup.lock', lock));
  await using agent = await here.start();
  const backup = spawn('flock', [lock, 'sh', '-c', 'echo locked; read line'], { stdio: ['pipe', 'pipe', 'inherit'] });
  // Its shell ends with its standard input.
  t.after(() => backup.stdin.destroy());
  await once(backup.stdout, 'data');
  assert.equal(await here.inject('new'), `Refused by the hook ${name}: a backup is running`);
  backup.stdin.end();
  await once(backup, 'exit');
  assert.equal(await here.inject('new'), '');
  assert.equal(await agent.stop(), 0);
});

test('a request whose hook was running when the agent was killed is answered once, and nothing runs again', async () => {
  await using here = await machine();
  const { scratch, dom0, trace } = here;
  // Ends with the test, which removes the file.
  here.hook('before/all/x', `#!/bin/sh\necho ran >> ${trace}\nwhile [ -e ${trace} ]; do sleep 0.05; done\n`);
  const answer = await (async () => {
    await using first = await here.start();
    const value = { b64_path: btoa(join(scratch.directory, 'new')), b64_file: '' };
    const id = await dom0.send(JSON.stringify({ name: 'file_inject', value }));
    while (!existsSync(trace)) await sleep(10);
    process.kill(first.pid, 'SIGKILL');
    await first.ended();
    await using second = await here.start();
    const text = await dom0.answer(id);
    assert.equal(await second.stop(), 0);
    return text;
  })();
  assert.match(answer, /"returncode":"500","message":"Interrupted: the agent was stopped while it ran file_inject/);
  assert.equal(readFileSync(trace, 'utf8'), 'ran\n');
  assert.ok(!existsSync(join(scratch.directory, 'new')));
});

test('doctor lists the hooks of a system, and fails where one would refuse a reset', async () => {
  await using scratch = await createScratch();
  await scratch.write('etc/netplan/50-cloud-init.yaml', 'network:\n  version: 2\n', 0o600);
  await scratch.write('usr/sbin/netplan', '', 0o755);
  const networking = { a: { mac: '52:54:00:aa:00:01', ips: [{ ip: '192.0.2.4', netmask: 24 }] } };
  const facts = { nics: [{ name: 'enX0', mac: '52:54:00:aa:00:01' }], networking };
  await scratch.write('facts.json', JSON.stringify(facts));
  const doctor = async (): Promise<readonly [code: number, hooks: string]> => {
    const args = ['--root', scratch.root, '--facts', join(scratch.root, 'facts.json')];
    const { code, stdout } = await runCli(['doctor', ...args]);
    return [code, stdout.split('\n\nhooks in /etc/guestwire/hooks\n')[1] ?? 'none'];
  };
  assert.deepEqual(await doctor(), [0, 'none']);
  const hooks = 'etc/guestwire/hooks';
  await scratch.write(`${hooks}/before/resetnetwork/10-a`, '', 0o755);
  await scratch.write(`${hooks}/after/all/20-off`, '', 0o644);
  await scratch.write(`${hooks}/after/resetnetwrok/x`, '', 0o755);
  const rest = [
    '  after/all/20-off: switched off: it is not executable',
    '  after/resetnetwrok/x: runs',
    '  after/resetnetwrok: no command of the agent has this name',
    '',
  ];
  assert.deepEqual(await doctor(), [0, ['  before/resetnetwork/10-a: runs', ...rest].join('\n')]);
  execFileSync('chmod', ['o+w', join(scratch.root, hooks, 'before/resetnetwork')]);
  const why = `others than root can change /${hooks}/before/resetnetwork; the command is refused`;
  assert.deepEqual(await doctor(), [
    1,
    [`  before/resetnetwork/10-a: does not run, because ${why}`, ...rest].join('\n'),
  ]);
});
