import {
  AgentError,
  type Commit,
  command,
  type CommandContext,
  type CommandModule,
  type Host,
  type RunResult,
  Secret,
  kindOf,
} from '../api/index.js';
import { setUp2date } from './up2date-file.js';

export interface KmsOptions {
  /** Organization for subscription-manager, when the request names none. */
  readonly org: string | null;
  /** How long a registration may take, milliseconds. */
  readonly timeoutMs: number;
}

interface Activation {
  readonly key: Secret;
  /** The name under which the server is to know the system; null for the program's own choice. */
  readonly profile: string | null;
  readonly org: string | null;
  /** Servers, the first first. */
  readonly domains: readonly string[];
}

/** How a registration went, once its program ended. */
interface Outcome {
  /** Why it failed, or null. */
  readonly failure: string | null;
  /** The system has an identity that it did not have before, whatever the program said. */
  readonly registered: boolean;
}

const RHNREG_KS = '/usr/sbin/rhnreg_ks';
/** In /usr/bin where a distribution has made the two one. */
const SUBSCRIPTION_MANAGER = ['/usr/sbin/subscription-manager', '/usr/bin/subscription-manager'];
const UP2DATE = '/etc/sysconfig/rhn/up2date';
const SYSTEM_ID = '/etc/sysconfig/rhn/systemid';
const RHSM_CONF = '/etc/rhsm/rhsm.conf';
const IDENTITY = '/etc/pki/consumer/cert.pem';
/** What both programs give their own files of settings. */
const SETTINGS_MODE = 0o644;
const MAX_REASON = 300;

/** `kmsactivate`: registers the system with Red Hat or with a server of its kind in the owner's cloud. */
export function kmsCommands(host: Host, options: KmsOptions): CommandModule {
  return {
    name: 'kms',
    commands: [
      command({
        name: 'kmsactivate',
        lane: 'serial',
        // Looked at later: a system that cannot be registered says so, whatever the value is.
        parse: (value) => value,
        run: (value, context) => run(host, options, value, context),
      }),
    ],
  };
}

async function run(host: Host, options: KmsOptions, value: unknown, context: CommandContext): Promise<string> {
  if (!host.live) throw new AgentError('GW_KMS_UNSUPPORTED', ['nothing is run on a copy of a system']);
  const manager = await firstOf(host, SUBSCRIPTION_MANAGER);
  const rhn = await firstOf(host, [RHNREG_KS]);
  if (manager === null && rhn === null) {
    const wanted = [RHNREG_KS, ...SUBSCRIPTION_MANAGER.slice(0, 1)].join(' and ');
    throw new AgentError('GW_KMS_UNSUPPORTED', [`looked for ${wanted}`]);
  }
  const activation = parseActivation(value);
  using key = activation.key;
  const org = activation.org ?? options.org;
  // Both are installed on many a system. Only subscription-manager needs an organization, so that tells what is meant.
  if (manager !== null && (org !== null || rhn === null)) {
    if (org === null) throw invalid('org', 'an organization, here or in kms.org', 'nothing');
    const [server, ...others] = activation.domains;
    if (others.length > 0) context.log.warn({ server, others }, 'subscription-manager takes one server');
    const argv = [manager, 'register', '--org', org, '--activationkey', key.reveal().toString(), '--force'] as const;
    const name = activation.profile === null ? [] : ['--name', activation.profile];
    const url = server === undefined ? [] : ['--serverurl', server];
    await withSubscriptionManager(host, [...argv, ...name, ...url], key, options.timeoutMs);
    context.log.info({ org, server }, 'registered by subscription-manager');
  } else if (rhn !== null) {
    if (activation.domains.length === 0) throw invalid('domains', 'a list of servers, or text with commas', 'nothing');
    const profile = activation.profile === null ? [] : ['--profile', activation.profile];
    const argv = [rhn, '--activationkey', key.reveal().toString(), ...profile, '--force'] as const;
    await withRhn(host, activation.domains, argv, key, options.timeoutMs);
    context.log.info({ domains: activation.domains }, 'registered by rhnreg_ks');
  }
  return '';
}

async function firstOf(host: Host, paths: readonly string[]): Promise<string | null> {
  for (const path of paths) if ((await host.files.resolve(path)) !== null) return path;
  return null;
}

function parseActivation(value: unknown): Activation {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid('kmsactivate value', 'an object with activation_key and domains', kindOf(value));
  }
  const given = value as Readonly<Record<'activation_key' | 'profile' | 'org' | 'domains', unknown>>;
  const key = argument(given.activation_key, 'activation_key', 'an activation key');
  if (key === null) throw invalid('activation_key', 'an activation key', 'nothing');
  return {
    key: new Secret(Buffer.from(key)),
    profile: argument(given.profile, 'profile', 'a name for the system'),
    org: argument(given.org, 'org', 'an organization'),
    domains: parseDomains(given.domains),
  };
}

/** Text that a program cannot take for an option; null when there is none. */
function argument(value: unknown, what: string, wanted: string): string | null {
  if (value === undefined || value === null || value === '') return null;
  if (typeof value !== 'string') throw invalid(what, wanted, kindOf(value));
  // eslint-disable-next-line no-control-regex
  if (value.startsWith('-') || /[\x00-\x1f\x7f]/.test(value)) {
    throw invalid(what, wanted, 'text that begins with - or has a control character');
  }
  return value;
}

