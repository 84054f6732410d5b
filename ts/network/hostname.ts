/** The machine's name: where each system keeps it, and what it may be. */
import type { FileChange } from '../api/host.js';
import { type Action, type NamingPlan, type NetworkFacts, wantedAddresses, writeIfChanged } from './plan.js';
import { hostsFile, withoutGone } from './hosts.js';
import { readShellFile, setShellKey } from './formats/shell-file.js';

/** RFC 1123 section 2.1; the kernel takes 64 bytes (HOST_NAME_MAX). */
const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i;
const KERNEL_LIMIT = 64;

const FREEBSD = '/bin/freebsd-version';
const FREEBSD_CONF = '/etc/rc.conf';
const OPENRC_CONF = '/etc/conf.d/hostname';
/** Red Hat's before systemd. */
const SYSCONFIG = '/etc/sysconfig/network';
/** Slackware's, and SUSE's before systemd. */
const UPPER_CASE = '/etc/HOSTNAME';
const HOSTNAMECTL = '/usr/bin/hostnamectl';
/** hostnamectl asks systemd-hostnamed over it. */
const SYSTEM_BUS = '/run/dbus/system_bus_socket';

export const HOSTS = '/etc/hosts';
export const NAMING_FILES = ['/etc/hostname', HOSTS, FREEBSD_CONF, OPENRC_CONF, SYSCONFIG, UPPER_CASE] as const;
export const NAMING_ASKS = [FREEBSD, HOSTNAMECTL, SYSTEM_BUS, UPPER_CASE] as const;

/** What is wrong with a host name, or null. */
export function hostnameProblem(name: string): string | null {
  if (name === '') return 'it is empty';
  if (name.length > 253) return `it has ${name.length} characters, and 253 is the limit`;
  if (name.toLowerCase() === 'localhost') return 'localhost names every machine';
  const bad = name.split('.').find((label) => !LABEL.test(label));
  return bad === undefined ? null : `'${bad.slice(0, 70)}' is not a label of 1 to 63 letters, digits and inner hyphens`;
}

/** What the kernel is told: a name that is too long for it is cut to its first label. */
export function liveHostname(name: string): string {
  return name.length <= KERNEL_LIMIT ? name : (name.split('.', 1)[0] ?? name);
}

export interface Naming extends NamingPlan {
  readonly files: readonly FileChange[];
}

/**
 * Gives the machine the name that the host wants, if it wants one, and takes its lines of addresses that are `gone` out
 * of /etc/hosts either way.
 */
export function decideHostname(facts: NetworkFacts, gone: ReadonlySet<string> = new Set()): Naming {
  const { hostname, currentHostname, present } = facts;
  if (hostname === null) return { files: hostsChange(facts, gone), after: [], restore: [] };
  const files = [...nameFiles(facts, hostname), ...hostsChange(facts, gone)];
  const live = liveHostname(hostname);
  if (live === currentHostname) return { files, after: [], restore: [] };
  // systemd-hostnamed tells others of the change; where it cannot be asked the kernel is told all the same.
  const byService = present.has(HOSTNAMECTL) && present.has(SYSTEM_BUS);
  const set = (name: string): readonly Action[] => [
    ...(byService
      ? ([{ type: 'run', argv: [HOSTNAMECTL, 'set-hostname', name], onFailure: 'ignore' }] satisfies Action[])
      : []),
    { type: 'set-hostname', hostname: liveHostname(name) },
  ];
  // Back to the old name in the kernel only: hostnamectl would write it to files that never held it.
  return { files, after: set(hostname), restore: [{ type: 'set-hostname', hostname: currentHostname }] };
}

/** Every file of this system that holds the name; one at least. */
function nameFiles(facts: NetworkFacts, name: string): readonly FileChange[] {
  const { files, present } = facts;
  const byKey = (path: string, key: string): readonly FileChange[] =>
    writeIfChanged(facts, path, setShellKey(files.get(path) ?? '', key, name), 0o644);
  if (present.has(FREEBSD)) return byKey(FREEBSD_CONF, 'hostname');
  const changes: FileChange[] = [];
  if (files.has(OPENRC_CONF)) changes.push(...byKey(OPENRC_CONF, 'hostname'));
  // Later SUSEs have a link there, to the file below.
  const upperCase = files.has(UPPER_CASE) && !present.has('/etc/hostname');
  if (upperCase) changes.push(...writeIfChanged(facts, UPPER_CASE, `${name}\n`, 0o644));
  const inSysconfig = readShellFile(files.get(SYSCONFIG) ?? '').has('HOSTNAME');
  if (inSysconfig) changes.push(...writeIfChanged(facts, SYSCONFIG, inNetwork(facts, name), 0o644));
  // Where another file is the system's own, this one is written only if somebody made it.
  const elsewhere = files.has(OPENRC_CONF) || upperCase || inSysconfig;
  if (files.has('/etc/hostname') || !elsewhere) {
    changes.push(...writeIfChanged(facts, '/etc/hostname', hostnameFile(files.get('/etc/hostname'), name), 0o644));
  }
  return changes;
}

function inNetwork({ files }: NetworkFacts, name: string): string {
  return setShellKey(files.get(SYSCONFIG) ?? '', 'HOSTNAME', name, 'none');
}

/** `/etc/hostname`, hostname(5): comment lines at the top stay. */
export function hostnameFile(text: string | undefined, name: string): string {
  const comments = (text ?? '').split('\n').filter((line) => line.startsWith('#'));
  return `${[...comments, name].join('\n')}\n`;
}

function hostsChange(facts: NetworkFacts, gone: ReadonlySet<string>): readonly FileChange[] {
  const { hostname, currentHostname, files } = facts;
  const hosts = files.get(HOSTS);
  if (hostname === null && hosts === undefined) return [];
  const hostnames = hostname === null ? [currentHostname] : [hostname, currentHostname];
  const rest = withoutGone(hosts ?? '', hostnames, gone);
  const text = hostname === null ? rest : hostsFile(rest, hostname, currentHostname, wantedAddresses(facts));
  return writeIfChanged(facts, HOSTS, text, 0o644);
}
