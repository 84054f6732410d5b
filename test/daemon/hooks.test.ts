import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { type Command, command } from '../../ts/api/command.js';
import { AgentError, type Host } from '../../ts/api/index.js';
import { codec } from '../../ts/communication/xenstore/nova/codec.js';
import { Dispatcher } from '../../ts/daemon/dispatcher.js';
import { createHooks } from '../../ts/daemon/hooks.js';
import { FileJournal } from '../../ts/daemon/journal.js';
import type { CommandRules } from '../../ts/daemon/registry.js';
import { createFiles } from '../../ts/host/unix/files.js';
import { createProcesses } from '../../ts/host/unix/processes.js';
import { appendOnlyFile, isThere } from '../../ts/host/shared/system.js';
import { MemoryTransport } from '../support/memory-transport.js';
import { registryOf } from '../support/registry.js';
import { type Scratch, createScratch } from '../support/scratch.js';

const NOBODY = 65534;

interface Options {
  readonly timeoutMs?: number;
  readonly rules?: CommandRules;
  readonly live?: boolean;
}

/** A dispatcher whose hooks are real programs of this machine, in a directory of our own. */
class Bench implements AsyncDisposable {
  readonly transport = new MemoryTransport();
  readonly logged: string[] = [];
  /** Where was looked, and for what. */
  readonly looked: string[] = [];
  readonly #scratch: Scratch;
  readonly #stop = new AbortController();
  readonly #journal: ReturnType<typeof appendOnlyFile>;
  #served: Promise<void> = Promise.resolve();

  private constructor(scratch: Scratch) {
    this.#scratch = scratch;
    this.#journal = appendOnlyFile(join(scratch.state, 'journal'));
  }

