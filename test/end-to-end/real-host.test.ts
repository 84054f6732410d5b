import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openStore } from '../../ts/host/shared/store.js';
import { Agent } from '../support/agent.js';
import { Dom0, localTools } from '../support/dom0.js';
import { novaReads, xenstoreRead, type HostView } from '../support/host-view.js';
import { OLD_PASSWORD, ScratchRoot, VM_DATA } from '../support/scratch-root.js';
import { startXenstored } from '../support/xenstored.js';

const HOST_VIEW = JSON.parse(readFileSync('test/fixtures/host-view.json', 'utf8')) as HostView;
const DOMAIN = 7;
const OK = { kind: 'ok', message: '' } as const;

function base64(text: string | Uint8Array): string {
  return Buffer.from(text).toString('base64');
}

for (const { name, kind } of [
  { name: 'as dom0 against xenstored', kind: 'c' },
  { name: 'as dom0 against oxenstored', kind: 'ocaml' },
] as const) {
  test(`${name}: every request by xenstore-write is answered right and done`, { timeout: 240_000 }, async () => {
    using scratch = new ScratchRoot('ifupdown');
    scratch.installSu();
    await using store = await startXenstored(kind, scratch.directory);
    const dom0 = new Dom0(localTools(store.socket), DOMAIN);
    await dom0.publish(VM_DATA);
    await using agent = await Agent.start({ store: store.socket, domain: DOMAIN, root: scratch.root });

    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    assert.deepEqual(await dom0.call('version', 'agent'), { kind: 'ok', message: version });
    const features = await dom0.call('features', '');
    assert.ok(features.kind === 'ok');
    const names = features.message.split(',');
    for (const command of ['version', 'features', 'keyinit', 'password', 'file_inject', 'injectfile', 'resetnetwork']) {
      assert.ok(names.includes(command), `${command} in ${features.message}`);
    }
    const unknown = await dom0.answer(await dom0.send('{"name": "reboot", "value": ""}'));
    assert.equal((JSON.parse(unknown) as { returncode: unknown }).returncode, '404');

    assert.ok(await scratch.suAccepts(OLD_PASSWORD), 'su takes the old password before');
    let before = OLD_PASSWORD;
    for (const digest of ['md5', 'default'] as const) {
      const password = `new ${digest} Pässwörd \\ "quoted"`;
      assert.deepEqual(await dom0.setPassword(password, digest), OK);
      assert.ok(await scratch.suAccepts(password), `su takes the password that came with ${digest}`);
      assert.ok(!(await scratch.suAccepts(before)), 'su refuses the one before');
      assert.ok(!(await scratch.suAccepts(`${password}x`)), 'su refuses a wrong one');
      assert.ok(!agent.log.includes(password));
      before = password;
    }
    assert.equal(statSync(join(scratch.root, 'etc/shadow')).mode & 0o777, 0o640);

    // As base64 it stays below the 2048 bytes that oxenstored takes, whoever writes.
    const binary = Uint8Array.from({ length: 1400 }, (_, index) => (index * 7) % 256);
    const key = '\n# The following ssh key was injected by Nova\nssh-ed25519 AAAA me@example.org\n';
    const inject = { b64_path: base64('/root/.ssh/authorized_keys'), b64_file: base64(key) };
    assert.deepEqual(await dom0.call('file_inject', inject), OK);
    assert.equal(scratch.read('root/.ssh/authorized_keys'), key);
    assert.deepEqual(await dom0.call('file_inject', { b64_path: base64('/opt/x'), b64_file: base64(binary) }), OK);
    assert.deepEqual(readFileSync(join(scratch.root, 'opt/x')), Buffer.from(binary));
    assert.deepEqual(await dom0.call('injectfile', base64('/etc/motd,hello, world\n')), OK);
    assert.equal(scratch.read('etc/motd'), 'hello, world\n');

    assert.deepEqual(await dom0.call('resetnetwork', ''), OK);
    const interfaces = scratch.read('etc/network/interfaces');
    assert.match(interfaces, /203\.0\.113\.10/);
    assert.match(interfaces, /# The administrator's\./);
    assert.match(scratch.read('etc/hostname'), /^web1/);
    assert.deepEqual(await dom0.call('resetnetwork', ''), OK);
    assert.equal(scratch.read('etc/network/interfaces'), interfaces, 'a second time changes nothing');

    assert.deepEqual(await dom0.list('data/host'), []);
    assert.equal(await agent.stop(), 0);
  });
}

test('a host with netplan gets its network through netplan', { timeout: 120_000 }, async () => {
  using scratch = new ScratchRoot('netplan');
  await using store = await startXenstored('c', scratch.directory);
  const dom0 = new Dom0(localTools(store.socket), DOMAIN);
  await dom0.publish(VM_DATA);
  await using agent = await Agent.start({ store: store.socket, domain: DOMAIN, root: scratch.root });
  assert.deepEqual(await dom0.call('resetnetwork', ''), OK);
  const written = scratch.read('etc/netplan/60-guestwire.yaml');
  assert.match(written, /203\.0\.113\.10\/24/);
  assert.match(written, /203\.0\.113\.53/);
  assert.equal(statSync(join(scratch.root, 'etc/netplan/60-guestwire.yaml')).mode & 0o777, 0o600);
  assert.equal(await agent.stop(), 0);
});

test("the model of dom0's tools and nova agrees with the real xenstore-read in every case", async () => {
  using scratch = new ScratchRoot();
  await using store = await startXenstored('c', scratch.directory);
  const dom0 = new Dom0(localTools(store.socket), DOMAIN);
  using writer = openStore({ endpoint: store.socket, domain: DOMAIN, poll: 'loop' }, () => undefined);
  for (const [index, reply] of HOST_VIEW.replies.entries()) {
    const bytes = reply.case === 'trailing NUL' ? '{"returncode":"0","message":""}\0' : reply.guest_writes;
    await writer.write(`data/guest/${index}`, Buffer.from(bytes));
    const printed = await dom0.tool('read', dom0.path(`data/guest/${index}`));
    assert.equal(printed, reply.xenstore_read, reply.case);
    assert.equal(xenstoreRead(Buffer.from(bytes)), printed, reply.case);
    const codes = reply.case.startsWith('keyinit')
      ? ['D0']
      : reply.case.startsWith('resetnetwork')
        ? ['0', '500']
        : ['0'];
    const view = novaReads(printed, codes);
    if (reply.nova === 'ok') assert.deepEqual(view, { kind: 'ok', message: reply.nova_message }, reply.case);
    else if (reply.nova === null) assert.equal(view, null, reply.case);
    else assert.ok(view?.kind === 'error' && reply.nova.startsWith(view.why), reply.case);
  }
});

test('what xenstore-write makes of awkward requests is answered once, in a form that nova can read', async () => {
  using scratch = new ScratchRoot();
  await using store = await startXenstored('c', scratch.directory);
  const dom0 = new Dom0(localTools(store.socket), DOMAIN);
  await dom0.publish(VM_DATA);
  await using agent = await Agent.start({ store: store.socket, domain: DOMAIN, root: scratch.root });
  using reader = openStore({ endpoint: store.socket, domain: DOMAIN, poll: 'loop' }, () => undefined);
  for (const request of HOST_VIEW.requests) {
    await dom0.tool('write', dom0.path('data/probe'), request.plugin_argument);
    assert.equal((await reader.read('data/probe'))?.toString(), request.guest_reads, request.case);

    const printed = await dom0.answer(await dom0.send(request.plugin_argument));
    const { returncode, message } = JSON.parse(printed) as { returncode: unknown; message: unknown };
    assert.equal(typeof message, 'string', request.case);
    const named = request.case === 'version' || request.case === 'base64 value';
    assert.equal(returncode, named ? '0' : '500', request.case);
  }
  assert.equal(scratch.read('tmp/x'), 'abc');
  // Line feeds that xenstore-write made of `\\n` are part of the text again.
  const view = await dom0.call('file_inject', { b64_path: `${base64('/tmp/y')}\n`, b64_file: base64('y') });
  assert.deepEqual(view, OK);
  assert.equal(scratch.read('tmp/y'), 'y');
  assert.equal(await agent.stop(), 0);
});
