/** A guest whose agent is installed in a directory of versions, with a real xenstored, and a server that it trusts. */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { Agent } from './agent.js';
import { type Cleanup, wholeOrUndone } from './cleanup.js';
import { Dom0, localTools } from './dom0.js';
import { BUILT_VERSION, type Release, type ReleaseOptions, installRelease, makeRelease } from './release.js';
import { Authority, UpdateServer } from './update-server.js';
import { startXenstored } from './xenstored.js';

const DOMAIN = 7;

export interface Installed extends AsyncDisposable {
  readonly directory: string;
  /** The directory of versions. */
  readonly lib: string;
  readonly state: string;
  /** The host may write files below it. */
  readonly files: string;
  readonly dom0: Dom0;
  readonly server: UpdateServer;
  /** Where it listens as `stream`. */
  readonly socket: string;
  /** What `guestwire call` needs to reach the agent. */
  readonly controller: readonly string[];
  /** Serves a release at `/NAME` with its manifest; gives the URL. */
  serve(release: Release, name?: string): string;
  release(version: string, options?: ReleaseOptions): Release;
  /** Starts what `current` leads to, or another program, as a service manager does. */
  start(options?: StartOptions): Promise<Agent>;
  /** Makes the directory of versions what it was at first, and forgets the state. */
  reset(): void;
  /** Lines of TOML below [update]; before `start`. */
  configure(...lines: readonly string[]): void;
  /** What `current` leads to. */
  current(): string;
  versions(): readonly string[];
  /** Asserts that nothing of an update is left anywhere but installed versions. */
  leftovers(): Promise<readonly string[]>;
}

export interface StartOptions {
  readonly program?: string;
  /** One thread for file operations, so that their order is the same in every run. */
  readonly oneThread?: boolean;
  readonly environment?: Readonly<Record<string, string>>;
  /** A line of shell that is run before, in the agent's own mounts and in the test's directory. */
  readonly setup?: string;
}

/**
 * Who the agent is to xenstored: the guest, with its permissions and relative paths, or dom0 on behalf of it; `stream`: it
 * has no XenStore, and listens at a socket.
 */
export type As = 'guest' | 'dom0' | 'stream';

/** Everything is gone at the end of `await using`. */
export async function createInstalled(as: As = 'dom0'): Promise<Installed> {
  return wholeOrUndone((cleanup) => create(as, cleanup));
}

async function create(as: As, cleanup: Cleanup): Promise<Installed> {
  const directory = mkdtempSync(join(tmpdir(), 'gw-up-'));
  cleanup.add(() => {
    rmSync(directory, { recursive: true, force: true });
  });
  const [lib, state, files, ssl] = ['lib', 'state', 'files', 'ssl'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
    string,
  ];
  for (const made of [lib, files, join(ssl, 'certs')]) mkdirSync(made, { recursive: true });
  const authority = new Authority(directory);
  copyFileSync(authority.file, join(ssl, 'certs/ca-certificates.crt'));
  const store = await startXenstored('c', directory);
  cleanup.add(() => store[Symbol.asyncDispose]());
  const dom0 = new Dom0(localTools(store.socket), DOMAIN);
  let own = `endpoint = "${store.socket}"\ndomain = ${DOMAIN}`;
  if (as === 'guest') {
    own = `endpoint = "${await store.addDomain(DOMAIN)}"`;
    // As a toolstack leaves it.
    await dom0.publish({ data: '' });
    await dom0.tool('chmod', '-r', dom0.path('data'), `n${DOMAIN}`);
  }
  const socket = join(directory, 'host');
  const server = await UpdateServer.start(authority.certify());
  cleanup.add(() => server[Symbol.asyncDispose]());
  const config = join(directory, 'guestwire.toml');
  const configure = (...lines: readonly string[]): void => {
    const sections = [
      as === 'stream' ? `[wires]\nuse = ["stream"]\n[stream]\nlisten = "${socket}"` : `[xenstore]\n${own}`,
      `[state]\ndirectory = "${state}"`,
      `[files]\nallow = ["${files}"]`,
      `[log]\nlevel = "debug"`,
      `[update]\ndirectory = "${lib}"\n${lines.join('\n')}`,
    ];
    writeFileSync(config, `${sections.join('\n')}\n`);
  };
  configure();
  const release = (version: string, options?: ReleaseOptions): Release => makeRelease(directory, version, options);
  const first = release(BUILT_VERSION);
  installRelease(lib, first);
  return {
    directory,
    lib,
    state,
    files,
    dom0,
    server,
    socket,
    controller: ['--store', store.socket, '--domain', String(DOMAIN)],
    release,
    configure,
    serve(made, name = `guestwire-${made.version}.tar.gz`) {
      server.files.set(`/${name}`, made.archive);
      server.files.set(`/${name}.manifest`, made.manifest);
      return server.url(`/${name}`);
    },
    reset() {
      for (const path of [lib, state]) rmSync(path, { recursive: true, force: true });
      installRelease(lib, first);
    },
    start({
      program = join(lib, 'current/dist/guestwire.js'),
      oneThread = false,
      environment = {},
      setup = 'true',
    } = {}) {
      // In mounts of its own, where the system trusts the test's authority. Both programs keep the process id.
      const script = `mount --bind "$1" /etc/ssl && cd "$2" && ${setup} && shift 2 && exec "$@"`;
      // A relative path, which has to lead to the same file in the trial.
      const agent = [process.execPath, program, 'run', '--config', basename(config)];
      return Agent.of('unshare', ['--mount', 'sh', '-c', script, 'sh', ssl, directory, ...agent], {
        ...environment,
        ...(oneThread ? { UV_THREADPOOL_SIZE: '1' } : {}),
      });
    },
    current: () => basename(readlinkSync(join(lib, 'current'))),
    versions: () => readdirSync(join(lib, 'versions')).sort(),
    async leftovers() {
      const left = ['update.json', 'update/archive', 'update/trial'].filter((name) => existsSync(join(state, name)));
      const staged = [...readdirSync(lib), ...readdirSync(join(lib, 'versions'))].filter((name) =>
        name.startsWith('.'),
      );
      return [...left, ...staged, ...(await dom0.list('data/guestwire'))];
    },
    [Symbol.asyncDispose]: () => cleanup[Symbol.asyncDispose](),
  };
}
