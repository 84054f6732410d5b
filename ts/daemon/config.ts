import { AgentError } from '../api/errors.js';
import type { TextFile } from '../host/system.js';

/** What the agent can be told, with every duration in milliseconds. */
export interface Config {
  readonly wires: {
    /** Names of the ways to the host, or `auto` for each that is there. */
    readonly use: readonly string[];
  };
  readonly stream: {
    /** Device of a port; null takes the QEMU guest agent's when it is there. */
    readonly path: string | null;
    /** Path of a unix socket to listen at; null for none. */
    readonly listen: string | null;
    /** Port of AF_VSOCK to listen at; null for none. */
    readonly 'vsock-port': number | null;
    /** Ports of the host that may connect: those that Linux gives to privileged programs, or any. */
    readonly 'vsock-peer-ports': 'privileged' | 'any';
    /** Bytes that a request may have. */
    readonly 'max-line': number;
    /** How long half a line is kept when no more of it comes. */
    readonly 'line-timeout': number;
  };
  readonly store: {
    /** Device or socket of the host's store; null looks for the guest's own. */
    readonly endpoint: string | null;
    /** Take every node under /local/domain/N; null for paths relative to the own domain. */
    readonly domain: number | null;
    /** How watch events reach JavaScript: docs/decisions/0001. */
    readonly poll: 'loop' | 'thread';
  };
  readonly log: {
    readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
    readonly format: 'auto' | 'json' | 'pretty';
  };
  readonly answers: {
    /** How long an answer stays in the store. */
    readonly keep: number;
  };
  readonly requests: {
    /** How often to look for requests whose event was lost. */
    readonly 'poll-interval': number;
  };
  readonly commands: {
    /** Which the host may use: names, or `*` for all. */
    readonly allow: readonly string[];
    /** Which it may not, even when allowed. */
    readonly deny: readonly string[];
  };
  readonly password: {
    /** Whose password the command sets when the request names nobody. */
    readonly user: string;
    /** Whom a request may name besides. */
    readonly users: readonly string[];
    /** What a new password does to a locked account. */
    readonly unlock: 'always' | 'never';
    /** Whether the 107-bit key exchange is taken, which anyone who sees it can break. */
    readonly 'weak-exchange': boolean;
    /** How long a key exchange stays good for a password. */
    readonly 'key-lifetime': number;
  };
  readonly files: {
    /** Paths that may be written: patterns, which cover what is below them. */
    readonly allow: readonly string[];
    /** Paths that may not, even when allowed. */
    readonly deny: readonly string[];
    /** Mode of a new file. */
    readonly mode: number;
    /** Bytes that a file may have. */
    readonly 'max-size': number;
    /** How many files that come in parts may be unfinished. */
    readonly uploads: number;
    /** How long such a file waits for its next part. */
    readonly 'upload-lifetime': number;
    /** How many changes of files can be looked up. */
    readonly backups: number;
    /** What becomes of a user's ssh keys when the host sends the file. */
    readonly 'authorized-keys': 'replace' | 'merge';
  };
  readonly hooks: {
    /** Where the programs are that run before and after commands. */
    readonly directory: string;
    /** How long all of one stage may take together. */
    readonly timeout: number;
  };
  readonly kms: {
    /** Organization for subscription-manager, when the request names none. */
    readonly org: string | null;
    /** How long a registration may take. */
    readonly timeout: number;
  };
  readonly plugins: {
    /** Folder of modules that add commands and wires. */
    readonly directory: string;
    /** How long one may take to be loaded and set up. */
    readonly 'load-timeout': number;
    /** How long one of their commands may take. */
    readonly 'command-timeout': number;
  };
  readonly scripts: {
    /** Folder of programs, each a command. */
    readonly directory: string;
    /** How long one may take. */
    readonly timeout: number;
  };
  readonly network: {
    /** How long the kernel may take to show what was configured. */
    readonly 'verify-timeout': number;
    /** How long the programs of each part of a reset may take together. */
    readonly 'program-timeout': number;
    /** How long a device that the host names may take to appear. */
    readonly 'device-timeout': number;
  };
  readonly update: {
    /** Where the versions lie, and the link to the one that is started. */
    readonly directory: string;
    /** Whose signature a manifest may have: public keys of minisign. */
    readonly keys: readonly string[];
    /** Whether an update has to come with a signed manifest. */
    readonly 'require-signature': boolean;
    /** Signed versions that may follow a higher one: names, or the beginning and `*`. */
    readonly 'allow-downgrade': readonly string[];
    /** Whether http:// is taken. */
    readonly http: boolean;
    /** Bytes that an archive may have; unpacked, four times as many. */
    readonly 'max-size': number;
    /** How long all transfers of an update may take together. */
    readonly timeout: number;
    /** How long a new version may take to tell its version. */
    readonly 'trial-timeout': number;
  };
  readonly state: {
    /** Journal and backups. */
    readonly directory: string;
  };
}

