import { Secret } from '../api/secret.js';
import { type Answer, type PasswordOptions, AnswerTimeout, Controller, isSuccess } from '../controller/controller.js';
import { fileValue, sendFile } from '../controller/send-file.js';
import { readLocalFile } from '../host/shared/local-file.js';
import { readSilently } from '../host/shared/runtime/terminal.js';
import { EXIT, UsageError, choice, domainId, integer, print, required, subcommand } from './command-line.js';

/** nova's own limits, `agent_resetnetwork_timeout` and `agent_timeout`, in seconds; a download may take longer. */
const TIMEOUTS: ReadonlyMap<string, number> = new Map([
  ['resetnetwork', 60],
  ['agentupdate', 720],
]);
const DEFAULT_TIMEOUT = 30;

export const call = subcommand({
  synopsis: [
    'call --store PATH --domain N version | features | resetnetwork',
    'call --store PATH --domain N password [--exchange strong|weak]',
    'call --store PATH --domain N password --user NAME',
    'call --store PATH --domain N password --digest md5|sha256',
    'call --store PATH --domain N file_inject LOCAL REMOTE',
    'call --store PATH --domain N injectfile LOCAL REMOTE',
    'call --store PATH --domain N sshkeys ACTION [USER] [KEYFILE]',
    'call --store PATH --domain N agentupdate URL [DIGEST]',
    'call --store PATH --domain N raw NAME [VALUE]',
  ],
  description:
    "Acts as the host: writes a request for guest N's agent, in the bytes that nova and its dom0 plugin write, waits " +
    'for the answer and prints it with the time it took. Exits with 0 only when the agent reports success. ' +
    'password reads the new password from standard input, or asks for it on a terminal; it uses the strong key ' +
    "exchange where the agent's features list it. " +
    'file_inject sends a file that is too large for one request in parts, and goes on where an earlier try ended. ' +
    'The ACTION of sshkeys is list, or merge, remove or replace with a KEYFILE of public keys, such as id_ed25519.pub. ' +
    'The DIGEST of agentupdate is an MD5 or a SHA-256; without it the agent wants a signed manifest. ' +
    'The VALUE of raw is sent as JSON where it is JSON, else as text.',
  options: {
    store: { type: 'string', argument: 'PATH', help: "xenstored's socket, or a device" },
    domain: { type: 'string', argument: 'N', help: 'the guest' },
    exchange: { type: 'string', argument: 'FORM', help: "key exchange: strong (X25519), or weak (nova's 107 bits)" },
    user: { type: 'string', argument: 'NAME', help: 'whose password, in the strong form' },
    digest: {
      type: 'string',
      argument: 'NAME',
      help: "digest of the host's openssl, in the weak form: sha256, or md5",
    },
    timeout: {
      type: 'string',
      argument: 'SECONDS',
      help: 'how long to wait: 30, 60 for resetnetwork, 720 for agentupdate',
    },
    json: { type: 'boolean', help: 'print the answers as JSON, one a line' },
  },
  async main(values, positionals) {
    const [name, ...args] = positionals;
    if (name === undefined) throw new UsageError('a command is missing');
    const form = passwordForm(name, values);
    const seconds =
      values.timeout === undefined
        ? (TIMEOUTS.get(name) ?? DEFAULT_TIMEOUT)
        : integer('--timeout', values.timeout, { min: 1, max: 86_400 });
    const options = { timeoutMs: seconds * 1000, ...form };
    const send = await prepare(name, args);
    const domain = domainId(required('--domain', values.domain));
    using controller = await Controller.open({ endpoint: values.store ?? null, domain });
    try {
      const exchanges = await send(controller, options);
      for (const [request, answer] of exchanges) show(request, answer, values.json);
      return exchanges.every(([request, answer]) => isSuccess(request, answer)) ? EXIT.ok : EXIT.failure;
    } catch (error) {
      if (!(error instanceof AnswerTimeout)) throw error;
      process.stderr.write(`guestwire: ${error.message}\n`);
      return EXIT.failure;
    }
  },
});

type Exchange = readonly [request: string, answer: Answer];
type Send = (controller: Controller, options: PasswordOptions) => Promise<readonly Exchange[]>;

/** What the options say of a password; a digest is the weak form's, a user the strong one's. */
function passwordForm(
  name: string,
  { exchange, user, digest }: Readonly<Record<'exchange' | 'user' | 'digest', string | undefined>>,
): Pick<PasswordOptions, 'exchange' | 'user' | 'digest'> {
  const form = exchange === undefined ? null : choice('--exchange', exchange, ['strong', 'weak']);
  if (name !== 'password' && (form !== null || user !== undefined)) {
    throw new UsageError(`${form === null ? '--user' : '--exchange'} is for password`);
  }
  const chosen = digest === undefined ? null : choice('--digest', digest, ['md5', 'sha256']);
  if (form === 'weak' && user !== undefined) throw new UsageError('--user: the weak form has no place for a name');
  if (form === 'strong' && chosen !== null) throw new UsageError('--digest: the strong form has no choice of it');
  if (user !== undefined && chosen !== null)
    throw new UsageError('--user is for the strong form, --digest for the weak');
  return {
    ...(form === null ? {} : { exchange: form }),
    ...(user === undefined ? {} : { user }),
    ...(chosen === null ? {} : { digest: chosen }),
  };
}

