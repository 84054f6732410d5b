/** Systems that the agent works on as on its own: a root with the programs that set passwords and those that take them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Argv, type Host, type RunOptions } from '../../ts/api/index.js';
import { createAccounts, createPrimitives } from '../../ts/host/unix/accounts.js';
import { createProcesses } from '../../ts/host/unix/processes.js';
import { type Cleanup, wholeOrUndone } from '../support/cleanup.js';
import { debianRoot, run } from '../support/debian-root.js';
import { muslBusybox } from '../support/musl-busybox.js';
import { createScratchHost } from '../support/scratch-host.js';

const NOBODY = 65534;

/** A program's end. */
export interface Ended {
  readonly code: number | null;
  readonly output: string;
}

export interface Running {
  readonly ended: Promise<Ended>;
  kill(): void;
}

/**
 * A root of its own, gone at the end of `await using`. Programs run inside of it by chroot(8); the agent's code runs
 * outside, because node and the addon want a newer C library than some of them have.
 */
export class LoginSystem implements AsyncDisposable {
  readonly #directory: string;
  readonly root: string;
  /** What the agent ran in there. */
  readonly programs: Argv[] = [];

  private constructor(directory: string) {
    this.#directory = directory;
    this.root = join(directory, 'root');
  }

  static async #create(cleanup: Cleanup): Promise<LoginSystem> {
    const directory = await mkdtemp(join(tmpdir(), 'gw-logins-'));
    cleanup.add(() => rm(directory, { recursive: true, force: true }));
    // For su, which is nobody's.
    await chmod(directory, 0o755);
    return new LoginSystem(directory);
  }

  static async debian(suite: string): Promise<LoginSystem> {
    return wholeOrUndone((cleanup) => LoginSystem.#debian(suite, cleanup));
  }

  static async #debian(suite: string, cleanup: Cleanup): Promise<LoginSystem> {
    const system = await LoginSystem.#create(cleanup);
    const source = debianRoot(suite, 'logins');
    // Without what is large and not needed: a copy is made for every test.
    const left = ['./usr/share', './usr/lib/*/gconv', './usr/lib/*/perl-base', './var/cache', './var/lib'];
    await mkdir(system.root);
    const pack = `tar -C "$1" ${left.map((path) => `--exclude='${path}'`).join(' ')} -cf - . | tar -C "$2" -xpf -`;
    run('bash', ['-o', 'pipefail', '-c', pack, 'bash', source, system.root]);
    return system;
  }

  /** As Alpine: musl and busybox, and no other program. */
  static async musl(): Promise<LoginSystem> {
    return wholeOrUndone((cleanup) => LoginSystem.#musl(cleanup));
  }

  static async #musl(cleanup: Cleanup): Promise<LoginSystem> {
    const system = await LoginSystem.#create(cleanup);
    await mkdir(join(system.root, 'bin'), { recursive: true });
    await mkdir(join(system.root, 'usr/sbin'), { recursive: true });
    const busybox = join(system.root, 'bin/busybox');
    await copyFile(muslBusybox(), busybox);
    await chmod(busybox, 0o4755);
    for (const name of ['sh', 'su', 'passwd']) await symlink('busybox', join(system.root, 'bin', name));
    await symlink('../../bin/busybox', join(system.root, 'usr/sbin/chpasswd'));
    await system.write('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n');
    await system.write('etc/group', 'root:x:0:\nshadow:x:42:\n');
    await system.write('etc/shadow', 'root:*:19000:0:99999:7:::\nnobody:!:19000::::::\n', 0o640);
    return system;
  }

  /** The agent's view of it: a live system. */
  host(lockTimeout?: number): Host {
    const scratch = { root: this.root, state: join(this.#directory, 'state') };
    const processes = createProcesses();
    const machine = {
      ...createScratchHost(scratch),
      live: true,
      processes: {
        run: (argv: Argv, options?: RunOptions) => {
          this.programs.push(argv);
          return processes.run(['chroot', this.root, ...argv], options);
        },
      },
    };
    return { ...machine, accounts: createAccounts(machine, createPrimitives(this.root, lockTimeout)) };
  }

  async read(path: string): Promise<string> {
    return readFile(join(this.root, path), 'latin1');
  }

  async write(path: string, content: string, mode = 0o644): Promise<void> {
    const real = join(this.root, path);
    await mkdir(dirname(real), { recursive: true });
    await writeFile(real, content, 'latin1');
    await chmod(real, mode);
  }

  async remove(path: string): Promise<void> {
    await rm(join(this.root, path));
  }

  async list(path: string): Promise<readonly string[]> {
    return (await readdir(join(this.root, path))).sort();
  }

  /** Runs a program in there to its end. */
  async run(argv: Argv, input = ''): Promise<Ended> {
    return this.start(argv, input).ended;
  }

  /** Starts a program in there. */
  start(argv: Argv, input = ''): Running {
    return this.#spawn([this.root, ...argv], input);
  }

  /** Whether su lets an unprivileged user become `user` with `password`. */
  async accepts(user: string, password: string): Promise<boolean> {
    const su = [`--userspec=${NOBODY}:${NOBODY}`, this.root, '/bin/su', user, '-c', 'echo let in'];
    const { code, output } = await this.#spawn(su, `${password}\n`).ended;
    if (code === 0 && output.includes('let in')) return true;
    // Refused by PAM, by su itself, or by what is in the shell's place.
    if (/Authentication failure|incorrect password|has expired|account is currently not available/.test(output))
      return false;
    if (/[Nn]o such file|not found|[Pp]ermission denied|can't execute/.test(output)) return false;
    if (/^(Password: )?$/.test(output.trimStart())) return false;
    throw new Error(`su ${user} ended with ${String(code)}: ${output}`);
  }

  #spawn(args: readonly string[], input: string): Running {
    const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };
    const child = spawn('/usr/sbin/chroot', args, { stdio: 'pipe', env });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (output += text));
    }
    child.stdin.on('error', () => undefined).end(input);
    const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, output }));
    return {
      ended,
      kill() {
        // chroot(8) has become the program.
        child.kill('SIGKILL');
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }
}
