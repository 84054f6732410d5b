/** Which units systemd starts at a boot. */
import type { NetworkFacts } from './plan.js';

/** Whether systemd starts the unit at a boot: null when it does, or why not. An empty file stands for a mask. */
export function notStarted(
  { files, present }: Pick<NetworkFacts, 'files' | 'present'>,
  unit: string,
  links: readonly string[],
): string | null {
  if (files.get(maskOf(unit)) === '') return `${unit} is masked`;
  return links.some((path) => present.has(path) || files.has(path)) ? null : `${unit} does not start at a boot`;
}

/** Where a unit's own file may lie. */
const UNITS = ['/etc', '/run', '/usr/local/lib', '/usr/lib', '/lib'].map((root) => `${root}/systemd/system/`);
/** Targets that each boot reaches. What only network-online.target wants starts where somebody waits for the network. */
const REACHED =
  /\/(?:basic|default|graphical|local-fs|multi-user|network|network-pre|sysinit)\.target\.(?:wants|requires)\//;
const INIT: readonly string[] = ['/sbin/init', '/usr/sbin/init'];
const SYSTEMD_PROGRAM = '/systemd/systemd';
/** A folder of a running system's. */
const SYSTEMD = '/run/systemd/system';
const INITTAB = '/etc/inittab';
const OPENRC = '/sbin/openrc';
/** Asked by this name it only tells that it is installed; where it is init, that leads to it, mostly below /usr. */
const INSTALLED = `/lib${SYSTEMD_PROGRAM}`;
/** For whoever asks {@link mayStart}. */
export const INIT_ASKS: readonly string[] = [...INIT, INSTALLED, SYSTEMD, INITTAB, OPENRC];
/** The second one is Red Hat's, which may be all that an image's scripts stand in. */
const SCRIPTS = ['/etc/init.d/', '/etc/rc.d/init.d/'] as const;

/** What {@link mayStart} looks at: the unit's files, what wants it, and the links of a script of System V's init. */
export function startFiles(unit: string): readonly string[] {
  return [
    ...UNITS.flatMap((folder) => [folder + unit, `${folder}*.wants/${unit}`, `${folder}*.requires/${unit}`]),
    ...SCRIPTS.map((folder) => folder + scriptOf(unit)),
    ...['/etc', '/etc/rc.d'].map((folder) => `${folder}/rc?.d/[KS][0-9][0-9]${scriptOf(unit)}`),
  ];
}

function scriptOf(unit: string): string {
  return unit.replace(/\.service$/, '').replace('NetworkManager', 'network-manager');
}

/**
 * The same where other inits may start it, too. False where it is masked, or where nothing starts it: systemd has a file of
 * the unit that says who would want it and no link of those, or a script of System V's init has no link that starts it.
 * null where that cannot be told.
 */
export function mayStart(
  facts: Pick<NetworkFacts, 'files' | 'present' | 'access'>,
  unit: string,
  links: readonly string[],
): boolean | null {
  const { files, present } = facts;
  if (notStarted(facts, unit, links) === null) return true;
  if (files.get(maskOf(unit)) === '') return false;
  const paths = [...files].filter(([path, text]) => path.endsWith(`/${unit}`) && text !== '').map(([path]) => path);
  const wanted = paths.filter((path) => /\.(?:wants|requires)\//.test(path));
  const own = UNITS.map((folder) => files.get(folder + unit)).find((text) => (text ?? '') !== '');
  // A package that was removed leaves its script behind, which is no program any more, and the links to it.
  const script = SCRIPTS.find((folder) => isExecutable(facts, folder + scriptOf(unit)));
  const isStart = /^\/etc\/(?:rc\.d\/)?rc[2-5S]\.d\/S\d\d(.*)$/;
  const starts = script !== undefined && [...files.keys()].some((path) => isStart.exec(path)?.[1] === scriptOf(unit));
  if (isSystemd(facts) && own !== undefined) {
    if (wanted.length > 0) return wanted.some((path) => REACHED.test(path)) ? true : null;
    return /^\s*(?:WantedBy|RequiredBy)\s*=/m.test(own) ? false : null;
  }
  // systemd's generator makes a unit of the script, which the links want as well.
  if (starts) return true;
  if (script === undefined || wanted.length > 0 || present.has(OPENRC)) return null;
  const isSystemV = present.has(INITTAB) && INIT.some((path) => present.has(path));
  return isSystemd(facts) || isSystemV || files.has(SCRIPTS[1] + scriptOf(unit)) ? false : null;
}

/** The instances of a template, such as `dhcpcd@eth0.service`, that systemd starts at a boot, also once their device is there. */
export function startedInstances(
  { files }: Pick<NetworkFacts, 'files'>,
  template: string,
): readonly { readonly unit: string; readonly instance: string }[] {
  const link = new RegExp(`/[^/]*\\.(?:wants|requires)/(${template}@([^/]+)\\.service)$`);
  return [...files].flatMap(([path, text]) => {
    const [, unit = '', escaped = ''] = link.exec(path) ?? [];
    const isReached = REACHED.test(path) || path.includes('.device.wants/');
    const isMasked = [unit, `${template}@.service`].some((one) => files.get(maskOf(one)) === '');
    if (unit === '' || text === '' || !isReached || isMasked) return [];
    // systemd-escape(1)
    const instance = escaped
      .replaceAll('-', '/')
      .replaceAll(/\\x([0-9a-f]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
    return [{ unit, instance }];
  });
}

/** Where its mode is not known, it counts as a program. */
export function isExecutable({ files, access }: Pick<NetworkFacts, 'files' | 'access'>, path: string): boolean {
  const found = access?.get(path);
  return files.has(path) && (found === undefined || (found !== 'mask' && (found.mode & 0o111) !== 0));
}

/**
 * Whether the `target` to which `path` leads tells something. Of init only systemd's does: busybox's would be taken for that
 * of another program of busybox's.
 */
export function isTelling(path: string, target: string): boolean {
  if (path === INSTALLED) return false;
  return !INIT.includes(path) || target.endsWith(SYSTEMD_PROGRAM);
}

/** Whether it is the machine's init, as far as that shows. */
export function isSystemd({ present }: Pick<NetworkFacts, 'present'>): boolean {
  if (present.has(SYSTEMD)) return true;
  if ([...present].some((path) => path !== INSTALLED && path.endsWith(SYSTEMD_PROGRAM))) return true;
  // Beside System V's init it may be installed, too; an image without any init has nothing else.
  const isOther = present.has(INITTAB) && INIT.some((path) => present.has(path));
  return present.has(INSTALLED) && !isOther;
}

/** A link to /dev/null there masks the unit. For `reads`. */
export function maskOf(unit: string): string {
  return `/etc/systemd/system/${unit}`;
}
