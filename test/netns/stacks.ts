/** The stacks whose real consumers the agent's files are fed to, and what each needs in a namespace. */
import type { RootKind } from '../support/debian-root.js';
import type { Namespace } from './namespace.js';

/** Texts by path. */
export type Files = Readonly<Record<string, string>>;

export interface Stack {
  readonly name: string;
  readonly kind: RootKind;
  /** The releases that have it; all of them when absent. */
  readonly releases?: readonly string[];
  /** Makes the system, with `files` beside its own or in their place, and boots it where that is needed. */
  prepare(namespace: Namespace, files?: Files): Promise<void>;
  /** Ends the consumer and what it remembers, as switching the machine off does. */
  readonly off: string;
  /** Brings the network up by the files alone, as a boot does. */
  readonly on: string;
  /** A program that the agent must have run; null when it runs none. */
  readonly runs: RegExp | null;
  /** The program that brings interfaces up, to be replaced by a lying one. */
  readonly applies: string | null;
  /** It brings addresses up without looking whether another machine has them. */
  readonly looksForDuplicates?: false;
  /** The folders of which a change and a change back leaves nothing. */
  readonly files: string;
}

/** systemd takes a service that is restarted for every input for one that crashes. */
const UNLIMITED = Object.fromEntries(
  ['systemd-networkd', 'NetworkManager'].map((unit) => [
    `/etc/systemd/system/${unit}.service.d/limit.conf`,
    '[Unit]\nStartLimitIntervalSec=0\n',
  ]),
);
const HOSTS = { '/etc/hosts': '127.0.0.1\tlocalhost\n' };
const INTERFACES = {
  ...HOSTS,
  '/etc/network/interfaces': '# kept\nsource /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n',
};
const MINIMAL = {
  ...HOSTS,
  '/etc/network/interfaces': 'auto lo\niface lo inet loopback\n',
  '/etc/resolv.conf': '',
};
const MANAGER = ['NetworkManager.service', 'NetworkManager-wait-online.service', 'NetworkManager-dispatcher.service'];
const NETWORKD = ['systemd-networkd.service', 'systemd-networkd.socket', 'systemd-networkd-wait-online.service'];
const IFUPDOWN = ['networking.service', 'ifupdown-pre.service'];

