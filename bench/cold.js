// node bench/cold.js [REQUESTS]: what JavaScript takes from a request's value to its answer, out of empty caches, in the
// agent's own transport, codec and dispatcher and in a program that only parses. Needs `npm run build` and nothing of Xen.
// A machine whose other guests leave no two runs alike is alike in this: nothing is in its caches.
import { pino } from 'pino';
import { versionCommands } from '../build/ts/commands/version.js';
import { codec } from '../build/ts/communication/xenstore/nova/codec.js';
import { NovaTransport } from '../build/ts/communication/xenstore/nova/transport.js';
import { Dispatcher } from '../build/ts/daemon/dispatcher.js';
import { Registry } from '../build/ts/daemon/registry.js';
import { SharedStoreLine } from '../build/ts/host/shared/store-line.js';
import { setTimeout as sleep } from 'node:timers/promises';
import { summarize } from './report.js';

const requests = Number(process.argv[2] ?? 1000);
if (!Number.isInteger(requests) || requests < 100) {
  throw new Error(`wanted a whole number of requests, 100 or more, got ${process.argv[2]}`);
}

/** More than any processor's caches hold. */
const memory = new Uint8Array(64 << 20);
function emptyCaches() {
  for (let at = 0; at < memory.length; at += 64) memory[at] += 1;
}

let tell;
let answered = 0n;
const store = {
  write() {
    answered = process.hrtime.bigint();
    return Promise.resolve();
  },
  remove: () => Promise.resolve(),
  list: () => Promise.resolve([]),
  async watchValues(_, onEvent) {
    tell = onEvent;
  },
  [Symbol.dispose]() {},
};
const log = pino(pino.destination('/dev/null'));
const line = new SharedStoreLine({ open: () => store, log });
const transport = await NovaTransport.open({
  line,
  log,
  answerLifetime: 600_000,
  scanInterval: 60_000,
});
const registry = new Registry({ allow: ['*'], deny: [] });
registry.add(versionCommands(), { kind: 'native', where: 'version' });
const journal = { earlier: () => null };
const hooks = { before: () => null };
const stop = new AbortController();
const serving = new Dispatcher({ commands: registry, journal, log, hooks }).serve(
  transport,
  codec,
  stop.signal,
  'xenstore',
);

const ways = {
  agent: tell,
  least(id, value) {
    if (JSON.parse(value).name === 'version') void store.write(`data/guest/${id}`, '{"returncode":"0","message":"0"}');
  },
};
const times = { agent: [], least: [] };
for (let round = 0; round < requests; round++) {
  for (const [name, way] of Object.entries(ways)) {
    await sleep(1);
    // One piece, as the addon makes it: V8 would put the pieces of a template together only when they are parsed.
    const value = Buffer.from(`{"name": "version", "value": "${round % 10}"}`).toString();
    const id = String(round).padStart(36, '0');
    emptyCaches();
    const started = process.hrtime.bigint();
    way(id, value);
    // Once V8 has seen the way as often as a guest ever will, and compiled what it compiles by then.
    if (round >= requests / 4) times[name].push(Number(answered - started) / 1e3);
  }
}
stop.abort();
await serving;
await transport[Symbol.asyncDispose]();

console.log('| from empty caches | min µs | median µs | 99 % µs |\n| --- | --- | --- | --- |');
for (const [name, values] of Object.entries(times)) {
  const { min, p50, p99 } = summarize(name, values);
  console.log(`| ${name} | ${[min, p50, p99].map((value) => value.toFixed(1)).join(' | ')} |`);
}
const [agent, least] = Object.entries(times).map(([name, values]) => summarize(name, values).p50);
console.log(`agent to least: ${(agent / least).toFixed(2)}×`);
