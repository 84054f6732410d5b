/**
 * `/etc/network/interfaces`, read by ifup(8): interfaces(5) of ifupdown, ifupdown-ng and busybox.
 *
 * One form is right for all three: `address` and `netmask` on lines of their own (busybox takes no prefix), one stanza a
 * family, and everything else as `post-up ip ...` (further addresses, routes, gateways outside the subnet; ifupdown-ng
 * and busybox set no on-link flag) and as writes to /proc (ifupdown-ng ignores `accept_ra`). Ours stands in a marked
 * block of the main file. Stanzas of the same interfaces elsewhere are commented out, the rest is kept byte for byte.
 */
import type { FileChange } from '../../api/host.js';
import { type Address, dottedMask, familyOf, needsOnLink, networkOf } from '../address.js';
import {
  type Action,
  type InterfaceConfig,
  type NetworkFacts,
  type Renderer,
  commentText,
  writeIfChanged,
} from '../plan.js';

const MAIN = '/etc/network/interfaces';
const PARTS = '/etc/network/interfaces.d/';
const STATE = '/run/network/ifstate';
const BEGIN = '# BEGIN guestwire: written by the guest agent, changes inside are lost';
const END = '# END guestwire';
const RETIRED = '#guestwire# ';
/** Words that start a stanza or stand alone; every other line belongs to the stanza above it. */
const KEYWORD = /^\s*(auto|allow-\S+|iface|mapping|template|source|source-directory|no-auto-down|no-scripts|rename)\b/;

export const ifupdown: Renderer = {
  name: 'ifupdown',
  looksFor: `ifupdown (${MAIN} and /sbin/ifup)`,
  reads: [MAIN, `${PARTS}*`, STATE],
  programs: ['/sbin/ifup', '/usr/sbin/ifup'],

  detect({ files, programs, interfaces }) {
    if (!this.programs.some((program) => programs.has(program)) || !files.has(MAIN)) return null;
    const up = (files.get(STATE) ?? '').split('\n').map((line) => line.split('=', 1)[0]);
    return interfaces.some(({ nic }) => up.includes(nic.name)) ? 'owner' : 'present';
  },

  render(facts) {
    const names = facts.interfaces.map(({ nic }) => nic.name);
    // What ifdown has forgotten, after a failure half way, is there all the same. busybox knows no long options, and
    // classic ifupdown no short one.
    const force = [...facts.programs].some((path) => path.endsWith('/busybox')) ? '-f' : '--force';
    const run = (program: string, name: string, onFailure: 'ignore' | 'report'): Action => ({
      type: 'run',
      argv: program === 'ifdown' ? [program, force, name] : [program, name],
      onFailure,
    });
    // ifup would never hear of an interface again that our block named and the host no longer does.
    const old = definedIn([...facts.files.values()].join('\n'));
    const gone = definedIn(block(facts.files.get(MAIN) ?? '')).filter((name) => !names.includes(name));
    const touched = [...names, ...gone];
    return {
      // An interface that was never brought up makes ifdown fail, and that is fine.
      before: touched.map((name) => run('ifdown', name, 'ignore')),
      files: [...retireElsewhere(facts, names), ...writeIfChanged(facts, MAIN, mainFile(facts, names), 0o644)],
      after: names.map((name) => run('ifup', name, 'report')),
      restore: touched.filter((name) => old.includes(name)).map((name) => run('ifup', name, 'ignore')),
    };
  },
};

function mainFile(facts: NetworkFacts, names: readonly string[]): string {
  const foreign = withoutBlock(facts.files.get(MAIN) ?? '');
  const kept = retire(foreign, names);
  const loopback = [kept, ...parts(facts).map(([, text]) => text)].some((text) => /^\s*iface\s+lo\b/m.test(text));
  const stanzas = [...(loopback ? [] : ['auto lo\niface lo inet loopback\n']), ...facts.interfaces.map(stanzasOf)];
  const above = kept === '' ? '' : `${kept.endsWith('\n') ? kept : `${kept}\n`}\n`;
  return `${above}${BEGIN}\n${stanzas.join('\n')}${END}\n`;
}

function retireElsewhere(facts: NetworkFacts, names: readonly string[]): readonly FileChange[] {
  return parts(facts).flatMap(([path, text]) => writeIfChanged(facts, path, retire(text, names), 0o644));
}

/** run-parts' rule for `source-directory`, and what a `source` pattern meets too. */
function parts(facts: NetworkFacts): readonly (readonly [path: string, text: string])[] {
  return [...facts.files].filter(([path]) => path.startsWith(PARTS));
}

function definedIn(text: string): readonly string[] {
  const names = [...text.matchAll(/^\s*iface\s+(\S+)/gm)].map(([, name = '']) => name);
  return [...new Set(names)].filter((name) => name !== 'lo');
}

function block(text: string): string {
  const begin = text.indexOf(BEGIN);
  return begin < 0 ? '' : text.slice(begin, text.indexOf(END, begin));
}

/** Also takes the blank line before it, which {@link mainFile} puts there. */
function withoutBlock(text: string): string {
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END, begin);
  if (begin < 0 || end < 0) return text;
  const before = text.slice(0, begin).replace(/\n\n$/, '\n');
  return before + text.slice(end + END.length).replace(/^\n/, '');
}

