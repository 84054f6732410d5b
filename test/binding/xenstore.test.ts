import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { type Socket, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { XenStore, type PollMode } from '#binding';
import { createScratch } from '../support/scratch.js';
import { ScratchStore, type StoreKind } from './scratch-store.js';

const PATIENCE_MS = 60_000;
const addon = JSON.stringify(import.meta.resolve('#binding'));

function unexpected(reason: string): never {
  throw new Error(`the connection was lost: ${reason}`);
}

async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!condition()) {
    assert.ok(performance.now() < end, 'it did not happen in time');
    await sleep(1);
  }
}

/** Runs a module in a process of its own; `store` is open in it. Resolves with what it printed, or how it failed. */
async function run(
  socket: string,
  poll: PollMode,
  code: string,
): Promise<{ code: number | string | null; signal: string | null; stdout: string; stderr: string }> {
  const script = `
    import { Worker, isMainThread, workerData } from 'node:worker_threads';
    import { XenStore } from ${addon};
    const open = (onClose = () => {}) => XenStore.open({ endpoint: process.argv[1], poll: ${JSON.stringify(poll)} }, onClose);
    ${code}`;
  const argv = ['--input-type=module', '-e', script, socket];
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, argv, { timeout: PATIENCE_MS });
    return { code: 0, signal: null, stdout, stderr };
  } catch (error) {
    return error as { code: number; signal: string | null; stdout: string; stderr: string };
  }
}

/** Code that starts a worker which watches, and reads without an end. */
const worker = `
  const worker = new Worker(\`
    import { parentPort, workerData } from 'node:worker_threads';
    import(workerData.addon).then(async ({ XenStore }) => {
      const store = XenStore.open({ endpoint: workerData.socket, poll: workerData.poll }, () => {});
      await store.watch('/w', () => { if (workerData.exitInCallback) process.exit(7); });
      const again = () => { store.read('/').then(again); };
      again();
      parentPort.postMessage('ready');
      if (workerData.exit) process.exit(7);
    });\`, { eval: true, workerData: { addon: ${addon}, socket: process.argv[1], poll: POLL, exit: EXIT, exitInCallback: IN_CALLBACK } });`;

const combinations: readonly [StoreKind, PollMode][] = [
  ['embedded', 'loop'],
  ['embedded', 'thread'],
  ['xenstored', 'loop'],
  ['xenstored', 'thread'],
];