  static async open({ timeoutMs = 10_000, rules, live = true }: Options = {}): Promise<Bench> {
    const bench = new Bench(await createScratch());
    const files = createFiles('/', bench.#scratch.state);
    const list: Host['files']['list'] = (path) => {
      bench.looked.push(`list ${path}`);
      return files.list(path);
    };
    const look = (path: string): boolean => {
      bench.looked.push(`look ${path}`);
      return isThere(path);
    };
    const log = pino({ level: 'trace' }, { write: (line: string) => void bench.logged.push(line) });
    const host = { live, files: { ...files, list }, processes: createProcesses() };
    const hooks = createHooks({ host, log, directory: bench.directory, isThere: look, timeoutMs });
    const journal = await FileJournal.open(bench.#journal);
    const dispatcher = new Dispatcher({ commands: registryOf(bench.commands(), rules), journal, log, hooks });
    bench.#served = dispatcher.serve(bench.transport, codec, bench.#stop.signal);
    return bench;
  }

  /** Commands that leave their name among what the hooks left. */
  private commands(): readonly Command[] {
    const left = (name: string, lane: Command['lane'], fails = false): Command =>
      command({
        name,
        lane,
        parse: (value) => value,
        run: () => {
          writeFileSync(this.trace, `${name}\n`, { flag: 'a' });
          return fails ? Promise.reject(new AgentError('GW_PASSWORD_EMPTY')) : Promise.resolve('done');
        },
      });
    return [
      left('work', 'serial'),
      left('other', 'serial'),
      left('fail', 'serial', true),
      left('version', 'immediate'),
    ];
  }

  get directory(): string {
    return join(this.#scratch.directory, 'hooks');
  }

  /** What hooks and commands write into, in their order. */
  get trace(): string {
    return join(this.#scratch.directory, 'trace');
  }

  get traced(): readonly string[] {
    return textOf(this.trace)
      .split('\n')
      .filter((line) => line !== '');
  }

  /** Writes a hook; without a script it leaves its own name. */
  hook(name: string, script = `echo ${name} >> ${this.trace}`, mode = 0o755): string {
    const path = join(this.directory, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `#!/bin/sh\n${script}\n`);
    chmodSync(path, mode);
    return path;
  }

  /** One request, until it is answered and everything after it is done. */
  async ask(name: string, value: unknown = 'S3cret', id = 'a'): Promise<{ returncode: string; message: string }> {
    this.transport.push(id, JSON.stringify({ name, value }));
    await this.until(() => this.transport.events.includes(`retired ${id}`));
    return this.transport.answer(id);
  }

  async until(holds: () => boolean): Promise<void> {
    for (let tries = 0; !holds(); tries += 1) {
      assert.ok(tries < 2000, `${this.logged.join('')}${this.traced.join(' ')}`);
      await sleep(5);
    }
  }

  /** Resolves once the after-hooks are done, too. */
  stop(): Promise<void> {
    this.#stop.abort();
    return this.#served;
  }

  journal(): Promise<string> {
    return this.#journal.read();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.#journal[Symbol.asyncDispose]();
    await this.#scratch[Symbol.asyncDispose]();
  }
}

/** Empty when there is no such file. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

test('hooks of a command and of all commands run around it in the order of their names', async () => {
  await using bench = await Bench.open();
  for (const stage of ['before', 'after']) {
    for (const name of ['all/20-b', 'work/10-a', 'work/20-b', 'all/30-c', 'work/40-d.sh', 'other/15-no', 'version/5']) {
      bench.hook(`${stage}/${name}`);
    }
  }
  assert.deepEqual(await bench.ask('work'), { returncode: '0', message: 'done' });
  await bench.stop();
  const names = ['work/10-a', 'all/20-b', 'work/20-b', 'all/30-c', 'work/40-d.sh'];
  assert.deepEqual(bench.traced, [
    ...names.map((name) => `before/${name}`),
    'work',
    ...names.map((name) => `after/${name}`),
  ]);
});

test('an immediate command has hooks only where it is named', async () => {
  await using bench = await Bench.open();
  for (const name of ['before/all/x', 'before/version/x', 'after/all/x', 'after/version/x']) bench.hook(name);
  assert.equal((await bench.ask('version')).returncode, '0');
  await bench.stop();
  assert.deepEqual(bench.traced, ['before/version/x', 'version', 'after/version/x']);
});

test('a hook has a clean environment with what it may know, no input, and nothing of the value', async () => {
  await using bench = await Bench.open();
  const dump = `{ env | sort; echo "input: $(cat)"; pwd; echo "$0 $#"; } >> ${bench.trace}`;
  bench.hook('before/work/x', dump);
  bench.hook('after/fail/x', dump);
  process.env['GUESTWIRE_TEST_LEAK'] = 'leaked';
  try {
    await bench.ask('work', 'S3cret', 'request-1');
    await bench.ask('fail', 'S3cret', 'request-2');
    await bench.stop();
  } finally {
    delete process.env['GUESTWIRE_TEST_LEAK'];
  }
  const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
  const end = (name: string): readonly string[] => ['input: ', '/', `${join(bench.directory, name)} 0`];
  // sh itself adds PWD.
  assert.deepEqual(
    bench.traced.filter((line) => line !== 'PWD=/'),
    [
      'GUESTWIRE_COMMAND=work',
      'GUESTWIRE_REQUEST=request-1',
      'GUESTWIRE_STAGE=before',
      'LC_ALL=C',
      path,
      ...end('before/work/x'),
      'work',
      'fail',
      'GUESTWIRE_COMMAND=fail',
      'GUESTWIRE_REQUEST=request-2',
      'GUESTWIRE_RETURNCODE=500',
      'GUESTWIRE_STAGE=after',
      'LC_ALL=C',
      path,
      ...end('after/fail/x'),
    ],
  );
  assert.ok(!bench.logged.join('').includes('S3cret'));
});

test('a hook that fails before a command refuses it with its own words, and nothing later runs', async () => {
  await using bench = await Bench.open();
  bench.hook('before/work/10-first');
  bench.hook('before/work/20-no', 'echo "a \\"backup\\" runs: é" >&2; echo more >&2; exit 3');
  bench.hook('before/work/30-later');
  bench.hook('after/work/x');
  const { returncode, message } = await bench.ask('work');
  await bench.stop();
  assert.equal(returncode, '500');
  assert.equal(message, "Refused by the hook before/work/20-no: a 'backup' runs: ?");
  assert.deepEqual(bench.traced, ['before/work/10-first']);
  assert.ok(bench.logged.some((line) => line.includes('"code":"GW_HOOK_REFUSED"')));
  const states = (await bench.journal()).trim().split('\n');
  assert.deepEqual(
    states.map((line) => (JSON.parse(line) as { state: string }).state),
    ['started', 'answered', 'done'],
  );
});

test('a hook that says nothing is refused by its exit status, and a signal counts as one', async () => {
  await using bench = await Bench.open();
  bench.hook('before/work/x', 'exit 3');
  bench.hook('before/other/x', 'kill -TERM $$');
  assert.equal((await bench.ask('work')).message, 'Refused by the hook before/work/x: it ended with 3');
  const { message } = await bench.ask('other', '', 'b');
  assert.equal(message, 'Refused by the hook before/other/x: it ended with 143');
});

test('an answer holds no more than 200 characters of what a hook says', async () => {
  await using bench = await Bench.open();
  bench.hook('before/work/x', `printf '%01000d' 1 >&2; exit 1`);
  const { message } = await bench.ask('work');
  assert.match(message, /^Refused by the hook before\/work\/x: 0{197}\.\.\.$/);
});

test('a program that cannot be run refuses the command', async () => {
  await using bench = await Bench.open();
  writeFileSync(bench.hook('before/work/x'), '#!/no/such/interpreter\n');
  assert.match((await bench.ask('work')).message, /^Refused by the hook before\/work\/x: .*not found$/);
  rmSync(bench.directory, { recursive: true });
  // A file that says that it is a program of this machine, and is none.
  writeFileSync(bench.hook('before/other/x'), Buffer.concat([Buffer.from('\x7fELF'), Buffer.alloc(100)]));
  assert.match((await bench.ask('other', '', 'b')).message, /^Refused by the hook before\/other\/x: /);
  assert.deepEqual(bench.traced, []);
});

test('all hooks of a stage share one time limit, after which a program ends with its children', async () => {
  await using bench = await Bench.open({ timeoutMs: 1000 });
  bench.hook('before/work/10-short', 'sleep 0.5');
  bench.hook('before/work/20-long', `sleep 60 & echo $! >> ${bench.trace}; wait`);
  const started = performance.now();
  const { message } = await bench.ask('work');
  const took = performance.now() - started;
  assert.equal(
    message,
    'Refused by the hook before/work/20-long: it was stopped because the hooks took longer than 1 s',
  );
  assert.ok(took > 900 && took < 3000, `took ${took} ms`);
  const [child = ''] = bench.traced;
  // A killed orphan is a zombie until init reaps it.
  const state = /^State:\s+(\S)/m.exec(textOf(`/proc/${child}/status`))?.[1] ?? 'gone';
  assert.ok(['Z', 'X', 'gone'].includes(state), state);
});

test('after a command every hook runs, whatever fails: the command, or another hook', async () => {
  await using bench = await Bench.open();
  bench.hook('after/all/10-no', 'echo broken >&2; exit 1');
  bench.hook('after/fail/20-next', `echo "$GUESTWIRE_RETURNCODE" >> ${bench.trace}`);
  const { returncode, message } = await bench.ask('fail');
  await bench.stop();
  assert.deepEqual([returncode, message], ['500', 'Refused: the new password is empty']);
  assert.deepEqual(bench.traced, ['fail', '500']);
  const line = bench.logged.find((candidate) => candidate.includes('hook failed'))!;
  assert.match(line, /"level":40.*"hook":"after\/all\/10-no".*"reason":"broken"/);
});

test('the answer does not wait for hooks after the command, but the next serial command does', async () => {
  await using bench = await Bench.open();
  const gate = join(bench.directory, '..', 'gate');
  bench.hook('after/work/x', `until [ -e ${gate} ]; do sleep 0.05; done; echo ended >> ${bench.trace}`);
  await bench.ask('work', '', 'a');
  bench.transport.push('b', JSON.stringify({ name: 'other' }));
  assert.equal((await bench.ask('version', '', 'c')).returncode, '0');
  await sleep(300);
  assert.deepEqual(bench.traced, ['work', 'version']);
  writeFileSync(gate, '');
  await bench.until(() => bench.transport.events.includes('retired b'));
  assert.deepEqual(bench.traced, ['work', 'version', 'ended', 'other']);
});

test('hooks after a command that take too long are ended, and the next command runs', async () => {
  await using bench = await Bench.open({ timeoutMs: 300 });
  bench.hook('after/work/10-long', 'sleep 60');
  bench.hook('after/work/20-late');
  await bench.ask('work');
  assert.equal((await bench.ask('other', '', 'b')).returncode, '0');
  assert.deepEqual(bench.traced, ['work', 'other']);
  const reasons = bench.logged.flatMap((line) => /"reason":"([^"]*)"/.exec(line)?.slice(1) ?? []);
  assert.deepEqual(reasons, [
    'it was stopped because the hooks took longer than 0.3 s',
    'the hooks before it used up 0.3 s',
  ]);
});

const UNFIT: readonly (readonly [what: string, spoil: (bench: Bench, path: string) => void, why: RegExp])[] = [
  [
    'that its group can write',
    (_, path) => {
      chmodSync(path, 0o775);
    },
    /others than root can change it$/,
  ],
  [
    'that everybody can write',
    (_, path) => {
      chmodSync(path, 0o757);
    },
    /others than root can change it$/,
  ],
  [
    "that is somebody else's",
    (_, path) => {
      chownSync(path, NOBODY, 0);
    },
    /others than root can change it$/,
  ],
  [
    'that is a link',
    (bench, path) => {
      renameSync(path, join(bench.directory, 'real'));
      symlinkSync(join(bench.directory, 'real'), path);
    },
    /it is not a regular file$/,
  ],
  [
    'that is a directory',
    (_, path) => {
      rmSync(path);
      mkdirSync(path);
    },
    /it is not a regular file$/,
  ],
  [
    "in somebody else's folder",
    (_, path) => {
      chownSync(dirname(path), NOBODY, 0);
    },
    /others than root can change \/.*\/hooks\/\w+\/work$/,
  ],
  [
    'in a folder that its group can write',
    (_, path) => {
      chmodSync(dirname(path), 0o775);
    },
    /can change .*\/work$/,
  ],
  // Where the kernel lets them, others could link a program of root's into it.
  [
    'in a sticky folder',
    (_, path) => {
      chmodSync(dirname(path), 0o1777);
    },
    /can change .*\/work$/,
  ],
  [
    'below a hook folder of others',
    (bench) => {
      chownSync(bench.directory, NOBODY, 0);
    },
    /can change \/.*\/hooks$/,
  ],
  [
    'below a directory of others',
    (bench) => {
      chmodSync(dirname(bench.directory), 0o777);
    },
    /can change \/\S*$/,
  ],
  [
    'in a folder that is a link',
    (bench, path) => {
      renameSync(dirname(path), join(bench.directory, 'real'));
      symlinkSync(join(bench.directory, 'real'), dirname(path));
    },
    /\/work is not a directory$/,
  ],
  [
    'in the place of its folder',
    (_, path) => {
      rmSync(dirname(path), { recursive: true });
      writeFileSync(dirname(path), '#!/bin/sh\n', { mode: 0o755 });
    },
    /^Refused by the hook before\/work: it is not a directory$/,
  ],
];

for (const [what, spoil, why] of UNFIT) {
  test(`a program ${what} is never run: before a command it refuses, after one it is logged`, async () => {
    await using bench = await Bench.open();
    const before = bench.hook('before/work/x');
    spoil(bench, before);
    const { returncode, message } = await bench.ask('work');
    assert.equal(returncode, '500');
    assert.match(message, why);
    assert.match(message, /^Refused by the hook before\/work(\/x)?: /);
    rmSync(bench.directory, { recursive: true });
    chmodSync(dirname(bench.directory), 0o700);

    const after = bench.hook('after/work/x');
    spoil(bench, after);
    assert.equal((await bench.ask('work', '', 'b')).returncode, '0');
    await bench.stop();
    assert.deepEqual(bench.traced, ['work']);
    assert.ok(bench.logged.some((line) => line.includes('hook failed') && line.includes('"hook":"after/work')));
  });
}

test('hidden files and left-overs of editors and packages are no hooks, nor is what nobody may execute', async () => {
  await using bench = await Bench.open();
  const left = ['.x', 'x~', '#x#', 'x.dpkg-old', 'x.dpkg-dist', 'x.ucf-old', 'x.rpmsave', 'x.rpmnew', 'x.bak', 'x.swp'];
  for (const name of left) bench.hook(`before/work/${name}`, 'exit 1');
  bench.hook('before/work/off', 'exit 1', 0o644);
  assert.equal((await bench.ask('work')).returncode, '0');
  assert.deepEqual(bench.traced, ['work']);
  const told = bench.logged.filter((line) => line.includes('"hook"'));
  assert.equal(told.length, 1);
  assert.match(told[0]!, /"hook":"before\/work\/off".*switched off/);
});

test('a command that is switched off has no hooks, and those of an allowed one run', async () => {
  await using bench = await Bench.open({ rules: { allow: ['*'], deny: ['work'] } });
  bench.hook('before/all/x');
  bench.hook('after/all/x');
  assert.equal((await bench.ask('work')).returncode, '403');
  assert.equal((await bench.ask('nonsense', '', 'b')).returncode, '404');
  assert.equal((await bench.ask('other', '', 'c')).returncode, '0');
  await bench.stop();
  assert.deepEqual(bench.traced, ['before/all/x', 'other', 'after/all/x']);
});

test('without a folder a command costs one look', async () => {
  await using bench = await Bench.open();
  await bench.ask('work');
  await bench.stop();
  assert.deepEqual(bench.looked, [`look ${bench.directory}`]);
});

test('on a copy of a system no hook runs, and the log says so', async () => {
  await using bench = await Bench.open({ live: false });
  bench.hook('before/work/x', 'exit 1');
  bench.hook('after/work/x');
  assert.equal((await bench.ask('work')).returncode, '0');
  await bench.stop();
  assert.deepEqual(bench.traced, ['work']);
  assert.ok(bench.logged.some((line) => line.includes('"level":20') && line.includes('hooks are not run on a copy')));
});
