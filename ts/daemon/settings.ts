/**
 * Every setting that there is: plain data, from which come the type `Config` and the defaults (config.ts), the checks of a
 * file (config-file.ts), what `guestwire config` prints, docs/configuration.md and a section of the manual page.
 *
 * To add one: an entry here, `npm run pages`, and the place that uses it.
 */

import type { SettingBounds, SettingKinds } from '../api/settings.js';

/** What a setting of each kind is in here. A file has durations, sizes and modes as text. */
export interface Kinds extends SettingKinds {
  /** Permission bits. */
  mode: number;
  /** A path without `..`. */
  plainPath: string;
  user: string;
  organization: string;
  wires: readonly string[];
  commands: readonly string[];
  users: readonly string[];
  /** ts/commands/file-rules.ts has what they mean. */
  pathPatterns: readonly string[];
  /** Public keys of minisign. */
  signingKeys: readonly string[];
  /** ts/commands/update-rules.ts has what they mean. */
  versionPatterns: readonly string[];
}

/** A kind, and what its checks depend on. */
export type Kind = {
  [K in keyof Kinds]: { readonly kind: K } & (K extends keyof SettingBounds ? SettingBounds[K] : unknown);
}[keyof Kinds];

export type Setting = {
  [K in keyof Kinds]: {
    readonly kind: K;
    /** Null where it need not be set; then `about` says what that means. */
    readonly default: Kinds[K] | null;
    /** One line, for the pages: what it is, with code between backticks. */
    readonly about: string;
    /** Its name of old, `section.key`, which is refused with the new one. */
    readonly formerly?: string;
  } & (K extends keyof SettingBounds ? SettingBounds[K] : unknown);
}[keyof Kinds];

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const KIB = 1024;
const MIB = 1024 * KIB;

