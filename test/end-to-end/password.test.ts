import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { Secret } from '../../ts/api/index.js';
import { Controller } from '../../ts/controller/controller.js';
import { decodeCiphertext, decryptPassword } from '../../ts/crypto/password.js';
import { createKeyExchange } from '../../ts/host/shared/key-exchange.js';
import { openStore } from '../../ts/host/shared/store.js';
import { Agent } from '../support/agent.js';
import { Dom0, localTools } from '../support/dom0.js';
import { runCli } from '../support/run-cli.js';
import { ScratchRoot } from '../support/scratch-root.js';
import { startXenstored } from '../support/xenstored.js';

const DOMAIN = 7;

function hashAccepts(hash: string, password: string): boolean {
  const env = { ...process.env, PASSWORD: password, HASH: hash };
  return execFileSync('perl', ['-e', 'print crypt($ENV{PASSWORD}, $ENV{HASH})'], { env }).toString() === hash;
}

test('guestwire call sets passwords in both forms, as the configuration allows, and su takes them', async () => {
  using scratch = new ScratchRoot('ifupdown');
  scratch.installSu();
  scratch.write('etc/guestwire/guestwire.toml', '[password]\nusers = ["nobody"]\n');
  await using store = await startXenstored('c', scratch.directory);
  const call = (password: string, ...args: string[]): ReturnType<typeof runCli> =>
    runCli(['call', '--store', store.socket, '--domain', String(DOMAIN), 'password', ...args], `${password}\n`);
  {
    await using agent = await Agent.start({ store: store.socket, domain: DOMAIN, root: scratch.root });
    // What goes over the wire, as the tools of dom0 see it: one line without anything that they escape.
    for (const [password, args, key] of [
      ['by default', [], /^keyinit: D0 "x25519-v1:[A-Za-z0-9+/]{43}=" /],
      ['strong', ['--exchange', 'strong'], /^keyinit: D0 "x25519-v1:/],
      ['weak', ['--exchange', 'weak'], /^keyinit: D0 "[0-9]+" /],
      ['with MD5', ['--digest', 'md5'], /^keyinit: D0 "[0-9]+" /],
    ] as const) {
      const { code, stdout, stderr } = await call(password, ...args);
      assert.equal(code, 0, stdout + stderr);
      assert.match(stdout, key);
      assert.ok(await scratch.suAccepts(password), `su takes the password ${password}`);
      assert.ok(!agent.log.includes(password));
    }
    const named = await call('for nobody', '--user', 'nobody');
    assert.equal(named.code, 0, named.stdout + named.stderr);
    const hash = /^nobody:([^:]*)/m.exec(scratch.read('etc/shadow'))![1]!;
    assert.ok(hashAccepts(hash, 'for nobody'));
    assert.ok(await scratch.suAccepts('with MD5'), "root's is still its own");
    const refused = await call('for daemon', '--user', 'daemon');
    assert.equal(refused.code, 1);
    assert.match(refused.stdout, /^password: 500 "Refused: the password of 'daemon' is not among/m);
  }

  scratch.write('etc/guestwire/guestwire.toml', '[password]\nweak-exchange = false\n');
  await using agent = await Agent.start({ store: store.socket, domain: DOMAIN, root: scratch.root });
  const weak = await call('weak again', '--exchange', 'weak');
  assert.equal(weak.code, 1);
  assert.match(weak.stdout, /^keyinit: 500 "Refused: the 107-bit key exchange is switched off/);
  const dom0 = new Dom0(localTools(store.socket), DOMAIN);
  const features = await dom0.call('features', '');
  assert.ok(features.kind === 'ok' && features.message.split(',').includes('keyinit_x25519_v1'));
  assert.equal((await call('strong again')).code, 0);
  assert.ok(await scratch.suAccepts('strong again'));
  assert.ok(agent.running);
});

test('an agent that does not know the strong form gets the weak one, and no request for a user', async () => {
  using scratch = new ScratchRoot('ifupdown');
  await using store = await startXenstored('c', scratch.directory);
  const endpoint = { endpoint: store.socket, domain: DOMAIN };
  using guest = openStore({ ...endpoint, poll: 'loop' }, () => undefined);
  const asked: string[] = [];
  let shared: Secret | null = null;
  let received = '';
  let isOver = false;
  const answer = async (name: string, value: string): Promise<[returncode: string, message: string]> => {
    if (name === 'features') return ['0', 'version,features,keyinit,password,injectfile'];
    if (name === 'keyinit') {
      const exchange = createKeyExchange();
      shared = exchange.sharedSecret(value);
      return ['D0', exchange.publicKey];
    }
    received = (await decryptPassword(decodeCiphertext(value), shared!)).reveal().toString('utf8');
    return ['0', ''];
  };
  await guest.watch('data/host', (path) => {
    void (async () => {
      const id = path.split('/')[2];
      const request = id === undefined ? null : await guest.read(path);
      if (id === undefined || request === null) return;
      const { name, value } = JSON.parse(request.toString('utf8')) as { name: string; value: string };
      asked.push(name);
      const [returncode, message] = await answer(name, value);
      await guest.remove(path);
      await guest.write(`data/guest/${id}`, Buffer.from(JSON.stringify({ returncode, message })));
    })().catch((error: unknown) => {
      // The last change that it sees is the removal of the last request.
      if (!isOver) throw error;
    });
  });
  using controller = await Controller.open(endpoint);
  const answers = await controller.setPassword(new Secret(Buffer.from('S3cret')));
  assert.equal(answers.password?.returncode, '0');
  assert.equal(received, 'S3cret');
  assert.deepEqual(asked, ['features', 'keyinit', 'password']);
  await assert.rejects(controller.setPassword(new Secret(Buffer.from('S3cret')), { user: 'nobody' }), {
    message: 'the agent does not know the strong key exchange: no user can be named',
  });
  assert.deepEqual(asked.slice(3), ['features']);
  isOver = true;
});
