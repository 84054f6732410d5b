/**
 * `/etc/network/interfaces`, read by ifup(8): interfaces(5) of ifupdown, ifupdown-ng and busybox.
 *
 * One form is right for all three: `address` and `netmask` on lines of their own (busybox takes no prefix), one stanza a
 * family, and everything else as `post-up ip ...` (further addresses, routes, gateways outside the subnet; ifupdown-ng
 * and busybox set no on-link flag) and as writes to /proc (ifupdown-ng ignores `accept_ra`). Ours stands in a marked
 * block of the main file. Stanzas of the same interfaces elsewhere are commented out, the rest is kept byte for byte.
 */
import { AgentError } from '../../../api/errors.js';
import type { Argv, FileChange } from '../../../api/host.js';
import { advertisementCommands, listenAsWanted } from './advertisements.js';
import { type Address, type Family, dottedMask, familyOf } from '../../address.js';
import { blockOf, withBlock, withEmptyBlock } from '../../formats/block.js';
import { DEFAULTS, deviceOf, excludes, followSources, isUp, logicalLines, rivalIn } from '../../owners/ifupdown.js';
import {
  type Action,
  type InterfaceConfig,
  type NetworkFacts,
  type Renderer,
  commentText,
  writeIfChanged,
} from '../../plan.js';
import { readIfupdown } from '../../readers/ifupdown.js';
import { SYSCTL_FILES } from '../../readers/listening.js';
import { firstNetworkHasGateway, ipRoutes } from '../../routes.js';
import { INIT_ASKS, isSystemd, mayStart, startFiles } from '../../units.js';

const MAIN = '/etc/network/interfaces';
/**
 * The second is written at boot by the udev helper of Debian's cloud images, for a device of which `ifup --no-act` knows
 * nothing: one that our block names is left alone by it.
 */
const PARTS = ['/etc/network/interfaces.d/', '/run/network/interfaces.d/'] as const;
/** Of ifupdown, ifupdown-ng and busybox, in this order. */
const STATES = ['/run/network/ifstate', '/run/ifstate', '/var/run/ifstate'] as const;
const PROGRAMS = ['/sbin/ifup', '/usr/sbin/ifup'] as const;
const UNIT = 'networking.service';
/** systemd's and OpenRC's. */
const ENABLED = [
  '/etc/systemd/system/multi-user.target.wants/networking.service',
  '/etc/runlevels/boot/networking',
] as const;
/** Of both makes. */
const RESOLVCONF_HOOK = '/etc/network/if-up.d/000resolvconf';
const RETIRED = '#guestwire# ';
/** Words that start a stanza or stand alone; every other line belongs to the stanza above it. */
const KEYWORD =
  /^\s*(auto|allow-\S+|iface|interface|mapping|template|source|source-directory|no-auto-down|no-scripts|rename)\b/;

/** A stanza whose addresses come from a DHCP client. */
const LEASED = /^\s*(?:iface|interface)\s+(\S+)\s+inet6?\s+dhcp\b/gm;