export const STACKS: readonly Stack[] = [
  {
    name: 'ifupdown',
    kind: 'full',
    async prepare(namespace: Namespace, files: Files = {}): Promise<void> {
      await namespace.write({
        ...INTERFACES,
        '/etc/network/interfaces.d/50-cloud-init': 'auto eth0\niface eth0 inet dhcp\n',
        '/etc/resolv.conf': 'search example.org\n',
        ...files,
      });
      await namespace.start();
    },
    off: 'rm -f /run/network/ifstate*',
    on: 'ifup -a',
    runs: /^ifup eth0$/,
    applies: '/usr/sbin/ifup',
    files: '/etc/network',
  },
  {
    name: 'ifupdown-ng',
    kind: 'ng',
    async prepare(namespace: Namespace, files: Files = {}): Promise<void> {
      // Its `source`, and busybox's, want a file for every pattern.
      await namespace.write({ ...MINIMAL, ...files });
      // Where Debian keeps room for ifupdown beside it, the names that it has on Alpine.
      if (!namespace.has('/usr/sbin/ifup')) {
        await namespace.link({ '/usr/sbin/ifup': 'ifupdown-ng', '/usr/sbin/ifdown': 'ifupdown-ng' });
      }
      await namespace.start();
    },
    off: 'rm -f /run/ifstate*',
    on: 'ifup -a',
    runs: /^ifup eth0$/,
    applies: '/usr/sbin/ifup',
    files: '/etc/network',
  },
  {
    name: 'ifupdown of busybox',
    kind: 'full',
    async prepare(namespace: Namespace, files: Files = {}): Promise<void> {
      await namespace.write({ ...MINIMAL, ...files });
      await namespace.link({ '/usr/sbin/ifup': '/usr/bin/busybox', '/usr/sbin/ifdown': '/usr/bin/busybox' });
      await namespace.start();
    },
    // It fails for lo, which is up already.
    off: 'rm -f /run/ifstate* /var/run/ifstate*',
    on: 'ifup -a || true',
    runs: /^ifdown -f eth0$/,
    applies: '/usr/sbin/ifup',
    files: '/etc/network',
  },
  {
    name: 'netplan with systemd-networkd',
    kind: 'full',
    async prepare(namespace: Namespace, files: Files = {}): Promise<void> {
      await namespace.write(
        {
          '/etc/netplan/50-cloud-init.yaml':
            '# kept\nnetwork:\n  version: 2\n  ethernets:\n    eth0:\n      dhcp4: true\n    other0:\n      optional: true\n',
          ...files,
        },
        0o600,
      );
      await namespace.write({ ...HOSTS, ...UNLIMITED });
      await namespace.mask(...MANAGER, ...IFUPDOWN);
      await namespace.boot();
    },
    off: 'systemctl -q stop systemd-networkd.socket systemd-networkd; rm -rf /run/systemd/netif/*/*',
    on: 'systemctl start systemd-networkd',
    runs: /^\/usr\/sbin\/netplan apply$/,
    applies: '/usr/sbin/netplan',
    files: '/etc/netplan',
  },
  {
    name: 'systemd-networkd',
    kind: 'full',
    async prepare(namespace: Namespace, files: Files = {}): Promise<void> {
      await namespace.write({
        ...HOSTS,
        ...UNLIMITED,
        '/etc/systemd/network/20-wired.network': '[Match]\nName=eth0\n\n[Network]\nDHCP=yes\n',
        ...files,
      });
      await namespace.link({
        '/etc/systemd/system/multi-user.target.wants/systemd-networkd.service':
          '/usr/lib/systemd/system/systemd-networkd.service',
      });
      await namespace.mask(...MANAGER, ...IFUPDOWN);
      await namespace.boot();
    },
    off: 'systemctl -q stop systemd-networkd.socket systemd-networkd; rm -rf /run/systemd/netif/*/*',
    on: 'systemctl start systemd-networkd',
    runs: /^networkctl reload$/,
    applies: '/usr/bin/networkctl',
    files: '/etc/systemd/network',
  },
  {
    name: 'NetworkManager',
    kind: 'full',
    async prepare(namespace: Namespace, files: Files = {}): Promise<void> {
      await namespace.write(
        {
          '/etc/NetworkManager/system-connections/wired.nmconnection':
            '[connection]\nid=wired\nuuid=11111111-2222-4333-8444-555555555555\ntype=ethernet\ninterface-name=eth0\n\n' +
            '[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n',
          ...files,
        },
        0o600,
      );
      await namespace.write({ ...HOSTS, ...UNLIMITED });
      await namespace.mask(...NETWORKD, ...IFUPDOWN);
      await namespace.boot();
    },
    off: 'systemctl stop NetworkManager; rm -rf /run/NetworkManager/devices',
    on: 'systemctl start NetworkManager',
    runs: /^nmcli .*connection up /,
    applies: '/usr/bin/nmcli',
    files: '/etc/NetworkManager',
  },
  {
    name: 'netctl',
    kind: 'netctl',
    releases: ['bookworm', 'jammy'],
    async prepare(namespace: Namespace, files: Files = {}): Promise<void> {
      await namespace.write({
        ...HOSTS,
        '/etc/netctl/wired': 'Interface=eth0\nConnection=ethernet\nIP=dhcp\n',
        ...files,
      });
      await namespace.mask(...NETWORKD);
      await namespace.boot();
    },
    off: 'systemctl stop "netctl@*"; rm -rf /run/network',
    on: 'cd /etc/systemd/system/multi-user.target.wants && systemctl start netctl@*.service',
    runs: /^netctl restart guestwire-eth0$/,
    applies: '/usr/bin/netctl',
    looksForDuplicates: false,
    files: '/etc/netctl',
  },
  {
    name: 'direct',
    // ifupdown-ng is in it and has no file.
    kind: 'ng',
    async prepare(namespace: Namespace, files: Files = {}): Promise<void> {
      await namespace.write({ ...HOSTS, '/etc/resolv.conf': '', ...files });
      await namespace.start();
    },
    off: 'true',
    // The agent's start is what sets it.
    on: 'echo "{}" | node /guestwire/build/test/netns/reset-network.js >/dev/null',
    runs: null,
    applies: null,
    files: '/etc/guestwire',
  },
];

/** The stacks that a release has. */
export function stacksOf(release: string): readonly Stack[] {
  return STACKS.filter(({ releases }) => releases?.includes(release) ?? true);
}

export function stackNamed(name: string): Stack {
  const found = STACKS.find((stack) => stack.name === name);
  if (found === undefined) throw new Error(`no stack is called ${name}`);
  return found;
}
