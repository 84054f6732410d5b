import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { fetchSources, run } from './debian-root.js';

const CACHE = resolve('.cache/musl-busybox');
/** What Alpine's busybox has of accounts, with musl's own crypt(3) and its readers of passwd and shadow. */
const SETTINGS: Readonly<Record<string, string>> = {
  STATIC: 'y',
  LONG_OPTS: 'y',
  FEATURE_SHADOWPASSWDS: 'y',
  FEATURE_DEFAULT_PASSWD_ALGO: '"sha512"',
  FEATURE_SUID: 'y',
  CHPASSWD: 'y',
  PASSWD: 'y',
  SU: 'y',
  ASH: 'y',
  SH_IS_ASH: 'y',
  ASH_ECHO: 'y',
  EXTRA_LDLIBS: '"crypt"',
};

/**
 * A busybox of Debian's source, linked with musl, made once (about 40 seconds) and kept in .cache: `su`, `chpasswd`,
 * `passwd` and `sh`. Debian builds musl without crypt(3), so that comes from musl's source.
 */
export function muslBusybox(): string {
  const program = join(CACHE, 'busybox');
  if (existsSync(program)) return program;
  console.error('building busybox with musl for the tests, once');
  const directory = `${CACHE}.${process.pid}`;
  mkdirSync(directory, { recursive: true });
  try {
    fetchSources(directory, 'busybox', 'musl');
    const busybox = unpack(directory, 'busybox');
    const headers = kernelHeaders(directory);
    const libraries = buildCrypt(unpack(directory, 'musl'), headers, directory);
    configure(busybox);
    make(
      busybox,
      '-j2',
      'CC=musl-gcc',
      `EXTRA_CFLAGS=-idirafter ${headers}`,
      `EXTRA_LDFLAGS=-L${libraries}`,
      'busybox',
    );
    mkdirSync(CACHE, { recursive: true });
    renameSync(join(busybox, 'busybox'), program);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return program;
}

function unpack(directory: string, name: string): string {
  const archive = readdirSync(directory).find((file) =>
    new RegExp(`^${name}_.*[.]orig[.]tar[.](gz|bz2|xz)$`).test(file),
  );
  if (archive === undefined) throw new Error(`apt-get source brought no archive of ${name}`);
  const target = join(directory, name);
  mkdirSync(target);
  run('tar', ['-xf', join(directory, archive), '-C', target, '--strip-components=1']);
  return target;
}

/** The kernel's headers without those of glibc beside them. */
function kernelHeaders(directory: string): string {
  const headers = join(directory, 'headers');
  mkdirSync(headers);
  const architecture = run('gcc', ['-print-multiarch']).trim();
  symlinkSync('/usr/include/linux', join(headers, 'linux'));
  symlinkSync('/usr/include/asm-generic', join(headers, 'asm-generic'));
  symlinkSync(`/usr/include/${architecture}/asm`, join(headers, 'asm'));
  return headers;
}

function buildCrypt(musl: string, headers: string, directory: string): string {
  symlinkSync(join(musl, 'include/crypt.h'), join(headers, 'crypt.h'));
  const sources = join(musl, 'src/crypt');
  const objects = readdirSync(sources)
    .filter((name) => name.endsWith('.c'))
    .map((name) => {
      const object = join(directory, name.replace(/c$/, 'o'));
      const includes = ['src/include', 'include', 'src/internal'].map((folder) => `-I${join(musl, folder)}`);
      run('musl-gcc', ['-O2', ...includes, '-c', join(sources, name), '-o', object]);
      return object;
    });
  run('ar', ['rcs', join(directory, 'libcrypt.a'), ...objects]);
  return directory;
}

function configure(busybox: string): void {
  make(busybox, 'allnoconfig');
  const path = join(busybox, '.config');
  const kept = readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => !Object.keys(SETTINGS).some((key) => new RegExp(`\\bCONFIG_${key}\\b`).test(line)));
  const settings = Object.entries(SETTINGS).map(([key, value]) => `CONFIG_${key}=${value}`);
  writeFileSync(path, [...kept, ...settings, ''].join('\n'));
  make(busybox, 'oldconfig');
}

function make(directory: string, ...args: readonly string[]): void {
  // Empty lines answer the questions about what the settings leave open.
  const done = spawnSync('make', ['-s', ...args], { cwd: directory, encoding: 'utf8', input: '\n'.repeat(1000) });
  if (done.status !== 0) throw new Error(`make ${args.join(' ')} ended with ${String(done.status)}:\n${done.stderr}`);
}
