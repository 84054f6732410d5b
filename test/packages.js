// Installs the Debian packages that the tests need and that are missing, or says which it could not.
import { spawnSync } from 'node:child_process';

/** Package, and what it is here for. */
const packages = [
  ['binutils', 'strip, which makes a minimal image of node'],
  ['busybox-static', 'ifup as minimal images have it; all that a minimal guest has'],
  ['bzip2', 'unpacks the source of busybox'],
  ['cpio', 'initramfs images'],
  ['debootstrap', 'the Debian root in which ifup, netplan and su are run'],
  ['dnsmasq-base', 'leases and router advertisements for guests that ask for them'],
  ['gcc', 'the preload that lets the stock xenstored run without Xen'],
  ['iproute2', 'network namespaces, and reading back what the kernel has'],
  ['libvirt-clients', 'virsh, the host of a guest of KVM'],
  ['libvirt-daemon', 'what virsh needs of libvirt'],
  ['libvirt-daemon-driver-qemu', "libvirt's driver, which speaks with the agent"],
  ['libxen-dev', 'headers of the preload; libxenstore for the benchmark'],
  ['man-db', 'man, which shows the manual page'],
  ['make', 'builds busybox with musl'],
  ['musl-tools', 'musl-gcc, for a system like Alpine: busybox and musl'],
  ['minisign', 'signs manifests of new versions'],
  ['openssh-client', 'ssh-keygen, which makes keys and prints their fingerprints; ssh, which logs in with them'],
  ['openssh-server', 'sshd, which says where it looks for keys and lets in whoever has one'],
  ['openssl', 'encrypts passwords as nova does'],
  ['perl', 'crypt(3), an independent check of our hashes'],
  ['procps', 'ps and pgrep'],
  ['python3', 'a second implementation of locks, to hold against ours'],
  ['qemu-guest-agent', "QEMU's own agent, to hold the answers of ours against"],
  ['qemu-system-x86', 'the machine that the real hypervisor is booted in'],
  ['scdoc', 'makes the manual page'],
  ['strace', 'kills the agent at every single system call; makes a system call fail'],
  ['socat', 'a client of vsock'],
  ['util-linux', 'unshare: mounts and namespaces of a test stay its own; flock: a root is made once'],
  ['xen-utils-4.17', 'the real xenstored and oxenstored, test-xenstore'],
  ['xenstore-utils', 'xenstore-read and xenstore-write, which are what the dom0 plugin runs'],
  ['zstd', "compresses the guest's image"],
];

const installed = (name) => {
  const query = spawnSync('dpkg-query', ['-W', '-f', '${Status}', name], { encoding: 'utf8' });
  return query.status === 0 && query.stdout.includes('ok installed');
};
const apt = (...args) =>
  spawnSync('apt-get', ['-o', 'Acquire::Retries=5', ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
    // RUNLEVEL=1: what is installed here is to be run by the tests, not by the machine.
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
  }).status === 0;

const missing = packages.map(([name]) => name).filter((name) => !installed(name));
if (missing.length > 0) {
  console.error(`installing what the tests need: ${missing.join(' ')}`);
  apt('update', '-qq');
  apt('install', '-y', '-qq', '--no-install-recommends', ...missing);
  const still = missing.filter((name) => !installed(name));
  if (still.length > 0) {
    for (const [name, reason] of packages) {
      if (still.includes(name)) console.error(`could not install ${name}: ${reason}`);
    }
    console.error(`the tests need root, apt-get and these packages: apt-get install ${still.join(' ')}`);
    process.exit(1);
  }
}
