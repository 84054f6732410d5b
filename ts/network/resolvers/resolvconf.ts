/**
 * resolvconf(8), in two makes. What `resolvconf -a` is told stands below /run and is gone at the next boot.
 *
 * - Debian's own has `/etc/resolvconf/resolv.conf.d/base`, whose servers follow those of interfaces. It writes only
 *   `/run/resolvconf/resolv.conf`: a plain `/etc/resolv.conf` is none of its business.
 * - openresolv has `name_servers` in `/etc/resolvconf.conf`, a shell's, before those of interfaces; the last assignment
 *   counts. It writes `/etc/resolv.conf` itself. Where that names a server on the machine itself, the others go to that.
 */
import type { FileChange } from '../../api/host.js';
import { blockOf, withBlock } from '../formats/block.js';
import { quoted, readShellFile } from '../formats/shell-file.js';
import { type NetworkFacts, writeIfChanged } from '../plan.js';
import { type Expected, type Maker, type OnDisk, RESOLV_CONF, serversIn } from './maker.js';
import { maskOf, notStarted } from '../units.js';

export const RESOLVCONF_PROGRAMS = ['/sbin/resolvconf', '/usr/sbin/resolvconf', '/usr/bin/resolvconf'] as const;
/** Where systemd's own resolvconf leads: it takes devices only and writes no resolv.conf. */
const RESOLVECTL = '/usr/bin/resolvectl';
const UNIT = 'resolvconf.service';
const ENABLED = [`/etc/systemd/system/sysinit.target.wants/${UNIT}`, '/etc/init/resolvconf.conf'] as const;
/** Of sysvinit, with any number. */
const INIT_LINKS = '/etc/rcS.d/*resolvconf';
const INIT_LINK = /^\/etc\/rcS\.d\/S\d+resolvconf$/;
/** What Debian's make runs after each change. */
const DEBIAN = '/etc/resolvconf/update.d/libc';
const PARTS = '/etc/resolvconf/resolv.conf.d/';
const [BASE, HEAD] = [`${PARTS}base`, `${PARTS}head`];
const SETTINGS = '/etc/resolvconf.conf';

export const resolvconf: Maker = {
  reads: [BASE, HEAD, SETTINGS, maskOf(UNIT), INIT_LINKS],
  asks: [...RESOLVCONF_PROGRAMS, DEBIAN, ...ENABLED],
  refresh: [{ type: 'run', argv: ['resolvconf', '-u'], onFailure: 'report' }],

  tell(facts, servers) {
    const debian = isDebian(facts);
    return [
      ...block(facts, BASE, debian ? servers.map((server) => `nameserver ${server}\n`).join('') : ''),
      ...block(facts, SETTINGS, debian || servers.length === 0 ? '' : nameServers(facts, servers)),
    ];
  },

  afterBoot(facts, told) {
    if (!isThere(facts)) return { unknown: `there is no resolvconf to make ${RESOLV_CONF}` };
    return isDebian(facts) ? debianAfterBoot(facts, told) : openAfterBoot(facts, told);
  },
};

/** Whether there is one that writes a resolv.conf. */
export function isThere({ present, files }: OnDisk): boolean {
  if (present.has(RESOLVECTL) || !RESOLVCONF_PROGRAMS.some((path) => present.has(path))) return false;
  return !/^(no|false|off|0)$/i.test(readShellFile(files.get(SETTINGS) ?? '').get('resolvconf') ?? '');
}

export function isDebian({ present }: OnDisk): boolean {
  return present.has(DEBIAN);
}

/** Of the machine itself. */
export function isLocal(server: string): boolean {
  return /^(127\.|::1$)/.test(server);
}

function block(facts: NetworkFacts, path: string, content: string): readonly FileChange[] {
  const text = facts.files.get(path) ?? '';
  return content === '' && blockOf(text) === '' ? [] : writeIfChanged(facts, path, withBlock(text, content), 0o644);
}

/** A server of the machine's own that somebody named stays the first: the others are for it to ask. */
function nameServers({ files }: NetworkFacts, servers: readonly string[]): string {
  const others = readShellFile(withBlock(files.get(SETTINGS) ?? '', '')).get('name_servers') ?? '';
  const local = others.split(/\s+/).filter(isLocal);
  return `name_servers=${quoted([...local, ...servers].join(' '), 'double')}\n`;
}

function debianAfterBoot(facts: NetworkFacts, told: readonly string[]): Expected {
  const links = [...facts.files.keys()].filter((path) => INIT_LINK.test(path));
  const unindented = (facts.files.get(BASE) ?? '').replaceAll(/^[ \t]+/gm, '');
  const problem = notStarted(facts, UNIT, [...ENABLED, ...links]);
  const base = problem === null ? serversIn(unindented) : [];
  // Each `resolvconf -a` brings resolv.conf up to date; the base alone does not.
  if (problem !== null && told.length === 0) return { unknown: problem };
  return { servers: [...serversIn(facts.files.get(HEAD) ?? ''), ...told, ...base] };
}

function openAfterBoot({ files, resolvConf }: NetworkFacts, told: readonly string[]): Expected {
  const settings = readShellFile(files.get(SETTINGS) ?? '');
  const target = settings.get('resolv_conf') ?? RESOLV_CONF;
  const leadsTo = resolvConf?.leadsTo ?? RESOLV_CONF;
  if (target !== RESOLV_CONF && target !== leadsTo) return { unknown: `resolvconf writes ${target} instead` };
  // It has no service of its own: what it wrote has to last until somebody tells it something.
  if (told.length === 0 && /^\/(var\/)?run\//.test(leadsTo)) {
    return { unknown: `nobody runs resolvconf at a boot, and ${RESOLV_CONF} leads to ${leadsTo}` };
  }
  const names = (settings.get('name_servers') ?? '').split(/\s+/).filter((server) => server !== '');
  return { servers: [...names, ...told] };
}
