import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { debianRoot, run } from '../support/debian-root.js';

/** What the host publishes. */
export interface Step {
  readonly records: Readonly<Record<string, unknown>>;
  readonly hostname?: string;
}

/** What came of it. `addresses` and `routes` are what `ip -j` prints, as far as the tests look at it. */
export interface Outcome {
  readonly reply: { readonly returncode: string; readonly message: string };
  /** Programs that the agent ran. */
  readonly programs: readonly string[];
  readonly hostname: string;
  readonly addresses: readonly {
    readonly ifname: string;
    readonly addr_info: readonly { readonly local: string; readonly prefixlen: number; readonly scope: string }[];
  }[];
  readonly routes: readonly {
    readonly dst: string;
    readonly gateway?: string;
    readonly dev: string;
    readonly metric?: number;
    readonly protocol?: string;
  }[];
}

export const ETH0 = '52:54:00:aa:00:01';
export const ETH1 = '52:54:00:aa:00:02';
/** What the other end of eth0's link has. */
export const NEIGHBOUR = '2001:db8:dead::1';

/**
 * Makes DIRECTORY/merged a system of its own. /sys is read-only, unless a udev is to run: with a writable one systemd
 * waits for it. The checkout is at /guestwire, and node where it is on this machine.
 */
const MOUNTS = `
set -e
cd "$1"
mount --make-rprivate /
mount -t overlay -o lowerdir="$2",upperdir=upper,workdir=work overlay merged
cd merged
mount -t proc proc proc
mount -t sysfs -o "\${SYSFS:-ro}" sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p run/network guestwire
mount --bind -o ro "$3" guestwire
touch usr/bin/node
mount --bind -o ro "$4" usr/bin/node
`;

const CHROOT = `${MOUNTS}
mount --bind /dev dev
exec chroot . "\${@:5}"
`;

/** systemd as process 1, as in a container: it makes its own /dev and control groups. */
const BOOT = `${MOUNTS}
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
  IFS=: read -r name major minor <<< "$node"
  mknod -m 666 "dev/$name" c "$major" "$minor"
done
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mkdir -p mnt
pivot_root . mnt
umount -l /mnt
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=lxc /sbin/init --log-target=console --show-status=false
`;

/** A network namespace with eth0 and eth1, whose other ends are in a second one, and a Debian system to use it. */
export class Namespace implements AsyncDisposable {
  readonly #name = `gw${process.pid}`;
  readonly #directory = mkdtempSync(join(tmpdir(), 'guestwire-netns-'));
  readonly #children: ChildProcess[] = [];
  #init: string | null = null;
  #ask: ((step: Step) => Promise<Outcome>) | null = null;

  constructor() {
    const [own, gateway] = [this.#name, `${this.#name}gw`];
    const ip = (...args: string[]): unknown => run('ip', args);
    ip('netns', 'add', own);
    ip('netns', 'add', gateway);
    for (const [index, mac] of [ETH0, ETH1].entries()) {
      ip('-n', gateway, 'link', 'add', `p${index}`, 'type', 'veth', 'peer', 'name', `eth${index}`, 'netns', own);
      ip('-n', own, 'link', 'set', `eth${index}`, 'address', mac);
      ip('-n', gateway, 'link', 'set', `p${index}`, 'up');
    }
    ip('-n', gateway, 'address', 'add', `${NEIGHBOUR}/64`, 'dev', 'p0', 'nodad');
    ip('-n', own, 'link', 'set', 'lo', 'up');
  }

  /** Writes files of the system before it is started. */
  async write(files: Readonly<Record<string, string>>, mode = 0o644): Promise<void> {
    for (const [path, text] of Object.entries(files)) {
      const target = join(this.#directory, 'upper', path);
      await mkdir(dirname(target), { recursive: true });
      await writeFile(target, text, { mode });
    }
  }

  /** Boots systemd in it; the steps that follow run there. */
  async boot(): Promise<void> {
    const child = await this.#spawn(['-i', '-C'], BOOT, [], { SYSFS: 'rw' });
    let console = '';
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (console += text));
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (console += text));
    for (let tries = 0; ; tries += 1) {
      await sleep(200);
      if (child.exitCode !== null || tries > 300) throw new Error(`systemd did not start:\n${console}`);
      try {
        // `ip netns exec` becomes unshare, whose one child is process 1 in there.
        this.#init ??= run('ps', ['-o', 'pid=', '--ppid', String(child.pid)]).trim();
        if (run('nsenter', [...this.#enter(), 'systemctl', 'is-system-running']).trim() === 'running') return;
      } catch (error) {
        // Some unit that a container cannot have failed; the rest is up.
        if (String(error).includes('degraded')) return;
      }
    }
  }

  #enter(): readonly string[] {
    return ['-t', this.#init ?? '', '-m', '-p', '-n', '-u', '-i', '-C'];
  }

  /** Runs a program in the booted system. */
  inside(program: string, ...args: string[]): string {
    return run('nsenter', [...this.#enter(), program, ...args]);
  }

  /** Publishes `step` and resets the network. */
  async reset(step: Step): Promise<Outcome> {
    this.#ask ??= this.#converse(await this.#agent());
    return this.#ask(step);
  }

  async #agent(): Promise<ChildProcess> {
    const program = ['/usr/bin/node', '/guestwire/build/test/netns/reset-network.js'];
    if (this.#init === null) return this.#spawn([], CHROOT, program, {});
    const child = spawn('nsenter', [...this.#enter(), ...program], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#children.push(child);
    return child;
  }

  #converse(child: ChildProcess): (step: Step) => Promise<Outcome> {
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    return async (step) => {
      child.stdin!.write(`${JSON.stringify(step)}\n`);
      const line = await lines.next();
      if (line.done === true) throw new Error('the agent ended');
      return JSON.parse(line.value) as Outcome;
    };
  }

  async #spawn(
    flags: readonly string[],
    script: string,
    command: readonly string[],
    env: Readonly<Record<string, string>>,
  ): Promise<ChildProcess> {
    for (const name of ['upper', 'work', 'merged']) await mkdir(join(this.#directory, name), { recursive: true });
    const unshare = ['unshare', '-m', '-p', '-f', '-u', ...flags, '--kill-child', 'bash', '-c', script, 'bash'];
    const args = [this.#directory, debianRoot(), resolve('.'), process.execPath, ...command];
    const child = spawn('ip', ['netns', 'exec', this.#name, ...unshare, ...args], {
      stdio: ['pipe', 'pipe', command.length === 0 ? 'pipe' : 'inherit'],
      env: { ...process.env, ...env },
    });
    this.#children.push(child);
    return child;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((done) => child.once('exit', done));
      child.kill('SIGKILL');
      await ended;
    }
    run('ip', ['netns', 'del', this.#name]);
    run('ip', ['netns', 'del', `${this.#name}gw`]);
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
