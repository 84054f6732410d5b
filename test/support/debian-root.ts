import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';

const CACHE = resolve('.cache');

/** What the tests run inside: the consumers of our files, and what judges the result. */
const PACKAGES = ['dbus', 'ifupdown', 'iproute2', 'login', 'netplan.io', 'passwd', 'procps', 'systemd-sysv', 'udev'];

/**
 * A minimal root of the release that this machine runs, made once by debootstrap (about a minute, 400 MB) and kept in
 * .cache. It is only ever read: tests lay a directory of their own over it.
 */
export function debianRoot(): string {
  const suite = /^VERSION_CODENAME=(\w+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
  if (suite === undefined) throw new Error('/etc/os-release names no VERSION_CODENAME: expected Debian or Ubuntu');
  const root = `${CACHE}/root-${suite}`;
  if (existsSync(root)) return root;
  // The mirror that this machine's apt uses: none is written down here.
  const mirrors = run('apt-get', [
    'indextargets',
    '--format',
    '$(REPO_URI)',
    'Created-By: Packages',
    `Codename: ${suite}`,
  ]);
  const mirror = mirrors.split('\n').find((line) => line !== '');
  if (mirror === undefined) throw new Error(`apt knows no package index of ${suite}: run apt-get update`);
  mkdirSync(CACHE, { recursive: true });
  const partial = `${root}.partial`;
  rmSync(partial, { recursive: true, force: true });
  console.error(`making a Debian root of ${suite} for the tests, once`);
  run('debootstrap', ['--variant=minbase', `--include=${PACKAGES.join(',')}`, suite, partial, mirror]);
  renameSync(partial, root);
  return root;
}

/** Runs a program to its end and gives its output; throws with what it printed when it fails. */
export function run(program: string, args: readonly string[], input?: string): string {
  const done = spawnSync(program, args, { encoding: 'utf8', ...(input === undefined ? {} : { input }) });
  if (done.error !== undefined) throw done.error;
  if (done.status !== 0) {
    throw new Error(`${program} ${args.join(' ')} ended with ${String(done.status)}:\n${done.stdout}${done.stderr}`);
  }
  return done.stdout;
}
