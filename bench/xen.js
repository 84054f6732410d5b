// `npm run bench:xen`: watch latency and answers on the kernel's own device, in dom0 and in a guest of the real
// hypervisor. Everything is measured in one boot, the watchers in turns, one at a time.
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { buildImages } from '../build/test/support/xen/images.js';
import { XenMachine } from '../build/test/support/xen/machine.js';
import { hostTimes, median, reportXen, summarize } from './report.js';

const { values: flags } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } },
});
if (flags.help) {
  console.log(`node bench/xen.js [--quick]
Boots Xen in QEMU and measures, in dom0 and in a guest: the watch latency on /dev/xen/xenbus of the addon, the Rust
client, a bare read loop and C on libxenstore; a loop that looks once a second; a version request's way to its answer.
--quick measures less and leaves docs/performance.md alone. Needs root for apt-get the first time.`);
  process.exit(0);
}
const size = flags.quick
  ? { rounds: 1, events: 50, versions: 30, turns: 2, polled: 4 }
  : { rounds: 4, events: 150, versions: 300, turns: 6, polled: 15 };
/** Milliseconds between two writes: an emulated guest needs its time. */
const GAP = 15;

const say = (text) => process.stderr.write(`${text}\n`);
const run = (program, args) => execFileSync(program, args, { stdio: ['ignore', 2, 2] });
say('setting up');
run(process.execPath, ['test/packages.js']);
run('cargo', ['build', '-q', '--release', '-p', 'bench']);
mkdirSync('build/bench', { recursive: true });
run('gcc', ['-O2', '-Wall', '-o', 'build/bench/watch-libxenstore', 'bench/watch-libxenstore.c', '-lxenstore']);
const images = [];
const built = buildImages((line) => images.push(line));

const DEVICE = '/dev/xen/xenbus';
const addon = '/usr/lib/guestwire/bench/watch-addon.js';
const watchers = {
  'addon, loop': (count) => `node ${addon} ${DEVICE} ${count} loop`,
  'addon, thread': (count) => `node ${addon} ${DEVICE} ${count} thread`,
  'Rust client': (count) => `/test/bench client ${DEVICE} ${count}`,
  'Rust read loop': (count) => `/test/bench loop ${DEVICE} ${count}`,
  'C libxenstore': (count) => `/test/watch-libxenstore ${count}`,
};

/** Microseconds from each write to its callback, both in the same system and by the same clock. */
async function observe(place, node, command, count, gap = GAP) {
  const printed = await place.run(
    `export BENCH_NODE=${node} XENSTORED_PATH=${DEVICE}
    rm -f /run/seen; ${command} > /run/seen 2> /run/errors &
    until grep -q ready /run/seen; do kill -0 $! || { cat /run/errors; exit 1; }; sleep 0.1; done
    sleep 0.5; /test/bench write ${DEVICE} ${count} ${gap * 1000} > /run/written; wait
    cat /run/written; echo --; cat /run/seen`,
    120_000,
  );
  const [written, seen] = printed.split('\n--\n').map((part) => part.split('\n').map((line) => line.split(' ')));
  const from = new Map(written);
  const times = seen.filter(([path]) => from.has(path)).map(([path, to]) => Number(to) - Number(from.get(path)));
  if (times.length !== count) throw new Error(`${command}: ${times.length} events of ${count}`);
  return times.map((time) => time / 1e3);
}

async function latency(name, place, node) {
  await place.run(`BENCH_NODE=${node} /test/bench prepare ${DEVICE} ${size.events}`);
  const names = Object.keys(watchers);
  const samples = Object.fromEntries(names.map((watcher) => [watcher, []]));
  for (let round = 0; round < size.rounds; round++) {
    say(`${name}: round ${round + 1} of ${size.rounds}`);
    for (let i = 0; i < names.length; i++) {
      const watcher = names[(round + i) % names.length];
      samples[watcher].push(...(await observe(place, node, watchers[watcher](size.events), size.events)));
    }
  }
  await place.run(`/test/bench remove ${DEVICE} ${node}`);
  return names.map((watcher) => summarize(watcher, samples[watcher]));
}

/** What a request waits for an agent that looks once a second: uniform, but seen and not only said. */
async function polling(guest) {
  say('a loop of one second');
  await guest.run(`cat > /run/poll.mjs <<'END'
import { setTimeout as sleep } from 'node:timers/promises';
const { XenStore } = await import('/usr/lib/guestwire/native/binding.js');
const store = XenStore.open({ endpoint: '${DEVICE}', poll: 'loop' }, () => {});
const seen = new Set();
console.log('ready');
while (seen.size < ${size.polled}) {
  const names = await store.list('data/polled').catch(() => []);
  for (const name of names.filter((each) => !seen.has(each))) {
    seen.add(name);
    console.log(\`data/polled/\${name} \${process.hrtime.bigint()}\`);
  }
  await sleep(1000);
}
process.exit(0);
END`);
  const times = await observe(guest, 'data/polled', 'node /run/poll.mjs', size.polled, 1370);
  await guest.run(`/test/bench remove ${DEVICE} data/polled`);
  return { p50: median(times), max: Math.max(...times) };
}

const machine = await XenMachine.boot(built);
try {
  const guest = await machine.startGuest();
  await guest.logged('"ready"');
  say('version');
  const socket = '/run/xenstored/socket';
  const host = async (count) => {
    return hostTimes(await machine.run(`/test/bench host ${socket} ${guest.domain} ${count}`, 120_000));
  };
  const least = `/test/bench answer ${DEVICE} ${guest.domain}`;
  const samples = { agent: [], least: [], guest: [], dom0: [] };
  const keep = (name, pairs) => {
    samples[name].push(...pairs.map(([time]) => time));
    samples.dom0.push(...pairs.map(([, read]) => read));
  };
  await host(20);
  // In turns, so that drift hits all alike. While another answers the agent is stopped, and after it let to look
  // through the events that it missed.
  for (let turn = 0; turn < size.turns; turn++) {
    const each = size.versions / size.turns;
    keep('agent', await host(each));
    await guest.run(`kill -STOP $(pidof node)
      ${least} > /run/least & until grep -q ready /run/least; do sleep 0.1; done`);
    keep('least', await host(each));
    await guest.run('kill $(pidof bench); kill -CONT $(pidof node); sleep 2');
    const reads = await guest.run(`BENCH_NODE=data /test/bench trips ${DEVICE} ${each}`);
    samples.guest.push(...reads.split('\n').map(Number));
  }
  const answer = {
    requests: size.versions,
    agent: summarize('agent', samples.agent),
    least: summarize('least', samples.least),
    guest: median(samples.guest),
    dom0: median(samples.dom0),
  };
  await guest.run('kill $(pidof node)');
  const places = {
    dom0: await latency('dom0', machine, '/bench'),
    'the guest': await latency('guest', guest, 'data/bench'),
  };
  reportXen({ places, polling: await polling(guest), answer, images }, { whole: !flags.quick });
} finally {
  await machine[Symbol.asyncDispose]();
}