export const DEFAULTS: Config = {
  wires: { use: ['auto'] },
  stream: {
    path: null,
    listen: null,
    'vsock-port': null,
    'vsock-peer-ports': 'privileged',
    'max-line': 4 * 1024 * 1024,
    'line-timeout': 60_000,
  },
  store: { endpoint: null, domain: null, poll: 'loop' },
  log: { level: 'info', format: 'auto' },
  answers: { keep: 600_000 },
  requests: { 'poll-interval': 60_000 },
  commands: { allow: ['*'], deny: [] },
  password: { user: 'root', users: [], unlock: 'always', 'weak-exchange': true, 'key-lifetime': 300_000 },
  files: {
    allow: ['/'],
    deny: [],
    mode: 0o600,
    'max-size': 16 * 1024 * 1024,
    uploads: 4,
    'upload-lifetime': 3_600_000,
    backups: 10,
    'authorized-keys': 'replace',
  },
  hooks: { directory: '/etc/guestwire/hooks', timeout: 30_000 },
  kms: { org: null, timeout: 120_000 },
  plugins: { directory: '/etc/guestwire/plugins', 'load-timeout': 10_000, 'command-timeout': 60_000 },
  scripts: { directory: '/etc/guestwire/commands', timeout: 60_000 },
  network: { 'verify-timeout': 10_000, 'device-timeout': 5_000, 'program-timeout': 30_000 },
  update: {
    directory: '/usr/lib/guestwire',
    keys: [],
    'require-signature': false,
    'allow-downgrade': [],
    http: false,
    'max-size': 256 * 1024 * 1024,
    timeout: 600_000,
    'trial-timeout': 30_000,
  },
  state: { directory: '/var/lib/guestwire' },
};

export interface LoadedConfig {
  readonly config: Config;
  /** Where each key came from, such as `log.level` → `/etc/guestwire/guestwire.toml:4`, `default` or `--log-level`. */
  readonly sources: ReadonlyMap<string, string>;
}

/** A key given on the command line, such as `['store', 'domain', 7, '--domain']`. */
export type Override = readonly [section: keyof Config, key: string, value: unknown, source: string];

/** Defaults, then each file in turn, then `overrides`; later ones win. Throws AgentError GW_CONFIG_INVALID. */
export async function loadConfig(
  files: readonly TextFile[],
  overrides: readonly Override[] = [],
): Promise<LoadedConfig> {
  const config = structuredClone(DEFAULTS) as unknown as Record<string, Record<string, unknown>>;
  const sources = new Map<string, string>();
  const set = (section: string, key: string, value: unknown, source: string): void => {
    (config[section] ??= {})[key] = value;
    sources.set(`${section}.${key}`, source);
  };
  for (const [section, keys] of Object.entries(DEFAULTS) as [string, object][]) {
    for (const [key, value] of Object.entries(keys)) set(section, key, value, 'default');
  }
  if (files.length > 0) {
    // The parser and the schema are half of what there is to load, and most guests have no file.
    const { parseConfigFile } = await import('./config-file.js');
    for (const file of files) {
      for (const { section, key, value, line } of parseConfigFile(file)) {
        set(section, key, value, `${file.path}:${line}`);
      }
    }
  }
  for (const [section, key, value, source] of overrides) set(section, key, value, source);
  return { config: config as unknown as Config, sources };
}

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
export function formatMode(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}

export function configError(message: string): AgentError {
  return new AgentError('GW_CONFIG_INVALID', [message]);
}