export const SETTINGS = {
  wires: {
    use: {
      kind: 'wires',
      default: ['auto'],
      about: 'The ways to the host that are served: names of wires, or `"auto"` for each that is there.',
    },
  },
  stream: {
    path: {
      kind: 'path',
      default: null,
      about: "Device of a port of virtio-serial, or a serial line; without it the port of QEMU's guest agent, if any.",
    },
    listen: { kind: 'path', default: null, about: 'Path of a unix socket to listen at, with mode 0600.' },
    'vsock-port': {
      kind: 'integer',
      min: 1,
      // The one above stands for any.
      max: 0xffff_fffe,
      default: null,
      about: 'Port of vsock to listen at. Only the host may connect.',
    },
    'vsock-peer-ports': {
      kind: 'choice',
      choices: ['privileged', 'any'],
      default: 'privileged',
      about: 'From which of its ports the host may connect by vsock: `"privileged"` ones, below 1024, or `"any"`.',
    },
    'max-line': {
      kind: 'size',
      // A shorter line would not hold a request with its key.
      min: KIB,
      default: 4 * MIB,
      about: 'How long a request on a stream may be.',
    },
    'line-timeout': {
      kind: 'duration',
      default: MINUTE,
      about: 'How long half a request is kept when no more of it comes.',
    },
  },
  xenstore: {
    endpoint: {
      kind: 'path',
      default: null,
      about: "Device or socket of XenStore; without it the machine's own is found.",
      formerly: 'store.endpoint',
    },
    domain: {
      kind: 'integer',
      min: 0,
      // The hypervisor's own limit.
      max: 32_751,
      called: 'a domain id',
      default: null,
      about: 'Take every node under `/local/domain/N`; without it, those of its own domain.',
      formerly: 'store.domain',
    },
    poll: {
      kind: 'choice',
      choices: ['loop', 'thread'],
      default: 'loop',
      about: 'How watch events are waited for: in Node\'s `"loop"`, or in a `"thread"` of their own.',
      formerly: 'store.poll',
    },
    'answer-lifetime': {
      kind: 'duration',
      default: 10 * MINUTE,
      about: 'How long an answer stays in XenStore.',
      formerly: 'answers.keep',
    },
    'scan-interval': {
      kind: 'duration',
      default: MINUTE,
      about: 'How often to look for requests whose event was lost.',
      formerly: 'requests.poll-interval',
    },
  },
  log: {
    level: {
      kind: 'choice',
      choices: ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
      default: 'info',
      about: 'The lowest level that is logged.',
    },
    format: {
      kind: 'choice',
      choices: ['auto', 'json', 'pretty'],
      default: 'auto',
      about: 'JSON, one object a line, or `"pretty"` for people; `"auto"` is pretty on a terminal.',
    },
  },
  commands: {
    allow: {
      kind: 'commands',
      default: ['*'],
      about: 'Commands that the host may use: their names, or `"*"` for all. `features` lists only these.',
    },
    deny: { kind: 'commands', default: [], about: 'Commands that it may not use, even when they are allowed.' },
  },
  password: {
    user: { kind: 'user', default: 'root', about: 'Whose password the host sets when it names nobody.' },
    users: { kind: 'users', default: [], about: 'Other users that it may name, in the strong key exchange.' },
    unlock: {
      kind: 'choice',
      choices: ['always', 'never'],
      default: 'always',
      about: 'Whether a new password unlocks a locked account; with `"never"` the request is refused.',
    },
    'weak-exchange': {
      kind: 'boolean',
      default: true,
      about: "Whether nova's key exchange is taken, whose 107 bits anyone who sees the requests can break.",
    },
    'key-lifetime': {
      kind: 'duration',
      default: 5 * MINUTE,
      about: 'How long a key exchange stays good for a password.',
    },
  },
  files: {
    allow: {
      kind: 'pathPatterns',
      default: ['/'],
      about: 'Paths that the host may write, each with all below it; `*`, `?` and `**` are wildcards.',
    },
    deny: { kind: 'pathPatterns', default: [], about: 'Paths that it may not write, even when they are allowed.' },
    mode: { kind: 'mode', default: 0o600, about: 'Mode of a new file.' },
    'max-size': { kind: 'size', default: 16 * MIB, about: 'How large a file may be.' },
    uploads: {
      kind: 'integer',
      min: 0,
      max: 100,
      default: 4,
      about: 'How many files that come in parts may be unfinished.',
    },
    'upload-lifetime': { kind: 'duration', default: HOUR, about: 'How long such a file waits for its next part.' },
    backups: {
      kind: 'integer',
      min: 0,
      max: 1000,
      default: 10,
      about: 'How many changes of files are kept as backups.',
    },
    'authorized-keys': {
      kind: 'choice',
      choices: ['replace', 'merge'],
      default: 'replace',
      about:
        'What becomes of a user\'s ssh keys when the host sends the file: `"replace"`, as nova expects, or `"merge"`.',
    },
  },
  hooks: {
    directory: {
      kind: 'plainPath',
      default: '/etc/guestwire/hooks',
      about: 'Folder of programs that run before and after commands.',
    },
    timeout: {
      kind: 'duration',
      default: 30 * SECOND,
      about: 'How long all programs of one stage may take together.',
    },
  },
  kms: {
    org: {
      kind: 'organization',
      default: null,
      about: 'Organization for `subscription-manager`, when a `kmsactivate` names none.',
    },
    timeout: { kind: 'duration', default: 2 * MINUTE, about: 'How long a registration may take.' },
  },
  plugins: {
    directory: {
      kind: 'path',
      default: '/etc/guestwire/plugins',
      about: 'Folder of plugins, which bring commands and wires. What others than root can write is not loaded.',
    },
    'load-timeout': {
      kind: 'duration',
      default: 10 * SECOND,
      about: 'How long a plugin may take to be loaded and set up.',
    },
    'command-timeout': {
      kind: 'duration',
      default: MINUTE,
      about: 'How long a command of a plugin, or a step of its wire, may take.',
    },
  },
  scripts: {
    directory: {
      kind: 'path',
      default: '/etc/guestwire/commands',
      about: "Folder of programs, each a command with the file's name. What others than root can write is not run.",
    },
    timeout: {
      kind: 'duration',
      default: MINUTE,
      about: 'How long a script may take; then it is killed with all that it has started.',
    },
  },
  network: {
    'verify-timeout': {
      kind: 'duration',
      default: 10 * SECOND,
      about: 'How long the kernel, and then resolv.conf, may take to show what was configured.',
    },
    'device-timeout': {
      kind: 'duration',
      default: 5 * SECOND,
      about: 'How long to wait for a device that the host names and that is not there yet.',
    },
    'program-timeout': {
      kind: 'duration',
      default: 30 * SECOND,
      about:
        'How long the programs of each part of a reset (taking down, bringing up, putting back) may take together.',
    },
  },
  update: {
    directory: {
      kind: 'path',
      default: '/usr/lib/guestwire',
      about: 'Where the versions of the agent lie, and `current`, the link to the one that is started.',
    },
    keys: {
      kind: 'signingKeys',
      default: [],
      about: "Whose signature the manifest of a new version may have: minisign's public keys.",
    },
    'require-signature': {
      kind: 'boolean',
      default: false,
      about: 'Whether a new version has to come with a signed manifest.',
    },
    'allow-downgrade': {
      kind: 'versionPatterns',
      default: [],
      about:
        'Signed versions that may follow a higher one: `"0.9.4"`, their beginning as in `"0.9.*"`, or `"*"` for all.',
    },
    http: { kind: 'boolean', default: false, about: 'Whether http:// is taken, and not only https://.' },
    'max-size': {
      kind: 'size',
      default: 256 * MIB,
      about: 'How large an archive may be; unpacked, four times as large.',
    },
    timeout: {
      kind: 'duration',
      default: 10 * MINUTE,
      about: 'How long all transfers of an update may take together.',
    },
    'trial-timeout': {
      kind: 'duration',
      default: 30 * SECOND,
      about: 'How long a new version may take to tell its version.',
    },
  },
  state: {
    directory: { kind: 'path', default: '/var/lib/guestwire', about: 'Journal and backups.' },
  },
} as const satisfies Readonly<Record<string, Readonly<Record<string, Setting>>>>;
