// Checks that the crates compile for the systems that the agent is to run on next: `node test/targets.js`, part of lint.
// A target whose standard library is not to be had is named, and not checked.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** The addon is for Linux alone, and so is the benchmark. */
const CRATES = ['dh', 'files', 'netlink', 'sealed', 'store', 'stream', 'xenstore'];
/** Target; the program without which its standard library cannot be built, and Debian's package that has it. */
const TARGETS = [
  ['x86_64-unknown-freebsd'],
  ['x86_64-pc-windows-gnu', 'x86_64-w64-mingw32-dlltool', 'binutils-mingw-w64-x86-64'],
];
/** The release of Debian that has the source of current compilers, and the keys that it is signed with. */
const SUITE = 'trixie-backports';
const KEYS = '/usr/share/keyrings/debian-archive-keyring.gpg';

const output = (program, args) => {
  const done = spawnSync(program, args, { encoding: 'utf8' });
  return done.status === 0 ? done.stdout.trim() : '';
};
const version = /^release: (\S+)$/m.exec(output('rustc', ['-vV']))?.[1];
const sysroot = output('rustc', ['--print', 'sysroot']);

/** The source of exactly this compiler's standard library: rustup's, Debian's rust-src, or one that apt-get has. */
function findSource() {
  const kept = resolve(`.cache/rust-src/${version}/library`);
  const places = [join(sysroot, 'lib/rustlib/src/rust/library'), `/usr/src/rustc-${version}/library`, kept];
  const found = places.find((place) => existsSync(join(place, 'std')));
  return found ?? (download(kept) ? kept : undefined);
}

/** Has apt-get download Debian's rust-src, by sources and lists of its own, and unpacks the library. */
function download(target) {
  const mirror = /^https?:\S*\/debian\/?$/m.exec(output('apt-get', ['indextargets', '--format', '$(REPO_URI)']))?.[0];
  if (mirror === undefined || !existsSync(KEYS)) return false;
  mkdirSync('.cache', { recursive: true });
  const directory = mkdtempSync(resolve('.cache/rust-src-'));
  try {
    const [list, lists, cache] = ['sources.list', 'lists', 'cache'].map((name) => join(directory, name));
    writeFileSync(list, `deb [signed-by=${KEYS}] ${mirror} ${SUITE} main\n`);
    mkdirSync(join(lists, 'partial'), { recursive: true });
    mkdirSync(join(cache, 'archives/partial'), { recursive: true });
    const options = { SourceList: list, SourceParts: '/dev/null' };
    const settings = Object.entries(options).map(([name, path]) => `Dir::Etc::${name}=${path}`);
    settings.push(`Dir::State::Lists=${lists}`, `Dir::Cache=${cache}`, 'Acquire::Retries=3');
    const apt = (...args) =>
      spawnSync('apt-get', [...settings.flatMap((setting) => ['-o', setting]), '-qq', ...args], { cwd: directory });
    apt('update');
    apt('download', `rust-src=${version}+*`);
    const unpack = `dpkg-deb --fsys-tarfile rust-src_*.deb | tar -x ./usr/src/rustc-${version}/library`;
    if (spawnSync('sh', ['-c', unpack], { cwd: directory }).status !== 0) return false;
    const library = join(directory, `usr/src/rustc-${version}/library`);
    if (!existsSync(join(library, 'std'))) return false;
    mkdirSync(resolve(target, '..'), { recursive: true });
    renameSync(library, target);
    return true;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/**
 * The directory of Debian's `program`: where it is installed, or else where apt-get's download of its package is
 * unpacked; undefined where it is not to be had.
 */
function findProgram(program, packageName) {
  if (spawnSync(program, ['--version']).error === undefined) return '';
  const kept = resolve('.cache', packageName);
  if (!existsSync(kept)) {
    mkdirSync('.cache', { recursive: true });
    const directory = mkdtempSync(`${kept}-`);
    try {
      spawnSync('apt-get', ['-qq', '-o', 'Acquire::Retries=3', 'download', packageName], { cwd: directory });
      const unpacked = spawnSync('sh', ['-c', 'dpkg-deb -x *.deb root'], { cwd: directory });
      if (unpacked.status !== 0) return undefined;
      renameSync(join(directory, 'root'), kept);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }
  return join(kept, 'usr/bin');
}

function check(target, args, env) {
  const crates = CRATES.flatMap((name) => ['-p', name]);
  return spawnSync('cargo', ['check', '-q', '--lib', ...crates, '--target', target, ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, RUSTFLAGS: '-D warnings', ...env },
  }).status;
}

let source;
for (const [target, builder, builderPackage] of TARGETS) {
  if (existsSync(join(sysroot, 'lib/rustlib', target, 'lib'))) {
    if (check(target, [], {}) !== 0) process.exitCode = 1;
    continue;
  }
  source ??= findSource() ?? '';
  const programs = builder === undefined || source === '' ? '' : findProgram(builder, builderPackage);
  if (source === '' || programs === undefined) {
    const wanting =
      source === ''
        ? `neither rustup's nor Debian's standard library of Rust ${version} is to be had for it`
        : `its standard library is built with ${builder}, of Debian's ${builderPackage}, which is not to be had`;
    console.error(`not checked for ${target}: ${wanting}`);
    continue;
  }
  // What cargo's own tests build a standard library by; a component of rustup's needs only the first.
  const env = { RUSTC_BOOTSTRAP: '1', __CARGO_TESTS_ONLY_SRC_ROOT: source };
  if (programs !== '') env.PATH = `${programs}:${process.env.PATH}`;
  if (check(target, ['-Zbuild-std=std,panic_unwind'], env) !== 0) process.exitCode = 1;
}
