import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openStore, type StoreConnection } from '../../ts/host/shared/store.js';
import { Agent } from './agent.js';
import { Dom0, localTools } from './dom0.js';
import { killAt } from './kill-at.js';
import { ScratchRoot, VM_DATA } from './scratch-root.js';
import { startXenstored } from './xenstored.js';

const DOMAIN = 7;
/** System calls that leave something behind; strace counts each of them, and each thread, on its own. */
const STEPS = [
  'openat',
  'mkdir',
  'mkdirat',
  'write',
  'fsync',
  'fdatasync',
  'fchmod',
  'link',
  'rename',
  'renameat',
  'renameat2',
  'unlink',
  'unlinkat',
  'sendto',
] as const;

export interface Scenario {
  readonly command: string;
  /** Tells it from another one of the same command. */
  readonly form?: string;
  /** The message of a success; empty when absent. */
  readonly message?: string;
  /** The file that the command is about: what is put behind its end after a crash must still be there later. */
  readonly file: string;
  readonly value: (dom0: Dom0) => unknown;
  /**
   * Calls that come by the hundred and mostly leave nothing behind: only each N-th is a death. Which one is the first
   * differs from run to run, so that in the long run each has its turn.
   */
  readonly strides?: Strides;
}

type Strides = Readonly<Partial<Record<(typeof STEPS)[number], number>>>;

/** Most files are opened to be read; what is created is seen at the call after it, too. */
const USUAL: Strides = { openat: 10 };

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

/** A test that kills the agent at each step of a command, and starts it again. */
export function killedAtEveryStep({ command, form = '', message = '', file, value, strides = {} }: Scenario): void {
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
      const stride = { ...USUAL, ...strides }[step] ?? 1;
      for (let count = 1 + Math.floor(Math.random() * stride); ; count += stride) {
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
