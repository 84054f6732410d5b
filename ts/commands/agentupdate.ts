import type { AgentContext, AgentModule } from '../agent/command.js';
import type { AgentHost } from '../agent/host.js';
import { type Digest, type Downloaded, type Installed, type TransferLimits, printableUrl } from '../agent/updates.js';
import { AgentError, command, messageOf } from '../api/index.js';
import { AGENT_VERSION } from './version.js';
import { type PublicKey, checkSignature, parsePublicKey } from '../crypto/minisign.js';
import { type Manifest, type UpdateRequest, beside, parseManifest, parseUpdateRequest } from './update-request.js';
import { type UpdateRecord, readRecord, writeRecord } from './update-record.js';
import { highestOf } from './comparable-versions.js';
import { foreign, refusal } from './update-rules.js';
import { type Pending, readPending, removePending, writePending } from './update-state.js';

export interface UpdateOptions {
  /** Public keys of minisign. */
  readonly keys: readonly string[];
  readonly requireSignature: boolean;
  /** Whether http:// is taken. */
  readonly insecure: boolean;
  /** Bytes of the archive. */
  readonly maxSize: number;
  /** For all transfers together, milliseconds. */
  readonly timeoutMs: number;
  readonly trialTimeoutMs: number;
  /** Versions that may be gone back to though they are signed: their names, or the beginning and `*`. */
  readonly allowDowngrade: readonly string[];
}

/** An archive may be so many times as large when it is unpacked. */
const UNPACKED_FACTOR = 4;
const MANIFEST = '.manifest';
const SIGNATURE = '.minisig';
/** Of a manifest or a signature, bytes. */
const MAX_TEXT = 16 * 1024;
const MANIFEST_LINES = 'product, version, architecture, expires, sha256 and size, each once';
const NAMES: Readonly<Record<Digest, string>> = { md5: 'MD5', sha256: 'SHA-256' };

/** `agentupdate`: another version of the agent, downloaded, tried, and put in the place of this one. */
export function updateCommands(host: AgentHost, options: UpdateOptions): AgentModule {
  return {
    name: 'update',
    commands: [
      command({
        name: 'agentupdate',
        lane: 'serial',
        parse: parseUpdateRequest,
        run: (request, context: AgentContext) => run(host, options, request, context),
      }),
    ],
  };
}

async function run(
  host: AgentHost,
  options: UpdateOptions,
  request: UpdateRequest,
  context: AgentContext,
): Promise<string> {
  if (!host.live) throw refused('the agent works on a copy of a system');
  if (request.url.protocol === 'http:' && !options.insecure) {
    throw refused('http:// is not taken: update.http is false, wanted https://');
  }
  const installed = await host.updates.installed();
  const { running } = installed;
  using deadline = createDeadline(context.signal, options.timeoutMs);
  const limits: TransferLimits = {
    maxSize: options.maxSize,
    insecure: options.insecure,
    signal: deadline.signal,
  };
  const manifest = await readManifest(host, options, request, limits);
  const had = await admit(host, options, installed, manifest);
  if (manifest?.version === running) return isRunning(running);
  const earlier = await readPending(host.state);
  // Whoever reads it at the next start cleans up.
  await writePending(host.state, 'preparing');
  let version: string;
  try {
    version = await prepare(host, options, request, manifest, limits, context);
    if (version === running) {
      await abandon(host, earlier);
      return isRunning(running);
    }
    await host.updates.try(version, options.trialTimeoutMs, context.signal, context.log);
    await writePending(host.state, { previous: running, next: version, attempts: 0 });
    await host.updates.install(version);
    await host.updates.clean();
    // Before the link: a crash in between must not leave a version that runs and was never noted.
    const scopedOnly = had.scopedOnly || manifest !== null;
    await writeRecord(host.state, { highest: highestOf([had.highest, version]), scopedOnly });
    // Last: whatever failed before has changed nothing that is started.
    await host.updates.link(version);
  } catch (error) {
    // What failed is what the host is to hear of, whatever becomes of the cleaning up.
    await abandon(host, earlier).catch((failure: unknown) => {
      context.log.error({ reason: messageOf(failure) }, 'an update that failed left something behind');
    });
    throw error;
  }
  context.log.info({ from: running, to: version }, 'switched to another version');
  context.handOver(() => host.updates.restart());
  return '';
}

/** Aborts with `signal`, or after a time. */
function createDeadline(signal: AbortSignal, timeout: number): { readonly signal: AbortSignal } & Disposable {
  const controller = new AbortController();
  const stop = (): void => {
    controller.abort();
  };
  const timer = setTimeout(() => {
    controller.abort(new DOMException(`the ${timeout / 1000} s of update.timeout are over`, 'TimeoutError'));
  }, timeout);
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop);
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
    },
  };
}

