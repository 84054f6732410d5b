/**
 * The commands of QEMU's guest agent that there are, as libvirt and other hosts of KVM send them: each is what the
 * agent's own commands do already, under another name. docs/wires.md says where they differ from QEMU's own agent.
 */
import {
  AgentError,
  type Command,
  type CommandContext,
  type CommandModule,
  type Host,
  type Lane,
  type Reports,
  Secret,
  command,
} from '../../api/index.js';
import { listKeys } from '../../accounts/authorized-keys.js';
import type { FileOptions } from '../file.js';
import { newKey, readKeys } from '../keys-file.js';
import type { PasswordOptions } from '../password.js';
import { isCryptHash } from '../../accounts/hash-policy.js';
import { passwordSet } from '../password-set.js';
import { type Action, changeKeys, locate } from '../sshkeys.js';
import { AGENT_VERSION } from '../version.js';
import { type Arguments, type Spec, decodeBase64, readArguments } from './arguments.js';
import { type QemuName, SHUTDOWN } from './names.js';
import { OpenFiles } from './open-files.js';
import { osInfo } from './os-info.js';
import { parseShutdownMode, shutDown } from './shutdown.js';

/** One of these commands, and whether the configuration lets the host use it. */
export interface QemuCommand {
  readonly name: string;
  readonly allowed: boolean;
}

export interface QemuOptions {
  readonly password: Pick<PasswordOptions, 'user' | 'users' | 'unlock'>;
  readonly files: FileOptions;
}

/**
 * Those that only tell something, or keep something in memory until the file is closed, need no turn among the commands
 * that change the machine. `supported` is asked at each `guest-info`.
 */
export function qemuCommands(
  host: Host,
  reports: Pick<Reports, 'current'>,
  options: QemuOptions,
  supported: () => readonly QemuCommand[],
): CommandModule {
  const files = new OpenFiles(host, options.files);
  return {
    name: 'qemu',
    commands: [
      qemu('guest-sync', 'immediate', { id: 'integer' }, ({ id }) => id),
      qemu('guest-sync-delimited', 'immediate', { id: 'integer' }, ({ id }) => id),
      qemu('guest-ping', 'immediate', {}, () => null),
      qemu('guest-info', 'immediate', {}, () => info(supported())),
      qemu('guest-get-host-name', 'immediate', {}, async () => ({ 'host-name': await host.network.hostname() })),
      qemu('guest-get-osinfo', 'immediate', {}, async () => osInfo((await reports.current(['os'])).os)),
      qemu('guest-network-get-interfaces', 'immediate', {}, () => interfaces(reports)),
      qemu(
        'guest-set-user-password',
        'serial',
        { username: 'text', password: 'text', crypted: 'flag' },
        async ({ username, password, crypted }, { log }) => {
          using secret = new Secret(decodeBase64('password', password));
          // This dialect has no place for what keeps the user from logging in all the same.
          passwordSet(log, username, await setUserPassword(host, options.password, username, secret, crypted));
        },
      ),
      qemu('guest-ssh-get-authorized-keys', 'immediate', { username: 'text' }, async ({ username }) => ({
        keys: await userKeys(host, username),
      })),
      qemu(
        'guest-ssh-add-authorized-keys',
        'serial',
        { username: 'text', keys: 'texts', reset: 'flag?' },
        async ({ username, keys, reset }, context) => {
          await editKeys(host, username, reset === true ? 'replace' : 'merge', keys, context);
        },
      ),
      qemu(
        'guest-ssh-remove-authorized-keys',
        'serial',
        { username: 'text', keys: 'texts' },
        async ({ username, keys }, context) => {
          await editKeys(host, username, 'remove', keys, context);
        },
      ),
      qemu('guest-file-open', 'immediate', { path: 'text', mode: 'text?' }, ({ path, mode }) =>
        files.open(path, mode ?? 'r'),
      ),
      qemu('guest-file-read', 'immediate', { handle: 'integer', count: 'integer?' }, async ({ handle, count }) => {
        const { bytes, eof } = await files.read(Number(handle), count === null ? null : Number(count));
        return { count: bytes.length, 'buf-b64': bytes.toString('base64'), eof };
      }),
      qemu(
        'guest-file-write',
        'immediate',
        { handle: 'integer', 'buf-b64': 'text', count: 'integer?' },
        ({ handle, 'buf-b64': text, count }) => {
          const bytes = decodeBase64('buf-b64', text);
          return { count: files.write(Number(handle), bytes, count === null ? null : Number(count)), eof: false };
        },
      ),
      qemu('guest-file-close', 'serial', { handle: 'integer' }, async ({ handle }) =>
        (await files.close(Number(handle))) ? null : UNCHANGED,
      ),
      qemu(SHUTDOWN, 'serial', { mode: 'text?' }, async ({ mode }, { log }) => {
        const wanted = parseShutdownMode(mode);
        log.info({ mode: wanted }, 'the host asks the machine to stop');
        await shutDown(host, wanted);
      }),
    ],
  };
}

