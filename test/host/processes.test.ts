import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Secret } from '../../ts/api/index.js';
import { createProcesses } from '../../ts/host/processes.js';

const processes = createProcesses();

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

test('a missing program is code 127', async () => {
  const result = await processes.run(['guestwire-no-such-program', 'x']);
  assert.deepEqual(result, { code: 127, stdout: '', stderr: 'guestwire-no-such-program: not found', timedOut: false });
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