function isRunning(version: string): string {
  return `Version ${version} is running already`;
}

/** The running version stays, and with it what `earlier` says of it: that it is still to be confirmed, or undone. */
async function abandon(host: AgentHost, earlier: Pending | null): Promise<void> {
  await host.updates.clean();
  if (earlier === null) await removePending(host.state);
  else await writePending(host.state, earlier);
}

/** What the manifest beside the archive says; null when nobody signs, or where none is served and none is needed. */
async function readManifest(
  host: AgentHost,
  { keys: texts, requireSignature }: UpdateOptions,
  { url, digests }: UpdateRequest,
  limits: TransferLimits,
): Promise<Manifest | null> {
  const keys = texts.map(parsePublicKey).filter((key): key is PublicKey => key !== null);
  const named = Object.keys(digests).length > 0;
  if (keys.length === 0) {
    if (requireSignature) throw refused('update.require-signature is set, and update.keys has no key');
    if (!named) throw refused('wanted md5sum, sha256, or a signed manifest and update.keys to check it; got none');
    return null;
  }
  const at = beside(url, MANIFEST);
  const unsigned = (why: string): AgentError => new AgentError('GW_UPDATE_UNSIGNED', [printableUrl(at), why]);
  const small = { ...limits, maxSize: MAX_TEXT };
  const content = await host.updates.fetch(at, small);
  if (content === null) {
    if (named && !requireSignature) return null;
    throw unsigned('it is not there, and is needed');
  }
  const signature = await host.updates.fetch(beside(at, SIGNATURE), small);
  if (signature === null) throw unsigned('it has no signature');
  const check = checkSignature(content, signature.toString('utf8'), keys);
  if (!check.trusted) throw unsigned(check.why);
  const manifest = parseManifest(content.toString('utf8'));
  if (manifest === null) throw unsigned(`wanted lines of ${MANIFEST_LINES}`);
  return manifest;
}

/** What this guest has had of versions, if none of it speaks against `manifest`. Throws GW_UPDATE_REFUSED where it does. */
async function admit(
  host: AgentHost,
  { allowDowngrade }: UpdateOptions,
  { running, architecture, builtAt }: Installed,
  manifest: Manifest | null,
): Promise<UpdateRecord> {
  const alien = manifest === null ? null : foreign(manifest, architecture);
  if (alien !== null) throw refused(alien);
  const record = await readRecord(host.state);
  const highest = highestOf([record.highest, running, AGENT_VERSION]);
  if (manifest === null) return { ...record, highest };
  const scopedOnly = record.scopedOnly || manifest.scope !== null;
  // At once: whoever signs has changed over, whatever becomes of this update.
  if (scopedOnly && !record.scopedOnly) await writeRecord(host.state, { highest, scopedOnly });
  const situation = { clock: Date.now(), builtAt, record, highest, allowDowngrade };
  const why = manifest.version === running ? null : refusal(manifest, situation);
  if (why !== null) throw refused(why);
  return { highest, scopedOnly };
}

/** Downloads, compares and unpacks; gives the version that it is. */
async function prepare(
  host: AgentHost,
  { maxSize }: UpdateOptions,
  { url, digests }: UpdateRequest,
  manifest: Manifest | null,
  limits: TransferLimits,
  { log }: AgentContext,
): Promise<string> {
  const wanted = [
    ...Object.entries(digests).map(([name, digest]) => [name as Digest, digest] as const),
    ...(manifest === null ? [] : [['sha256', manifest.sha256] as const]),
  ];
  const downloaded = await host.updates.download(url, [...new Set(wanted.map(([name]) => name))], limits, log);
  log.info({ url: printableUrl(url), size: downloaded.size, signed: manifest !== null }, 'downloaded');
  compare(downloaded, wanted);
  if (manifest !== null && manifest.size !== downloaded.size) {
    throw archiveError(`it has ${downloaded.size} bytes, and its manifest says ${manifest.size}`);
  }
  const version = await host.updates.unpack(maxSize * UNPACKED_FACTOR);
  if (manifest !== null && manifest.version !== version) {
    throw archiveError(`it holds version ${version}, and its manifest says ${manifest.version}`);
  }
  return version;
}

function compare({ digests }: Downloaded, wanted: readonly (readonly [Digest, string])[]): void {
  for (const [name, digest] of wanted) {
    const got = digests[name] ?? '';
    if (got !== digest) throw new AgentError('GW_UPDATE_DIGEST', [NAMES[name], digest, got]);
  }
}

function refused(why: string): AgentError {
  return new AgentError('GW_UPDATE_REFUSED', [why]);
}

function archiveError(why: string): AgentError {
  return new AgentError('GW_UPDATE_ARCHIVE', [why]);
}
