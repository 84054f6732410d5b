/** A process that dies, as by kill -9, in the middle of its changes. To be imported before whatever makes them. */
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

const CHANGING = ['open', 'mkdir', 'chmod', 'rename', 'unlink', 'rm', 'rmdir', 'symlink'] as const;

let left = Number.POSITIVE_INFINITY;

/** Lets `calls` calls into node:fs/promises that change something pass; the next one is the end. */
export function countDown(calls: number): void {
  left = calls;
}

for (const name of CHANGING) {
  const original = fs[name] as (...args: unknown[]) => unknown;
  Object.assign(fs, {
    [name]: (...args: unknown[]) => {
      if (left-- === 0) process.kill(process.pid, 'SIGKILL');
      return original(...args);
    },
  });
}
syncBuiltinESMExports();
