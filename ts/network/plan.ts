import type { Argv, FileChange, Ipv6Settings, Nic } from '../api/host.js';
import type { Address } from './address.js';

export interface Route extends Address {
  /** null: the network is on the link itself. */
  readonly gateway: string | null;
  /** null: whatever the stack gives. */
  readonly metric: number | null;
}

/** What one interface is to be. Both lists keep the host's order: the first address of a family is the primary one. */
export interface InterfaceConfig {
  readonly nic: Nic;
  readonly label: string | null;
  readonly ipv4: readonly Address[];
  readonly ipv6: readonly Address[];
  readonly gateway4: string | null;
  readonly gateway6: string | null;
  readonly routes: readonly Route[];
  readonly dns: readonly string[];
  /** IPv4 from a DHCP server, beside the addresses listed. */
  readonly dhcp4: boolean;
  /**
   * `ra`: IPv6 addresses by router advertisements (SLAAC). `dhcp`: from a DHCPv6 server, routes by advertisements.
   * null: neither, and advertisements are not listened to.
   */
  readonly auto6: 'ra' | 'dhcp' | null;
  /** Bytes; null: left to the stack. */
  readonly mtu: number | null;
}

/** Bytes: the least that IPv6 needs of a link (RFC 8200 section 5). */
export const IPV6_MTU = 1280;

/**
 * Below that the kernel has no IPv6 on the device; systemd-networkd and NetworkManager raise it to that where they are to
 * have any, if only a link-local address.
 */
export function isTooSmallForIpv6({ mtu }: InterfaceConfig): boolean {
  return mtu !== null && mtu < IPV6_MTU;
}

/** A device of which nothing is wanted, to ask for its owner or to start from. */
export function unconfigured(nic: Nic): InterfaceConfig {
  return {
    nic,
    label: null,
    ipv4: [],
    ipv6: [],
    gateway4: null,
    gateway6: null,
    routes: [],
    dns: [],
    dhcp4: false,
    auto6: null,
    mtu: null,
  };
}

/** Who makes `/etc/resolv.conf` on this machine; `file`: nobody, it is written by hand; `other`: somebody unknown. */
export type Resolver = 'resolved' | 'resolvconf' | 'networkmanager' | 'netconfig' | 'file' | 'other';

/** `/etc/resolv.conf` as it is. */
export interface ResolvConf {
  /** What stands there once links are followed; null when they lead to nothing, or nothing is there. */
  readonly leadsTo: string | null;
  readonly text: string | null;
  /** How it is that nobody can change that, as in `immutable`; null: somebody can. */
  readonly sealed: string | null;
}

/**
 * What besides its text decides whether a daemon reads a file. `mask`: it is a link to /dev/null. Of a copy, whose files
 * are whoever's who has unpacked it, they count as root's.
 */
export type FileAccess = 'mask' | { readonly mode: number; readonly uid: number };

/** Everything that a decision may rest on. Gathered once; nothing is looked at while rendering. */
export interface NetworkFacts {
  /** In the order of the interfaces' names, with those that are left alone as the agent has set them. */
  readonly interfaces: readonly InterfaceConfig[];
  /** Names of the interfaces whose records cannot be used now: nothing is done to them. None when absent. */
  readonly leftAlone?: readonly string[];
  /** Names of devices whose records cannot be used, where it is not known what the agent has set, if anything. */
  readonly unknown?: readonly string[];
  /** null: to be left as it is. */
  readonly hostname: string | null;
  readonly currentHostname: string;
  /** Text of the files named by the renderers' `reads`; a path that is absent on disk is absent here. */
  readonly files: ReadonlyMap<string, string>;
  /** Of those files; of one that is not named, nothing is known that is in its way. */
  readonly access?: ReadonlyMap<string, FileAccess>;
  /** Of the paths that any renderer asks about, those that are there, and what they are links to. */
  readonly present: ReadonlySet<string>;
  readonly resolver: Resolver;
  /** Absent: nothing is known but the plain file, which stands in `files`. */
  readonly resolvConf?: ResolvConf;
  /** Addresses of all devices as the kernel shows them; none when absent, as of a system that is not running. */
  readonly live?: readonly { readonly nic: string; readonly address: string }[];
  /** It is a copy of a system, where no program is run. */
  readonly copy?: true;
  /** Whatever a plan's programs enable is enabled, or they have failed. */
  readonly settled?: true;
  /** What the agent has set and remembers. None when absent. */
  readonly configured?: readonly InterfaceConfig[];
}

