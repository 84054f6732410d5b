import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';

const CACHE = resolve('.cache');

/** What the tests run inside: the consumers of our files, and what judges the result. */
const COMMON = ['dbus', 'iproute2', 'login', 'passwd', 'procps', 'systemd-sysv', 'udev'];
const PACKAGES = {
  /** All stacks side by side; a test masks the services that it is not about. */
  full: [
    ...COMMON,
    'busybox-static',
    'ifupdown',
    'isc-dhcp-client',
    // debootstrap does not find it by the virtual name that polkitd, and so NetworkManager, asks for.
    'libpam-systemd',
    'netplan.io',
    'network-manager',
    'systemd-resolved',
  ],
  /** ifupdown-ng takes the place of ifupdown. */
  ng: [...COMMON, 'ifupdown-ng'],
  /** Arch's; bookworm is Debian's last release that has it. */
  netctl: [...COMMON, 'netctl', 'resolvconf'],
};
export type RootKind = keyof typeof PACKAGES;

/** Each with another release whose consumers are tried as well. */
const SUITES: Readonly<Record<string, readonly string[]>> = {
  bookworm: ['bookworm', 'trixie'],
  trixie: ['trixie', 'bookworm'],
  jammy: ['jammy', 'noble'],
  noble: ['noble', 'jammy'],
};

/** The release of this machine, then the other one. */
export function suites(): readonly string[] {
  const own = ownSuite();
  return SUITES[own] ?? [own];
}

function ownSuite(): string {
  const suite = /^VERSION_CODENAME=(\w+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
  if (suite === undefined) throw new Error('/etc/os-release names no VERSION_CODENAME: expected Debian or Ubuntu');
  return suite;
}

/**
 * A minimal root of a release, this machine's when none is named, made once by debootstrap (about a minute, 500 MB) and
 * kept in .cache. It is only ever read: tests lay a directory of their own over it.
 */
export function debianRoot(suite = ownSuite(), kind: RootKind = 'full'): string {
  const root = `${CACHE}/${kind}-${suite}`;
  if (existsSync(root)) return root;
  mkdirSync(CACHE, { recursive: true });
  // Test files run side by side: the first that is ready wins.
  const partial = `${root}.${process.pid}`;
  console.error(`making a root of ${suite} (${kind}) for the tests, once`);
  // Where an older debootstrap does not know a release, all of Debian's are made alike.
  const script = existsSync(`/usr/share/debootstrap/scripts/${suite}`) ? [] : ['sid'];
  const packages = PACKAGES[kind].filter((name) => name !== 'systemd-resolved' || suite !== 'jammy');
  run('debootstrap', [
    '--variant=minbase',
    ...(SUITES['jammy']?.includes(suite) === true ? ['--components=main,universe'] : []),
    `--include=${packages.join(',')}`,
    suite,
    partial,
    mirror(),
    ...script,
  ]);
  if (existsSync(root)) rmSync(partial, { recursive: true });
  else renameSync(partial, root);
  return root;
}

/** The mirror that this machine's apt uses: none is written down here. */
function mirror(): string {
  const suite = ownSuite();
  const lines = run('apt-get', [
    'indextargets',
    '--format',
    '$(REPO_URI)',
    'Created-By: Packages',
    `Codename: ${suite}`,
  ]);
  const found = lines.split('\n').find((line) => line !== '');
  if (found === undefined) throw new Error(`apt knows no package index of ${suite}: run apt-get update`);
  return found;
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
