import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type StoreConnection, openStore } from '../../ts/host/shared/store.js';
import { Agent } from '../support/agent.js';
import { Dom0, localTools } from '../support/dom0.js';
import { createInstalled } from '../support/installed.js';
import { killAt } from '../support/kill-at.js';
import { BUILT_VERSION } from '../support/release.js';
import { ScratchRoot } from '../support/scratch-root.js';
import { Signer } from '../support/signer.js';
import { startXenstored } from '../support/xenstored.js';

const OK = { kind: 'ok', message: '' } as const;
const NEXT = '0.2.0';
const DOMAIN = 7;
/** System calls by which an update gets anywhere; strace counts each of them, and each thread, on its own. */
const STEPS = ['mkdir', 'rename', 'symlink', 'unlink', 'rmdir', 'fsync'] as const;

/** A program that ends as soon as a file is there, but for its trial. */
const mortal = (file: string): string =>
  `if (!process.argv.includes('--trial')) setInterval(() => {
     if (process.getBuiltinModule('node:fs').existsSync(${JSON.stringify(file)})) process.exit(9);
   }, 10);`;

/** A plugin whose wire ends soon after it was opened. */
const BRIEF_WIRE = `
  import { setTimeout as sleep } from 'node:timers/promises';
  const transport = {
    async *requests() { await sleep(300); },
    stillWanted: async () => true,
    respond: async () => undefined,
    retire: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  };
  const module = { name: 'brief', open: async () => transport };
  export default { apiVersion: 1, name: 'brief', setup: () => [{ kind: 'communication', module }] };`;

test('a new version that dies three times before it has served for long makes room for the one before', async () => {
  await using guest = await createInstalled();
  const { dom0 } = guest;
  const death = join(guest.directory, 'death');
  const next = guest.release(NEXT, { prelude: mortal(death) });
  const url = guest.serve(next);
  let agent = await guest.start();
  try {
    assert.deepEqual(await dom0.call('agentupdate', `${url},${next.md5}`), OK);
    for (const attempt of [1, 2, 3]) {
      if (attempt > 1) agent = await guest.start();
      await agent.logged(`"attempt":${attempt}`);
      assert.deepEqual(await dom0.call('version', 'agent'), { kind: 'ok', message: NEXT });
      writeFileSync(death, '');
      assert.equal(await agent.ended(), 9);
      rmSync(death);
    }
    agent = await guest.start();
    assert.match(agent.log, /"msg":"the version before comes back"/);
    assert.match(agent.log, /"msg":"an update did not succeed"/);
    assert.deepEqual(await dom0.call('version', 'agent'), { kind: 'ok', message: BUILT_VERSION });
    assert.equal(guest.current(), BUILT_VERSION);
    assert.deepEqual(guest.versions(), [BUILT_VERSION]);
    assert.deepEqual(await guest.leftovers(), []);
    assert.equal(await agent.stop(), 0);
  } finally {
    await agent[Symbol.asyncDispose]();
  }
});

test('a start that an administrator ends does not count against the new version', async () => {
  await using guest = await createInstalled();
  const next = guest.release(NEXT);
  const url = guest.serve(next);
  {
    await using agent = await guest.start();
    assert.deepEqual(await guest.dom0.call('agentupdate', `${url},${next.md5}`), OK);
    await agent.logged('"attempt":1');
    await guest.dom0.call('version', 'agent');
    assert.equal(await agent.stop(), 0);
  }
  for (let count = 0; count < 4; count += 1) {
    await using agent = await guest.start();
    await agent.logged('"attempt":1');
    assert.equal(await agent.stop(), 0);
  }
  assert.equal(guest.current(), NEXT);
});

