/** Images for the emulated machine: Debian's kernels, hypervisor and Xen tools, and this project's own build. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { xenPrograms } from '../xenstored.js';

const SOURCES = resolve('test/support/xen');
const CACHE = resolve('.cache/xen');
/** Of this process alone, because test files run side by side. */
const MADE = join(CACHE, `made-${process.pid}`);
const AGENT = '/usr/lib/guestwire';
/** In the order that they have to be loaded in. */
const DOM0_MODULES = ['xen-evtchn', 'xen-privcmd', 'xenfs', 'xen-gntdev', 'xen-gntalloc', 'xen-netback'];

interface GuestKind {
  readonly name: string;
  readonly init: string;
  /** In the order that they have to be loaded in. */
  readonly modules: readonly string[];
  /** What the test runs in the guest, beside what busybox has. */
  readonly programs: readonly string[];
}

const XEN_GUEST: GuestKind = {
  name: 'guest',
  init: join(SOURCES, 'guest-init.sh'),
  modules: ['xen-netfront'],
  programs: [],
};
const KVM_GUEST: GuestKind = {
  name: 'kvm-guest',
  init: resolve('test/support/kvm/guest-init.sh'),
  modules: [
    ...['virtio_ring', 'virtio', 'virtio_pci_legacy_dev', 'virtio_pci_modern_dev', 'virtio_pci', 'virtio_console'],
    ...['failover', 'net_failover', 'virtio_net'],
    ...['vsock', 'vmw_vsock_virtio_transport_common', 'vsock_loopback'],
  ],
  programs: ['/usr/bin/socat'],
};

/** What boots this machine's own files (test/support/vm): no agent and no files of its own. */
const OWN_MACHINE = {
  name: 'own-machine',
  init: resolve('test/support/vm/init.sh'),
  /** In the order that they have to be loaded in; nothing in there finds one by itself. */
  modules: [
    ...['virtio_ring', 'virtio', 'virtio_pci_legacy_dev', 'virtio_pci_modern_dev', 'virtio_pci'],
    ...['netfs', 'fscache', '9pnet', '9pnet_virtio', '9p', 'overlay', 'autofs4'],
    ...['veth', 'dummy', 'macvlan', 'llc', 'stp', 'bridge', 'garp', 'mrp', '8021q', 'tls', 'bonding', 'vrf'],
    ...['team', 'team_mode_activebackup', 'team_mode_roundrobin'],
  ],
} as const;

export interface KvmImages {
  readonly kernel: string;
  readonly initrd: string;
}

export interface Images {
  /** The hypervisor, as QEMU's -kernel wants it. */
  readonly xen: string;
  /** dom0's kernel. */
  readonly kernel: string;
  /** dom0's initramfs, with the guest's kernel and image in /root. */
  readonly initrd: string;
}

/** Where a guest's image is in dom0. */
export const GUEST = { kernel: '/root/vmlinuz', image: '/root/guest.img', tools: '/root/tools.img' } as const;

export const GUEST_MAC = '00:16:3e:01:02:03';

interface Kernel {
  readonly image: string;
  module(name: string): string;
}

