import { isIP } from '../host/shared/runtime/address.js';

/** The options before a key of sshd(8)'s authorized_keys: which lines let nobody in, or not everywhere and for ever. */
export interface KeyOptions {
  /** Each option as it counts, name and value, in an order of their own: two lines with the same list mean the same. */
  readonly list: readonly string[];
  /** The key signs certificates; it is no key to log in with. */
  readonly authority: boolean;
  /** What makes sshd pass over the line; null when nothing does. */
  readonly wrong: string | null;
  /** An option that OpenSSH up to 9.9 does not know: such a sshd passes over the line. */
  readonly unknown: string | null;
  readonly from: boolean;
  readonly principals: boolean;
  /** The earliest expiry-time, milliseconds since 1970. */
  readonly expires: number | null;
}

/** Those that `no-` may stand before. */
const SWITCHES = [
  'agent-forwarding',
  'port-forwarding',
  'pty',
  'touch-required',
  'user-rc',
  'verify-required',
  'x11-forwarding',
];
const FLAGS = new Set(['cert-authority', 'restrict', ...SWITCHES, ...SWITCHES.map((name) => `no-${name}`)]);
const VALUED = new Set([
  'command',
  'environment',
  'expiry-time',
  'from',
  'permitlisten',
  'permitopen',
  'principals',
  'tunnel',
]);
const ONCE = new Set(['command', 'from', 'principals']);
const MAX_PORT = 65_535;
/** The two largest numbers mean `any` and an error. */
const MAX_TUNNEL = 0x7ffffffd;
/** Whether sshd takes a value; for the rest it takes any. */
const VALUES: readonly (readonly [name: string, accepts: (value: string) => boolean])[] = [
  ['environment', (value) => /^[A-Za-z0-9_]+=/.test(value)],
  ['tunnel', isTunnel],
  ['permitopen', (value) => isPermit(value, false)],
  ['permitlisten', (value) => isPermit(value, true)],
  ['from', isFrom],
];
/** A name and, in quotes in which `\"` is a quote, a value. */
const OPTION = /([A-Za-z0-9@._-]+)(?:="((?:[^"\\]|\\"|\\(?!"))*)")?/y;

export const NO_OPTIONS: KeyOptions = {
  list: [],
  authority: false,
  wrong: null,
  unknown: null,
  from: false,
  principals: false,
  expires: null,
};

/** Reads options as sshd's sshauthopt_parse() does; names in any case. */
export function parseOptions(text: string): KeyOptions {
  const values = new Map<string, string[]>();
  let wrong: string | null = null;
  let unknown: string | null = null;
  for (let at = 0; at < text.length && wrong === null;) {
    OPTION.lastIndex = at;
    const [whole = '', name = '', quoted] = OPTION.exec(text) ?? [];
    const key = name.toLowerCase();
    const end = at + whole.length;
    const known = quoted === undefined ? FLAGS.has(key) : VALUED.has(key);
    if (whole === '' || (end < text.length && text[end] !== ',')) wrong = 'options that are not of their form';
    else if (!known && (FLAGS.has(key) || VALUED.has(key))) wrong = `an option ${key} that is not of its form`;
    else if (!known) unknown ??= key;
    const value = (quoted ?? '').replaceAll('\\"', '"');
    const before = values.get(key);
    if (before === undefined) values.set(key, [value]);
    else before.push(value);
    if (end === text.length - 1) wrong ??= 'options that end in a comma';
    at = end + 1;
  }
  const times = (values.get('expiry-time') ?? []).map(parseTime);
  for (const name of ONCE) if ((values.get(name)?.length ?? 0) > 1) wrong ??= `the option ${name} more than once`;
  if (times.includes(null)) wrong ??= 'an expiry-time that is not a valid time';
  for (const [name, accepts] of VALUES) {
    if (values.get(name)?.some((value) => !accepts(value)) === true) wrong ??= `a value of ${name} that sshd refuses`;
  }
  const authority = values.has('cert-authority');
  if (values.has('principals') && !authority) wrong ??= 'the option principals without cert-authority';
  return {
    list: [...values].flatMap(([name, given]) => given.map((value) => `${name}=${value}`)).sort(),
    authority,
    wrong,
    unknown,
    from: values.has('from'),
    principals: values.has('principals'),
    expires: times.reduce<number | null>((first, time) => Math.min(first ?? Infinity, time ?? Infinity), null),
  };
}

/** As sshd's a2tun(): `any`, or a number of an interface. */
function isTunnel(value: string): boolean {
  return /^any$/i.test(value) || (/^\d{1,10}$/.test(value) && Number(value) <= MAX_TUNNEL);
}

/** As sshd's handle_permit(): a host and a port; to listen, a port alone will do. */
function isPermit(value: string, listens: boolean): boolean {
  const text = listens && !value.includes(':') ? `localhost:${value}` : value;
  const port = /^(?:\[[^\]]+\]|[^:/[\]]+):(\*|\d{1,5})$/.exec(text)?.[1];
  return port !== undefined && (port === '*' || (Number(port) > 0 && Number(port) <= MAX_PORT));
}

/** sshd refuses a line with an empty list, or with a length that does not fit the address before it. */
function isFrom(value: string): boolean {
  return value !== '' && value.split(',').every((entry) => isCidrOrPattern(entry.replace(/^!/, '')));
}

function isCidrOrPattern(entry: string): boolean {
  const [address = '', length] = entry.split('/');
  const family = isIP(address);
  if (length === undefined || family === 0) return true;
  return /^\d{1,3}$/.test(length) && Number(length) <= (family === 4 ? 32 : 128);
}

/** Whether two lines of one key mean the same. */
export function sameOptions(a: KeyOptions, b: KeyOptions): boolean {
  return a.list.length === b.list.length && a.list.every((option, index) => option === b.list[index]);
}

/** Whether sshd may ever refuse the key because of these: then it goes on to the next line of the key. */
export function mayKeepOut({ wrong, unknown, from, principals, expires }: KeyOptions): boolean {
  return wrong !== null || unknown !== null || from || principals || expires !== null;
}

/** Whether the time of the key is over at `now`, milliseconds since 1970. */
export function isExpired({ expires }: KeyOptions, now: number): boolean {
  return expires !== null && expires < Math.floor(now / 1000) * 1000;
}

/** What the options make sshd run in the place of what is asked for; null for nothing. */
export function forcedCommand({ list }: KeyOptions): string | null {
  return list.find((option) => option.startsWith('command=')) ?? null;
}

/**
 * YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS as milliseconds since 1970: with `Z` or `UTC` behind it in UTC, else in this
 * system's time zone. Null for what is none.
 */
function parseTime(text: string): number | null {
  const [, year, month, day, hour = '0', minute = '0', second = '0', zone] =
    /^(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(z|utc)?$/i.exec(text) ?? [];
  const parts = [year, month, day, hour, minute, second].map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const [y, m, d, h, min, s] = parts;
  if (parts.some(Number.isNaN) || m < 1 || m > 12 || d < 1 || d > 31 || h > 23 || min > 59 || s > 60) return null;
  const time = zone === undefined ? new Date(y, m - 1, d, h, min, s).getTime() : Date.UTC(y, m - 1, d, h, min, s);
  return time > 0 ? time : null;
}
