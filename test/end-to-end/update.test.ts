import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Installed, createInstalled } from '../support/installed.js';
import { BUILT_VERSION, type Release } from '../support/release.js';
import { runCli } from '../support/run-cli.js';
import { Signer } from '../support/signer.js';
import { StreamClient } from '../support/stream-client.js';
import { Authority, UpdateServer } from '../support/update-server.js';

const OK = { kind: 'ok', message: '' } as const;
const NEXT = '0.2.0';
const CONFIRMED = '"msg":"the update is confirmed"';

for (const as of ['dom0', 'guest'] as const) {
  test(`a new version takes over under the same process id, and answers what came meanwhile: as ${as}`, async () => {
    await using guest = await createInstalled(as);
    const { dom0 } = guest;
    const next = guest.release(NEXT);
    const url = guest.serve(next);
    await using agent = await guest.start();
    assert.deepEqual(await dom0.call('version', 'agent'), { kind: 'ok', message: BUILT_VERSION });
    const update = await dom0.send(JSON.stringify({ name: 'agentupdate', value: `${url},${next.md5}` }));
    const files = [1, 2, 3].map((number) => join(guest.files, String(number)));
    const waiting: string[] = [];
    for (const path of files) {
      const value = { b64_path: btoa(path), b64_file: btoa(path) };
      waiting.push(await dom0.send(JSON.stringify({ name: 'file_inject', value })));
    }
    assert.match(await dom0.answer(update), /"returncode":"0","message":""/);
    for (const id of waiting) assert.match(await dom0.answer(id), /"returncode":"0"/);
    for (const path of files) assert.equal(readFileSync(path, 'utf8'), path);
    assert.deepEqual(await dom0.call('version', 'agent'), { kind: 'ok', message: NEXT });
    assert.ok(agent.running, 'the process that was started is still the agent');
    assert.match(readFileSync(`/proc/${agent.pid}/cmdline`, 'utf8'), /current\/dist\/guestwire\.js/);
    assert.equal(guest.current(), NEXT);
    assert.deepEqual(guest.versions(), [BUILT_VERSION, NEXT]);
    await agent.logged(CONFIRMED);
    assert.deepEqual(await guest.leftovers(), []);
    assert.equal(await agent.stop(), 0);
  });
}

test('a guest without XenStore tries a new version at a socket, refuses one that fails there, and takes over', async () => {
  await using guest = await createInstalled('stream');
  const next = guest.release(NEXT);
  const lies = guest.release('0.3.0', { tells: '0.3.1' });
  const crashes = guest.release('0.3.2', { prelude: 'process.exit(7);' });
  await using agent = await guest.start();
  using host = await StreamClient.connect(guest.socket);
  const update = (release: Release): Promise<Record<string, unknown>> =>
    host.ask({ name: 'agentupdate', value: `${guest.serve(release)},${release.md5}` });
  const failed = (version: string, why: string): object => ({
    returncode: '500',
    message: `Version ${version} did not pass its trial: ${why}`,
  });
  assert.deepEqual(await update(lies), failed('0.3.0', 'asked for its version it answered 0.3.1'));
  assert.deepEqual(await update(crashes), failed('0.3.2', 'it ended with status 7 before it answered'));
  assert.deepEqual(await guest.leftovers(), []);
  assert.deepEqual(await update(next), { returncode: '0', message: '' });
  await agent.logged('"msg":"another version starts"');
  await agent.logged('"msg":"ready"', agent.log.indexOf('another version starts'));
  using again = await StreamClient.connect(guest.socket);
  assert.deepEqual(await again.ask({ name: 'version' }), { returncode: '0', message: NEXT });
  assert.equal(guest.current(), NEXT);
  await agent.logged(CONFIRMED);
  assert.deepEqual(await guest.leftovers(), []);
  assert.equal(await agent.stop(), 0);
});

