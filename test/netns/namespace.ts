import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Described } from '../network/describe.js';
import type { Input } from '../network/inputs.js';
import { type RootKind, debianRoot, run } from '../support/debian-root.js';
import { type Kernel, readKernel } from './kernel.js';

/** What came of a reset. */
export interface Outcome {
  readonly reply: { readonly returncode: string; readonly message: string };
  /** Programs that the agent ran. */
  readonly programs: readonly string[];
  readonly hostname: string;
}

/** What the agent in there is asked. */
export interface Step {
  /** What the host publishes; the network is reset. Without it the agent only starts. */
  readonly input?: Partial<Input>;
  /** It dies, as by kill -9, before its N-th change of a file or its N-th program. */
  readonly dieAt?: { readonly of: 'files' | 'programs'; readonly call: number };
}

interface Agent {
  readonly child: ChildProcess;
  readonly lines: AsyncIterator<string, undefined>;
}

export const ETH0 = '52:54:00:aa:00:01';
export const ETH1 = '52:54:00:aa:00:02';
/** What the other ends of both links have. */
export const NEIGHBOUR = '2001:db8:dead::1';

/**
 * Makes DIRECTORY/merged a system of its own. /sys is read-only, unless a udev is to run: with a writable one systemd
 * waits for it. The checkout is at /guestwire, and node where it is on this machine. Its /etc/initramfs runs before all
 * else.
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
mkdir -p run/network guestwire shared
mount --bind -o ro "$3" guestwire
mount --bind ../shared shared
touch usr/bin/node
mount --bind -o ro "$4" usr/bin/node
[ ! -e etc/initramfs ] || chroot . sh /etc/initramfs
`;

/** Without an init: process 1 does nothing but live. */
const START = `${MOUNTS}
mount --bind /dev dev
exec chroot . sleep infinity
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
  static #made = 0;
  readonly #name = `gw${process.pid}x${Namespace.#made++}`;
  readonly #root: string;
  readonly #directory = mkdtempSync(join(tmpdir(), 'gw-netns-'));
  /** A folder of this machine that is /shared in there. */
  readonly shared = join(this.#directory, 'shared');
  readonly #children: ChildProcess[] = [];
  #init: string | null = null;
  #agent: Agent | null = null;
  #isBooted = false;

  /** Of this machine's release, when none is named. */
  constructor(suite?: string, kind?: RootKind) {
    this.#root = debianRoot(suite, kind);
    mkdirSync(this.shared);
    this.#wire();
  }

  #wire(): void {
    const [own, gateway] = [this.#name, `${this.#name}gw`];
    const ip = (...args: string[]): unknown => run('ip', args);
    ip('netns', 'add', own);
    ip('netns', 'add', gateway);
    for (const [index, mac] of [ETH0, ETH1].entries()) {
      ip('-n', gateway, 'link', 'add', `p${index}`, 'type', 'veth', 'peer', 'name', `eth${index}`, 'netns', own);
      ip('-n', own, 'link', 'set', `eth${index}`, 'address', mac);
      ip('-n', gateway, 'link', 'set', `p${index}`, 'up');
      ip('-n', gateway, 'address', 'add', `${NEIGHBOUR}/64`, 'dev', `p${index}`, 'nodad');
    }
    // Duplicate address detection takes a tenth of its usual second.
    for (const device of ['eth0', 'eth1']) {
      ip('-n', own, 'ntable', 'change', 'name', 'ndisc_cache', 'dev', device, 'retrans', '100');
    }
    ip('-n', own, 'link', 'set', 'lo', 'up');
  }

  /** Where a file of the system is on this machine before it is started. */
  before(path: string): string {
    return join(this.#directory, 'upper', path);
  }

  /** Writes files of the system before it is started. */
  async write(files: Readonly<Record<string, string>>, mode = 0o644): Promise<void> {
    for (const [path, text] of Object.entries(files)) {
      const target = this.before(path);
      await mkdir(dirname(target), { recursive: true });
      await writeFile(target, text, { mode });
    }
  }

  /** Whether the release brings this file. */
  has(path: string): boolean {
    return existsSync(join(this.#root, path));
  }

  /** Makes links, by path, of the system before it is started. */
  async link(targets: Readonly<Record<string, string>>): Promise<void> {
    for (const [path, target] of Object.entries(targets)) {
      const link = this.before(path);
      await mkdir(dirname(link), { recursive: true });
      await symlink(target, link);
    }
  }

  /** Lays what a folder of this machine holds over the system, before it is started. */
  lay(folder: string): void {
    mkdirSync(this.before('/'), { recursive: true });
    run('cp', ['-a', `${folder}/.`, this.before('/')]);
  }

  /** Takes a file away that the release brings, before the system is started. */
  hide(path: string): void {
    mkdirSync(dirname(this.before(path)), { recursive: true });
    // As overlayfs marks it.
    run('mknod', [this.before(path), 'c', '0', '0']);
  }

  /** Keeps systemd from starting `units`. */
  async mask(...units: readonly string[]): Promise<void> {
    await this.link(Object.fromEntries(units.map((unit) => [`/etc/systemd/system/${unit}`, '/dev/null'])));
  }

  /** Boots systemd in it. */
  async boot(): Promise<void> {
    this.#isBooted = true;
    const output = await this.#unshare(BOOT, { SYSFS: 'rw' });
    for (let tries = 0; tries < 300 && existsSync(`/proc/${this.#init ?? ''}/status`); tries += 1) {
      await sleep(200);
      try {
        if (this.inside('systemctl', 'is-system-running').trim() === 'running') return;
      } catch (error) {
        // Some unit that a container cannot have failed; the rest is up.
        if (String(error).includes('degraded')) return;
      }
    }
    throw new Error(`systemd did not start:\n${output()}`);
  }

  /** Makes it without an init of its own. */
  async start(): Promise<void> {
    const output = await this.#unshare(START, {});
    for (let tries = 0; tries < 100; tries += 1) {
      if (run('ps', ['-o', 'args=', '-p', this.#init ?? '']).trim() === 'sleep infinity') return;
      await sleep(50);
    }
    throw new Error(`the system was not made:\n${output()}`);
  }

  /** Whether systemd is its process 1. */
  get isBooted(): boolean {
    return this.#isBooted;
  }

  /** Runs a program in there. */
  inside(program: string, ...args: string[]): string {
    return run('nsenter', [...this.enter(), program, ...args]);
  }

  /** Runs a shell script in there. */
  script(text: string): string {
    return this.inside('sh', '-c', text);
  }

  /** What makes nsenter(1) run a program in there. */
  enter(): readonly string[] {
    return ['-t', this.#init ?? '', '-m', '-p', '-n', '-u', '-i', '-C', '-r', '-w'];
  }

  /** Makes this machine's loopback port `port` one of the system's own, until the end. */
  forward(port: number): void {
    const socket = join(this.shared, `port-${port}`);
    const socat = (program: readonly string[], from: string, to: string): void => {
      const [command, ...args] = [...program, 'socat', from, to];
      this.#children.push(spawn(command, args, { stdio: 'inherit' }));
    };
    const tcp = `${port},bind=127.0.0.1,fork`;
    socat([], `UNIX-LISTEN:${socket},fork`, `TCP:127.0.0.1:${port}`);
    socat(['ip', 'netns', 'exec', this.#name], `TCP-LISTEN:${tcp}`, `UNIX-CONNECT:${socket}`);
  }

  /**
   * Serves DHCP and router advertisements at the other end of eth0, until the end. Clients renew their leases of IPv4
   * after `renewal` seconds, half an hour when absent. Leases are written to /shared/leases.
   */
  async serveAddresses(renewal?: number): Promise<void> {
    const gateway = `${this.#name}gw`;
    // A router: who does not forward says in its neighbour advertisements that it is none, and from systemd 256 on
    // networkd then drops the route by it, whatever its router advertisements say (RFC 4861, 7.2.5).
    run('ip', ['netns', 'exec', gateway, 'sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1']);
    run('ip', ['-n', gateway, 'address', 'add', '192.0.2.1/24', 'dev', 'p0']);
    run('ip', ['-n', gateway, 'address', 'add', '2001:db8:77::1/64', 'dev', 'p0', 'nodad']);
    const options = [
      '--keep-in-foreground',
      '--conf-file=/dev/null',
      '--port=0',
      '--interface=p0',
      '--dhcp-range=192.0.2.100,192.0.2.150,1h',
      '--dhcp-range=2001:db8:77::100,2001:db8:77::1ff,slaac,64,1h',
      ...(renewal === undefined ? [] : [`--dhcp-option=option:T1,${renewal}`]),
      '--enable-ra',
      `--dhcp-leasefile=${join(this.shared, 'leases')}`,
      '--pid-file=',
      '--user=root',
    ];
    this.#children.push(spawn('ip', ['netns', 'exec', gateway, 'dnsmasq', ...options], { stdio: 'inherit' }));
    await sleep(500);
  }

  /** Takes every address and route away, as at a boot. */
  strip(): void {
    for (const name of ['eth0', 'eth1']) {
      run('ip', ['-n', this.#name, 'link', 'set', name, 'down', 'mtu', '1500']);
      run('ip', ['-n', this.#name, 'address', 'flush', 'dev', name]);
    }
  }

  /** Takes the link of eth1 away, or plugs it again. */
  plug(plugged: boolean): void {
    const [from, to] = [`${this.#name}gw`, this.#name];
    const [source, target] = plugged ? [from, to] : [to, from];
    run('ip', ['-n', source, 'link', 'set', 'eth1', 'netns', target]);
  }

  /** Addresses, routes and MTU by interface, as the real `ip` tells them. */
  kernel(): Kernel {
    const ip = (...args: string[]): unknown => JSON.parse(run('ip', ['-n', this.#name, '-j', ...args]) || '[]');
    return readKernel(ip('address'), [ip('-4', 'route'), ip('-6', 'route')].flat());
  }

  /** Waits until the kernel shows `wanted`; gives what it shows at the end. */
  async settles(wanted: Readonly<Record<string, Described>>, limitMs: number): Promise<Kernel> {
    const end = Date.now() + limitMs;
    for (;;) {
      const kernel = this.kernel();
      if (kernel.shows(wanted) || Date.now() > end) return kernel;
      await sleep(100);
    }
  }

  /** Publishes `input` and resets the network. */
  async reset(input: Partial<Input>): Promise<Outcome> {
    const outcome = await this.step({ input });
    if (outcome === null) throw new Error('the agent ended');
    return outcome;
  }

  /** One step of the agent, which is started when there is none; null when it ended instead of answering. */
  async step(step: Step): Promise<Outcome | null> {
    this.#agent ??= this.#startAgent();
    const { child, lines } = this.#agent;
    child.stdin!.write(`${JSON.stringify(step)}\n`);
    const line = await lines.next();
    if (line.done !== true) return JSON.parse(line.value) as Outcome;
    this.#agent = null;
    return null;
  }

  #startAgent(): Agent {
    const program = ['/usr/bin/node', '/guestwire/build/test/netns/reset-network.js'];
    const child = spawn('nsenter', [...this.enter(), ...program], {
      stdio: ['pipe', 'pipe', 'inherit'],
      // Of this machine, and not to be found in there.
      env: { ...process.env, NODE_EXTRA_CA_CERTS: '' },
    });
    // What it was asked while it died is lost.
    child.stdin.on('error', () => undefined);
    this.#children.push(child);
    return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
  }

  /** Runs `script` in namespaces of its own; gives a function that tells what it printed so far. */
  async #unshare(script: string, env: Readonly<Record<string, string>>): Promise<() => string> {
    for (const name of ['upper', 'work', 'merged']) await mkdir(join(this.#directory, name), { recursive: true });
    const unshare = ['unshare', '-m', '-p', '-f', '-u', '-i', '-C', '--kill-child', 'bash', '-c', script, 'bash'];
    const args = [this.#directory, this.#root, resolve('.'), process.execPath];
    const child = spawn('ip', ['netns', 'exec', this.#name, ...unshare, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.#children.push(child);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (output += text));
    }
    // `ip netns exec` becomes unshare, whose one child is process 1 in there.
    for (let tries = 0; this.#init === null; tries += 1) {
      const found = spawnSync('ps', ['-o', 'pid=', '--ppid', String(child.pid)], { encoding: 'utf8' }).stdout.trim();
      if (found !== '') this.#init = found;
      else if (tries > 100 || child.exitCode !== null) throw new Error(`no process 1:\n${output}`);
      else await sleep(20);
    }
    return () => output;
  }

  /** Switches it off and on: every process ends, the devices are new ones, and of its files those in /run are gone. */
  async powerCycle(): Promise<void> {
    const init = this.#init ?? '';
    await this.#end();
    // The one that dies with its parent still holds the file system for a moment.
    while (!/^Z?$/.test(spawnSync('ps', ['-o', 'stat=', '-p', init], { encoding: 'utf8' }).stdout.trim().slice(0, 1))) {
      await sleep(20);
    }
    this.#init = null;
    this.#agent = null;
    this.#wire();
    await (this.#isBooted ? this.boot() : this.start());
  }

  async #end(): Promise<void> {
    for (const child of this.#children.splice(0).reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((done) => child.once('exit', done));
      child.kill('SIGKILL');
      await ended;
    }
    run('ip', ['netns', 'del', this.#name]);
    run('ip', ['netns', 'del', `${this.#name}gw`]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
