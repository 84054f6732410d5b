import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openStore, type StoreConnection } from '../../ts/host/store.js';
import { Agent } from '../support/agent.js';
import { Dom0, localTools } from '../support/dom0.js';
import { killAt } from '../support/kill-at.js';
import { ScratchRoot, VM_DATA } from '../support/scratch-root.js';
import { startXenstored } from '../support/xenstored.js';

const DOMAIN = 7;
/** System calls that leave something behind; strace counts each of them, and each thread, on its own. */
const STEPS = [
  'openat',
  'mkdir',
  'write',
  'fsync',
  'fdatasync',
  'fchmod',
  'link',
  'rename',
  'unlink',
  'sendto',
] as const;

interface Scenario {
  readonly command: string;
  /** Tells it from another one of the same command. */
  readonly form?: string;
  /** The message of a success; empty when absent. */
  readonly message?: string;
  /** The file that the command is about: what is put behind its end after a crash must still be there later. */
  readonly file: string;
  readonly value: (dom0: Dom0) => unknown;
}

const SCENARIOS: readonly Scenario[] = [
  {
    command: 'file_inject',
    file: 'etc/motd',
    value: () => ({ b64_path: btoa('/etc/motd'), b64_file: btoa('the new content\n') }),
  },
  {
    command: 'file_inject',
    form: ' in parts',
    message: '16 of 16 bytes',
    file: 'etc/motd',
    value: () => ({
      b64_path: btoa('/etc/motd'),
      b64_file: btoa('the new content\n'),
      offset: 0,
      total: 16,
      sha256: createHash('sha256').update('the new content\n').digest('hex'),
    }),
  },
  { command: 'password', file: 'etc/shadow', value: (dom0) => dom0.encryptedPassword('the new one', 'md5') },
  { command: 'resetnetwork', file: 'etc/network/interfaces', value: () => '' },
];

function newScratch(): ScratchRoot {
  const scratch = new ScratchRoot();
  scratch.write('etc/motd', 'the old content\n');
  return scratch;
}

/** A file's content to be compared: a whole hash of a password is as good as any other. */
function plain(content: string | undefined): string | undefined {
  return content?.replace(/^root:\$6\$[./0-9A-Za-z]{16}\$[./0-9A-Za-z]{86}:/m, 'root:<hash>:');
}

/** Names in the agent's own directory, but for the random part of a backup's. */
function stateOf(scratch: ScratchRoot): readonly string[] {
  const directory = join(scratch.root, 'var/lib/guestwire');
  const names = existsSync(directory) ? readdirSync(directory, { recursive: true, encoding: 'utf8' }) : [];
  return [...new Set(names.map((name) => name.replace(/(?<=^|\/)backup\/[^/]+/, 'backup/<set>')))].sort();
}

/** Counts how often each answer is written: every write of a node fires its watch. */
async function countAnswers(store: StoreConnection): Promise<ReadonlyMap<string, number>> {
  const written = new Map<string, number>();
  await store.watch('data/guest', (path) => {
    written.set(path, (written.get(path) ?? 0) + 1);
  });
  return written;
}

