import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

/**
 * A process that dies, as by kill -9, before its N-th call into node:fs/promises that changes something; prints
 * `finished` when the change needs fewer.
 */
const [root = '', state = '', calls = ''] = process.argv.slice(2);

let left = Number(calls);
const countDown = (): void => {
  if (left-- === 0) process.kill(process.pid, 'SIGKILL');
};

const changing = ['open', 'mkdir', 'chmod', 'rename', 'unlink', 'rm', 'rmdir', 'symlink'] as const;
for (const name of changing) {
  const original = fs[name] as (...args: unknown[]) => unknown;
  Object.assign(fs, {
    [name]: (...args: unknown[]) => {
      countDown();
      return original(...args);
    },
  });
}
syncBuiltinESMExports();

const { createFiles } = await import('../../ts/host/files.js');
const commit = await createFiles(root, state).commit([
  { type: 'write', path: '/etc/a', content: 'new', mode: 0o600 },
  { type: 'write', path: '/etc/d/c', content: 'new', mode: 0o600 },
  { type: 'write', path: '/etc/b', content: 'new', mode: 0o600 },
]);
await commit.confirm();
console.log('finished');