test('a start that ends by itself, because its wire does, counts against the new version', async () => {
  await using guest = await createInstalled();
  const plugins = join(guest.directory, 'plugins');
  const pending = join(guest.state, 'update.json');
  for (const made of [plugins, guest.state]) mkdirSync(made);
  writeFileSync(join(plugins, 'brief.mjs'), BRIEF_WIRE);
  writeFileSync(pending, `{"previous":"0.0.9","next":"${BUILT_VERSION}","attempts":0}`);
  guest.configure('[wires]', 'use = ["brief"]', '[plugins]', `directory = "${plugins}"`);
  await using agent = await guest.start();
  assert.equal(await agent.ended(), 1);
  assert.match(agent.log, /"wire":"brief","msg":"wire ended"/);
  assert.equal((JSON.parse(readFileSync(pending, 'utf8')) as { attempts: number }).attempts, 1);
});

test('a version that lost its predecessor stays, however often it dies', async () => {
  await using guest = await createInstalled();
  const { dom0 } = guest;
  const next = guest.release(NEXT);
  const url = guest.serve(next);
  let agent = await guest.start();
  try {
    assert.deepEqual(await dom0.call('agentupdate', `${url},${next.md5}`), OK);
    await agent.logged('"attempt":1');
    rmSync(join(guest.lib, 'versions', BUILT_VERSION), { recursive: true });
    for (const attempt of [2, 3]) {
      await agent[Symbol.asyncDispose]();
      agent = await guest.start();
      await agent.logged(`"attempt":${attempt}`);
    }
    await agent[Symbol.asyncDispose]();
    agent = await guest.start();
    assert.match(agent.log, /"msg":"the version before cannot be started"/);
    assert.deepEqual(await dom0.call('version', 'agent'), { kind: 'ok', message: NEXT });
  } finally {
    await agent[Symbol.asyncDispose]();
  }
});

for (const [what, prelude, reached] of [
  ['in the middle of the download', '', '"msg":"downloading"'],
  [
    'during the trial',
    "await new Promise((resolve) => { process.stdin.on('close', resolve).resume(); }); process.exit();",
    '"msg":"downloaded"',
  ],
] as const) {
  test(`killed ${what}, the agent starts as before, answers once and cleans up`, async () => {
    await using guest = await createInstalled();
    const { dom0, server } = guest;
    const next = guest.release(NEXT, { prelude });
    const url = guest.serve(next);
    if (prelude === '') {
      server.files.set(new URL(url).pathname, (_, response) => {
        response.writeHead(200, { 'content-length': next.archive.length });
        response.write(next.archive.subarray(0, next.archive.length / 2));
      });
    }
    let id: string;
    {
      await using agent = await guest.start();
      id = await dom0.send(JSON.stringify({ name: 'agentupdate', value: `${url},${next.md5}` }));
      await agent.logged(reached);
      // Into the trial.
      if (prelude !== '') while ((await dom0.list('data/guestwire/trial')).length === 0) await sleep(10);
      assert.notDeepEqual(await guest.leftovers(), []);
    }
    await using agent = await guest.start();
    assert.match(await dom0.answer(id), /Interrupted: the agent was stopped while it ran agentupdate/);
    assert.deepEqual(await dom0.call('version', 'agent'), { kind: 'ok', message: BUILT_VERSION });
    assert.deepEqual(await guest.leftovers(), []);
    assert.deepEqual(guest.versions(), [BUILT_VERSION]);
    assert.equal(await agent.stop(), 0);
  });
}

async function countAnswers(store: StoreConnection): Promise<ReadonlyMap<string, number>> {
  const written = new Map<string, number>();
  await store.watch('data/guest', (path) => {
    written.set(path, (written.get(path) ?? 0) + 1);
  });
  return written;
}

