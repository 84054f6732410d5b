/** How much the agent logs at its usual level: what is worth it, and not what somebody else decides by asking. */
import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent } from '../support/agent.js';
import { GUEST, hostOf, startGuestStore } from '../support/guest-store.js';
import { ScratchRoot } from '../support/scratch-root.js';
import { StreamClient } from '../support/stream-client.js';

const POLLS = 10_000;
const AT_ONCE = 100;
const USUAL = ['--log-level', 'info'];

/** The lines since the agent was ready, without what its end adds. */
function told(agent: Agent): readonly string[] {
  const [, after = ''] = agent.log.split('"msg":"ready"}\n');
  return after.split('\n').filter((line) => line !== '' && !/"msg":"(?:stopping|stopped)"/.test(line));
}

test('10,000 polls of version over XenStore are no line of the log', async () => {
  using scratch = new ScratchRoot();
  await using store = await startGuestStore('oxenstored', scratch.directory);
  await using agent = await Agent.start({ ...store.agent, root: scratch.root, args: USUAL });
  using host = hostOf(store);
  for (let sent = 0; sent < POLLS; sent += AT_ONCE) {
    const ids = Array.from({ length: AT_ONCE }, (_, index) => `${sent + index}`);
    await Promise.all(ids.map((id) => host.write(`data/host/${id}`, '{"name":"version","value":""}')));
    while (((await host.list('data/host')) ?? []).length > 0) await sleep(2);
    // A host that reads its answers and takes them away, so that the store is not what is tried here.
    await Promise.all(ids.map((id) => host.remove(`data/guest/${id}`)));
  }
  assert.equal(await agent.stop(), 0);
  assert.deepEqual(told(agent), []);
});

test('10,000 polls of guest-ping and guest-sync over the stream are no line of the log', async () => {
  using scratch = new ScratchRoot();
  await using store = await startGuestStore('embedded', scratch.directory);
  const socket = join(scratch.directory, 'stream');
  await using agent = await Agent.start({ ...store.agent, root: scratch.root, args: [...USUAL, '--listen', socket] });
  using client = await StreamClient.connect(socket);
  for (let id = 0; id < POLLS / 2; id += 1) {
    assert.deepEqual(await client.ask({ execute: 'guest-ping' }), { return: {} });
    assert.deepEqual(await client.ask({ execute: 'guest-sync', arguments: { id } }), { return: id });
  }
  assert.equal(await agent.stop(), 0);
  assert.deepEqual(told(agent), []);
});

test('a host that asks for what there is not, again and again, gets a line for each reason', async () => {
  using scratch = new ScratchRoot();
  await using store = await startGuestStore('embedded', scratch.directory);
  await using agent = await Agent.start({ ...store.agent, root: scratch.root, args: USUAL });
  using host = hostOf(store);
  const bodies = ['{"name":"no-such-command"}', 'no JSON', '{"value":"S3cret"}', '{"name":"S3 cret!"}'];
  for (let round = 0; round < 200; round += 1) {
    const id = `poll-${round}`;
    await host.write(`data/host/${id}`, bodies[round % bodies.length]!);
    while ((await host.read(`data/host/${id}`)) !== null) await sleep(2);
    await host.remove(`data/guest/${id}`);
  }
  assert.equal(await agent.stop(), 0);
  const lines = told(agent).map((line) => JSON.parse(line) as { msg: string; code: string; reason: string });
  assert.deepEqual(
    lines.map(({ msg, code, reason }) => [msg, code, reason]),
    [
      ['request refused', 'GW_COMMAND_UNKNOWN', "No such agent command 'no-such-command'"],
      [
        'request refused',
        'GW_REQUEST_MALFORMED',
        'Request is malformed: expected a JSON object, got text that is not JSON',
      ],
      ['request refused', 'GW_REQUEST_NO_NAME', "Request is missing 'name' key"],
      ['request refused', 'GW_COMMAND_UNKNOWN', "No such agent command '(not logged)'"],
    ],
  );
  assert.doesNotMatch(agent.log, /S3/);
});

