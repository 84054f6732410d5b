/** Values as people write them in a file, and as `guestwire config` prints them. An agent without a file needs none. */
import type { Kinds, Setting } from './settings.js';

/** A duration as people write it: `90s`, `10m`, `1.5h`, `250ms`; milliseconds, or null when it is none. */
export function parseDuration(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?) ?(ms|s|m|h)$/.exec(text.trim());
  if (match === null) return null;
  const [, amount = '', unit = ''] = match;
  const milliseconds = Number(amount) * ({ ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[unit] ?? Number.NaN);
  // Timers take no more than 2^31 - 1 milliseconds.
  return milliseconds >= 1 && milliseconds <= 2 ** 31 - 1 ? Math.round(milliseconds) : null;
}

/** The opposite of {@link parseDuration}, in the largest unit that comes out whole. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds % 3_600_000 === 0) return `${milliseconds / 3_600_000}h`;
  if (milliseconds % 60_000 === 0) return `${milliseconds / 60_000}m`;
  if (milliseconds % 1000 === 0) return `${milliseconds / 1000}s`;
  return `${milliseconds}ms`;
}

/** More would have to fit into memory several times. */
const LARGEST_SIZE = 256 * 1024 * 1024;

/** A size as people write it: `512KiB`, `16MiB`, `4096B`; bytes, or null when it is none. */
export function parseSize(text: string): number | null {
  const match = /^(\d+) ?(B|KiB|MiB)$/.exec(text.trim());
  if (match === null) return null;
  const [, amount = '', unit = ''] = match;
  const bytes = Number(amount) * ({ B: 1, KiB: 1024, MiB: 1024 * 1024 }[unit] ?? Number.NaN);
  return bytes <= LARGEST_SIZE ? bytes : null;
}

/** The opposite of {@link parseSize}, in the largest unit that comes out whole. */
export function formatSize(bytes: number): string {
  if (bytes > 0 && bytes % (1024 * 1024) === 0) return `${bytes / (1024 * 1024)}MiB`;
  if (bytes > 0 && bytes % 1024 === 0) return `${bytes / 1024}KiB`;
  return `${bytes}B`;
}

/** Permission bits as a configuration file has them: text, because TOML takes 0600 for an error and 600 for decimal. */
function formatMode(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}

const FORMATS: { readonly [K in keyof Kinds]?: (value: number) => string } = {
  duration: formatDuration,
  size: formatSize,
  mode: formatMode,
};

/** A value as a configuration file has it; null when there is none. */
export function asWritten({ kind }: Setting, value: unknown): unknown {
  return value === null ? null : (FORMATS[kind]?.(value as number) ?? value);
}
