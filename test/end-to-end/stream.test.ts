/** The bundle behind a unix socket: what goes wrong on a stream, and several hosts and wires at once. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { EmbeddedStore } from '../../ts/host/unix/embedded-store.js';
import { openStore } from '../../ts/host/shared/store.js';
import { BUNDLE } from '../support/agent.js';
import { runCli } from '../support/run-cli.js';
import { createScratch } from '../support/scratch.js';
import { StreamAgent } from '../support/stream-agent.js';
import { type StreamClient } from '../support/stream-client.js';

const MAX_LINE = 64 * 1024;

test('the socket is for its owner alone, and both dialects are answered on it', async () => {
  await using agent = await StreamAgent.start();
  assert.equal(statSync(agent.socket).mode & 0o777, 0o600);
  using client = await agent.connect();
  await client.synchronize();
  assert.deepEqual(await client.ask({ id: [1], name: 'version' }), { id: [1], returncode: '0', message: '0.1.0' });
  assert.deepEqual(await client.execute('guest-ping'), {});
  // Neither dialect reaches the other's commands.
  assert.equal((await client.ask({ name: 'guest-ping' }))['returncode'], '404');
  await assert.rejects(client.execute('version'), /CommandNotFound/);
  assert.equal(await agent.stop(), 0);
});

test('what is no request is answered once each, and what follows it is served', async () => {
  await using agent = await StreamAgent.start();
  using client = await agent.connect();
  client.send(`garbage\n{"name":"${'x'.repeat(3 * MAX_LINE)}"}\n[]\n\n{"id":1,"name":"version"}\n`);
  for (const why of [/not JSON/, /at most 65536 bytes, got a longer one/, /got a list/]) {
    const answer = JSON.parse((await client.line()).toString()) as { message: string; error: object };
    assert.match(answer.message, why);
    assert.deepEqual(answer.error, { class: 'GenericError', desc: answer.message });
  }
  assert.equal((await client.line()).toString(), '{"id":1,"returncode":"0","message":"0.1.0"}');
});

test('an id that lies too deep in itself is answered once, and so is a value, on either wire', async () => {
  await using scratch = await createScratch();
  const [dom0, guest] = [join(scratch.directory, 'dom0'), join(scratch.directory, 'guest')];
  using store = new EmbeddedStore(dom0);
  store.addDomain(7, guest);
  await using agent = await StreamAgent.start(['--store', guest]);
  using client = await agent.connect();
  const deep = '['.repeat(20_000) + ']'.repeat(20_000);
  client.send(`{"id":${deep},"name":"version"}\n{"id":${deep},"execute":"guest-ping"}\n`);
  client.send(`{"name":"version","value":${deep}}\n{"id":1,"name":"version"}\n`);
  for (let answers = 0; answers < 3; answers += 1) {
    const { message } = JSON.parse((await client.line()).toString()) as { message: string };
    assert.equal(message, 'Request is malformed: expected JSON of at most 64 levels, got more');
  }
  assert.equal((await client.line()).toString(), '{"id":1,"returncode":"0","message":"0.1.0"}');

  using host = openStore({ endpoint: dom0, domain: 7, poll: 'loop' }, () => undefined);
  const nested = '['.repeat(900) + ']'.repeat(900);
  await host.write('data/host/deep', Buffer.from(`{"name":"version","value":${nested}}`));
  let answer: Buffer | null = null;
  while (answer === null) answer = await host.read('data/guest/deep');
  assert.match(answer.toString(), /expected JSON of at most 64 levels, got more/);
});

test('a text in a request comes back as it was, whatever it looks like', async () => {
  await using agent = await StreamAgent.start();
  using client = await agent.connect();
  for (const id of ['\0integer:5', '"\0integer:5']) {
    client.send(`${JSON.stringify({ id: [id], name: 'version' })}\n`);
    assert.deepEqual(JSON.parse((await client.line()).toString()), { id: [id], returncode: '0', message: '0.1.0' });
  }
});

test('half a line of which no more comes is thrown away, and answered when its end comes', async () => {
  await using agent = await StreamAgent.start([], 'line-timeout = "1s"\n');
  using client = await agent.connect();
  client.send('{"id":1,"name":"version",');
  // It counts from the last byte, so that slow hosts are served.
  await sleep(600);
  client.send('"value":');
  await sleep(600);
  client.send('""}\n');
  assert.equal((await client.line()).toString(), '{"id":1,"returncode":"0","message":"0.1.0"}');
  client.send('{"id":2,');
  await sleep(3000);
  client.send('"name":"version"}\n{"id":3,"name":"version"}\n');
  assert.match((await client.line()).toString(), /got text that is not JSON/);
  assert.equal((await client.line()).toString(), '{"id":3,"returncode":"0","message":"0.1.0"}');
});

test('half a line at the end is dropped, and all before it is answered though the host has said its last', async () => {
  await using agent = await StreamAgent.start();
  using client = await agent.connect();
  client.send('{"id":1,"name":"version"}\n{"id":2,"name":"version"}\n{"id":3,"name":"vers');
  client.end();
  assert.match((await client.line()).toString(), /"id":1/);
  assert.match((await client.line()).toString(), /"id":2/);
  await assert.rejects(client.line(), /ended: true, received: $/);
});

test('random lines get one answer each', async () => {
  await using agent = await StreamAgent.start();
  using client = await agent.connect();
  const names = ['guest-sync', 'guest-file-open', 'guest-file-read', 'guest-set-user-password', 'version', 'sshkeys'];
  const line = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    fc.json().map((text) => Buffer.from(text)),
    fc
      .record(
        { execute: fc.constantFrom(...names), arguments: fc.jsonValue(), id: fc.jsonValue() },
        { requiredKeys: [] },
      )
      .map((value) => Buffer.from(JSON.stringify(value))),
    fc
      .record({ name: fc.constantFrom(...names), value: fc.jsonValue(), id: fc.jsonValue() }, { requiredKeys: [] })
      .map((value) => Buffer.from(JSON.stringify(value))),
  );
  // No line feed or sentinel, which would make two lines or none of one; a dot before what is no object, so that no line
  // is blank.
  const lines = fc
    .sample(line, 1500)
    .map((bytes) => bytes.filter((byte) => byte !== 0x0a && byte !== 0xff))
    .map((bytes) => Buffer.concat([Buffer.from('.'), bytes]).subarray(bytes.length > 0 && bytes[0] === 0x7b ? 1 : 0));
  for (const bytes of lines) client.send(Buffer.concat([bytes, Buffer.from('\n')]));
  for (const bytes of lines) {
    const answer = (await client.line()).toString('latin1').replace(/^\xff/, '');
    assert.equal(typeof JSON.parse(answer), 'object', `${bytes.toString('latin1')} was answered by ${answer}`);
  }
  client.send('{"execute":"guest-sync","arguments":{"id":99}}\n');
  assert.equal((await client.line()).toString(), '{"return":99}');
});

test('ten thousand requests are answered in order, and leave no memory behind', async () => {
  await using agent = await StreamAgent.start();
  using client = await agent.connect();
  await client.synchronize();
  const round = async (): Promise<void> => {
    for (let sent = 0; sent < 10_000; sent += 1000) {
      const ids = Array.from({ length: 1000 }, (_, index) => sent + index);
      client.send(ids.map((id) => `{"execute":"guest-sync","arguments":{"id":${id}}}\n`).join(''));
      for (const id of ids) assert.equal((await client.line()).toString(), `{"return":${id}}`);
    }
  };
  const started = performance.now();
  await round();
  const took = Math.round(performance.now() - started);
  const rounds = async (): Promise<number> => {
    for (let count = 0; count < 4; count += 1) await round();
    return agent.residentMib;
  };
  // V8 lets its heap grow to what such a crowd takes before it collects in earnest: a leak is what comes after that.
  const before = await rounds();
  const grown = (await rounds()) - before;
  console.log(`10,000 requests: ${took} ms; ${grown.toFixed(1)} MiB more after 40,000 others`);
  assert.ok(grown < 40, `${grown} MiB`);
});

test('a host that does not read holds up nobody else, and the agent keeps one answer for it', async () => {
  await using agent = await StreamAgent.start();
  writeFileSync(join(agent.scratch.root, 'large'), Buffer.alloc(8 * 1024 * 1024, 'x'));
  using slow = await agent.connect();
  using quick = await agent.connect();
  const handle = await slow.execute('guest-file-open', { path: '/large' });
  slow.pause();
  const read = `{"execute":"guest-file-read","arguments":{"handle":${String(handle)},"count":8388608}}\n`;
  slow.send(read.repeat(200));
  await sleep(500);
  const b64 = (text: string): string => Buffer.from(text).toString('base64');
  const value = { b64_path: b64('/etc/new'), b64_file: b64('written') };
  assert.equal((await quick.ask({ name: 'file_inject', value }, 5000))['returncode'], '0');
  const before = agent.residentMib;
  await sleep(1000);
  assert.ok(agent.residentMib - before < 40, `${before} MiB, then ${agent.residentMib}`);
});

test('a ninth connection is refused, and there is room when one ends', async () => {
  await using agent = await StreamAgent.start();
  const clients = await Promise.all(Array.from({ length: 8 }, () => agent.connect()));
  for (const client of clients) await client.synchronize();
  using ninth = await agent.connect();
  await assert.rejects(ninth.execute('guest-ping'), /no line; ended: true/);
  clients[0]![Symbol.dispose]();
  await sleep(200);
  using another = await agent.connect();
  assert.deepEqual(await another.execute('guest-ping'), {});
  for (const client of clients) client[Symbol.dispose]();
});

test('the socket of a dead agent is taken over, that of a living one and any other file are not', async (t) => {
  await using agent = await StreamAgent.start();
  await using other = await createScratch();
  const start = async (path: string): Promise<[code: number | null, stderr: string]> => {
    const child = spawn(process.execPath, [BUNDLE, 'run', '--wire', 'stream', '--listen', path, '--root', other.root]);
    t.after(() => child.kill('SIGKILL'));
    let printed = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (printed += text));
    await once(child, 'close');
    return [child.exitCode, printed];
  };
  const [code, printed] = await start(agent.socket);
  assert.deepEqual([code, printed.includes('another program listens there')], [1, true], printed);
  const file = join(agent.scratch.directory, 'file');
  writeFileSync(file, 'keep');
  assert.match((await start(file))[1], /a regular file of user 0 stands there: wanted nothing, or a socket/);
  assert.equal(readFileSync(file, 'utf8'), 'keep');
  agent.kill();
  await using next = await StreamAgent.start([], '', agent.socket);
  using client = await next.connect();
  assert.deepEqual(await client.execute('guest-ping'), {});
});

test("another user's socket where the agent is to listen stays, and ends the agent with the reason", async () => {
  await using scratch = await createScratch();
  const shared = join(scratch.directory, 'tmp');
  mkdirSync(shared);
  // No more for others than what mkdtemp made: as /tmp is.
  chmodSync(scratch.directory, 0o711);
  chmodSync(shared, 0o1777);
  const path = join(shared, 'host');
  const squat = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => console.log('listening'))`;
  const squatter = spawn('setpriv', ['--reuid=65534', '--clear-groups', process.execPath, '-e', squat]);
  const run = (): ReturnType<typeof runCli> =>
    runCli(['run', '--wire', 'stream', '--listen', path, '--root', scratch.root]);
  try {
    await once(squatter.stdout, 'data');
    for (const dead of [false, true]) {
      if (dead) {
        const ended = once(squatter, 'exit');
        squatter.kill('SIGKILL');
        await ended;
      }
      const { code, stderr } = await run();
      assert.equal(code, 1, stderr);
      assert.match(
        stderr,
        /listening at .*: a socket of user 65534 stands there: wanted nothing, or a socket of user 0/,
      );
      assert.equal(statSync(path).uid, 65534);
    }
  } finally {
    squatter.kill('SIGKILL');
  }
});

test('commands that are switched off are refused in both dialects, and guest-info tells so', async () => {
  await using agent = await StreamAgent.start([], '[commands]\ndeny = ["guest-file-open", "sshkeys"]\n');
  using client = await agent.connect();
  await assert.rejects(client.execute('guest-file-open', { path: '/etc/passwd' }), /switched off/);
  assert.equal((await client.ask({ name: 'sshkeys' }))['returncode'], '403');
  const { supported_commands: commands } = (await client.execute('guest-info')) as {
    supported_commands: { name: string; enabled: boolean }[];
  };
  assert.deepEqual(
    commands.filter(({ enabled }) => !enabled).map(({ name }) => name),
    ['guest-file-open'],
  );
});

test('XenStore and a stream are served at once, and the stream goes on when the store ends', async () => {
  await using scratch = await createScratch();
  mkdirSync(scratch.state);
  const [dom0, guest] = [join(scratch.directory, 'dom0'), join(scratch.directory, 'guest')];
  let client: StreamClient;
  {
    using store = new EmbeddedStore(dom0);
    store.addDomain(7, guest);
    await using agent = await StreamAgent.start(['--store', guest]);
    assert.match(agent.log, /"wires":\["(xenstore","stream|stream","xenstore)"\]/);
    client = await agent.connect();
    using host = openStore({ endpoint: dom0, domain: 7, poll: 'loop' }, () => undefined);
    const set = client.execute('guest-set-user-password', { username: 'root', password: 'YWJj', crypted: false });
    await host.write('data/host/one', Buffer.from('{"name":"features","value":""}'));
    assert.deepEqual(await set, {});
    let answer: Buffer | null = null;
    while (answer === null) answer = await host.read('data/guest/one');
    assert.doesNotMatch(answer.toString(), /guest-/);
    store[Symbol.dispose]();
    await agent.logged('XenStore connection lost');
    assert.deepEqual(await client.execute('guest-ping'), {});
  }
  client[Symbol.dispose]();
});

test('a machine without any wire ends the agent with 69', async (t) => {
  await using scratch = await createScratch();
  const child = spawn(process.execPath, [BUNDLE, 'run', '--wire', 'stream', '--root', scratch.root]);
  t.after(() => child.kill('SIGKILL'));
  let printed = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (printed += text));
  await once(child, 'close');
  assert.equal(child.exitCode, 69, printed);
  assert.match(printed, /No host can reach this machine: wanted a port org\.qemu\.guest_agent\.0/);
});