test('a host that asks again and again for what fails, or for what only tells something, is a line for each reason', async () => {
  using scratch = new ScratchRoot();
  await using store = await startGuestStore('embedded', scratch.directory);
  const socket = join(scratch.directory, 'stream');
  await using agent = await Agent.start({ ...store.agent, root: scratch.root, args: [...USUAL, '--listen', socket] });
  using host = hostOf(store);
  const requests = [
    { name: 'file_inject', value: { b64_path: btoa('/proc/x'), b64_file: '' } },
    { name: 'password', value: btoa('x') },
    { name: 'keyinit', value: 'none' },
    { name: 'sshkeys', value: { action: 'list' } },
  ];
  for (let round = 0; round < 100; round += 1) {
    const id = `poll-${round}`;
    await host.write(`data/host/${id}`, JSON.stringify(requests[round % requests.length]));
    while ((await host.read(`data/host/${id}`)) !== null) await sleep(2);
    await host.remove(`data/guest/${id}`);
  }
  using client = await StreamClient.connect(socket);
  for (let round = 0; round < 10; round += 1) {
    const opened = await client.ask({ execute: 'guest-file-open', arguments: { path: '/etc/hostname' } });
    const handle = (opened as { return: number }).return;
    await client.ask({ execute: 'guest-file-read', arguments: { handle } });
    assert.deepEqual(await client.ask({ execute: 'guest-file-close', arguments: { handle } }), { return: {} });
    await client.ask({ execute: 'guest-ssh-get-authorized-keys', arguments: { username: 'root' } });
  }
  assert.equal(await agent.stop(), 0);
  const lines = told(agent).map((line) => JSON.parse(line) as { msg: string; command: string });
  assert.deepEqual(
    lines.map(({ msg, command }) => [msg, command]),
    ['file_inject', 'password', 'keyinit'].map((command) => ['command failed', command]),
  );
});

test('a store that is away for long is a line for each reason, and one when it is back', async () => {
  using scratch = new ScratchRoot();
  const first = await startGuestStore('xenstored', scratch.directory);
  await using agent = await Agent.start({
    store: first.dom0,
    domain: GUEST,
    root: scratch.root,
    args: USUAL,
  });
  await first[Symbol.asyncDispose]();
  await agent.logged('XenStore cannot be reached');
  // The back-off has come to its longest by then.
  await sleep(15_000);
  for (const name of ['socket', `dom${GUEST}.client`]) rmSync(join(scratch.directory, name), { force: true });
  await using second = await startGuestStore('xenstored', scratch.directory);
  await agent.logged('XenStore connection re-established');
  using host = hostOf(second);
  await host.write('data/host/a', '{"name":"version"}');
  while ((await host.read('data/guest/a')) === null) await sleep(5);
  assert.equal(await agent.stop(), 0);
  const lines = told(agent).map((line) => JSON.parse(line) as { msg: string; reason?: string });
  const [lost, unreachable, ...rest] = lines;
  assert.equal(lost?.msg, 'XenStore connection lost');
  assert.equal(unreachable?.msg, 'XenStore cannot be reached');
  // Another reason is another line: the socket that is gone, and the one that nobody listens at.
  const reasons = new Set(lines.map(({ reason }) => reason));
  assert.equal(reasons.size, lines.length, JSON.stringify(lines));
  assert.equal(rest.at(-1)?.msg, 'XenStore connection re-established');
  assert.ok(lines.length <= 4, JSON.stringify(lines));
});

test('a command that failed is logged with the reason that the host is told, of a read-only disk too', async () => {
  using scratch = new ScratchRoot();
  mkdirSync(join(scratch.root, 'var/lib/guestwire/backup'), { recursive: true });
  await using store = await startGuestStore('embedded', scratch.directory);
  const script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"';
  const run = [process.execPath, 'dist/guestwire.js', 'run', '--store', store.guest, '--root', scratch.root, ...USUAL];
  await using agent = await Agent.of('unshare', ['--mount', 'sh', '-c', script, 'sh', scratch.root, ...run]);
  using host = hostOf(store);
  const value = Buffer.from('/etc/motd,S3cret content').toString('base64');
  await host.write('data/host/a', JSON.stringify({ name: 'injectfile', value }));
  await agent.logged('command failed');
  const answer = JSON.parse((await host.read('data/guest/a'))!.toString()) as { message: string };
  const line = told(agent).find((text) => text.includes('"msg":"command failed"'));
  const { code, reason } = JSON.parse(line!) as { code: string; reason: string };
  assert.deepEqual([code, reason], ['GW_FILE_FAILED', answer.message]);
  assert.match(reason, /the file system is read-only/);
  assert.match(agent.log, /"reason":"the file system is read-only","msg":"journal cannot be written"/);
  assert.doesNotMatch(agent.log, /S3cret/);
});
