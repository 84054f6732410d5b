// Watches $BENCH_NODE, or /bench, with the addon and prints when each callback was entered: watch-addon.js SOCKET COUNT loop|thread
import { writeSync } from 'node:fs';
import { XenStore } from '#binding';

const [, , endpoint, wanted, poll] = process.argv;
const count = Number(wanted);
const events = [];
let registered = false;
const store = XenStore.open({ endpoint, poll }, (reason) => {
  if (events.length < count) throw new Error(reason);
});
const watch = await store.watch(process.env.BENCH_NODE ?? '/bench', (path) => {
  const time = process.hrtime.bigint();
  if (!registered) {
    registered = true;
    writeSync(1, 'ready\n');
    return;
  }
  events.push(`${path} ${time}\n`);
  if (events.length >= count) {
    process.stdout.write(events.join(''), () => process.exit(0));
  }
});
// Held until the process ends: a collected watch would be a closed one.
globalThis.watch = watch;
