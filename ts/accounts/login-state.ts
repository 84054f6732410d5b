/** What keeps a user from logging in though the password or the key is right. */
import { lineOf } from './shadow.js';

/** Facts about an account that is there. */
export interface LoginFacts {
  readonly uid: number;
  /** The line of the shadow file, or of the user's file of tcb(5). */
  readonly shadow: string | null;
  /** The line of FreeBSD's master.passwd. */
  readonly master: string | null;
  /** As passwd(5) has it; empty for /bin/sh. */
  readonly shell: string;
  /** Of what stands there: null when nothing does. */
  readonly shellMode: number | 'unknown' | null;
  /** The file that keeps everybody but root out while it is there, nologin(5); null when there is none. */
  readonly nologin: string | null;
  /** Milliseconds since 1970. */
  readonly now: number;
}

export const NOLOGIN_FILES = ['/run/nologin', '/var/run/nologin', '/etc/nologin'];
const DAY = 86_400_000;
const EXECUTE = 0o111;
/** Fields of the shadow file and of master.passwd. */
const [CHANGED, MAX, INACTIVE, EXPIRES, MASTER_EXPIRES] = [2, 4, 6, 7, 6];
const NO_SHELLS = /\/(?:nologin|false|true|sync)$/;

/** In words for a message, one for each reason; both empty when nothing is in the way. */
export interface LoginObstacles {
  /** Why no login begins. */
  readonly refused: readonly string[];
  /** What happens to one that begins. */
  readonly remarks: readonly string[];
}

export function loginObstacles(facts: LoginFacts): LoginObstacles {
  const ageing = whyTooOld(facts);
  const shell = facts.shell === '' ? '/bin/sh' : facts.shell;
  const ends = NO_SHELLS.test(shell);
  return {
    refused: [
      ...whyExpired(facts),
      ...(ends ? [] : whyNoShell(shell, facts.shellMode)),
      ...(facts.nologin === null || facts.uid === 0 ? [] : [`${facts.nologin} keeps everybody but root out`]),
    ],
    remarks: [...ageing, ...(ends ? [`the user's shell ${shell} ends every login`] : [])],
  };
}

/** Rules of pam_unix(8) and, for FreeBSD, passwd(5). */
function whyExpired({ shadow, master, now }: LoginFacts): readonly string[] {
  const expires = master === null ? number(shadow, EXPIRES) : number(master, MASTER_EXPIRES);
  // Of FreeBSD 0 is none; the shadow file has no number for none.
  if (expires === null || (master !== null && expires === 0)) return [];
  const time = master === null ? expires * DAY : expires * 1000;
  return now >= time ? [`the account expired on ${dateOf(time)}`] : [];
}

function whyTooOld({ shadow, now }: LoginFacts): readonly string[] {
  const [changed, max, inactive] = [CHANGED, MAX, INACTIVE].map((index) => number(shadow, index));
  if (typeof changed !== 'number') return [];
  if (changed === 0) return ['a login asks for a new password at once'];
  const age = Math.floor(now / DAY) - changed;
  if (typeof max !== 'number' || age <= max) return [];
  const over = typeof inactive === 'number' && age > max + inactive;
  return [
    over
      ? 'its password expired, and the days of grace are over'
      : 'its password is too old, so a login asks for a new one',
  ];
}

function whyNoShell(path: string, mode: LoginFacts['shellMode']): readonly string[] {
  if (mode === 'unknown') return [];
  if (mode === null) return [`the user's shell ${path} does not exist`];
  return (mode & EXECUTE) === 0 ? [`the user's shell ${path} cannot be run`] : [];
}

/** A field of a line, of those with a number in them. */
function number(line: string | null, index: number): number | null {
  const text = line?.split(':')[index] ?? '';
  return /^\d+$/.test(text) ? Number(text) : null;
}

/** Such as 2026-11-24, in UTC. */
function dateOf(time: number): string {
  return new Date(time).toISOString().slice(0, 10);
}

/** The user's shell by the text of passwd(5); null when the user is not in it. */
export function shellOf(passwd: string | null, user: string): string | null {
  return lineOf('passwd', passwd, user)?.split(':')[6]?.trim() ?? null;
}
