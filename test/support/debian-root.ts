import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
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
  /** The two makes of resolvconf, each beside ifupdown and networkd, without systemd-resolved. */
  resolvconf: [...COMMON, 'ifupdown', 'resolvconf'],
  openresolv: [...COMMON, 'ifupdown', 'openresolv'],
  /** What logs in and sets passwords, and nothing besides. */
  logins: ['login', 'passwd'],
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

/** Releases in which logins are tried: on Debian its last three, whose shadow-utils and PAM are quite unlike. */
export function loginSuites(): readonly string[] {
  return SUITES['trixie']?.includes(ownSuite()) === true ? ['bullseye', 'bookworm', 'trixie'] : suites();
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
  console.error(`making a root of ${suite} (${kind}) for the tests, once`);
  // Where an older debootstrap does not know a release, all of Debian's are made alike.
  const script = existsSync(`/usr/share/debootstrap/scripts/${suite}`) ? [] : ['sid'];
  const packages = PACKAGES[kind].filter((name) => name !== 'systemd-resolved' || suite !== 'jammy');
  // Test files run side by side: who comes second waits for the first, and finds it made.
  const once = 'root=$0 partial=$1; shift; [ -e "$root" ] || { debootstrap "$@" && mv "$partial" "$root"; }';
  const partial = `${root}.${process.pid}`;
  run('flock', [
    `${root}.lock`,
    ...['sh', '-c', once, root, partial],
    '--variant=minbase',
    ...(SUITES['jammy']?.includes(suite) === true ? ['--components=main,universe'] : []),
    `--include=${packages.join(',')}`,
    suite,
    partial,
    mirror(),
    ...script,
  ]);
  return root;
}

/** Downloads the source of Debian packages of this machine's release into `directory`, past the machine's own lists. */
export function fetchSources(directory: string, ...packages: readonly string[]): void {
  aptGet(directory, 'deb-src', ownSuite(), ['source', '--download-only', ...packages]);
}

/** With the folders of /usr where they are since they were merged. Test files run side by side: another may have made it. */
const UNPACK = `
cd "$0" && mkdir -p root/usr
for file in *.deb; do dpkg-deb -x "$file" root || exit; done
for name in bin sbin lib; do
  [ ! -d root/$name ] || { cp -a root/$name root/usr && rm -r root/$name; } || exit
done
mv -T root "$1" || [ -e "$1" ]
rm -r "$0"
`;

/** A folder with what packages of a release hold, without what they depend on; made once and kept in .cache. */
export function unpacked(suite: string, ...packages: readonly string[]): string {
  const folder = `${CACHE}/${packages.join('+')}-${suite}`;
  if (existsSync(folder)) return folder;
  const partial = `${folder}.${process.pid}`;
  aptGet(partial, 'deb', suite, ['download', ...packages]);
  run('sh', ['-c', UNPACK, partial, folder]);
  return folder;
}

/** apt-get in `directory`, with lists and settings of its own. */
function aptGet(directory: string, type: 'deb' | 'deb-src', suite: string, args: readonly string[]): void {
  for (const name of ['lists/partial', 'archives/partial']) mkdirSync(`${directory}/${name}`, { recursive: true });
  const components = SUITES['jammy']?.includes(suite) === true ? 'main universe' : 'main';
  writeFileSync(`${directory}/sources.list`, `${type} ${mirror()} ${suite} ${components}\n`);
  const settings = {
    'APT::Sandbox::User': 'root',
    'Acquire::Retries': '5',
    'Dir::Etc::SourceList': `${directory}/sources.list`,
    'Dir::Etc::SourceParts': '/dev/null',
    'Dir::State::Lists': `${directory}/lists`,
    'Dir::Cache': directory,
  };
  const options = Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
  run('apt-get', [...options, '-qq', 'update']);
  const { status, stderr } = spawnSync('apt-get', [...options, '-qq', ...args], { cwd: directory, encoding: 'utf8' });
  if (status !== 0) throw new Error(`apt-get ${args.join(' ')} ended with ${String(status)}:\n${stderr}`);
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