export const ifupdown: Renderer = {
  name: 'ifupdown',
  looksFor: `ifupdown (${MAIN} and /sbin/ifup)`,
  reads: [MAIN, ...PARTS.map((folder) => `${folder}*`), ...STATES, ...SYSCTL_FILES, DEFAULTS, ...startFiles(UNIT)],
  asks: [...PROGRAMS, ...ENABLED, ...INIT_ASKS, RESOLVCONF_HOOK],
  // By a hook that gets what a stanza says; ifupdown-ng and busybox tell their hooks less.
  feeds: ({ present }) => (present.has(RESOLVCONF_HOOK) && isClassic(present) ? ['resolvconf'] : []),

  follows({ files, present }) {
    return followSources(files, MAIN, isClassic(present)).patterns;
  },

  detect({ files, present, interfaces }) {
    const program = PROGRAMS.find((path) => present.has(path));
    const main = files.get(MAIN);
    if (program === undefined || main === undefined) return null;
    for (const state of STATES) {
      const up = upIn({ files }, state).map((word) => word.split('=', 1)[0]);
      const held = interfaces.find(({ nic }) => up.includes(nic.name));
      if (held !== undefined) return { rank: 'owner', why: `${held.nic.name} stands in ${state}` };
    }
    const defined = definedIn([main, ...parts({ files, present }).map(([, text]) => text)].join('\n'));
    const named = interfaces.find(({ nic }) => defined.includes(nic.name));
    if (named !== undefined) return { rank: 'enabled', why: `${MAIN} defines ${named.nic.name}` };
    const enabled = ENABLED.find((path) => present.has(path));
    if (enabled !== undefined) return { rank: 'enabled', why: `${enabled} is there` };
    return { rank: 'present', why: `${program} and ${MAIN} are there` };
  },

  starts: (facts) => (PROGRAMS.some((path) => facts.present.has(path)) ? mayStart(facts, UNIT, ENABLED) : false),

  render(facts) {
    const names = facts.interfaces.map(({ nic }) => nic.name);
    // What ifdown has forgotten, after a failure half way, is there all the same. busybox knows no long options, and
    // classic ifupdown no short one.
    const busybox = isBusybox(facts);
    if (busybox && facts.interfaces.some(({ auto6 }) => auto6 === 'dhcp')) {
      throw new AgentError('GW_NETWORK_IMPOSSIBLE', ["busybox's ifup", 'DHCPv6']);
    }
    const force = busybox ? '-f' : '--force';
    const run = (program: string, name: string, onFailure: 'ignore' | 'report'): Action => ({
      type: 'run',
      argv: program === 'ifdown' ? [program, force, name] : [program, name],
      onFailure,
    });
    // ifup would never hear of an interface again that our block named and the host no longer does.
    const main = facts.files.get(MAIN) ?? '';
    const texts = [[MAIN, main] as const, ...parts(facts)];
    refuseRivals(facts, names);
    const all = texts.map(([, text]) => text).join('\n');
    const old = definedIn(all);
    const gone = definedIn(blockOf(main)).filter((name) => !names.includes(name));
    const aliases = old.filter((name) => name.includes(':') && names.includes(deviceOf(name)));
    const touched = [...names, ...gone, ...aliases];
    // By its own name ifdown forgets what is up by another stanza, and takes nothing down.
    const logical = [...upIn(facts), ...wordsOf(all)].filter((word) => {
      const [name = '', stanza = name] = word.split('=');
      return stanza !== name && names.includes(deviceOf(word));
    });
    const asBefore = (name: string): string => logical.find((word) => word.startsWith(`${name}=`)) ?? name;
    const leased = [...all.matchAll(LEASED)].map(([, stanza = '']) => stanza);
    const isLeased = (name: string): boolean => leased.includes(asBefore(name).split('=')[1] ?? name);
    // ifupdown-ng's ifdown takes off only what its file says, not what netlink has set or an ifdown half way has left.
    const isFlushed = (name: string): boolean => isLeased(name) || !(busybox || isClassic(facts.present));
    const isKnown = (name: string): boolean => old.includes(name) || asBefore(name) !== name;
    // Debian's ifdown takes the VLANs by name (eth0.5) with their device, and its ifup does not bring them back.
    const above = (isClassic(facts.present) ? upIn(facts) : []).flatMap((word) => {
      const [device = '', stanza] = word.split('=');
      const isAbove = !touched.includes(device) && touched.some((name) => device.startsWith(`${name}.`));
      return isAbove ? [stanza === device ? device : word] : [];
    });
    return {
      // An interface that was never brought up makes ifdown fail, and that is fine. It does not wait for udhcpc, which
      // may end without taking its lease off. Link-local addresses stay: the kernel makes them only when a link comes up.
      before: [
        ...[...aliases, ...new Set(names.flatMap((name) => [asBefore(name), name])), ...gone].map((name) =>
          run('ifdown', name, 'ignore'),
        ),
        // A router may advertise at any time: what it has brought must not come again at once.
        ...facts.interfaces.filter(({ nic }) => isLeased(nic.name)).map(listenAsWanted),
        ...[...names, ...gone].filter(isFlushed).map((name): Action => {
          return { type: 'run', argv: ['ip', 'addr', 'flush', 'dev', name, 'scope', 'global'], onFailure: 'ignore' };
        }),
      ],
      files: [...retireElsewhere(facts, names), ...writeIfChanged(facts, MAIN, mainFile(facts, names), 0o644)],
      after: [...names, ...above].map((name) => run('ifup', name, 'report')),
      restore: [...inOrderOf(upIn(facts), touched.filter(isKnown)).map(asBefore), ...above].map((name) =>
        run('ifup', name, 'ignore'),
      ),
    };
  },

  checks(facts, changes) {
    const { files, present, interfaces } = facts;
    const { read } = followSources(files, MAIN, isClassic(present));
    if (!changes.some(({ path }) => read.includes(path))) return [];
    const names = interfaces.map(({ nic }) => nic.name);
    const texts = read.map((path) => [path, withSourcesIn('{folder}', files.get(path) ?? '')] as const);
    return checkersOf(facts, `{folder}${MAIN}`, names).map((argv) => ({ argv, files: new Map(texts) }));
  },

  boot({ files, present }, nic) {
    const { read } = followSources(files, MAIN, isClassic(present));
    return readIfupdown(
      files,
      read,
      nic,
      excludes(files, { isClassic: isClassic(present), isSystemd: isSystemd({ present }) }),
    );
  },
};