test('a version that runs already is not installed again; an older one is when it is asked for', async () => {
  await using guest = await createInstalled();
  const { dom0 } = guest;
  const [same, older] = [guest.release(BUILT_VERSION), guest.release('0.0.9')];
  const sameUrl = guest.serve(same);
  const olderUrl = guest.serve(older);
  await using agent = await guest.start();
  const running = { kind: 'ok', message: `Version ${BUILT_VERSION} is running already` };
  assert.deepEqual(await dom0.call('agentupdate', { url: sameUrl, sha256: same.sha256 }), running);
  assert.deepEqual(await guest.leftovers(), []);
  assert.doesNotMatch(agent.log, /switched/);
  // As nova does, but with a SHA-256.
  assert.deepEqual(await dom0.call('agentupdate', `${olderUrl},${older.sha256.toUpperCase()}`), OK);
  assert.deepEqual(await dom0.call('version', 'agent'), { kind: 'ok', message: '0.0.9' });
  // And back to the one that still lies there, before the first was confirmed.
  assert.deepEqual(await dom0.call('agentupdate', { url: sameUrl, md5sum: same.md5, sha256: same.sha256 }), OK);
  assert.deepEqual(await dom0.call('version', 'agent'), { kind: 'ok', message: BUILT_VERSION });
  await agent.logged(CONFIRMED);
  assert.deepEqual(guest.versions(), ['0.0.9', BUILT_VERSION]);
  assert.deepEqual(await guest.leftovers(), []);
  assert.equal(await agent.stop(), 0);
});

test('a signed manifest is enough, and guestwire call sends it', async () => {
  await using guest = await createInstalled();
  const signer = new Signer(guest.directory);
  guest.configure('require-signature = true', `keys = ["${signer.publicKey}"]`);
  const next = guest.release(NEXT);
  const url = guest.serve(next);
  guest.server.files.set(`${new URL(url).pathname}.manifest.minisig`, signer.sign(next.manifest));
  await using agent = await guest.start();
  const call = await runCli(['call', ...guest.controller, '--json', 'agentupdate', `${url}?token=secret`]);
  assert.equal(call.code, 0, call.stderr + call.stdout);
  assert.match(call.stdout, /"request":"agentupdate","returncode":"0","message":""/);
  const version = await runCli(['call', ...guest.controller, 'version']);
  assert.match(version.stdout, /^version: 0 "0\.2\.0"/);
  // It is known from its manifest now: nothing is downloaded.
  guest.server.asked.length = 0;
  const again = await runCli(['call', ...guest.controller, 'agentupdate', url, next.md5]);
  assert.match(again.stdout, /^agentupdate: 0 "Version 0\.2\.0 is running already"/);
  assert.ok(!guest.server.asked.includes(new URL(url).pathname));
  assert.doesNotMatch(agent.log, /token|secret/);
});

