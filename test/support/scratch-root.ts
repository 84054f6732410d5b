/** Roots for the agent to work on, made of plain files in a temporary directory. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export const MAC = '00:16:3e:01:02:03';
export const OLD_PASSWORD = 'the old one';

/** What nova publishes for one interface, below the guest's part of the tree. */
export const VM_DATA: Readonly<Record<string, string>> = {
  'vm-data/hostname': 'web1.example.org',
  'vm-data/networking/00163E010203': JSON.stringify({
    label: 'public',
    mac: MAC.toUpperCase(),
    broadcast: '203.0.113.255',
    gateway: '203.0.113.1',
    ips: [{ ip: '203.0.113.10', enabled: '1', netmask: '255.255.255.0', gateway: '203.0.113.1' }],
    dns: ['203.0.113.53'],
  }),
};

/** A directory of our own with a root in it, both gone at the end of `using`. Short enough for a socket's path. */
export class ScratchRoot implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'gw-e2e-'));
  readonly root = join(this.directory, 'root');

  constructor(backEnd: 'ifupdown' | 'netplan' = 'ifupdown') {
    const hash = execFileSync('openssl', ['passwd', '-6', '-stdin'], { input: OLD_PASSWORD, encoding: 'utf8' }).trim();
    this.write('etc/os-release', 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n');
    this.write('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n');
    this.write('etc/group', 'root:x:0:\nnogroup:x:65534:\n');
    this.write('etc/shadow', `root:${hash}:19700:0:99999:7:::\nnobody:*:19700:0:99999:7:::\n`, 0o640);
    this.write('etc/login.defs', 'ENCRYPT_METHOD YESCRYPT\n');
    this.write('etc/hostname', 'debian\n');
    this.write('etc/hosts', '127.0.0.1\tlocalhost\n127.0.1.1\tdebian\n');
    this.write('etc/resolv.conf', 'nameserver 192.0.2.1\n');
    this.write('root/.profile', '');
    this.write('sys/class/net/eth0/address', `${MAC}\n`);
    this.write('sys/class/net/eth0/type', '1\n');
    this.write('sys/class/net/eth0/flags', '0x1003\n');
    if (backEnd === 'ifupdown') {
      const own = "# The administrator's.\nauto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n";
      this.write('etc/network/interfaces', own);
      this.write('sbin/ifup', '#!/bin/sh\nexit 0\n', 0o755);
      this.write('sbin/ifdown', '#!/bin/sh\nexit 0\n', 0o755);
    } else {
      const own = 'network:\n  version: 2\n  ethernets:\n    eth0:\n      dhcp4: true\n';
      this.write('etc/netplan/01-netcfg.yaml', own, 0o600);
      this.write('usr/sbin/netplan', '#!/bin/sh\nexit 0\n', 0o755);
    }
  }

  write(path: string, content: string | Uint8Array, mode = 0o644): void {
    const real = join(this.root, path);
    mkdirSync(dirname(real), { recursive: true });
    writeFileSync(real, content);
    chmodSync(real, mode);
  }

  read(path: string): string {
    return readFileSync(join(this.root, path), 'utf8');
  }

  /** Every file of the system with its content, but for the agent's own state. */
  files(): ReadonlyMap<string, string> {
    const entries = readdirSync(this.root, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(this.root.length + 1))
      .filter((path) => !path.startsWith('var/lib/guestwire/'));
    return new Map(entries.sort().map((path) => [path, this.read(path)]));
  }

  /** Copies this machine's own su, a shell and PAM with its modules and settings into the root. */
  installSu(): void {
    const modules = readdirSync('/usr/lib', { withFileTypes: true })
      .map((entry) => `/usr/lib/${entry.name}/security`)
      .find((path) => existsSync(join(path, 'pam_unix.so')))!;
    const used = ['pam_unix.so', 'pam_deny.so', 'pam_permit.so', 'pam_rootok.so', 'pam_env.so', 'pam_limits.so'];
    const files = new Set(['/bin/su', '/bin/sh', ...used.map((name) => join(modules, name))]);
    for (const file of [...files]) {
      for (const [library] of execFileSync('ldd', [file], { encoding: 'utf8' }).matchAll(/\/\S+/g)) {
        files.add(library.replace(/:$/, ''));
      }
    }
    // As on a merged-/usr system: PAM looks for its modules below /lib.
    for (const name of ['lib', 'lib64']) {
      mkdirSync(join(this.root, 'usr', name), { recursive: true });
      symlinkSync(`usr/${name}`, join(this.root, name));
    }
    for (const file of files) {
      mkdirSync(dirname(join(this.root, file)), { recursive: true });
      copyFileSync(file, join(this.root, file));
    }
    chmodSync(join(this.root, 'bin/su'), 0o4755);
    chmodSync(this.directory, 0o755);
    this.write('etc/nsswitch.conf', 'passwd: files\ngroup: files\nshadow: files\n');
    const pam = '[success=1 default=ignore] pam_unix.so';
    this.write('etc/pam.d/su', '@include common-auth\n@include common-account\n@include common-session\n');
    this.write(
      'etc/pam.d/common-auth',
      `auth ${pam} nullok\nauth requisite pam_deny.so\nauth required pam_permit.so\n`,
    );
    this.write('etc/pam.d/common-account', `account required pam_unix.so\n`);
    this.write('etc/pam.d/common-session', `session required pam_permit.so\n`);
    this.write('etc/pam.d/common-password', `password ${pam} obscure yescrypt\npassword requisite pam_deny.so\n`);
    this.write('etc/pam.d/other', `auth required pam_deny.so\naccount required pam_deny.so\n`);
  }

  /** Whether the root's su lets an unprivileged user become root with `password`. */
  async suAccepts(password: string): Promise<boolean> {
    const su = ['--userspec=65534:65534', this.root, '/bin/su', 'root', '-c', 'echo let in'];
    const child = spawn('/usr/sbin/chroot', su, { stdio: ['pipe', 'pipe', 'pipe'], env: { PATH: '/bin:/usr/bin' } });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stdin.on('error', () => undefined).end(`${password}\n`);
    const [code] = (await once(child, 'close')) as [number | null];
    if (code === 0 && output.includes('let in')) return true;
    if (output.includes('Authentication failure')) return false;
    throw new Error(`su ended with ${String(code)}: ${output}`);
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