/** What ifup has brought up, as in `eth0=office`; ifupdown-ng counts after it how often. */
function upIn({ files }: Pick<NetworkFacts, 'files'>, ...states: readonly string[]): readonly string[] {
  const lines = (states.length > 0 ? states : STATES).flatMap((state) => (files.get(state) ?? '').split('\n'));
  return lines.map((line) => line.split(' ', 1)[0] ?? '');
}

/** What was up comes up again in the order in which it did: the first address of a network is the primary one. */
function inOrderOf(up: readonly string[], names: readonly string[]): readonly string[] {
  const place = (name: string): number => up.findIndex((word) => word.split('=', 1)[0] === name);
  const wasUp = names.filter((name) => place(name) >= 0).sort((one, other) => place(one) - place(other));
  return [...wasUp, ...names.filter((name) => place(name) < 0)];
}

/** The programs of the three makes that read the file and act on nothing; busybox takes one interface at a time. */
function checkersOf(facts: NetworkFacts, main: string, names: readonly string[]): readonly Argv[] {
  if (isBusybox(facts)) return names.map((name) => ['ifup', '-n', '-m', '-f', '-i', main, name]);
  if (!isClassic(facts.present)) return [['ifquery', '-i', main, ...names]];
  const dry = ['--no-act', '--no-mappings', '--no-scripts', '--force'];
  return [['ifup', ...dry, '--interfaces', main, ...names]];
}

/** With what `source` lines name below `folder`; what is relative to the file stays so. */
function withSourcesIn(folder: string, text: string): string {
  return text.replace(/^\s*source(?:-dir\S*)?\s.*$/gm, (line) => line.replace(/(?<=\s)(?=\/)/g, folder));
}

function isBusybox({ present }: NetworkFacts): boolean {
  return [...present].some((path) => path.endsWith('/busybox'));
}

function mainFile(facts: NetworkFacts, names: readonly string[]): string {
  const kept = retire(withEmptyBlock(facts.files.get(MAIN) ?? ''), names);
  const loopback = [kept, ...parts(facts).map(([, text]) => text)].some((text) => /^\s*iface\s+lo\b/m.test(text));
  const stanzas = [...(loopback ? [] : ['auto lo\niface lo inet loopback\n']), ...facts.interfaces.map(stanzasOf)];
  return withBlock(kept, stanzas.join('\n'), placeFor(kept, names));
}

/**
 * Where the first line stands that brought one of our devices up: `ifup -a` goes by the order of these, and another device
 * may need a route of ours. Without any, the end.
 */
function placeFor(kept: string, names: readonly string[]): number {
  const lines = kept.split('\n');
  const retiredUp = (line: string): boolean => {
    const [word = '', ...rest] = line.startsWith(RETIRED) ? line.slice(RETIRED.length).trim().split(/\s+/) : [];
    return isUp(word) && rest.some((name) => names.includes(deviceOf(name)));
  };
  const first = lines.findIndex(retiredUp);
  if (first < 0) return kept.length;
  // What was on one line with the loopback comes behind it.
  const place = /^\s*(?:auto|allow-\S+)\s(?:.*\s)?lo(?:\s|$)/.test(lines[first + 1] ?? '') ? first + 2 : first;
  return lines.slice(0, place).reduce((length, line) => length + line.length + 1, 0);
}

function retireElsewhere(facts: NetworkFacts, names: readonly string[]): readonly FileChange[] {
  return parts(facts).flatMap(([path, text]) => writeIfChanged(facts, path, retire(text, names), 0o644));
}

