import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Processes, Secret } from '../../../ts/api/index.js';
import { createProcesses } from '../../../ts/host/unix/processes.js';

import { BUNDLE } from '../../support/agent.js';
import { endProcess } from '../../support/cleanup.js';
import { type Scratch, createScratch } from '../../support/scratch.js';

/** What starts programs for a service in a sandbox, as systemd starts it: for each connection one. */
class Starter implements AsyncDisposable {
  readonly socket: string;
  readonly #child;

  constructor({ directory }: Scratch) {
    this.socket = join(directory, 'programs');
    const args = ['--accept', '--inetd', '-l', this.socket, process.execPath, BUNDLE, 'programs'];
    this.#child = spawn('systemd-socket-activate', args, { stdio: 'ignore' });
  }

  async listens(): Promise<void> {
    for (let tries = 0; !existsSync(this.socket); tries += 1) {
      assert.ok(tries < 3000 && this.#child.exitCode === null, 'systemd-socket-activate listens');
      await sleep(10);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await endProcess(this.#child);
  }
}

let scratch: Scratch;
let starter: Starter;

before(async () => {
  scratch = await createScratch();
  starter = new Starter(scratch);
  await starter.listens();
});

after(async () => {
  await starter[Symbol.asyncDispose]();
  await scratch[Symbol.asyncDispose]();
});

suite('a program that the agent starts itself', () => {
  behave(() => createProcesses());
});

suite('a program that is started outside of the sandbox', () => {
  let outside: Processes;
  before(() => (outside = createProcesses(starter.socket)));
  behave(() => outside);

  test('is no child of the agent, unless it is to be confined', async () => {
    const parent = async (confined: boolean): Promise<number> =>
      Number((await outside.run(['sh', '-c', 'echo $PPID'], { confined })).stdout);
    assert.notEqual(await parent(false), process.pid);
    assert.equal(await parent(true), process.pid);
  });

  test('tells why it cannot be started', async () => {
    await assert.rejects(outside.run(['/etc/passwd']), { code: 'EACCES' });
  });

  test('may be one of several at a time', async () => {
    const started = performance.now();
    const codes = await Promise.all([1, 2, 3].map((code) => outside.run(['sh', '-c', `sleep 2; exit ${code}`])));
    assert.deepEqual(
      codes.map(({ code }) => code),
      [1, 2, 3],
    );
    assert.ok(performance.now() - started >= 2000);
  });

  test('is not started where nobody starts programs', async () => {
    const nobody = createProcesses(join(scratch.directory, 'nobody'));
    await assert.rejects(nobody.run(['true']), {
      code: 'NO_LAUNCHER',
      message: /true cannot be started: nobody listens at .*nobody \(ENOENT\)/,
    });
  });

  test('is killed when the agent dies, and what an earlier one left is not', async () => {
    const file = join(scratch.directory, 'pids');
    const script = `sleep 600 & echo $! >> ${file}`;
    const agent = spawn(process.execPath, [
      ...['--input-type=module', '-e'],
      `import { createProcesses } from ${JSON.stringify(import.meta.resolve('../../../ts/host/unix/processes.js'))};
       const processes = createProcesses(process.argv[1]);
       await processes.run(['sh', '-c', process.argv[2]]);
       await processes.run(['sh', '-c', process.argv[2] + '; wait']);`,
      ...[starter.socket, script],
    ]);
    const pids = (): readonly string[] =>
      existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : [];
    while (pids().length < 2) await sleep(20);
    await endProcess(agent);
    const [left = '', running = ''] = pids();
    const state = (pid: string): string => {
      try {
        return /^State:\s(.)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '';
      } catch {
        return 'gone';
      }
    };
    while (!['Z', 'gone'].includes(state(running))) await sleep(20);
    assert.equal(state(left), 'S');
    process.kill(Number(left));
  });
});

/** What holds of a program, whoever starts it. */
function behave(make: () => Processes): void {
  let processes: Processes;
  before(() => (processes = make()));

  test('a program is run without a shell, in a clean environment, from /', async () => {
    process.env['GUESTWIRE_TEST_LEAK'] = 'leaked';
    try {
      const { code, stdout } = await processes.run([
        'sh',
        '-c',
        'echo "$1"; pwd; env | grep -E "^(PATH|LC_ALL|GUESTWIRE)" | sort',
        'sh',
        '$HOME; `id`',
      ]);
      assert.equal(code, 0);
      assert.equal(
        stdout,
        '$HOME; `id`\n/\nLC_ALL=C\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n',
      );
    } finally {
      delete process.env['GUESTWIRE_TEST_LEAK'];
    }
  });

  test('standard input is text or a secret, and closed after it', async () => {
    assert.equal((await processes.run(['cat'], { stdin: 'text' })).stdout, 'text');
    assert.equal((await processes.run(['cat'], { stdin: new Secret(Buffer.from('secret')) })).stdout, 'secret');
    assert.equal((await processes.run(['cat'])).stdout, '');
  });

  test('a program that ignores its input is no error', async () => {
    assert.equal((await processes.run(['true'], { stdin: 'x'.repeat(1_000_000) })).code, 0);
  });

  test('exit code, signal and both outputs are told', async () => {
    assert.deepEqual(await processes.run(['sh', '-c', 'echo out; echo err >&2; exit 3']), {
      code: 3,
      stdout: 'out\n',
      stderr: 'err\n',
      timedOut: false,
    });
    assert.equal((await processes.run(['sh', '-c', 'kill -TERM $$'])).code, 128 + 15);
  });

  test('files are laid out beside a program for as long as it runs, closed to others', async () => {
    const folder = new Map([
      ['/etc/one', 'is below {folder}/etc\n'],
      ['/etc/two/three', 'a secret'],
    ]);
    const script =
      'cd "$1"; stat -c "%a %n" . etc/one etc/two/three; cat "$1/etc/one"; cat etc/two/three; pwd >&2; exit 3';
    const { code, stdout, stderr } = await processes.run(['sh', '-c', script, 'sh', '{folder}'], { folder });
    const expected = ['700 .', '600 etc/one', '600 etc/two/three', 'is below /etc', 'a secret'];
    assert.deepEqual([code, stdout, stderr], [3, expected.join('\n'), '\n'], 'what is printed is without its path');
    const [where] = (
      await processes.run(['sh', '-c', 'echo "$1" | tr / :', 'sh', '{folder}'], { folder })
    ).stdout.split('\n');
    assert.equal(existsSync(where?.replaceAll(':', '/') ?? '/'), false);
  });

  test('a missing program is code 127', async () => {
    const result = await processes.run(['guestwire-no-such-program', 'x']);
    assert.deepEqual(result, {
      code: 127,
      stdout: '',
      stderr: 'guestwire-no-such-program: not found',
      timedOut: false,
    });
  });

  test('a timeout ends the program and its children', async () => {
    const result = await processes.run(['sh', '-c', 'sleep 61 & echo $!; wait'], { timeout: 200 });
    assert.equal(result.timedOut, true);
    assert.equal(result.code, 128 + 9);
    const child = Number(result.stdout);
    assert.ok(child > 1);
    // A killed orphan vanishes once init has reaped it; until then it is a zombie, which ps shows as Z.
    const { stdout } = await processes.run(['ps', '-o', 'stat=', '-p', String(child)]);
    assert.match(stdout, /^(Z.*)?\s*$/);
  });

  test('an abort of its signal ends the program and its children, and one that comes aborted is not started', async () => {
    const file = join(scratch.directory, `child-${Math.random()}`);
    const stop = new AbortController();
    const signal = stop.signal;
    const running = processes.run(['sh', '-c', `sleep 600 & echo $! > ${file}; wait`], { signal });
    while (!existsSync(file) || readFileSync(file, 'utf8') === '') await sleep(10);
    const child = readFileSync(file, 'utf8').trim();
    const state = async (): Promise<string> => (await processes.run(['ps', '-o', 'stat=', '-p', child])).stdout.trim();
    assert.match(await state(), /^S/);
    stop.abort();
    assert.deepEqual(await running, { code: 128 + 9, stdout: '', stderr: '', timedOut: false });
    // A killed orphan vanishes once init has reaped it; until then it is a zombie.
    while (!/^(?:Z.*)?$/.test(await state())) await sleep(20);
    const made = `${file}-made`;
    assert.equal((await processes.run(['touch', made], { signal })).code, 128 + 9);
    assert.equal(existsSync(made), false);
    const after = new AbortController();
    assert.equal((await processes.run(['echo', 'done'], { signal: after.signal })).stdout, 'done\n');
    after.abort();
    assert.equal((await processes.run(['echo', 'more'])).stdout, 'more\n');
  });

  test('output beyond 64 KiB is dropped without stopping the program', async () => {
    const result = await processes.run(['sh', '-c', 'head -c 1000000 /dev/zero | tr "\\0" x; echo done >&2']);
    assert.equal(result.code, 0);
    assert.equal(result.stdout.length, 64 * 1024);
    assert.equal(result.stderr, 'done\n');
  });

  test('a daemon that a program leaves behind is not waited for', async () => {
    const result = await processes.run(['sh', '-c', 'sleep 5 & echo $!']);
    assert.equal(result.code, 0);
    process.kill(Number(result.stdout));
  });

  test('what a caller adds to the environment comes beside what every program gets', async () => {
    const { stdout } = await processes.run(['env'], { environment: { GUESTWIRE_STAGE: 'before' } });
    const lines = stdout.trim().split('\n');
    assert.deepEqual(lines.map((line) => line.split('=')[0]).sort(), ['GUESTWIRE_STAGE', 'LC_ALL', 'PATH']);
    assert.ok(lines.includes('GUESTWIRE_STAGE=before'));
  });
}
