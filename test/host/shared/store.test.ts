import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { mock, test } from 'node:test';
import { openStore } from '../../../ts/host/shared/store.js';
import { createScratch } from '../../support/scratch.js';

const PERIOD_MS = 30_000;

/** A store that takes requests and never replies: no real one does that when it is asked to. */
async function silentStore(path: string): Promise<AsyncDisposable & { readonly path: string }> {
  const server = createServer((socket) => socket.resume().on('error', () => undefined));
  server.listen(path);
  await once(server, 'listening');
  return {
    path,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, 'close');
    },
  };
}

test('a store that owes a reply for a whole period is given up, one that was asked during it is not yet', async () => {
  await using scratch = await createScratch();
  await using silent = await silentStore(join(scratch.directory, 'socket'));
  mock.timers.enable({ apis: ['setInterval'] });
  const lost: string[] = [];
  const store = openStore({ endpoint: silent.path, domain: 7, poll: 'loop' }, (reason) => lost.push(reason));
  try {
    const reading = store.read('name').then(
      () => 'read',
      (error: unknown) => (error as { code: string }).code,
    );
    mock.timers.tick(PERIOD_MS);
    assert.deepEqual(lost, []);
    mock.timers.tick(PERIOD_MS - 1);
    assert.deepEqual(lost, []);
    mock.timers.tick(1);
    assert.deepEqual(lost, ['no reply for 30 s']);
    assert.equal(await reading, 'XS_CLOSED');
  } finally {
    mock.timers.reset();
    store[Symbol.dispose]();
  }
});

test('a store that another user runs is not obeyed', async () => {
  await using scratch = await createScratch();
  const socket = join(scratch.directory, 'socket');
  await chmod(scratch.directory, 0o777);
  const script =
    'import socket, sys, time\ns = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(5); print("ready", flush=True); time.sleep(60)';
  const squatter = spawn('setpriv', ['--reuid', '65534', '--clear-groups', '/usr/bin/python3', '-c', script, socket], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    await once(squatter.stdout, 'data');
    assert.throws(() => openStore({ endpoint: socket, domain: 7, poll: 'loop' }, () => undefined), {
      message: /uid 65534 runs the store there: expected root/,
    });
  } finally {
    squatter.kill();
    await once(squatter, 'close');
  }
});
