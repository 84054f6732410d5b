/** A process that dies, as by kill -9, in the middle of its changes. To be imported before whatever makes them. */
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { FilePlace, FileTree, PrivateDirectory } from '#binding';

const CHANGING = ['open', 'mkdir', 'chmod', 'rename', 'unlink', 'rm', 'rmdir', 'symlink'] as const;

let left = Number.POSITIVE_INFINITY;

/** Lets `calls` calls into node:fs/promises and the addon that change something pass; the next one is the end. */
export function countDown(calls: number): void {
  left = calls;
}

function deadly<T extends object>(target: T, names: readonly (keyof T)[]): void {
  for (const name of names) {
    const original = target[name] as (...args: unknown[]) => unknown;
    Object.assign(target, {
      [name](this: unknown, ...args: unknown[]): unknown {
        if (left-- === 0) process.kill(process.pid, 'SIGKILL');
        return original.apply(this, args);
      },
    });
  }
}

deadly(fs, CHANGING);
syncBuiltinESMExports();
deadly(FilePlace.prototype, [
  ...(['backUp', 'tighten', 'make', 'stage', 'stageBackup', 'put', 'writeInPlace', 'writeBackupInPlace'] as const),
  ...(['unstage', 'remove', 'link'] as const),
]);
deadly(FileTree.prototype, ['removeDirectory']);
deadly(PrivateDirectory.prototype, ['write']);