test('what is refused changes nothing, and the agent goes on', { timeout: 600_000 }, async () => {
  await using guest = await createInstalled();
  const { dom0, server } = guest;
  const [signer, stranger] = [new Signer(guest.directory), new Signer(guest.directory, 'stranger')];
  const next = guest.release(NEXT);
  const url = guest.serve(next);
  const { md5, sha256 } = next;
  const signature = signer.sign(next.manifest);
  /** The archive at a path of its own, with what is to stand beside it. */
  const besides = (name: string, manifest: string | null, minisig: string | null): string => {
    server.files.set(`/${name}`, next.archive);
    if (manifest !== null) server.files.set(`/${name}.manifest`, manifest);
    if (minisig !== null) server.files.set(`/${name}.manifest.minisig`, minisig);
    return server.url(`/${name}`);
  };
  const signed = (name: string, manifest: string): string => besides(name, manifest, signer.sign(manifest));
  const unsigned = (name: string, bytes = next.archive): string => {
    server.files.set(`/${name}`, bytes);
    return server.url(`/${name}`);
  };
  const slow = server.url('/slow');
  server.files.set('/slow', (_, response) => void response.writeHead(200).write('x'));
  const cut = server.url('/cut');
  server.files.set('/cut', (_, response) => {
    response.writeHead(200, { 'content-length': next.archive.length });
    response.write(next.archive.subarray(0, 1000), () => response.socket?.end());
  });
  const lies = guest.release('0.3.0', { tells: '0.3.1' });
  const crashes = guest.release('0.3.2', { prelude: 'process.exit(7);' });
  const hangs = guest.release('0.3.3', { prelude: 'await new Promise((resolve) => setTimeout(resolve, 1e9));' });
  const wrong = md5.replace(/./, (digit) => (digit === '0' ? '1' : '0'));

  type Refused = readonly [value: unknown, message: string | RegExp];
  const cases: readonly Refused[] = [
    [`${unsigned('a')},${wrong}`, `MD5 sums do not match (${wrong} != ${md5})`],
    [{ url: unsigned('a'), sha256: wrong + wrong }, `SHA-256 sums do not match (${wrong}${wrong} != ${sha256})`],
    [{ url: unsigned('a'), md5sum: md5, sha256: wrong + wrong }, /^SHA-256 sums do not match/],
    [{ url: unsigned('a') }, `Manifest ${server.url('/a.manifest')}: it is not there, and is needed`],
    [`${besides('b', next.manifest, null)},${md5}`, `Manifest ${server.url('/b.manifest')}: it has no signature`],
    [
      `${besides('c', next.manifest, signature.replace('\ntrusted comment: ', '\ntrusted comment: x'))},${md5}`,
      /comment is wrong$/,
    ],
    [`${besides('d', `${next.manifest} `, signature)},${md5}`, /: its signature is wrong$/],
    [`${besides('e', next.manifest, stranger.sign(next.manifest))},${md5}`, /, which is not among update\.keys$/],
    [`${besides('f', next.manifest, 'nonsense')},${md5}`, /not in the form of minisign$/],
    [
      { url: signed('g', 'version 1\n') },
      /wanted lines of product, version, architecture, expires, sha256 and size, each once$/,
    ],
    [{ url: signed('h', next.manifest.replace(sha256, wrong + wrong)) }, /^SHA-256 sums do not match/],
    [{ url: signed('i', next.manifest.replace(/size /, 'size 1')) }, /^Unusable archive: it has \d+ bytes, and its/],
    [
      { url: signed('j', next.manifest.replace(NEXT, '0.2.1')) },
      'Unusable archive: it holds version 0.2.0, and its manifest says 0.2.1',
    ],
    [
      `${url.replace('https:', 'http:')},${md5}`,
      'Refused to update: http:// is not taken: update.http is false, wanted https://',
    ],
    [`${cut},${md5}`, `Could not download ${cut}: it ended early: 1000 of ${next.archive.length} bytes came`],
    [`${unsigned('large', Buffer.alloc(2 * 1024 * 1024 + 1))},${md5}`, /it is larger than the 2097152 bytes/],
    [`${server.url('/none')},${md5}`, `Could not download ${server.url('/none')}: the server has no such file`],
    [
      `${unsigned('k', lies.archive)},${lies.md5}`,
      'Version 0.3.0 did not pass its trial: asked for its version it answered 0.3.1',
    ],
    [
      `${unsigned('l', crashes.archive)},${crashes.md5}`,
      'Version 0.3.2 did not pass its trial: it ended with status 7 before it answered',
    ],
    [`ftp://localhost/x.y,${md5}`, /^Invalid URL/],
    [5, /^Invalid arguments/],
  ];
  server.files.set('/slow.manifest', server.files.get('/slow')!);
  const late: Refused = [
    `${slow},${md5}`,
    `Could not download ${slow}.manifest: it took too long: the 2 s of update.timeout are over`,
  ];
  const silent: Refused = [
    `${unsigned('m', hangs.archive)},${hangs.md5}`,
    'Version 0.3.3 did not pass its trial: no answer within 3 s',
  ];
  // A short limit for that alone which is to meet it.
  for (const [limit, refused] of [
    ['', cases],
    ['timeout = "2s"', [late]],
    ['trial-timeout = "3s"', [silent]],
  ] as const) {
    guest.configure('max-size = "2MiB"', `keys = ["${signer.publicKey}"]`, limit);
    await using agent = await guest.start();
    for (const [value, message] of refused) {
      const where = JSON.stringify(value);
      const { returncode, message: got } = JSON.parse(
        await dom0.answer(await dom0.send(JSON.stringify({ name: 'agentupdate', value }))),
      ) as { returncode: string; message: string };
      assert.equal(returncode, '500', where);
      if (typeof message === 'string') assert.equal(got, message, where);
      else assert.match(got, message, where);
      assert.deepEqual(await guest.leftovers(), [], where);
      assert.deepEqual(guest.versions(), [BUILT_VERSION], where);
      assert.equal(guest.current(), BUILT_VERSION, where);
    }
    assert.deepEqual(await dom0.call('version', 'agent'), { kind: 'ok', message: BUILT_VERSION });
    assert.equal(await agent.stop(), 0);
  }
});