/** Of all interfaces, in canonical form. What is to come from the network is not among them. */
export function wantedAddresses({ interfaces }: Pick<NetworkFacts, 'interfaces'>): readonly string[] {
  return interfaces.flatMap(({ ipv4, ipv6 }) => [...ipv4, ...ipv6].map(({ address }) => address));
}

export type Action =
  | { readonly type: 'set-hostname'; readonly hostname: string }
  | {
      readonly type: 'run';
      readonly argv: Argv;
      readonly onFailure: 'ignore' | 'report';
      readonly stdin?: string;
    }
  /** What the kernel is to do by itself for IPv6 on the device. */
  | { readonly type: 'ipv6'; readonly nic: string; readonly settings: Partial<Ipv6Settings> }
  /** Bytes; for a device that no file names an MTU of any more. */
  | { readonly type: 'mtu'; readonly nic: string; readonly mtu: number }
  /** Makes the interface what the plan wants by netlink, without any program; one that it does not want gets nothing. */
  | { readonly type: 'configure'; readonly nic: string };

/** What of a plan is about the machine's name alone. */
export interface NamingPlan {
  readonly after: readonly Action[];
  readonly restore: readonly Action[];
}

/** What of a plan is about the servers of names alone. */
export interface ServerPlan {
  /** Those of the plan's files that hold nothing else. */
  readonly paths: readonly string[];
  /** Brings resolv.conf up to date where the files are right; null: only the plan's own programs do. */
  readonly refresh: readonly Action[] | null;
  /** Why they do not last over a boot, for people; null when they do. */
  readonly problem: string | null;
}

/** A look of a stack's own program at what a plan would leave, before anything is changed. It changes nothing itself. */
export interface Check {
  /** `{folder}` stands for the folder that holds `files`. */
  readonly argv: Argv;
  /** Texts by path; `{folder}` in them as well. None when absent. */
  readonly files?: ReadonlyMap<string, string>;
  readonly stdin?: string;
  /** Of what `stdin` is, for people. */
  readonly path?: string;
  /** What the program says when it cannot look, as one of an older release. One that is not there never can. */
  readonly unable?: RegExp;
}

/** Everything that is to happen, in the order it happens. Plain data: print it, compare it, or apply it. */
export interface NetworkPlan {
  /** The back end that made it. */
  readonly renderer: string;
  /** Before anything is changed; one that fails ends it all. */
  readonly checks: readonly Check[];
  /** Run on the old files. */
  readonly before: readonly Action[];
  /** Only what differs from what is there. */
  readonly files: readonly FileChange[];
  readonly after: readonly Action[];
  /** Run instead of `after` when the change failed and the old files stand there again. */
  readonly restore: readonly Action[];
  /** Those of the plan's files in which nothing is about addresses or routes: no device is taken down for them. */
  readonly aside: readonly string[];
  readonly naming: NamingPlan;
  readonly servers: ServerPlan;
}

/** How good a renderer's claim is, best first, and the evidence in words that go after `because`. */
export interface Standing {
  /** `owner`: it holds one of the interfaces now. `enabled`: it starts at boot. `present`: its files are there. */
  readonly rank: 'owner' | 'enabled' | 'present';
  readonly why: string;
}

/** What the next boot brings on a device, as the files of its stack alone say it. */
export interface Boot {
  /** In the order in which the boot sets them. */
  readonly addresses: readonly Address[];
  /** With the network's own address; of a default route 0.0.0.0 or ::. */
  readonly routes: readonly Route[];
  readonly dhcp4: boolean;
  /** `either`: advertisements, and DHCPv6 where the router says so. */
  readonly auto6: 'ra' | 'dhcp' | 'either' | null;
  /** Bytes; null: not said. */
  readonly mtu: number | null;
  /** The files that say so, as in `/etc/netplan/50-cloud-init.yaml`, for people. */
  readonly by: string;
  /** What may come instead, where the files do not tell which; null: perhaps nothing. Absent where it is certain. */
  readonly or?: Boot | null;
}

