/**
 * The same requests to QEMU's own agent and to ours, each on a unix socket: what is returned is equal, and what fails
 * fails in both with the same class. Errors have words of their own.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createScratch, type Scratch } from '../support/scratch.js';
import { endProcess, wholeOrUndone } from '../support/cleanup.js';
import { StreamAgent } from '../support/stream-agent.js';
import { StreamClient } from '../support/stream-client.js';

/** QEMU's own agent on its own socket. It works on this machine, so it is asked for nothing that changes it. */
class QemuAgent implements AsyncDisposable {
  readonly scratch: Scratch;
  readonly #child: ChildProcess;

  private constructor(scratch: Scratch, child: ChildProcess) {
    this.scratch = scratch;
    this.#child = child;
  }

  static async start(): Promise<QemuAgent> {
    return wholeOrUndone(async (cleanup) => {
      const scratch = await createScratch();
      cleanup.add(() => scratch[Symbol.asyncDispose]());
      mkdirSync(scratch.state);
      const args = ['-m', 'unix-listen', '-p', join(scratch.directory, 'host'), '-t', scratch.state];
      const agent = new QemuAgent(scratch, spawn('qemu-ga', args, { stdio: 'ignore' }));
      cleanup.add(() => agent[Symbol.asyncDispose]());
      while (!existsSync(join(scratch.directory, 'host'))) {
        assert.equal(agent.#child.exitCode, null, 'qemu-ga ended');
        await sleep(20);
      }
      return agent;
    });
  }

  connect(): Promise<StreamClient> {
    return StreamClient.connect(join(this.scratch.directory, 'host'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await endProcess(this.#child);
    await this.scratch[Symbol.asyncDispose]();
  }
}

type Answer = Readonly<Record<string, unknown>>;

/** One agent, and where the files are that it is asked for. */
interface Side {
  readonly client: StreamClient;
  /** What comes before a path on the wire. */
  readonly root: string;
}

async function both(
  run: (ask: (line: string) => Promise<void>, sides: readonly [Side, Side]) => Promise<void>,
): Promise<void> {
  await using theirs = await QemuAgent.start();
  await using ours = await StreamAgent.start();
  using theirClient = await theirs.connect();
  using ourClient = await ours.connect();
  await ours.scratch.write('etc/hostname', `${hostname()}\n`);
  for (const { root } of [theirs.scratch, ours.scratch]) writeFileSync(join(root, 'f'), 'x'.repeat(5000));
  const sides = [
    { client: theirClient, root: theirs.scratch.root },
    { client: ourClient, root: '' },
  ] as const;
  let handles: readonly [unknown, unknown] = [null, null];
  const ask = async (line: string): Promise<void> => {
    const answers = await Promise.all(
      sides.map(async ({ client, root }, index) => {
        client.send(`${line.replaceAll('ROOT', root).replaceAll('"HANDLE"', String(handles[index]))}\n`);
        return JSON.parse((await client.line()).toString('latin1').replace(/^\xff/, '')) as Answer;
      }),
    );
    const [their, our] = answers as [Answer, Answer];
    if (line.includes('guest-file-open') && 'return' in their && 'return' in our) {
      handles = [their['return'], our['return']];
      return;
    }
    const classOf = ({ error }: Answer): unknown => (error as { class: string } | undefined)?.class;
    assert.equal(classOf(our), classOf(their), `${line}: ${JSON.stringify(our)}, ${JSON.stringify(their)}`);
    assert.deepEqual([our['return'], our['id']], [their['return'], their['id']], line);
  };
  await run(ask, sides);
}

test("what libvirt and QEMU's documentation send is answered as QEMU's own agent does", async () => {
  await both(async (ask, sides) => {
    for (const line of [
      '{"execute":"guest-sync", "arguments":{"id":1732650000123}}',
      '{"execute":"guest-sync-delimited","arguments":{"id":123456}}',
      '{"execute":"guest-sync","arguments":{"id":"x"}}',
      '{"execute":"guest-sync","arguments":{"id":1.5}}',
      '{"execute":"guest-sync"}',
      '{"execute":"guest-sync","arguments":{"id":1,"foo":2}}',
      '{"execute":"guest-sync","arguments":{"id":9223372036854775808}}',
      '{"execute":"guest-ping"}',
      '{"execute":"guest-ping","id":{"a":[1,"b"]}}',
      '{"execute":"guest-ping","arguments":[]}',
      '{"execute":"guest-no-such-command","id":3}',
      '{"execute":5}',
      '{"foo":5}',
      '[1,2]',
      '{"execute":"guest-shutdown","arguments":{"mode":"nonsense"}}',
      '{"execute":"guest-ssh-get-authorized-keys","arguments":{"username":"no-such-user"}}',
      '{"execute":"guest-get-host-name"}',
    ]) {
      await ask(line);
    }
    // Numbers that JavaScript cannot hold are compared as text.
    const long = '{"execute":"guest-sync","arguments":{"id":9223372036854775807}}\n';
    for (const { client } of sides) {
      client.send(long);
      assert.match((await client.line()).toString(), /^\{"return": ?9223372036854775807\}$/);
    }
  });
});

test("files are opened, read, written and closed as QEMU's own agent does", async () => {
  await both(async (ask, sides) => {
    for (const line of [
      '{"execute":"guest-file-open","arguments":{"path":"ROOT/nothing"}}',
      '{"execute":"guest-file-open","arguments":{"path":"ROOT/f","mode":"q"}}',
      '{"execute":"guest-file-open","arguments":{"path":"ROOT/f"}}',
      '{"execute":"guest-file-read","arguments":{"handle":"HANDLE","count":10}}',
      '{"execute":"guest-file-read","arguments":{"handle":"HANDLE"}}',
      '{"execute":"guest-file-read","arguments":{"handle":"HANDLE","count":894}}',
      '{"execute":"guest-file-read","arguments":{"handle":"HANDLE"}}',
      '{"execute":"guest-file-read","arguments":{"handle":"HANDLE","count":-1}}',
      '{"execute":"guest-file-write","arguments":{"handle":"HANDLE","buf-b64":"YQ=="}}',
      '{"execute":"guest-file-close","arguments":{"handle":"HANDLE"}}',
      '{"execute":"guest-file-close","arguments":{"handle":"HANDLE"}}',
      '{"execute":"guest-file-open","arguments":{"path":"ROOT/new","mode":"w+"}}',
      '{"execute":"guest-file-write","arguments":{"handle":"HANDLE","buf-b64":"aGVsbG8="}}',
      '{"execute":"guest-file-write","arguments":{"handle":"HANDLE","buf-b64":"aGVsbG8=","count":2}}',
      '{"execute":"guest-file-write","arguments":{"handle":"HANDLE","buf-b64":"aGVsbG8=","count":9}}',
      '{"execute":"guest-file-write","arguments":{"handle":"HANDLE","buf-b64":"aGV!"}}',
      '{"execute":"guest-file-close","arguments":{"handle":"HANDLE"}}',
      '{"execute":"guest-file-open","arguments":{"path":"ROOT/new","mode":"a"}}',
      '{"execute":"guest-file-write","arguments":{"handle":"HANDLE","buf-b64":"IGFuZCBtb3Jl"}}',
      '{"execute":"guest-file-close","arguments":{"handle":"HANDLE"}}',
      '{"execute":"guest-file-open","arguments":{"path":"ROOT/new","mode":"r"}}',
      '{"execute":"guest-file-read","arguments":{"handle":"HANDLE"}}',
      '{"execute":"guest-file-close","arguments":{"handle":"HANDLE"}}',
    ]) {
      await ask(line);
    }
    const [{ root }] = sides;
    assert.equal(readFileSync(join(root, 'new'), 'utf8'), 'hellohe and more');
  });
});

test("base64 is what QEMU's own agent takes for it, with the line feeds of Proxmox VE's", async () => {
  await both(async (ask, sides) => {
    const write = (text: string): string =>
      `{"execute":"guest-file-write","arguments":{"handle":"HANDLE","buf-b64":${JSON.stringify(text)}}}`;
    await ask('{"execute":"guest-file-open","arguments":{"path":"ROOT/new","mode":"w"}}');
    // As Perl's encode_base64 makes it: 76 characters a line, and a line feed at the end.
    for (const bytes of [0, 1, 2, 3, 56, 57, 58, 113, 114, 5000]) {
      const base64 = Buffer.alloc(bytes, 'päßword').toString('base64');
      await ask(write(base64.replaceAll(/.{1,76}/g, '$&\n')));
    }
    for (const text of ['\n', 'YQ\n==', 'YQ==\nYg==', 'YQ==YWI=YWJj', '\n\nYWJj\n\n', 'YWJj\nZA==\n'])
      await ask(write(text));
    for (const text of ['YWJj\r\n', ' YWJj', 'YWJj\t', 'YW-_', 'YWJj!', 'YWJ\u0000', 'YWé=']) await ask(write(text));
    await ask('{"execute":"guest-file-close","arguments":{"handle":"HANDLE"}}');
    const [{ root }] = sides;
    assert.ok(readFileSync(join(root, 'new')).length > 5000);
    await ask('{"execute":"guest-file-open","arguments":{"path":"ROOT/new"}}');
    await ask('{"execute":"guest-file-read","arguments":{"handle":"HANDLE","count":100000}}');
  });
});