/** Host names or addresses, each with a port and a path where wanted. */
function parseDomains(value: unknown): readonly string[] {
  if (value === undefined || value === null) return [];
  const list: readonly unknown[] =
    typeof value === 'string' ? value.split(',') : Array.isArray(value) ? value : [value];
  return list.flatMap((entry) => {
    if (typeof entry !== 'string') throw invalid('domains', 'a list of servers, or text with commas', kindOf(entry));
    const domain = entry.trim();
    if (domain === '') return [];
    if (!/^([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?(\/[\w.~/-]*)?$/.test(domain)) {
      throw invalid('domains', 'servers such as rhn.example.org', domain.slice(0, 100));
    }
    return [domain];
  });
}

function invalid(what: string, wanted: string, got: string): AgentError {
  return new AgentError('GW_ARGUMENT_INVALID', [what, wanted, got]);
}

type Program = readonly [string, ...string[]];

async function withRhn(
  host: Host,
  domains: readonly string[],
  argv: Program,
  key: Secret,
  timeoutMs: number,
): Promise<void> {
  const urls = (scheme: string): string => domains.map((domain) => `${scheme}://${domain}/XMLRPC;`).join('');
  const before = (await host.files.readText(UP2DATE)) ?? '';
  const content = setUp2date(before, { serverURL: urls('https'), noSSLServerURL: urls('http') });
  const commit = await host.files.commit([
    { type: 'write', path: UP2DATE, content, mode: SETTINGS_MODE },
    { type: 'remove', path: SYSTEM_ID },
  ]);
  const hasIdentity = async (): Promise<boolean> => (await host.files.status(SYSTEM_ID)) !== null;
  const registration = register(host, argv, key, timeoutMs, hasIdentity).then(async (outcome): Promise<Outcome> => {
    // It ends with 0 even when it could not write the file, which was taken away before.
    if (outcome.failure !== null || (await hasIdentity())) return outcome;
    return { failure: `rhnreg_ks ended with 0, but wrote no ${SYSTEM_ID}`, registered: false };
  });
  await settle(commit, 'RHN', registration);
}

async function withSubscriptionManager(host: Host, argv: Program, key: Secret, timeoutMs: number): Promise<void> {
  const before = await host.files.read(RHSM_CONF);
  const identity = await host.files.read(IDENTITY);
  const hasIdentity = async (): Promise<boolean> => {
    const now = await host.files.read(IDENTITY);
    return now !== null && identity?.equals(now) !== true;
  };
  // The program writes its settings itself, before it knows whether the server takes the system.
  const commit: Pick<Commit, 'confirm' | 'rollback'> = {
    confirm: () => Promise.resolve(),
    rollback: async () => {
      const content = before;
      const put = await host.files.commit([
        content === null
          ? { type: 'remove', path: RHSM_CONF }
          : { type: 'write', path: RHSM_CONF, content, mode: SETTINGS_MODE },
      ]);
      await put.confirm();
    },
  };
  await settle(commit, 'subscription-manager', register(host, argv, key, timeoutMs, hasIdentity));
}

/** A system that got an identity keeps it, with the settings that belong to it, even when the program failed later. */
async function settle(
  commit: Pick<Commit, 'confirm' | 'rollback'>,
  service: string,
  registration: Promise<Outcome>,
): Promise<void> {
  let kept = false;
  try {
    const { failure, registered } = await registration;
    kept = failure === null || registered;
    if (failure === null) return;
    const came = registered ? 'the system is registered, but ' : '';
    const left = registered ? '' : '; files were put back';
    throw new AgentError('GW_KMS_FAILED', [service, `${came}${failure}${left}`]);
  } finally {
    await (kept ? commit.confirm() : commit.rollback());
  }
}

async function register(
  host: Host,
  argv: Program,
  key: Secret,
  timeoutMs: number,
  hasIdentity: () => Promise<boolean>,
): Promise<Outcome> {
  const name = argv[0].slice(argv[0].lastIndexOf('/') + 1);
  let result: RunResult;
  try {
    result = await host.processes.run(argv, { timeout: timeoutMs });
  } catch (error) {
    // The error itself holds the arguments, and so the key.
    const { code } = error as { readonly code?: unknown };
    const why = typeof code === 'string' ? code : 'the system refuses it';
    return { failure: `${name} cannot be run: ${why}`, registered: false };
  }
  const { code, stdout, stderr, timedOut } = result;
  if (code === 0) return { failure: null, registered: true };
  const ended = timedOut ? `took longer than ${Math.round(timeoutMs / 1000)} s` : `ended with ${code}`;
  // rhnreg_ks prints its errors on its standard output, in several lines.
  const printed = (stderr.trim() === '' ? stdout : stderr).replaceAll(key.reveal().toString(), '(the key)');
  const reason = printed.replace(/\s+/g, ' ').trim().slice(0, MAX_REASON);
  return { failure: `${name} ${ended}${reason === '' ? '' : `: ${reason}`}`, registered: await hasIdentity() };
}