/** One way in which systems configure their networks, as pure functions. */
export interface Renderer {
  readonly name: string;
  /** For people whose system was not recognised. */
  readonly looksFor: string;
  /** Files whose text is needed; `*` stands for any name at the end of a path, as in `/etc/netplan/*.yaml`. */
  readonly reads: readonly string[];
  /** More paths, by what was read so far; `*`, `?` and `[...]` of glob(3) in any part. Asked until nothing new comes. */
  readonly follows?: (facts: Pick<NetworkFacts, 'files' | 'present'>) => readonly string[];
  /** Paths (programs, links that enable a service) of which only the existence counts. */
  readonly asks: readonly string[];
  /** Makers of resolv.conf that get the servers from this renderer's own files; the others are told apart from it. */
  feeds(facts: NetworkFacts): readonly Resolver[];
  detect(facts: NetworkFacts): Standing | null;
  render(facts: NetworkFacts): Pick<NetworkPlan, 'before' | 'files' | 'after' | 'restore'>;
  /** Looks of the stack's own programs at `changes`, which are made in `facts` already. It has none when absent. */
  checks?(facts: NetworkFacts, changes: readonly FileChange[]): readonly Check[];
  /** Whether the stack starts at a boot; null where that cannot be told, as when absent. */
  starts?(facts: Pick<NetworkFacts, 'files' | 'present' | 'access' | 'interfaces'>): boolean | null;
  /** What the next boot brings on the device, by the files alone; null when nothing of them takes it. */
  boot(facts: NetworkFacts, nic: Nic): Boot | null;
  /** What the stack brings on a device that none of its files takes; nothing when absent, or null. */
  unasked?(facts: NetworkFacts, nic: Nic): Boot | null;
  /** Where {@link boot} gives null, why, with the file, for people; null where it is not known. */
  without?(facts: NetworkFacts, nic: Nic): string | null;
  /** What the stack can bring of what is wanted: FreeBSD has one route to a network, and no metrics. All when absent. */
  able?(interfaces: readonly InterfaceConfig[]): readonly InterfaceConfig[];
}

/** A write of `text`, unless that is what stands there already. */
export function writeIfChanged(facts: NetworkFacts, path: string, text: string, mode: number): readonly FileChange[] {
  return facts.files.get(path) === text ? [] : [{ type: 'write', path, content: text, mode }];
}

/** As `writeIfChanged`, for a file that its daemon reads only with this mode, and as root's: a wrong one is a change, too. */
export function writeExactly(facts: NetworkFacts, path: string, text: string, mode: number): readonly FileChange[] {
  const access = facts.access?.get(path);
  const isAsked = access !== undefined && access !== 'mask';
  const isOthers = isAsked && access.uid !== 0;
  if (facts.files.get(path) === text && !isOthers && (!isAsked || access.mode === mode)) return [];
  const owner = isOthers ? { owner: { uid: 0, gid: 0 } } : {};
  return [{ type: 'write', path, content: text, mode, exactMode: true, ...owner }];
}

/** The facts as they are once `changes` were made: for whoever changes the same files next. */
export function withChanges(facts: NetworkFacts, changes: readonly FileChange[]): NetworkFacts {
  const files = new Map(facts.files);
  const access = facts.access === undefined ? undefined : new Map(facts.access);
  for (const change of changes) {
    const { path } = change;
    if (change.type === 'remove') {
      files.delete(path);
      access?.delete(path);
      continue;
    }
    files.set(path, textOf(change));
    const before = access?.get(path);
    const { mode, uid } = before === undefined || before === 'mask' ? { mode: change.mode, uid: 0 } : before;
    access?.set(path, { mode: change.exactMode === true ? change.mode : mode, uid: change.owner?.uid ?? uid });
  }
  return { ...facts, files, ...(access === undefined ? {} : { access }) };
}

export function textOf({ content }: Extract<FileChange, { type: 'write' }>): string {
  return typeof content === 'string' ? content : Buffer.from(content).toString('utf8');
}

/**
 * A label as it may stand at the end of a comment: one line, printable, short. The host chooses labels; files are
 * sourced. A backslash at the end would join the next line to the comment, for ifupdown and systemd.
 */
export function commentText(label: string): string {
  return label
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim()
    .slice(0, 80)
    .replace(/[\s\\]+$/, '');
}