for (const [kind, poll] of combinations) {
  const open = (store: ScratchStore, onClose: (reason: string) => void = unexpected): XenStore =>
    XenStore.open({ endpoint: store.socket, poll }, onClose);

  describe(`XenStore on ${kind} with poll: ${poll}`, () => {
    it('reads back the bytes it wrote, whatever they are', async () => {
      await using server = await ScratchStore.start(kind);
      const store = open(server);
      for (const value of [Buffer.alloc(0), Buffer.from([0, 255, 0, 128]), Buffer.alloc(2000, 'x')]) {
        await store.write('/data/x', value);
        assert.deepEqual(await store.read('/data/x'), value);
      }
      assert.equal(store.endpoint, server.socket);
      store.close();
    });

    it('makes, lists and removes nodes, and knows a domain’s home', async () => {
      await using server = await ScratchStore.start(kind);
      const store = open(server);
      await store.makeDirectory('/a/b');
      assert.deepEqual(await store.list('/a'), ['b']);
      assert.deepEqual(await store.list('/a/b'), []);
      await store.remove('/a/b');
      assert.deepEqual(await store.list('/a'), []);
      assert.equal(await store.domainPath(7), '/local/domain/7');
      await store.setPermissions('/a', ['n0', 'r5']);
      assert.deepEqual(await store.getPermissions('/a'), ['n0', 'r5']);
      store.close();
    });

    it('lists more names than fit into one message', async () => {
      await using server = await ScratchStore.start(kind);
      const store = open(server);
      const names = Array.from({ length: 500 }, (_, i) => `a-child-with-a-name-${i}`);
      await Promise.all(names.map(async (name) => store.write(`/d/${name}`, Buffer.from(''))));
      assert.deepEqual((await store.list('/d')).sort(), [...names].sort());
      store.close();
    });

    it('keeps many requests under way at once', async () => {
      await using server = await ScratchStore.start(kind);
      const store = open(server);
      const values = await Promise.all(
        Array.from({ length: 1000 }, async (_, i) => {
          await store.write(`/n/${i}`, Buffer.from(String(i)));
          return (await store.read(`/n/${i}`)).toString();
        }),
      );
      assert.deepEqual(
        values,
        Array.from({ length: 1000 }, (_, i) => String(i)),
      );
      store.close();
    });

    it('tells errors apart by their code', async () => {
      await using server = await ScratchStore.start(kind);
      const store = open(server);
      await assert.rejects(store.read('/none'), { code: 'XS_NOT_FOUND', message: /\/none/ });
      await assert.rejects(store.read('a//b'), { code: 'XS_INVALID_PATH', message: /empty name/ });
      await assert.rejects(store.write('/a', Buffer.alloc(5000)), { code: 'XS_TOO_LARGE', message: /5003.*4096/ });
      await assert.rejects(store.setPermissions('/', ['x']), { code: 'XS_REFUSED', message: /EINVAL/ });
      assert.throws(() => XenStore.open({ endpoint: `${server.socket}-none`, poll }, unexpected), {
        code: 'XS_NO_ENDPOINT',
      });
      store.close();
    });

    it('takes paths and text of any length, and nothing else in their place', async () => {
      await using server = await ScratchStore.start(kind);
      const store = open(server);
      for (let length = 248; length <= 260; length += 1) {
        const path = `/${'x'.repeat(length - 1)}`;
        await store.write(path, Buffer.from(String(length)));
        assert.equal((await store.read(path)).toString(), String(length));
        await store.remove(path);
        await assert.rejects(store.read(path), { code: 'XS_NOT_FOUND' });
      }
      await assert.rejects(store.read(`/${'ä'.repeat(125)}x`), { code: 'XS_INVALID_PATH' });
      assert.throws(() => store.read(7 as never), /String|Number/);
      await store.write('/text', 'ä'.repeat(200));
      assert.equal((await store.read('/text')).toString(), 'ä'.repeat(200));
      assert.throws(() => store.write('/text', 7 as never), /text or a Uint8Array/);
      store.close();
    });

    it('fires once at the beginning, then for each change below, in order', async () => {
      await using server = await ScratchStore.start(kind);
      const store = open(server);
      const seen: string[] = [];
      await store.watch('/data', (path) => seen.push(path));
      await store.write('/data/one', Buffer.from('1'));
      await store.write('/data/two', Buffer.from('2'));
      await store.write('/elsewhere', Buffer.from('3'));
      await store.remove('/data/one');
      await until(() => seen.length === 4);
      assert.deepEqual(seen, ['/data', '/data/one', '/data/two', '/data/one']);
      store.close();
    });

    it('brings the values of children that changed, but not of the node itself or deeper ones, and nothing of what was removed here', async () => {
      await using server = await ScratchStore.start(kind);
      const [host, store] = [open(server), open(server)];
      await host.write('/data/old', Buffer.from('before'));
      const seen: string[] = [];
      await store.watchValues('/data', (below, value) => {
        const told = typeof value === 'string' ? value : value?.toString('hex');
        seen.push(`${below}: ${told ?? (value === null ? 'gone' : 'not read')}`);
      });
      await until(() => seen.length === 1);
      await host.write('/data/one', Buffer.of(0, 255));
      await until(() => seen.length === 2);
      await store.remove('/data/one');
      await host.remove('/data/old');
      await until(() => seen.length === 3);
      await host.write('/data/one', Buffer.from('a'));
      await host.write('/data/one/two', Buffer.from('b'));
      await until(() => seen.length === 5);
      await host.remove('/data/one');
      await until(() => seen.length === 6);
      assert.deepEqual(seen, [': not read', 'one: 00ff', 'old: gone', 'one: a', 'one/two: not read', 'one: gone']);
      store.close();
      host.close();
    });

    it('brings values in the order of their events, however many come at once', async () => {
      await using server = await ScratchStore.start(kind);
      const [host, store] = [open(server), open(server)];
      const seen: (string | undefined)[] = [];
      await store.watchValues('/data', (_, value) => seen.push(value?.toString()));
      await until(() => seen.length === 1);
      const values = Array.from({ length: 500 }, (_, i) => String(i));
      await Promise.all(values.map(async (value) => host.write(`/data/${value}`, Buffer.from(value))));
      await until(() => seen.length === 501);
      assert.deepEqual(seen, [undefined, ...values]);
      store.close();
      host.close();
    });

    it('forgets the oldest of more removals than it remembers, whatever their names', async () => {
      await using server = await ScratchStore.start(kind);
      const [host, store] = [open(server), open(server)];
      // So that the first by name is removed last.
      const names = Array.from({ length: 65 }, (_, i) => `/data/${String(99 - i)}`);
      for (const name of names) await host.write(name, Buffer.from('x'));
      const seen: string[] = [];
      await store.watchValues('/data', (below, value) => seen.push(`${below}: ${value === null ? 'gone' : 'there'}`));
      await until(() => seen.length === 1);
      await Promise.all(names.map(async (name) => store.remove(name)));
      await host.write('/data/last', Buffer.from('x'));
      await until(() => seen.includes('last: there'));
      assert.deepEqual(seen.slice(1), ['99: gone', 'last: there']);
      store.close();
      host.close();
    });

    it('calls no function with a value that comes when its watch, or the connection, is closed', async () => {
      await using server = await ScratchStore.start(kind);
      const [host, store] = [open(server), open(server)];
      let calls = 0;
      const watch = await store.watchValues('/data', () => (calls += 1));
      await until(() => calls === 1);
      await Promise.all([host.write('/data/x', Buffer.from('1')), watch.close()]);
      await store.read('/data/x');
      assert.equal(calls, 1);
      await store.watchValues('/data', () => {
        calls += 1;
        store.close();
      });
      await host.write('/data/x', Buffer.from('2'));
      await sleep(20);
      assert.equal(calls, 2);
      host.close();
    });

    it('calls no function any more once its watch is closed, and two watches on one path are two', async () => {
      await using server = await ScratchStore.start(kind);
      const store = open(server);
      let [first, second] = [0, 0];
      const watch = await store.watch('/data', () => (first += 1));
      await store.watch('/data', () => (second += 1));
      await until(() => first === 1 && second === 1);
      await watch.close();
      await watch.close();
      await store.write('/data/x', Buffer.from('1'));
      await until(() => second === 2);
      assert.equal(first, 1);
      store.close();
    });

    it('sees the last of ten thousand writes', async () => {
      await using server = await ScratchStore.start(kind);
      const [writer, store] = [open(server), open(server)];
      await writer.write('/flood', Buffer.from('0'));
      let last = '';
      let events = 0;
      const reads: Promise<string>[] = [];
      const watch = await store.watch('/flood', () => {
        events += 1;
        reads.push(store.read('/flood').then((value) => (last = value.toString())));
      });
      await Promise.all(Array.from({ length: 10_000 }, async (_, i) => writer.write('/flood', Buffer.from(String(i)))));
      await until(() => last === '9999');
      assert.ok(events > 1, `only ${events} events`);
      // A late event may have started a read, which would fail with the connection.
      await watch.close();
      await Promise.all(reads);
      store.close();
      writer.close();
    });

    it('runs promises and ticks between two wake-ups', async () => {
      await using server = await ScratchStore.start(kind);
      const store = open(server);
      const order: string[] = [];
      await store.watch('/data', () => {
        order.push('event');
        process.nextTick(() => order.push('tick'));
        void Promise.resolve().then(() => {
          order.push('promise');
        });
      });
      await until(() => order.length === 3);
      assert.deepEqual(order, ['event', 'tick', 'promise']);
      store.close();
    });

    it('fails what is under way when it is closed, quietly twice, and everything after', async () => {
      await using server = await ScratchStore.start(kind);
      const store = open(server);
      const watch = await store.watch('/data', () => undefined);
      const [reading, watching] = [store.read('/'), store.watch('/x', () => undefined)];
      store.close();
      store.close();
      await assert.rejects(reading, { code: 'XS_CLOSED' });
      await assert.rejects(watching, { code: 'XS_CLOSED' });
      await assert.rejects(store.read('/'), { code: 'XS_CLOSED' });
      await assert.rejects(
        store.watch('/x', () => undefined),
        { code: 'XS_CLOSED' },
      );
      await watch.close();
    });

    it('says once that the store has gone, and why', async () => {
      await using server = await ScratchStore.start(kind);
      const reasons: string[] = [];
      const store = open(server, (reason) => reasons.push(reason));
      await store.watch('/data', () => undefined);
      await server.stop();
      await until(() => reasons.length > 0);
      await assert.rejects(store.read('/'), { code: 'XS_CLOSED' });
      await sleep(20);
      assert.equal(reasons.length, 1);
      assert.match(String(reasons[0]), /hung up|Connection reset/);
    });

    it('lets a function close everything from inside', async () => {
      await using server = await ScratchStore.start(kind);
      const store = open(server);
      let calls = 0;
      await assert.rejects(
        Promise.all([
          store.watch('/data', () => {
            calls += 1;
            store.close();
          }),
          sleep(200).then(async () => store.read('/')),
        ]),
        { code: 'XS_CLOSED' },
      );
      assert.equal(calls, 1);
    });

    it('turns what a function throws into an uncaughtException and goes on', async () => {
      await using server = await ScratchStore.start(kind);
      const code = `
        const store = open();
        process.on('uncaughtException', (error) => console.log('caught', error.message));
        let calls = 0;
        await store.watch('/data', () => { calls += 1; if (calls === 1) throw new Error('from the function'); console.log('again'); store.close(); });
        // Another path than the first event's: xenstored sends one event for two alike of which none has left it yet.
        // The function may have closed the store before the answer is there.
        await store.write('/data/below', Buffer.from('x')).catch((error) => { if (error.code !== 'XS_CLOSED') throw error; });`;
      const result = await run(server.socket, poll, code);
      assert.deepEqual([result.code, result.stdout], [0, 'caught from the function\nagain\n'], result.stderr);
      const unhandled = await run(
        server.socket,
        poll,
        `const store = open(); await store.watch('/data', () => { throw new Error('from the function'); });`,
      );
      assert.equal(unhandled.code, 1);
      assert.match(unhandled.stderr, /from the function/);
    });

    it('keeps the process alive while it watches, and not when it is idle', async () => {
      await using server = await ScratchStore.start(kind);
      const idle = await run(server.socket, poll, `const store = open(); await store.read('/'); console.log('done');`);
      assert.deepEqual([idle.code, idle.stdout], [0, 'done\n'], idle.stderr);
      const code = `const store = open(); await store.watch('/alive', (path) => { if (path === '/alive/x') { console.log('woken'); store.close(); } });`;
      const watching = run(server.socket, poll, code);
      const store = open(server);
      const timer = setInterval(() => void store.write('/alive/x', Buffer.from('1')), 100);
      const result = await watching;
      clearInterval(timer);
      store.close();
      assert.deepEqual([result.code, result.stdout], [0, 'woken\n'], result.stderr);
    });

    it('survives the exit of the process with things under way', async () => {
      await using server = await ScratchStore.start(kind);
      const code = `const store = open(); await store.watch('/w', () => {}); for (let i = 0; i < 100; i++) void store.read('/'); process.exit(3);`;
      const result = await run(server.socket, poll, code);
      assert.deepEqual([result.code, result.signal], [3, null], result.stderr);
    });

    for (const [how, exit, inCallback, after] of [
      ['is terminated', false, false, `worker.once('message', () => { void worker.terminate(); });`],
      ['exits', true, false, ''],
      ['exits inside a function', false, true, ''],
    ] as const) {
      it(`survives a worker that ${how} with things under way`, async () => {
        await using server = await ScratchStore.start(kind);
        const code =
          worker
            .replace('POLL', JSON.stringify(poll))
            .replace('EXIT', String(exit))
            .replace('IN_CALLBACK', String(inCallback)) +
          `${after}
          worker.once('error', (error) => { throw error; });
          worker.once('exit', async () => { const store = open(); await store.read('/'); store.close(); console.log('still here'); });`;
        const result = await run(server.socket, poll, code);
        assert.deepEqual([result.code, result.signal, result.stdout], [0, null, 'still here\n'], result.stderr);
      });
    }

    it('survives workers that end with a connection closed already, and somebody who is told of contexts', async () => {
      await using server = await ScratchStore.start(kind);
      const code = `
        const end = () => new Promise((resolve, reject) => {
          const worker = new Worker(\`
            import { createHook } from 'node:async_hooks';
            import { workerData } from 'node:worker_threads';
            createHook({ init() {}, destroy() {} }).enable();
            import(workerData.addon).then(({ XenStore }) => {
              const kept = XenStore.open({ endpoint: workerData.socket, poll: workerData.poll }, () => {});
              kept.close();
              globalThis.kept = kept;
              if (workerData.exit) process.exit(7);
            });\`, { eval: true, workerData: { addon: ${addon}, socket: process.argv[1], poll: ${JSON.stringify(poll)}, exit: Math.random() < 0.5 } });
          worker.once('error', reject).once('exit', resolve);
        });
        for (let count = 0; count < 20; count += 1) await end();
        console.log('still here');`;
      const result = await run(server.socket, poll, code);
      assert.deepEqual([result.code, result.signal, result.stdout], [0, null, 'still here\n'], result.stderr);
    });
  });
}

