/** What a host asks for, and what a manifest says. Pure. */
import type { Digest } from '../agent/updates.js';
import { AgentError, kindOf } from '../api/index.js';

export interface UpdateRequest {
  readonly url: URL;
  /** Lower-case hexadecimal. */
  readonly digests: Readonly<Partial<Record<Digest, string>>>;
}

export interface Manifest {
  readonly version: string;
  /** Lower-case hexadecimal. */
  readonly sha256: string;
  /** Bytes. */
  readonly size: number;
  /** Null in a manifest of the old form. */
  readonly scope: Scope | null;
}

/** For whom an archive is, and until when. */
export interface Scope {
  readonly product: string;
  /** As Node names system and processor: `linux-x64`. */
  readonly architecture: string;
  /** Milliseconds since 1970. */
  readonly expires: number;
}

/** A directory's name, too. */
export const VERSION = /^[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}$/;
/** Hexadecimal digits. */
const DIGITS: Readonly<Record<Digest, number>> = { md5: 32, sha256: 64 };

/**
 * `url,digest` as nova sends it, cut at the last comma, or an object with `url` and `md5sum`, `sha256` or both. In the
 * text a SHA-256 is as good: nova passes on whatever the administrator has given it.
 */
export function parseUpdateRequest(value: unknown): UpdateRequest {
  if (typeof value === 'string') {
    const cut = value.lastIndexOf(',');
    if (cut === -1) throw invalid('arguments', 'url,md5', 'text without a comma');
    const digest = value.slice(cut + 1).trim();
    return { url: parseUrl(value.slice(0, cut).trim()), digests: parseDigests(digestOf(digest)) };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid('arguments', 'url,md5 or an object with url', kindOf(value));
  }
  const { url, md5sum, sha256 } = value as Readonly<Record<string, unknown>>;
  if (typeof url !== 'string') throw invalid('URL', 'text', kindOf(url));
  return { url: parseUrl(url.trim()), digests: parseDigests({ md5: md5sum, sha256 }) };
}

function digestOf(text: string): Partial<Record<Digest, unknown>> {
  return isDigest('sha256', text) ? { sha256: text } : { md5: text };
}

function isDigest(name: Digest, text: string): boolean {
  return text.length === DIGITS[name] && /^[0-9a-f]+$/i.test(text);
}

function parseDigests(found: Partial<Record<Digest, unknown>>): UpdateRequest['digests'] {
  const digests: Partial<Record<Digest, string>> = {};
  for (const name of ['md5', 'sha256'] as const) {
    const text = found[name];
    if (text === undefined || text === null) continue;
    if (typeof text !== 'string' || !isDigest(name, text.trim())) {
      const wanted = `${DIGITS[name]} hexadecimal digits`;
      throw invalid(`${name} sum`, wanted, typeof text === 'string' ? `${text.length} characters` : kindOf(text));
    }
    digests[name] = text.trim().toLowerCase();
  }
  return digests;
}

function parseUrl(text: string): URL {
  if (!URL.canParse(text)) throw invalid('URL', 'https://...', 'something else');
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw invalid('URL', 'https://...', `${url.protocol} which is not taken`);
  }
  return url;
}

/**
 * Lines of a name, a blank and a value: `version`, `sha256` and `size`, and all or none of `product`, `architecture` and
 * `expires`. Others are for later versions. Null when it is none, or says anything twice.
 */
export function parseManifest(text: string): Manifest | null {
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, name = '', value = ''] = /^(\w+)[ \t]+(\S+)\s*$/.exec(line) ?? [];
    if (name === '') continue;
    if (values.has(name)) return null;
    values.set(name, value);
  }
  const version = values.get('version') ?? '';
  const sha256 = values.get('sha256') ?? '';
  const size = values.get('size') ?? '';
  const scope = parseScope(values);
  if (!VERSION.test(version) || !isDigest('sha256', sha256) || !/^\d{1,15}$/.test(size) || scope === undefined) {
    return null;
  }
  return { version, sha256: sha256.toLowerCase(), size: Number(size), scope };
}

/** Undefined when it is half of one. */
function parseScope(values: ReadonlyMap<string, string>): Scope | null | undefined {
  const [product, architecture, until] = ['product', 'architecture', 'expires'].map((name) => values.get(name));
  if (product === undefined && architecture === undefined && until === undefined) return null;
  const expires = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(until ?? '') ? Date.parse(until ?? '') : Number.NaN;
  return product === undefined || architecture === undefined || Number.isNaN(expires)
    ? undefined
    : { product, architecture, expires };
}

/** The URL that stands beside another one: its path with `suffix`, and the same query. */
export function beside(url: URL, suffix: string): URL {
  const other = new URL(url);
  other.pathname += suffix;
  return other;
}

function invalid(what: string, wanted: string, got: string): AgentError {
  return new AgentError('GW_ARGUMENT_INVALID', [what, wanted, got]);
}