/** A serial command found nothing to do. */
const UNCHANGED = Symbol('unchanged');

/** A command that answers with what `run` gives: an empty object for nothing, and for `UNCHANGED`. */
function qemu<const S extends Spec>(
  name: QemuName,
  lane: Lane,
  spec: S,
  run: (args: Arguments<S>, context: CommandContext) => unknown,
): Command {
  return command({
    name,
    lane,
    parse: readArguments<S>(spec),
    async run(args, context) {
      const data = (await run(args, context)) ?? {};
      const reply = { returncode: '0', message: '', data };
      if (data === UNCHANGED) return { ...reply, data: {}, changed: false };
      return name === SHUTDOWN ? { ...reply, silent: true } : reply;
    },
  });
}

function info(commands: readonly QemuCommand[]): unknown {
  return {
    version: AGENT_VERSION,
    supported_commands: commands.map(({ name, allowed }) => ({
      name,
      enabled: allowed,
      'success-response': name !== SHUTDOWN,
    })),
  };
}

/** Devices with a MAC, and their addresses. */
async function interfaces(reports: Pick<Reports, 'current'>): Promise<unknown> {
  const { nics } = await reports.current(['nics']);
  return nics.map(({ name, mac, addresses }) => {
    const listed = addresses?.map(({ address, family, prefix }) => ({
      'ip-address': address,
      'ip-address-type': family,
      prefix,
    }));
    return { name, 'hardware-address': mac, ...(listed?.length ? { 'ip-addresses': listed } : {}) };
  });
}

/** The port is as private as the machine's memory, so the password needs no exchange of keys; the rules stay. */
async function setUserPassword(
  host: Host,
  { user: usual, users, unlock }: QemuOptions['password'],
  user: string,
  password: Secret,
  crypted: boolean,
): Promise<readonly string[]> {
  if (user !== usual && !users.includes(user)) throw new AgentError('GW_USER_REFUSED', [user]);
  if (crypted && !isCryptHash(password.reveal().toString('latin1'))) {
    throw new AgentError('GW_ARGUMENT_INVALID', ['password', 'a hash of crypt', 'other text']);
  }
  return host.accounts.setPassword(user, password, { unlock, crypted });
}

async function userKeys(host: Host, user: string): Promise<readonly string[]> {
  const text = await readKeys(host, (await locate(host, user)).file);
  return (await listKeys(text)).map(({ line }) => Buffer.from(line, 'latin1').toString('utf8'));
}

async function editKeys(
  host: Host,
  user: string,
  action: Action,
  lines: readonly string[],
  context: CommandContext,
): Promise<void> {
  // libvirt sends every line of a file, with the empty one at its end.
  const keys = lines.flatMap((line, index) => (/^\s*(#|$)/.test(line) ? [] : [newKey(line, `key ${index + 1}`)]));
  if (keys.length === 0 && action !== 'replace') return;
  await changeKeys(host, user, action, keys, context);
}