/** Debian's own; the others are one program with several names. */
function isClassic(present: ReadonlySet<string>): boolean {
  return ![...present].some((path) => /\/(?:busybox|ifupdown|ifupdown-ng)$/.test(path));
}

/** What `source` lines lead to, and what stands in the usual folders even when no line does. */
function parts({
  files,
  present,
}: Pick<NetworkFacts, 'files' | 'present'>): readonly (readonly [path: string, text: string])[] {
  const sourced = new Set(followSources(files, MAIN, isClassic(present)).read);
  const isPart = (path: string): boolean => sourced.has(path) || PARTS.some((folder) => path.startsWith(folder));
  return [...files].filter(([path]) => path !== MAIN && isPart(path));
}

/** An address would not last on a port of a bridge, nor where a pattern gives the device another definition. */
function refuseRivals({ files, present }: NetworkFacts, names: readonly string[]): void {
  const { read, unknown } = followSources(files, MAIN, isClassic(present));
  if (unknown !== null) {
    const why = `following a "source" line to its files (${unknown.path}, line ${unknown.line})`;
    throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['ifupdown', why]);
  }
  for (const path of read) {
    const rival = rivalIn(path, files.get(path) ?? '', names, isClassic(present));
    if (rival === null) continue;
    const { device, what, line } = rival;
    const why = `an address on ${device}, which is ${what} (${path}, line ${line})`;
    const master = /^a port of (.*)/.exec(what)?.[1];
    const where = master === undefined ? '' : `: it belongs on ${master}`;
    throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['ifupdown', why + where]);
  }
}

/** The words of `auto` and `allow-*`. */
function wordsOf(text: string): readonly string[] {
  return [...logicalLines(text)].flatMap(({ words: [word = '', ...rest] }) => (isUp(word) ? rest : []));
}

/** Devices and aliases with a stanza of their own name, or of another that `auto` gives them. */
function definedIn(text: string): readonly string[] {
  const logical = wordsOf(text).flatMap((word) => (word.includes('=') ? [word.split('=', 1)[0] ?? ''] : []));
  const names = [...[...text.matchAll(/^\s*(?:iface|interface)\s+(\S+)/gm)].map(([, name = '']) => name), ...logical];
  return [...new Set(names)].filter((name) => name !== 'lo');
}

/**
 * Comments out what `text` says of the interfaces `names` and of their aliases. Of a line that names others too, ours get
 * one of their own: without it, who takes the marks off would have the stanza and nothing that brings it up.
 */
function retire(text: string, names: readonly string[]): string {
  const isOurs = (word: string): boolean => names.includes(deviceOf(word));
  const all = joinedLines(text);
  let inOurs = false;
  return all
    .flatMap((lines, index) => {
      const [first = ''] = lines;
      const retired = commentedOut(lines);
      if (!KEYWORD.test(first)) return inOurs && !first.trimStart().startsWith('#') ? retired : lines;
      const [word = '', ...rest] = lines
        .map((line) => line.replace(/\\$/, ''))
        .join(' ')
        .trim()
        .split(/\s+/);
      const isStanza = word === 'iface' || word === 'interface';
      const others = rest.filter((name) => !isOurs(name));
      // ifupdown-ng takes options after `auto` too.
      inOurs = isStanza || isUp(word) ? isOurs(rest[0] ?? '') : word === 'mapping' && others.length === 0;
      if (isStanza) return inOurs ? retired : lines;
      if ((word !== 'mapping' && !isUp(word)) || others.length === rest.length) return lines;
      if (others.length === 0) return retired;
      const own = [`${word} ${rest.filter(isOurs).join(' ')}`, ...(word === 'mapping' ? bodyAfter(all, index) : [])];
      return [...commentedOut(own), `${word} ${others.join(' ')}`];
    })
    .join('\n');
}

function commentedOut(lines: readonly string[]): readonly string[] {
  return lines.map((line) => (line.trim() === '' ? line : RETIRED + line));
}

/** The lines of the stanza whose first one has that index. */
function bodyAfter(all: readonly (readonly string[])[], index: number): readonly string[] {
  const next = all.findIndex(([first = ''], at) => at > index && KEYWORD.test(first));
  const body = all.slice(index + 1, next < 0 ? undefined : next).flat();
  return body.filter((line) => line.trim() !== '' && !line.trimStart().startsWith('#'));
}