/** Reads everything that is needed before the store is touched. */
async function prepare(name: string, args: readonly string[]): Promise<Send> {
  const one =
    (command: string, value: unknown): Send =>
    async (controller, options) => [[command, await controller.request(command, value, options)]];
  switch (name) {
    case 'version':
      expect(name, args, []);
      return one(name, 'agent');
    case 'features':
    case 'resetnetwork':
      expect(name, args, []);
      return one(name, '');
    case 'password': {
      expect(name, args, []);
      const secret = await readPassword();
      return async (controller, options) => {
        using password = secret;
        const answers = await controller.setPassword(password, options);
        const keyinit: Exchange = ['keyinit', answers.keyinit];
        return answers.password === null ? [keyinit] : [keyinit, ['password', answers.password]];
      };
    }
    case 'injectfile': {
      const [local, remote] = expect(name, args, ['LOCAL', 'REMOTE']);
      return one(name, fileValue(name, remote, await readLocalFile(local)));
    }
    case 'file_inject': {
      const [local, remote] = expect(name, args, ['LOCAL', 'REMOTE']);
      const content = await readLocalFile(local);
      return async (controller, options) => [[name, await sendWithProgress(controller, remote, content, options)]];
    }
    case 'sshkeys':
      return one(name, await keysValue(args));
    case 'agentupdate':
      return one(name, updateValue(args));
    case 'raw': {
      const [command, value = ''] = args.length === 1 ? args : expect(name, args, ['NAME', 'VALUE']);
      return one(command ?? '', jsonOrText(value));
    }
    default:
      throw new UsageError(`unknown command '${name}'; to send it all the same: raw ${name}`);
  }
}

function expect<const Names extends readonly string[]>(
  name: string,
  args: readonly string[],
  names: Names,
): { [Index in keyof Names]: string } {
  if (args.length === names.length) return args as unknown as { [Index in keyof Names]: string };
  const wanted = names.length === 0 ? 'no arguments' : names.join(' and ');
  throw new UsageError(`${name}: wanted ${wanted}, got ${args.length === 0 ? 'none' : args.join(' ')}`);
}

/** The agent judges the action, so that a newer one can be told more. */
async function keysValue(args: readonly string[]): Promise<unknown> {
  const [action, ...more] = args;
  const file = action === 'list' ? undefined : more.pop();
  const [user] = more;
  if (action === undefined || more.length > 1 || (action !== 'list' && file === undefined)) {
    const wanted = 'list [USER], or merge, remove or replace with [USER] KEYFILE';
    throw new UsageError(`sshkeys: wanted ${wanted}, got ${args.length === 0 ? 'none' : args.join(' ')}`);
  }
  const named = user === undefined ? {} : { user };
  if (file === undefined) return { ...named, action };
  const lines = (await readLocalFile(file)).toString('utf8').split('\n');
  return {
    ...named,
    action,
    keys: lines.map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#')),
  };
}

/** An MD5 as nova sends it; a SHA-256, or none, in the other form. The agent judges both. */
function updateValue(args: readonly string[]): unknown {
  const [url, digest, ...more] = args;
  if (url === undefined || more.length > 0) {
    throw new UsageError(`agentupdate: wanted URL [DIGEST], got ${args.length === 0 ? 'none' : args.join(' ')}`);
  }
  if (digest === undefined) return { url };
  return digest.length === 64 ? { url, sha256: digest } : `${url},${digest}`;
}

/** A line on a terminal that says how far it is. */
function sendWithProgress(
  controller: Controller,
  path: string,
  content: Buffer,
  options: PasswordOptions,
): Promise<Answer> {
  if (!process.stderr.isTTY) return sendFile(controller, path, content, options);
  const onProgress = (held: number, total: number): void => {
    const done = held >= total;
    process.stderr.write(done ? '\r\u001b[K' : `\r${path}: ${held} of ${total} bytes\u001b[K`);
  };
  return sendFile(controller, path, content, { ...options, onProgress });
}

function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function show(request: string, answer: Answer, json: boolean): void {
  const { returncode, message, elapsedMs } = answer;
  if (json) print(JSON.stringify({ request, returncode, message, elapsedMs }));
  else print(`${request}: ${returncode} ${JSON.stringify(message)} (${elapsedMs.toFixed(2)} ms)`);
}

/** One line from standard input; on a terminal it is asked for and not shown. */
async function readPassword(): Promise<Secret> {
  const line = await readSilently('New password: ');
  if (line === null) throw new UsageError('password: nothing on standard input');
  return new Secret(Buffer.from(line));
}