/** Builds everything anew but for what was downloaded. `report` gets a line for each image, with its size. */
export function buildImages(report: (line: string) => void): Images {
  makeRoom();
  const hypervisor = download('xen-hypervisor', () => `xen-hypervisor-${xenVersion()}-amd64`);
  const dom0 = kernelOf(download('dom0', () => newestKernel('linux-image-amd64')));
  const guest = kernelOf(download('guest', () => newestKernel('linux-image-cloud-amd64')));
  const xen = join(MADE, 'xen.bin');
  const boot = readdirSync(join(hypervisor, 'boot')).find((name) => name.endsWith('.gz'));
  writeFileSync(xen, gunzipSync(readFileSync(join(hypervisor, 'boot', boot!))));
  const guestImage = archive('guest', guestTree(guest, XEN_GUEST), 'zstd');
  const tools = archive('tools', toolsTree(), 'zstd');
  const tree = dom0Tree(dom0);
  put(tree, GUEST.kernel, guest.image);
  put(tree, GUEST.image, guestImage);
  put(tree, GUEST.tools, tools);
  const initrd = archive('dom0', tree, 'none');
  const size = (path: string): string => `${(statSync(path).size / 2 ** 20).toFixed(1)} MiB`;
  const unpacked = execFileSync('du', ['-sm', join(MADE, 'tree/guest')], { encoding: 'utf8' }).split('\t')[0];
  report(
    `guest: kernel ${size(guest.image)}, image ${size(guestImage)} (${unpacked} MiB unpacked, ` +
      `of which node ${size(join(MADE, 'tree/guest/usr/bin/node'))})`,
  );
  report(`dom0: kernel ${size(dom0.image)}, image ${size(initrd)} with the guest's and the tests' programs`);
  return { xen, kernel: dom0.image, initrd };
}

/** Builds the guest that QEMU starts by itself, without the hypervisor. `report` gets a line with its size. */
export function buildKvmImages(report: (line: string) => void): KvmImages {
  makeRoom();
  const kernel = kernelOf(download('guest', () => newestKernel('linux-image-cloud-amd64')));
  const initrd = archive(KVM_GUEST.name, guestTree(kernel, KVM_GUEST), 'zstd');
  report(`guest of KVM: image ${(statSync(initrd).size / 2 ** 20).toFixed(1)} MiB`);
  return { kernel: kernel.image, initrd };
}

/** Builds what boots this machine's own files on Debian's kernel. */
export function buildOwnMachineImages(): KvmImages {
  makeRoom();
  const { name, init, modules } = OWN_MACHINE;
  // The one of the cloud has no 9p.
  const kernel = kernelOf(download('dom0', () => newestKernel('linux-image-amd64')));
  const tree = busyboxTree(name);
  put(tree, '/init', init, 0o755);
  for (const module of modules) put(tree, `/lib/modules/${module}.ko`, kernel.module(module));
  write(tree, 'lib/modules/order', `${modules.join('\n')}\n`);
  return { kernel: kernel.image, initrd: archive(name, tree, 'zstd') };
}

/** Makes this process's directory, and takes away those of processes that have ended: some 700 MB each. */
function makeRoom(): void {
  mkdirSync(MADE, { recursive: true });
  for (const name of readdirSync(CACHE)) {
    const maker = /^made-(\d+)$/.exec(name)?.[1];
    const ended = maker !== undefined && !existsSync(`/proc/${maker}`);
    if (ended) rmSync(join(CACHE, name), { recursive: true, force: true });
  }
}

/** A guest of kernel, busybox and agent. */
function guestTree(kernel: Kernel, { name, init, modules, programs }: GuestKind): string {
  const tree = busyboxTree(name);
  put(tree, '/init', init, 0o755);
  for (const module of modules) put(tree, `/lib/modules/${module}.ko`, kernel.module(module));
  for (const program of programs) putProgram(tree, program);
  putAgent(tree);
  // Its users may ask for root's rights with root's password.
  chmodSync(join(tree, 'bin/busybox'), 0o4755);
  const files: Readonly<Record<string, string>> = {
    'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n',
    'etc/group': 'root:x:0:\nnogroup:x:65534:\n',
    'etc/hostname': 'minimal\n',
    'etc/hosts': '127.0.0.1\tlocalhost\n127.0.1.1\tminimal\n',
    'etc/network/interfaces': "# The owner's.\nauto lo\niface lo inet loopback\n",
    'etc/resolv.conf': '',
  };
  for (const [path, text] of Object.entries(files)) write(tree, path, text);
  write(tree, 'etc/shadow', 'root:*:19700:0:99999:7:::\nnobody:*:19700:0:99999:7:::\n', 0o640);
  return tree;
}