test(
  'killed at every step, the agent starts as one version or the other, answers once, and takes no older one that is signed',
  { timeout: 600_000 },
  async (t) => {
    await using guest = await createInstalled();
    const { dom0, server } = guest;
    const next = guest.release(NEXT);
    const url = guest.serve(next);
    const signer = new Signer(guest.directory);
    guest.configure('require-signature = true', `keys = ["${signer.publicKey}"]`);
    server.files.set(`${new URL(url).pathname}.manifest.minisig`, signer.sign(next.manifest));
    const older = next.manifest.replace(NEXT, '0.1.5');
    server.files.set('/older.manifest', older);
    server.files.set('/older.manifest.minisig', signer.sign(older));
    using reader = openStore({ endpoint: guest.controller[1]!, domain: DOMAIN, poll: 'loop' }, () => undefined);
    const answers = await countAnswers(reader);
    const outcomes = new Map<string, number>();
    for (const step of STEPS) {
      for (let count = 1; ; count += 1) {
        const where = `${step} ${count}`;
        guest.reset();
        // Lower than what comes, higher than what runs: no crash may lose it.
        mkdirSync(guest.state, { mode: 0o700 });
        writeFileSync(join(guest.state, 'update-record.json'), '{"highest":"0.1.9","scopedOnly":true}\n');
        const id = randomUUID();
        let died: boolean;
        {
          await using first = await guest.start({ oneThread: true });
          await killAt(first.pid, step, count, async () => {
            await dom0.send(JSON.stringify({ name: 'agentupdate', value: `${url},${next.md5}` }), id);
            await Promise.race([first.ended(), dom0.answer(id)]);
          });
          died = !first.running;
        }
        if (!died) break;
        await using second = await guest.start();
        const { returncode, message } = JSON.parse(await dom0.answer(id)) as { returncode: string; message: string };
        if (returncode !== '0') assert.match(message, /^Interrupted/, where);
        assert.equal(answers.get(`data/guest/${id}`), 1, where);
        const version = await dom0.call('version', 'agent');
        assert.deepEqual(version, { kind: 'ok', message: guest.current() }, where);
        if (returncode === '0') assert.equal(guest.current(), NEXT, where);
        const refused = await dom0.answer(
          await dom0.send(JSON.stringify({ name: 'agentupdate', value: { url: server.url('/older') } })),
        );
        assert.match(refused, /version 0\.1\.5 is older than 0\.(1\.9|2\.0), the highest/, where);
        const left = guest.current() === NEXT ? ['update.json'] : [];
        assert.deepEqual(await guest.leftovers(), left, where);
        assert.equal(await second.stop(), 0, where);
        const outcome = `${returncode === '0' ? 'answered' : 'interrupted'}, ${guest.current()}`;
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      }
    }
    t.diagnostic([...outcomes].map(([outcome, times]) => `${outcome}: ${times}`).join('; '));
    assert.ok((outcomes.get(`interrupted, ${BUILT_VERSION}`) ?? 0) > 5, 'it died before the switch');
    assert.ok(outcomes.has(`interrupted, ${NEXT}`), 'it died between the switch and the answer');
  },
);

test('an agent that was not started from the directory of versions says so and downloads nothing', async () => {
  await using guest = await createInstalled();
  const { dom0 } = guest;
  const next = guest.release(NEXT);
  const url = guest.serve(next);
  const program = join(guest.lib, 'versions', BUILT_VERSION, 'dist/guestwire.js');
  await using agent = await guest.start({ program });
  const { returncode, message } = JSON.parse(
    await dom0.answer(await dom0.send(JSON.stringify({ name: 'agentupdate', value: `${url},${next.md5}` }))),
  ) as { returncode: string; message: string };
  assert.equal(returncode, '500');
  assert.ok(message.startsWith(`Refused to update: the agent was started as ${program}, wanted`), message);
  assert.deepEqual(guest.server.asked, []);
  assert.ok(!existsSync(join(guest.state, 'update.json')));
  assert.equal(await agent.stop(), 0);
});

test('on a copy of a system nothing is updated', async () => {
  using scratch = new ScratchRoot();
  await using store = await startXenstored('c', scratch.directory);
  const dom0 = new Dom0(localTools(store.socket), DOMAIN);
  await using agent = await Agent.start({ store: store.socket, domain: DOMAIN, root: scratch.root });
  const value = `https://localhost/x,${'0'.repeat(32)}`;
  assert.match(
    await dom0.answer(await dom0.send(JSON.stringify({ name: 'agentupdate', value }))),
    /Refused to update: the agent works on a copy of a system/,
  );
  assert.equal(await agent.stop(), 0);
});