/** Disks of the agent's own; each is too small for what comes, or cannot be written. */
const DISKS: readonly (readonly [what: string, setup: string, message: (guest: Installed, url: string) => string])[] = [
  [
    'too small for the archive',
    'mkdir state && mount -t tmpfs -o size=256k,mode=700 tmpfs state',
    ({ state }, url) => `Could not download ${url}: ${state}/update/archive: the disk is full`,
  ],
  [
    'too small for what is unpacked',
    'cp -r lib/versions kept && mount -t tmpfs -o size=4m,mode=755 tmpfs lib/versions && cp -r kept/* lib/versions',
    ({ lib }) => `Could not install version in the archive: ${lib}/versions: the disk is full`,
  ],
  [
    'read-only where the archive goes',
    'mkdir -p state/update && mount -t tmpfs -o ro,mode=700 tmpfs state/update',
    ({ state }, url) => `Could not download ${url}: ${state}/update/archive: the file system is read-only`,
  ],
  [
    'read-only where the state is',
    'mkdir state && mount -t tmpfs -o ro,mode=700 tmpfs state',
    ({ state }) => `Could not write ${state}/update.json: the file system is read-only`,
  ],
  [
    'read-only where the versions are',
    'mount --bind lib lib && mount -o remount,ro,bind lib',
    ({ lib }) => `Could not install version in the archive: ${lib}/versions: the file system is read-only`,
  ],
];
for (const [what, setup, message] of DISKS) {
  test(`where a disk is ${what} the host is told which, and why, as often as it asks`, async () => {
    await using guest = await createInstalled();
    const { dom0 } = guest;
    const next = guest.release(NEXT);
    const url = guest.serve(next);
    await using agent = await guest.start({ setup });
    for (let count = 0; count < 2; count += 1) {
      const id = await dom0.send(JSON.stringify({ name: 'agentupdate', value: `${url},${next.md5}` }));
      const answer = JSON.parse(await dom0.answer(id)) as { returncode: string; message: string };
      assert.deepEqual(answer, { returncode: '500', message: message(guest, url) });
      assert.deepEqual(await dom0.call('version', 'agent'), { kind: 'ok', message: BUILT_VERSION });
    }
    assert.equal(await agent.stop(), 0);
  });
}

test('what NODE_TLS_REJECT_UNAUTHORIZED says of certificates is nothing to an update', async () => {
  await using guest = await createInstalled();
  const next = guest.release(NEXT);
  const stranger = new Authority(guest.directory, 'stranger');
  await using unknown = await UpdateServer.start(stranger.certify());
  unknown.files.set('/x', next.archive);
  const url = unknown.url('/x');
  await using agent = await guest.start({ environment: { NODE_TLS_REJECT_UNAUTHORIZED: '0' } });
  const id = await guest.dom0.send(JSON.stringify({ name: 'agentupdate', value: `${url},${next.md5}` }));
  const { message } = JSON.parse(await guest.dom0.answer(id)) as { message: string };
  assert.equal(message, `Could not download ${url}: unable to verify the first certificate`);
  assert.deepEqual(unknown.asked, []);
  assert.equal(guest.current(), BUILT_VERSION);
  assert.equal(await agent.stop(), 0);
});

test('a trial serves version and features below its node, runs no hook, touches no state, and ends with its standard input', async (t) => {
  await using guest = await createInstalled();
  const hooks = join(guest.directory, 'hooks');
  mkdirSync(join(hooks, 'before/version'), { recursive: true });
  writeFileSync(join(hooks, 'before/version/10-no'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
  guest.configure('[hooks]', `directory = "${hooks}"`);
  const { dom0 } = guest;
  const node = 'data/guestwire/trial/x';
  const waiting = await dom0.send('{"name": "version", "value": "agent"}');
  const args = ['lib/current/dist/guestwire.js', 'run', '--config', 'guestwire.toml', '--trial', node];
  const trial = spawn(process.execPath, args, { cwd: guest.directory, stdio: ['pipe', 'ignore', 'inherit'] });
  const ended = once(trial, 'exit');
  t.after(() => trial.kill('SIGKILL'));
  const answers: string[] = [];
  for (const name of ['version', 'features', 'file_inject']) {
    await dom0.publish({ [`${node}/data/host/${name}`]: JSON.stringify({ name, value: '' }) });
    let answer = await dom0.read(`${node}/data/guest/${name}`);
    for (; answer === null; answer = await dom0.read(`${node}/data/guest/${name}`)) await sleep(20);
    answers.push((JSON.parse(answer) as { message: string }).message);
  }
  assert.equal(answers[0], BUILT_VERSION);
  assert.equal(answers[1], 'version,features');
  assert.equal(answers[2], "Refused: the command 'file_inject' is switched off on this machine");
  assert.deepEqual(await dom0.list('data/guest'), []);
  assert.notEqual(await dom0.read(`data/host/${waiting}`), null);
  assert.ok(!existsSync(guest.state));
  trial.stdin.end();
  assert.deepEqual(await ended, [0, null]);
});