/** What tests and benchmarks run in dom0 and in a guest, beside what a guest has: those programs that were built. */
function toolsTree(): string {
  const tree = emptyTree('tools');
  const programs = [
    ...['target/release/examples/conformance', 'target/release/examples/drill'],
    ...['target/release/bench', 'build/bench/watch-libxenstore'],
  ];
  for (const path of programs.filter((program) => existsSync(program))) {
    putProgram(tree, resolve(path), `/test/${basename(path)}`);
  }
  put(tree, `${AGENT}/bench/watch-addon.js`, resolve('bench/watch-addon.js'));
  return tree;
}

function dom0Tree(kernel: Kernel): string {
  const tree = busyboxTree('dom0');
  put(tree, '/init', join(SOURCES, 'dom0-init.sh'), 0o755);
  put(tree, '/etc/xen/scripts/vif', join(SOURCES, 'vif.sh'), 0o755);
  write(tree, 'etc/xen/xl.conf', '');
  const programs = ['xenstored', 'xen-init-dom0', 'xl', 'xenconsoled', 'libxl-save-helper', 'xenstore-control'];
  for (const name of programs) putProgram(tree, join(xenPrograms(), name), `/usr/lib/xen/bin/${name}`);
  // xl runs its helper where it was built to find it.
  mkdirSync(dirname(join(tree, xenPrograms())), { recursive: true });
  symlinkSync('/usr/lib/xen/bin', join(tree, xenPrograms()));
  for (const name of ['read', 'write', 'list', 'ls', 'rm', 'chmod', 'exists', 'watch']) {
    putProgram(tree, `/usr/bin/xenstore-${name}`);
  }
  // The one that threads ask for when they are cancelled; ldd does not name it.
  const [libc] = librariesOf('/bin/sh').filter((path) => basename(path).startsWith('libc.so'));
  putProgram(tree, join(dirname(libc!), 'libgcc_s.so.1'));
  for (const name of DOM0_MODULES) put(tree, `/lib/modules/${name}.ko`, kernel.module(name));
  putAgent(tree);
  cpSync(join(MADE, 'tree/tools'), tree, { recursive: true });
  return tree;
}

function busyboxTree(name: string): string {
  const tree = emptyTree(name);
  for (const path of ['dev', 'etc', 'proc', 'root', 'run', 'sys', 'tmp', 'var']) {
    mkdirSync(join(tree, path), { recursive: true });
  }
  put(tree, '/bin/busybox', '/bin/busybox', 0o755);
  const applets = execFileSync('/bin/busybox', ['--list-full'], { encoding: 'utf8' }).trim().split('\n');
  for (const applet of applets) {
    if (basename(applet) === 'busybox') continue;
    const path = join(tree, applet);
    mkdirSync(dirname(path), { recursive: true });
    symlinkSync('/bin/busybox', path);
  }
  put(tree, '/lib/shell.sh', join(SOURCES, 'shell.sh'));
  return tree;
}

/** Node without its symbols, and this project's build, as a package would lay them out. */
function putAgent(tree: string): void {
  const node = realpathSync(process.execPath);
  putProgram(tree, node, '/usr/bin/node');
  execFileSync('strip', ['--strip-all', join(tree, 'usr/bin/node')]);
  cpSync('dist', join(tree, AGENT, 'dist'), { recursive: true });
  for (const name of readdirSync('native').filter((file) => /\.(js|node)$/.test(file))) {
    put(tree, `${AGENT}/native/${name}`, resolve('native', name));
  }
  put(tree, `${AGENT}/package.json`, resolve('package.json'));
  mkdirSync(join(tree, 'usr/sbin'), { recursive: true });
  symlinkSync(`${AGENT}/dist/guestwire.js`, join(tree, 'usr/sbin/guestwire'));
}

function emptyTree(name: string): string {
  const tree = join(MADE, 'tree', name);
  rmSync(tree, { recursive: true, force: true });
  mkdirSync(tree, { recursive: true });
  return tree;
}