for (const { command, form = '', message = '', file, value } of SCENARIOS) {
  const title = `killed at every step of ${command}${form}, the agent answers once and leaves files whole`;
  test(title, { timeout: 1_200_000 }, async (t) => {
    using home = newScratch();
    await using store = await startXenstored('c', home.directory);
    const dom0 = new Dom0(localTools(store.socket), DOMAIN);
    await dom0.publish(VM_DATA);
    using reader = openStore({ endpoint: store.socket, domain: DOMAIN, poll: 'loop' }, () => undefined);
    const answers = await countAnswers(reader);
    const start = (scratch: ScratchRoot): Promise<Agent> =>
      Agent.start({ store: store.socket, domain: DOMAIN, root: scratch.root, oneThread: true });

    // What an agent that nobody kills makes of it.
    using model = newScratch();
    const before = model.files();
    await using undisturbed = await start(model);
    assert.deepEqual(await dom0.call(command, await value(dom0)), { kind: 'ok', message });
    await undisturbed.stop();
    const after = model.files();

    let deaths = 0;
    for (const step of STEPS) {
      for (let count = 1; ; count += 1) {
        const where = `${step} ${count}`;
        using scratch = newScratch();
        const untouched = scratch.files();
        const id = randomUUID();
        let died: boolean;
        {
          await using first = await start(scratch);
          const argument = JSON.stringify({ name: command, value: await value(dom0) });
          await killAt(first.pid, step, count, async () => {
            await dom0.send(argument, id);
            await Promise.race([first.ended(), dom0.answer(id)]);
          });
          died = !first.running;
        }
        if (!died) break;
        deaths += 1;
        const answered = await dom0.read(`data/guest/${id}`);
        const marked = `${scratch.read(file)}# put here after the crash\n`;
        if (answered !== null) scratch.write(file, marked);

        await using second = await start(scratch);
        const { returncode } = JSON.parse(await dom0.answer(id)) as { returncode: string };
        assert.equal(answers.get(`data/guest/${id}`), 1, `${where}: answers`);
        if (answered !== null) {
          assert.equal(scratch.read(file), marked, `${where}: run again after its answer`);
        } else {
          for (const [path, content] of scratch.files()) {
            const whole = [plain(after.get(path)), ...(returncode === '0' ? [] : [plain(untouched.get(path))])];
            assert.ok(whole.includes(plain(content)), `${where}: ${path} after ${returncode}: ${content}`);
          }
          assert.deepEqual(await dom0.call(command, await value(dom0)), { kind: 'ok', message }, where);
          const files = scratch.files();
          assert.deepEqual([...files.keys()], [...after.keys()], where);
          for (const [path, content] of files)
            assert.equal(plain(content), plain(after.get(path)), `${where}: ${path}`);
          assert.deepEqual(stateOf(scratch), stateOf(model), `${where}: the agent's own files`);
        }
        assert.equal(await second.stop(), 0);
      }
    }
    assert.notDeepEqual(before, after);
    t.diagnostic(`${deaths} deaths`);
    assert.ok(deaths >= STEPS.length - 1, `${deaths} deaths`);
  });
}

test('a store that was killed under requests comes back: none is answered twice', { timeout: 60_000 }, async () => {
  using scratch = newScratch();
  const options = { domain: DOMAIN, poll: 'loop' } as const;
  await using first = await startXenstored('c', scratch.directory);
  await using agent = await Agent.start({ store: first.socket, domain: DOMAIN, root: scratch.root });
  const dom0 = new Dom0(localTools(first.socket), DOMAIN);
  const ids: string[] = [];
  const answered = new Map<string, number>();
  const count = (path: string): void => {
    const id = path.split('/')[2];
    if (id !== undefined) answered.set(id, (answered.get(id) ?? 0) + 1);
  };
  {
    using reader = openStore({ endpoint: first.socket, ...options }, () => undefined);
    let killed = Promise.resolve();
    const died = new Promise<void>((resolve) => {
      void reader.watch('data/guest', (path) => {
        count(path);
        // In the middle of the burst: each command takes longer than this event.
        if (answered.size > 0) killed = first.kill().then(resolve);
      });
    });
    for (let number = 0; number < 20; number += 1) {
      const value = { b64_path: btoa(`/opt/${number}`), b64_file: btoa(`content ${number}`) };
      const id = `burst-${number}`;
      ids.push(id);
      // Written by our own client, because a process for each would give the agent time to keep up.
      void reader.write(`data/host/${id}`, Buffer.from(JSON.stringify({ name: 'file_inject', value }))).catch(() => {
        // Those that the store did not live to see.
      });
    }
    await died;
    await killed;
  }
  assert.ok(answered.size < ids.length, 'requests were under way');
  rmSync(first.socket);
  await using second = await startXenstored('c', scratch.directory);
  assert.equal(second.socket, first.socket);
  using reader = openStore({ endpoint: second.socket, ...options }, () => undefined);
  await reader.watch('data/guest', count);
  const waiting = await dom0.send('{"name": "version", "value": "agent"}');
  assert.match(await dom0.answer(waiting), /"returncode":"0"/);
  // Serial, so what was taken before the store died has ended too.
  assert.equal((await dom0.call('injectfile', btoa('/etc/motd,x'))).kind, 'ok');
  assert.deepEqual(await dom0.list('data/host'), []);
  for (const [id, times] of answered) assert.equal(times, 1, id);
  for (const [path, content] of scratch.files()) {
    if (path.startsWith('opt/')) assert.equal(content, `content ${path.slice(4)}`);
  }
  assert.equal(await agent.stop(), 0);
});
