// `npm run bench`: see --help. Everything runs on one real xenstored, one measured thing at a time.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createSocket } from './notify.js';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { goals, hostTimes, median, report, summarize } from './report.js';

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: 'a,b,c,d' },
    help: { type: 'boolean', default: false },
  },
});
if (flags.help) {
  console.log(`node bench/run.js [--quick] [--only a,b,c,d]
  a  from the host's write to the watcher's callback; events a second in a flood
  b  from a version request to its answer
  c  whole key exchanges
  d  start to ready, and resident memory idle
--quick measures less and, as --only, leaves docs/performance.md alone. Needs root for apt-get the first time.`);
  process.exit(0);
}
const parts = flags.only.split(',');
const unknown = parts.filter((part) => !['a', 'b', 'c', 'd'].includes(part));
if (unknown.length > 0) throw new Error(`--only takes a, b, c and d, not ${unknown.join(',')}`);
const size = flags.quick
  ? { rounds: 2, events: 500, flood: 2000, versions: 200, seconds: 0.5, starts: 5 }
  : { rounds: 10, events: 1000, flood: 5000, versions: 2000, seconds: 1, starts: 20 };

const say = (text) => process.stderr.write(`${text}\n`);
const run = (program, args, options = {}) => {
  const done = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 1 << 28, ...options });
  if (done.status !== 0) throw new Error(`${program} ${args.join(' ')}: ${done.stderr ?? done.error}`);
  return done.stdout;
};

say('setting up');
run(process.execPath, ['test/packages.js'], { stdio: ['ignore', 2, 2] });
if (!existsSync('.cache/bench-venv/installed')) {
  // virtualenv comes from pip: Debian keeps ensurepip in a package of its own.
  if (spawnSync('python3', ['-m', 'venv', '.cache/bench-venv']).status !== 0) {
    run('apt-get', ['install', '-y', '-qq', 'python3-venv'], { stdio: ['ignore', 2, 2] });
    run('python3', ['-m', 'venv', '.cache/bench-venv']);
  }
  run('.cache/bench-venv/bin/pip', ['install', '-q', 'pyxs==0.4.1'], { stdio: ['ignore', 2, 2] });
  writeFileSync('.cache/bench-venv/installed', '');
}
run('cargo', ['build', '-q', '--release', '-p', 'bench'], { stdio: ['ignore', 2, 2] });
mkdirSync('build/bench', { recursive: true });
const libxenstore = 'build/bench/watch-libxenstore';
run('gcc', ['-O2', '-Wall', '-o', libxenstore, 'bench/watch-libxenstore.c', '-lxenstore']);
const rust = 'target/release/bench';

const { startXenstored } = await import('../build/test/support/xenstored.js');
const directory = mkdtempSync(join(tmpdir(), 'gwb-'));
const loadBefore = Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[0]);
if (loadBefore > 0.7) say(`the machine is busy (load ${loadBefore}): figures will be worse than it can do`);
const xenstored = await startXenstored('c', directory);
const socket = xenstored.socket;

const watchers = {
  'addon, loop': (count) => [process.execPath, ['bench/watch-addon.js', socket, count, 'loop']],
  'addon, thread': (count) => [process.execPath, ['bench/watch-addon.js', socket, count, 'thread']],
  'Rust client': (count) => [rust, ['client', socket, count]],
  'Rust read loop': (count) => [rust, ['loop', socket, count]],
  'C libxenstore': (count) => [libxenstore, [count]],
  pyxs: (count) => ['.cache/bench-venv/bin/python', ['bench/watch-pyxs.py', socket, count]],
};

/** Lets one watcher see `count` events and gives [written, called back] of each, in nanoseconds. */
async function observe(command, count, gap) {
  const [program, args] = command(String(count));
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, XENSTORED_PATH: socket },
  });
  const exited = once(child, 'exit');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  if ((await lines.next()).value !== 'ready') throw new Error(`${program} ${args.join(' ')} did not start watching`);
  await sleep(50);
  const writer = spawn(rust, ['write', socket, String(count), String(gap)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const written = new Map();
  for await (const line of createInterface({ input: writer.stdout })) {
    const [path, time] = line.split(' ');
    written.set(path, Number(time));
  }
  const pairs = [];
  for (let line = await lines.next(); !line.done; line = await lines.next()) {
    const [path, time] = line.value.split(' ');
    pairs.push([written.get(path), Number(time)]);
  }
  await exited;
  if (pairs.length !== count) throw new Error(`${program}: ${pairs.length} events of ${count}`);
  return pairs;
}

async function latency() {
  run(rust, ['prepare', socket, String(size.flood)]);
  const names = Object.keys(watchers);
  const samples = Object.fromEntries(names.map((name) => [name, []]));
  const floods = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < size.rounds; round++) {
    say(`latency: round ${round + 1} of ${size.rounds}`);
    for (let i = 0; i < names.length; i++) {
      const name = names[(round + i) % names.length];
      const pairs = await observe(watchers[name], size.events, 1000);
      for (const [from, to] of pairs) samples[name].push((to - from) / 1e3);
    }
  }
  for (let round = 0; round < 3; round++) {
    say(`flood: round ${round + 1} of 3`);
    for (const name of names) {
      const pairs = await observe(watchers[name], size.flood, 0);
      floods[name].push(size.flood / ((pairs.at(-1)[1] - pairs[0][0]) / 1e9));
    }
  }
  return names.map((name) => ({ ...summarize(name, samples[name]), flood: median(floods[name]) }));
}

