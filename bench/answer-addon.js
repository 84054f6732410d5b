// The least that can answer in JavaScript: answer-addon.js SOCKET DOMAIN
// Parses each request, writes the same answer to all, and removes it, with nothing of the agent but its addon.
import { XenStore } from '#binding';

const [, , endpoint, domain] = process.argv;
const data = `/local/domain/${domain}/data`;
const answer = '{"returncode":"0","message":"0"}';
const store = XenStore.open({ endpoint, poll: 'loop' }, (reason) => {
  throw new Error(reason);
});
// Held until the process ends: a collected watch would be a closed one.
globalThis.watch = await store.watchValues(`${data}/host`, (id, value) => {
  if (!value || JSON.parse(value).name !== 'version') return;
  void store.write(`${data}/guest/${id}`, answer);
  void store.remove(`${data}/host/${id}`);
});
console.log('ready');
