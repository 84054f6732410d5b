import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';

test('fields that may hold a secret are not printed, nor those one level below, nor a child logger', () => {
  const program = `
    const { createLog } = await import('./build/ts/daemon/log.js');
    const { log, flush } = await createLog({ level: 'info', format: 'json' });
    const error = { code: 'EIO', content: 'hidden' };
    log.info({ request: 'a', password: 'hidden', error, none: null, at: ['x'] }, 'first');
    log.child({ command: 'c', key: 'hidden' }).warn({ file: { value: 'hidden', path: '/p' } }, 'second');
    log.error({ given: new (class Given { password = 'hidden'; user = 'root'; })(), at: null }, 'given');
    await flush();`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
  assert.equal(stderr, '');
  const lines = stdout.trim().split('\n');
  const entries = lines.map((line) => ({ ...(JSON.parse(line) as object), time: 0 }));
  assert.deepEqual(entries, [
    {
      level: 30,
      time: 0,
      request: 'a',
      password: '[secret]',
      error: { code: 'EIO', content: '[secret]' },
      none: null,
      at: ['x'],
      msg: 'first',
    },
    { level: 40, time: 0, command: 'c', key: '[secret]', file: { value: '[secret]', path: '/p' }, msg: 'second' },
    { level: 50, time: 0, given: { password: '[secret]', user: 'root' }, at: null, msg: 'given' },
  ]);
});

test('a reader of the log that has gone does not keep the agent from ending', { timeout: 20_000 }, async () => {
  const program = `
    const { createLog } = await import('./build/ts/daemon/log.js');
    const { log, flush } = await createLog({ level: 'info', format: 'json' });
    console.error('ready');
    process.stdin.once('data', async () => {
      log.info('to nobody');
      await flush();
      log.info('after that');
      await flush();
      process.stdin.destroy();
    });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'pipe' });
  try {
    await once(child.stderr, 'data');
    child.stdout.destroy();
    child.stdin.write('go');
    const [code] = (await once(child, 'exit')) as [number | null];
    assert.equal(code, 0);
  } finally {
    child.kill('SIGKILL');
  }
});

test('what was logged is written before another program may take the place of this one', () => {
  const program = `
    const { pbkdf2 } = await import('node:crypto');
    const { createLog } = await import('./build/ts/daemon/log.js');
    const { log, flush } = await createLog({ level: 'info', format: 'json' });
    // The only thread that writes has something else to do first.
    pbkdf2('', '', 30_000, 64, 'sha512', () => undefined);
    log.info('the last');
    await flush();
    process.kill(process.pid, 'SIGKILL');`;
  const env = { ...process.env, UV_THREADPOOL_SIZE: '1' };
  const { stdout, signal } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
    env,
  });
  assert.equal(signal, 'SIGKILL');
  assert.match(stdout, /"msg":"the last"\}\n$/);
});