function put(tree: string, path: string, source: string, mode?: number): void {
  const target = join(tree, path);
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(source, target);
  if (mode !== undefined) chmodSync(target, mode);
}

function write(tree: string, path: string, text: string, mode = 0o644): void {
  const target = join(tree, path);
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, text, { mode });
}

/** Copies a program with the libraries that it is linked to. */
function putProgram(tree: string, source: string, path = source): void {
  put(tree, path, source, 0o755);
  for (const library of librariesOf(source)) if (!existsSync(join(tree, library))) put(tree, library, library);
}

function librariesOf(program: string): readonly string[] {
  const printed = execFileSync('ldd', [program], { encoding: 'utf8' });
  return [...printed.matchAll(/(?:^|\s)(\/\S+)/g)].map(([, path]) => path!.replace(/:$/, ''));
}

/** A cpio archive, as the kernel unpacks it. */
function archive(name: string, tree: string, compression: 'zstd' | 'none'): string {
  const plain = join(MADE, `${name}.cpio`);
  const output = openSync(plain, 'w');
  try {
    const entries = execFileSync('find', ['.', '-mindepth', '1', '-print0'], { cwd: tree, maxBuffer: 1 << 26 });
    execFileSync('cpio', ['--create', '--format=newc', '--null', '--quiet', '--owner=+0:+0', '--reproducible'], {
      cwd: tree,
      input: entries,
      stdio: ['pipe', output, 'inherit'],
    });
  } finally {
    closeSync(output);
  }
  if (compression === 'none') return plain;
  const compressed = `${plain}.zst`;
  execFileSync('zstd', ['-q', '-f', '-6', '--rm', plain, '-o', compressed]);
  return compressed;
}

/** The content of a Debian package that need not be installed, unpacked once. */
function download(name: string, choose: () => string): string {
  const target = join(CACHE, 'packages', name);
  if (existsSync(target)) return target;
  const partial = `${target}.${process.pid}`;
  mkdirSync(partial, { recursive: true });
  const chosen = choose();
  try {
    const args = ['-o', 'Acquire::Retries=5', 'download', '-qq', chosen];
    execFileSync('apt-get', args, { cwd: partial, stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (error) {
    throw new Error(
      `apt-get cannot download ${chosen}: the tests on the real hypervisor need Debian's packages; run apt-get update`,
      { cause: error },
    );
  }
  const [file] = readdirSync(partial).filter((entry) => entry.endsWith('.deb'));
  execFileSync('dpkg-deb', ['-x', file!, '.'], { cwd: partial });
  rmSync(join(partial, file!));
  // The first that is ready wins.
  if (existsSync(target)) rmSync(partial, { recursive: true });
  else renameSync(partial, target);
  return target;
}

/** What Debian's package without a version in its name depends on. */
function newestKernel(name: string): string {
  const printed = execFileSync('apt-cache', ['depends', '--important', name], { encoding: 'utf8' });
  const found = /Depends: (linux-image-\S+)/.exec(printed)?.[1];
  if (found === undefined) throw new Error(`apt knows no kernel as ${name}; run apt-get update`);
  return found;
}

function xenVersion(): string {
  return /xen-([\d.]+)/.exec(xenPrograms())![1]!;
}

function kernelOf(directory: string): Kernel {
  const boot = join(directory, 'boot');
  const image = readdirSync(boot).find((name) => name.startsWith('vmlinuz-'));
  const modules = execFileSync('find', [directory, '-name', '*.ko'], { encoding: 'utf8', maxBuffer: 1 << 26 }).split(
    '\n',
  );
  return {
    image: join(boot, image!),
    module(name) {
      const found = modules.find((path) => basename(path) === `${name}.ko`);
      if (found === undefined) throw new Error(`${image!} has no module ${name}`);
      return found;
    },
  };
}
