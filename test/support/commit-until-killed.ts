import { countDown } from './die.js';

/**
 * A process that dies, as by kill -9, before its N-th change of a file; prints `finished` when the change needs fewer.
 */
const [root = '', state = '', calls = ''] = process.argv.slice(2);
countDown(Number(calls));

const { createFiles } = await import('../../ts/host/unix/files.js');
const commit = await createFiles(root, state).commit([
  { type: 'write', path: '/etc/a', content: 'new', mode: 0o600 },
  { type: 'write', path: '/etc/d/c', content: 'new', mode: 0o600 },
  { type: 'write', path: '/etc/b', content: 'new', mode: 0o600 },
]);
await commit.confirm();
console.log('finished');