describe('XenStore', () => {
  for (const poll of ['loop', 'thread'] as const) {
    it(`hangs up at once when it is closed, and not when it is collected as garbage (poll: ${poll})`, async () => {
      await using scratch = await createScratch();
      const socket = join(scratch.directory, 'socket');
      let [connections, ends] = [0, 0];
      const server = createServer((connection) => {
        connections += 1;
        connection.on('end', () => (ends += 1)).resume();
      });
      server.listen(socket);
      await once(server, 'listening');
      const store = XenStore.open({ endpoint: socket, poll }, unexpected);
      await until(() => connections === 2);
      store.close();
      await until(() => ends === 2);
      assert.equal(store.endpoint, socket);
      server.close();
    });

    it(`says that the store is gone when it leaves with a request unread (poll: ${poll})`, async () => {
      await using scratch = await createScratch();
      const socket = join(scratch.directory, 'socket');
      const connections: Socket[] = [];
      const server = createServer({ pauseOnConnect: true }, (connection) => connections.push(connection));
      server.listen(socket);
      await once(server, 'listening');
      const reasons: string[] = [];
      const store = XenStore.open({ endpoint: socket, poll }, (reason) => reasons.push(reason));
      await until(() => connections.length === 2);
      const reading = store.read('/');
      for (const connection of connections) connection.destroy();
      server.close();
      await assert.rejects(reading, { code: 'XS_CLOSED' });
      assert.match(String(reasons[0]), /hung up$|Connection reset/);
    });
  }
});