/** Starts the agent; resolves at READY=1, which it says once its watch is set. */
async function startAgent(root) {
  const notify = await createSocket(join(directory, 'notify'));
  const started = process.hrtime.bigint();
  const args = ['dist/guestwire.js', 'run', '--store', socket, '--domain', '7', '--root', root];
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { PATH: process.env.PATH, NOTIFY_SOCKET: notify.path },
  });
  const failed = once(child, 'exit').then(() => {
    throw new Error('the agent ended before it was ready');
  });
  failed.catch(() => undefined);
  const ready = await Promise.race([notify.ready, failed]);
  // It must outlive the agent, which says on it that it is stopping too.
  child.once('exit', () => notify.close());
  return { child, milliseconds: Number(ready - started) / 1e6 };
}

async function end(child) {
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}

const root = join(directory, 'root');
mkdirSync(join(root, 'etc'), { recursive: true });

/** Programs that write the same to all, to tell what any agent's time is held against. */
async function startLeast(program, args) {
  const child = spawn(program, [...args, socket, '7'], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return { child };
}

const answering = {
  agent: () => startAgent(root),
  node: () => startLeast(process.execPath, ['bench/answer-addon.js']),
  rust: () => startLeast(rust, ['answer']),
};

/** Moves a process, and whatever it starts from then on, to these processors. */
const place = (processors, pid) => run('taskset', ['-a', '-c', '-p', processors, String(pid)]);

/**
 * Requests and a host's READs, first with all programs on one processor, then left to the scheduler: there an idle
 * processor has to be woken, which in a virtual machine takes longer than an answer.
 */
async function version() {
  const half = size.versions / 2;
  const all = run('taskset', ['-c', '-p', String(process.pid)])
    .split(':')
    .at(-1)
    .trim();
  const one = String(availableParallelism() - 1);
  const places = [];
  for (const [name, processors] of [
    ['one processor', one],
    ['any processor', all],
  ]) {
    // What is started below is placed with us.
    for (const pid of [process.pid, xenstored.pid]) place(processors, pid);
    const answered = { agent: [], node: [], rust: [] };
    const reads = [];
    // In turns, so that drift hits all alike.
    for (const turn of ['first', 'second']) {
      for (const [program, start] of Object.entries(answering)) {
        say(`version, ${name}: ${half} requests to ${program}, ${turn} turn`);
        const { child } = await start();
        try {
          for (const [answer, read] of hostTimes(run(rust, ['host', socket, '7', String(half)]))) {
            answered[program].push(answer);
            reads.push(read);
          }
        } finally {
          await end(child);
        }
      }
    }
    const read = median(reads);
    const programs = Object.entries(answered).map(([program, times]) => {
      const { min, p50, p99 } = summarize(program, times);
      return { program, min, p50, p99, trips: p50 / read };
    });
    places.push({ name, read, programs });
  }
  return { requests: size.versions, places };
}

function exchange() {
  const rates = {};
  const seconds = String(size.seconds);
  for (let round = 0; round < 3; round++) {
    say(`key exchange: round ${round + 1} of 3`);
    const lines = run(process.execPath, ['bench/exchange.js', seconds]) + run(rust, ['exchange', seconds]);
    for (const line of lines.trim().split('\n')) {
      const [name, rate] = line.split(' ');
      (rates[name] ??= []).push(Number(rate));
    }
  }
  return Object.entries(rates).map(([name, each]) => ({ name, rate: median(each) }));
}

/** VmRSS in MiB. */
const resident = (pid) => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;

async function startBare() {
  const started = process.hrtime.bigint();
  const program = "require('fs').writeSync(1, '.'); setInterval(() => {}, 1e6)";
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return { child, milliseconds: Number(process.hrtime.bigint() - started) / 1e6 };
}

async function start() {
  const seen = { agent: { ms: [], mib: [] }, bare: { ms: [], mib: [] } };
  for (let round = 0; round < size.starts; round++) {
    say(`start: ${round + 1} of ${size.starts}`);
    // Started one after the other, in turns who is first; at rest together, where neither disturbs the other.
    const order = round % 2 === 0 ? ['agent', 'bare'] : ['bare', 'agent'];
    const running = [];
    for (const name of order) {
      const { child, milliseconds } = await (name === 'agent' ? startAgent(root) : startBare());
      seen[name].ms.push(milliseconds);
      running.push([name, child]);
    }
    await sleep(2000);
    for (const [name, child] of running) {
      seen[name].mib.push(resident(child.pid));
      await end(child);
    }
  }
  const middle = ({ ms, mib }) => ({ ms: median(ms), mib: median(mib) });
  return { runs: size.starts, agent: middle(seen.agent), bare: middle(seen.bare) };
}

try {
  const results = { load: loadBefore };
  if (parts.includes('b')) results.version = await version();
  if (parts.includes('c')) results.exchange = exchange();
  if (parts.includes('d')) results.start = await start();
  if (parts.includes('a')) results.latency = await latency();
  report(results, { whole: !flags.quick && parts.length === 4 });
  for (const { goal, measured, met } of goals(results)) {
    console.log(`${met ? 'met    ' : 'not met'}  ${goal}: ${measured}`);
  }
} finally {
  await xenstored.kill();
  rmSync(directory, { recursive: true, force: true });
}
