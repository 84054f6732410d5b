/** Transfers by http and https. */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { type IncomingMessage, get as httpGet } from 'node:http';
import { get as httpsGet } from 'node:https';
import type { Log } from '../../api/log.js';
import { type Digest, type Downloaded, type TransferLimits, printableUrl } from '../../agent/updates.js';
import { AgentError } from '../../api/index.js';
import { codeOf } from '../../api/errors.js';
import { reason } from './reason.js';

const MAX_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** How Node says that the connection ended before the response did. */
const CUT = new Set(['ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE']);
const NOT_THERE = new Set([404, 410]);
/**
 * Said in so many words, because Node takes what is not said from the environment: NODE_TLS_REJECT_UNAUTHORIZED, and
 * options in NODE_OPTIONS. With `ca` beside it, NODE_EXTRA_CA_CERTS and SSL_CERT_FILE count for nothing either.
 */
const VERIFIED = { rejectUnauthorized: true, minVersion: 'TLSv1.2' } as const;
/** A progress line each so many milliseconds, and each tenth of the whole. */
const PROGRESS_MS = 5000;

/** The certificates that the system trusts, as PEM. */
export type Certificates = () => Promise<string>;

type Trust = typeof VERIFIED & { readonly ca: string };

/** The bytes at `url`, or null when the server has no such thing. */
export async function fetchBytes(trusted: Certificates, url: URL, limits: TransferLimits): Promise<Buffer | null> {
  return transfer(url, limits, async () => {
    const response = await request(trusted, url, limits);
    if (response === null) return null;
    const chunks: Buffer[] = [];
    for await (const chunk of received(response, limits)) chunks.push(chunk);
    return Buffer.concat(chunks);
  });
}

/** Writes what is at `url` into the file `path`, which others cannot read. */
export async function downloadFile(
  trusted: Certificates,
  url: URL,
  path: string,
  digests: readonly Digest[],
  limits: TransferLimits,
  log: Log,
): Promise<Downloaded> {
  return transfer(url, limits, async () => {
    const hashes = digests.map((name) => [name, createHash(name)] as const);
    const response = await request(trusted, url, limits);
    if (response === null) throw new Error('the server has no such file');
    const tell = progress(printableUrl(url), Number(response.headers['content-length'] ?? Number.NaN), log);
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
    let size = 0;
    try {
      const file = await onDisk(path, () => open(path, flags, 0o600));
      try {
        for await (const chunk of received(response, limits)) {
          await onDisk(path, () => file.writeFile(chunk));
          for (const [, hash] of hashes) hash.update(chunk);
          size += chunk.length;
          tell(size);
        }
      } finally {
        await onDisk(path, () => file.close());
      }
    } finally {
      // Without it a file that cannot be opened would leave the server connected.
      response.destroy();
    }
    return { size, digests: Object.fromEntries(hashes.map(([name, hash]) => [name, hash.digest('hex')])) };
  });
}

async function transfer<T>(url: URL, { signal }: TransferLimits, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof AgentError) throw cause;
    const why = signal.aborted && !(cause instanceof Ours) ? aborted(signal.reason) : failure(cause);
    throw new AgentError('GW_UPDATE_DOWNLOAD', [printableUrl(url), why], { cause });
  }
}

/** What this machine, and not the server, is to blame for. */
class Ours extends Error {}

/** Whose disk it is that is full or read-only, the message has to say. */
async function onDisk<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new Ours(`${path}: ${reason(cause)}`, { cause });
  }
}

function aborted(why: unknown): string {
  return why instanceof Error && why.name === 'TimeoutError'
    ? `it took too long: ${why.message}`
    : 'the agent was asked to stop';
}

function failure(cause: unknown): string {
  // Of a name with several addresses none of which could be reached, Node tells no more.
  return reason(cause) === '' ? `the server cannot be reached: ${codeOf(cause) ?? 'no reason known'}` : reason(cause);
}

/** The response with the file itself, after at most five redirects; null when there is none. */
async function request(trusted: Certificates, start: URL, limits: TransferLimits): Promise<IncomingMessage | null> {
  let trust: Trust | null = null;
  let url = start;
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects += 1) {
    if (url.protocol === 'https:') trust ??= { ...VERIFIED, ca: await trusted() };
    const response = await respond(url, trust, limits);
    const { statusCode = 0, headers } = response;
    if (statusCode === 200) return response;
    response.destroy();
    if (NOT_THERE.has(statusCode)) return null;
    if (!REDIRECTS.has(statusCode) || headers.location === undefined) {
      throw new Error(`the server answered with status ${statusCode}`);
    }
    url = redirected(url, headers.location, limits);
  }
  throw new Error(`more than ${MAX_REDIRECTS} redirects`);
}

function redirected(from: URL, location: string, { insecure }: TransferLimits): URL {
  if (!URL.canParse(location, from.href)) throw new Error('the server redirects to something that is no URL');
  const to = new URL(location, from);
  // Whoever began with https was promised that nobody on the way can choose the file.
  const allowed = to.protocol === 'https:' || (to.protocol === 'http:' && insecure && from.protocol === 'http:');
  if (!allowed) throw new Error(`the server redirects to ${to.protocol}//, wanted https://`);
  return to;
}

function respond(url: URL, trust: Trust | null, { signal }: TransferLimits): Promise<IncomingMessage> {
  const options = { agent: false, signal, headers: { 'accept-encoding': 'identity', 'user-agent': 'guestwire' } };
  return new Promise((resolve, reject) => {
    const sent =
      url.protocol === 'https:' ? httpsGet(url, { ...options, ...trust }, resolve) : httpGet(url, options, resolve);
    // Not once: an error without a listener would end the agent.
    sent.on('error', (error) => {
      reject(codeOf(error) === 'ECONNRESET' ? new Error('the server hung up before it answered') : error);
    });
  });
}

async function* received(response: IncomingMessage, { maxSize }: TransferLimits): AsyncGenerator<Buffer> {
  const tooLarge = (): Error => new Error(`it is larger than the ${maxSize} bytes that are allowed`);
  if (Number(response.headers['content-length'] ?? 0) > maxSize) {
    response.destroy();
    throw tooLarge();
  }
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxSize) throw tooLarge();
      yield chunk;
    }
  } catch (cause) {
    // What came and was not asked for yet is lost with the connection.
    throw CUT.has(codeOf(cause) ?? '') ? endedEarly(size + response.readableLength, response, cause) : cause;
  }
  if (!response.complete) throw endedEarly(size, response);
}

function endedEarly(size: number, { headers }: IncomingMessage, cause?: unknown): Error {
  const told = headers['content-length'];
  const came = told === undefined ? `${size} bytes came, and then no end` : `${size} of ${told} bytes came`;
  return new Error(`it ended early: ${came}`, { cause });
}

function progress(url: string, total: number, log: Log): (size: number) => void {
  let shownAt = performance.now();
  let shownTenth = 0;
  return (size) => {
    const tenth = Number.isNaN(total) ? 0 : Math.floor((size / total) * 10);
    const now = performance.now();
    if (tenth === shownTenth && now - shownAt < PROGRESS_MS) return;
    shownAt = now;
    shownTenth = tenth;
    log.info({ url, size, ...(Number.isNaN(total) ? {} : { total }) }, 'downloading');
  };
}