/** The lines of `text`, each with those that a backslash joins to it; a comment goes on in none. */
function joinedLines(text: string): readonly (readonly string[])[] {
  const all: string[][] = [];
  let continued = false;
  for (const line of text.split('\n')) {
    const last = all.at(-1);
    if (continued && last !== undefined) last.push(line);
    else all.push([line]);
    continued = line.endsWith('\\') && (continued || !line.trimStart().startsWith('#'));
  }
  return all;
}

function stanzasOf(config: InterfaceConfig): string {
  const { nic, label } = config;
  const comment = label === null ? '' : commentText(label);
  const head = [...(comment === '' ? [] : [`# Label ${comment}`]), `auto ${nic.name}`];
  const stanzas = [stanza4(config), stanza6(config)].filter((stanza) => stanza !== null);
  if (stanzas.length === 0) stanzas.push([`iface ${nic.name} inet manual`, ...device(config)]);
  const text = stanzas.map(([first, ...lines]) => [first, ...lines.map((line) => `    ${line}`)].join('\n'));
  return `${[...head, text.join('\n\n')].join('\n')}\n`;
}

type Lines = readonly string[];

function stanza4(config: InterfaceConfig): Lines | null {
  const { nic, ipv4, dhcp4 } = config;
  const [first, ...more] = ipv4;
  if (first === undefined && !dhcp4) return null;
  const further = dhcp4 ? ipv4 : more;
  return [
    `iface ${nic.name} inet ${dhcp4 ? 'dhcp' : 'static'}`,
    ...(first === undefined || dhcp4 ? [] : [`address ${first.address}`, `netmask ${dottedMask(first.prefix)}`]),
    ...plainGateway(config),
    ...dnsLines(config),
    ...device(config),
    ...further.flatMap((address) => addressLines(nic.name, address)),
    ...routeLines(config, 4),
  ];
}

function stanza6(config: InterfaceConfig): Lines | null {
  const { nic, ipv6, auto6 } = config;
  const [first, ...more] = ipv6;
  const alone = config.ipv4.length === 0 && !config.dhcp4;
  const rest = (further: readonly Address[]): Lines => [
    ...(alone ? [...dnsLines(config), ...device(config)] : []),
    ...further.flatMap((address) => addressLines(nic.name, address)),
    ...routeLines(config, 6),
  ];
  if (auto6 === 'dhcp') return [`iface ${nic.name} inet6 dhcp`, ...rest(ipv6)];
  // `auto` is unknown to busybox; the kernel does the rest where its keys allow it.
  if (auto6 === 'ra') return [`iface ${nic.name} inet6 manual`, ...rest(ipv6)];
  if (first === undefined) return null;
  return [`iface ${nic.name} inet6 static`, `address ${first.address}`, `netmask ${first.prefix}`, ...rest(more)];
}

function dnsLines({ dns }: InterfaceConfig): Lines {
  return dns.length === 0 ? [] : [`dns-nameservers ${dns.join(' ')}`];
}

/**
 * What is the device's own, in its first stanza. Router advertisements would add addresses and routes that nobody asked
 * for, also where there is no IPv6 stanza.
 */
function device(config: InterfaceConfig): Lines {
  const { nic, mtu } = config;
  return [
    ...advertisementCommands(listenAsWanted(config)).map((command) => `pre-up ${command} || true`),
    ...(mtu === null ? [] : [`pre-up ip link set dev ${nic.name} mtu ${mtu} || true`]),
  ];
}

function addressLines(name: string, { address, prefix }: Address): Lines {
  const what = `${address}/${prefix} dev ${name}`;
  const ip = `ip -${familyOf(address)} addr`;
  return [`post-up ${ip} add ${what} || true`, `pre-down ${ip} del ${what} || true`];
}

/** The keyword is for a gateway in the subnet of the stanza's own address: busybox and ifupdown-ng take no other. */
function plainGateway(config: InterfaceConfig): Lines {
  return firstNetworkHasGateway(config) && config.gateway4 !== null ? [`gateway ${config.gateway4}`] : [];
}

/** A gateway outside all subnets is reached over the link itself: a route to it comes first. */
function routeLines(config: InterfaceConfig, family: Family): Lines {
  const byKeyword = family === 4 && firstNetworkHasGateway(config);
  return ipRoutes(config, family, ({ prefix }) => byKeyword && prefix === 0).flatMap((route) => [
    `post-up ip -${family} route replace ${route} || true`,
    `pre-down ip -${family} route del ${route} || true`,
  ]);
}