/** Comments out what `text` says of the interfaces `names`. */
function retire(text: string, names: readonly string[]): string {
  let inOurs = false;
  let continued = false;
  return text
    .split('\n')
    .map((line) => {
      const isKeyword = !continued && KEYWORD.test(line);
      const isText = line.trim() !== '' && !line.trimStart().startsWith('#');
      continued = isText && line.endsWith('\\');
      if (!isKeyword) return inOurs && isText ? RETIRED + line : line;
      const [word = '', ...rest] = line.trim().split(/\s+/);
      inOurs = word === 'iface' && names.includes(rest[0] ?? '');
      if (inOurs) return RETIRED + line;
      if (word !== 'auto' && !word.startsWith('allow-')) return line;
      const others = rest.filter((name) => !names.includes(name));
      if (others.length === rest.length) return line;
      return others.length === 0 ? RETIRED + line : `${word} ${others.join(' ')}`;
    })
    .join('\n');
}

function stanzasOf(config: InterfaceConfig): string {
  const { nic, label } = config;
  const comment = label === null ? '' : commentText(label);
  const head = [...(comment === '' ? [] : [`# Label ${comment}`]), `auto ${nic.name}`];
  const [first4, ...more4] = config.ipv4;
  const [first6, ...more6] = config.ipv6;
  const quiet = noAutoconfiguration(nic.name);
  const stanzas: (readonly string[])[] = [];
  if (first4 !== undefined) {
    stanzas.push([
      `iface ${nic.name} inet static`,
      `address ${first4.address}`,
      `netmask ${dottedMask(first4.prefix)}`,
      ...gateway(config, config.gateway4, config.ipv4),
      ...dnsLines(config),
      ...(first6 === undefined ? quiet : []),
      ...more4.flatMap((address) => addressLines(nic.name, address)),
      ...routeLines(config, 4),
    ]);
  }
  if (first6 !== undefined) {
    stanzas.push([
      `iface ${nic.name} inet6 static`,
      `address ${first6.address}`,
      `netmask ${first6.prefix}`,
      ...(first4 === undefined ? dnsLines(config) : []),
      ...quiet,
      ...more6.flatMap((address) => addressLines(nic.name, address)),
      ...gateway(config, config.gateway6, config.ipv6),
      ...routeLines(config, 6),
    ]);
  }
  if (stanzas.length === 0) stanzas.push([`iface ${nic.name} inet manual`, ...quiet]);
  const text = stanzas.map(([first, ...lines]) => [first, ...lines.map((line) => `    ${line}`)].join('\n'));
  return `${[...head, text.join('\n\n')].join('\n')}\n`;
}

function dnsLines({ dns }: InterfaceConfig): readonly string[] {
  return dns.length === 0 ? [] : [`dns-nameservers ${dns.join(' ')}`];
}

/** Router advertisements would add addresses and routes that nobody asked for, also where there is no IPv6 stanza. */
function noAutoconfiguration(name: string): readonly string[] {
  return ['accept_ra', 'autoconf'].map((key) => `pre-up echo 0 > /proc/sys/net/ipv6/conf/${name}/${key} || true`);
}

function addressLines(name: string, { address, prefix }: Address): readonly string[] {
  const what = `${address}/${prefix} dev ${name}`;
  const ip = `ip -${familyOf(address)} addr`;
  return [`post-up ${ip} add ${what} || true`, `pre-down ${ip} del ${what} || true`];
}

function gateway(config: InterfaceConfig, via: string | null, own: readonly Address[]): readonly string[] {
  if (via === null) return [];
  const { name } = config.nic;
  if (familyOf(via) === 4 && !needsOnLink(via, own)) return [`gateway ${via}`];
  return [...hostRoute(via, name, own), ...upAndDown(familyOf(via), `default via ${via} dev ${name}`)];
}

/** A gateway outside all subnets is reached over the link itself: a route to it comes first. */
function hostRoute(via: string, name: string, own: readonly Address[]): readonly string[] {
  if (!needsOnLink(via, own)) return [];
  const family = familyOf(via);
  return upAndDown(family, `${via}/${family === 4 ? 32 : 128} dev ${name}${family === 4 ? ' scope link' : ''}`);
}

function routeLines(config: InterfaceConfig, family: 4 | 6): readonly string[] {
  const own = family === 4 ? config.ipv4 : config.ipv6;
  const { name } = config.nic;
  return config.routes
    .filter(({ address }) => familyOf(address) === family)
    .flatMap((route) => {
      const via = route.gateway === null ? '' : ` via ${route.gateway}`;
      const metric = route.metric === null ? '' : ` metric ${route.metric}`;
      const target = `${networkOf(route)}/${route.prefix}`;
      return [
        ...(route.gateway === null ? [] : hostRoute(route.gateway, name, own)),
        ...upAndDown(family, `${target}${via} dev ${name}${metric}`),
      ];
    });
}

function upAndDown(family: 4 | 6, route: string): readonly string[] {
  return [`post-up ip -${family} route replace ${route} || true`, `pre-down ip -${family} route del ${route} || true`];
}
