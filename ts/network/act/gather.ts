import { AgentError } from '../../api/errors.js';
import type { Files, Host } from '../../api/host.js';
import { CLOUD_FILES } from '../cloud-init.js';
import { readConfigured } from './configured.js';
import { NAMING_ASKS, NAMING_FILES, hostnameProblem } from '../hostname.js';
import { decode } from '../formats/bytes.js';
import { isGlob, matchesPathPart } from '../formats/glob.js';
import type { FileAccess, InterfaceConfig, NetworkFacts, Renderer, ResolvConf } from '../plan.js';
import { NAME_FILES } from '../renamed.js';
import { SERVICE_ASKS, SERVICE_FILES } from '../owners/services.js';
import { RESOLVER_ASKS, RESOLVER_READS, resolverOf } from '../resolvers/index.js';
import { RESOLV_CONF } from '../resolvers/maker.js';
import { type Published, type Wanted, byDevice, readWanted } from '../wanted/wanted.js';
import { isTelling } from '../units.js';
import { sleep } from '../../host/shared/runtime/timers.js';

const NETWORKING = 'vm-data/networking';
const NETWORKS = 'vm-data/networks';
const HOSTNAME = 'vm-data/hostname';
const LOOK_EVERY_MS = 100;
const NULL_DEVICE = '/dev/null';

export interface Gathered {
  readonly facts: NetworkFacts;
  /** What is wrong with records that cannot be used, a sentence each. */
  readonly recordErrors: readonly string[];
}

/**
 * Reads what the host wants and what the machine is like. Changes nothing. A device that a record names and that is not
 * there is waited for, up to `deviceTimeoutMs`.
 * Throws GW_NETWORK_EMPTY when the host published nothing, GW_NETWORK_INVALID when nothing of it can be used.
 */
export async function gather(host: Host, renderers: readonly Renderer[], deviceTimeoutMs: number): Promise<Gathered> {
  const published = await readPublished(host);
  if (published.networking.size + published.networks.size === 0) {
    throw new AgentError('GW_NETWORK_EMPTY', [`${NETWORKING} or ${NETWORKS}`]);
  }
  const configured = await readConfigured(host);
  const { interfaces, leftAlone, unknown, errors, disabled } = await withLateDevices(
    host,
    published,
    configured,
    deviceTimeoutMs,
  );
  if (interfaces.length === 0) {
    const reasons = [...errors, ...disabled];
    if (reasons.length === 0) throw new AgentError('GW_NETWORK_EMPTY', [`${NETWORKS}: every type is none`]);
    throw new AgentError('GW_NETWORK_INVALID', [reasons.join('; ')]);
  }
  const hostname = (await host.store.read(HOSTNAME))?.trim() ?? null;
  const problem = hostname === null ? null : hostnameProblem(hostname);
  if (problem !== null) throw new AgentError('GW_NETWORK_INVALID', [`${HOSTNAME}: ${problem}`]);
  const facts = {
    interfaces: [...interfaces, ...leftAlone].sort(byDevice),
    leftAlone: leftAlone.map(({ nic }) => nic.name),
    unknown,
    hostname,
    configured,
    ...(await inspect(host, renderers)),
  };
  return { facts, recordErrors: errors };
}

/** What the machine is like, apart from what the host wants of it. */
export async function inspect(
  host: Host,
  renderers: readonly Renderer[],
): Promise<Omit<NetworkFacts, 'interfaces' | 'hostname'>> {
  const files = new Map<string, string>();
  const access = new Map<string, FileAccess>();
  const read = async (path: string, pattern: string): Promise<void> => {
    const found = files.has(path) ? null : await readFile(host, path, pattern);
    if (found === null) return;
    files.set(path, found.text);
    access.set(path, found.access);
  };
  const patterns = [
    ...NAMING_FILES,
    ...CLOUD_FILES,
    ...NAME_FILES,
    ...RESOLVER_READS,
    ...SERVICE_FILES,
    ...renderers.flatMap(({ reads }) => reads),
  ];
  for (const pattern of new Set(patterns)) {
    for (const path of await expand(host, pattern)) await read(path, pattern);
  }
  const present = new Set<string>();
  for (const path of new Set([
    ...RESOLVER_ASKS,
    ...NAMING_ASKS,
    ...SERVICE_ASKS,
    ...renderers.flatMap(({ asks }) => asks),
  ])) {
    const target = await unlessLooping(host.files.resolve(path), null);
    if (target === null) continue;
    present.add(path);
    if (isTelling(path, target)) present.add(target);
  }
  for (const { follows } of renderers) {
    if (follows !== undefined) await readFollowed(host, () => follows({ files, present }), read);
  }
  const status = await host.files.status(RESOLV_CONF);
  const text = status?.type === 'file' ? ((await readWhole(host.files, RESOLV_CONF)) ?? '') : null;
  // A link belongs to whoever made what it points to; only a plain file is anybody's.
  if (text !== null) files.set(RESOLV_CONF, text);
  const resolver = resolverOf({ target: status?.target ?? null, text, files, present });
  const resolvConf = await readResolvConf(host, text);
  const live = host.live ? (await host.network.live()).addresses : [];
  const machine = { files, access, present, resolver, resolvConf, live, ...(host.live ? {} : { copy: true as const }) };
  return { currentHostname: await host.network.hostname(), ...machine };
}

/** The file's text, with what of it is no UTF-8; null when there is none. */
export async function readWhole(files: Files, path: string): Promise<string | null> {
  const bytes = await files.read(path);
  return bytes === null ? null : decode(bytes);
}

/** `text`: of a plain file, or null. */
async function readResolvConf({ files }: Host, text: string | null): Promise<ResolvConf> {
  const leadsTo = await unlessLooping(files.resolve(RESOLV_CONF), null);
  if (leadsTo === null) return { leadsTo, text, sealed: null };
  return { leadsTo, text: text ?? (await readWhole(files, RESOLV_CONF)), sealed: await files.sealed(RESOLV_CONF) };
}

async function readPublished({ store }: Host): Promise<Published> {
  const networking = new Map<string, string>();
  for (const id of await store.list(NETWORKING)) {
    const text = await store.read(`${NETWORKING}/${id}`);
    if (text !== null) networking.set(id, text);
  }
  const networks = new Map<string, ReadonlyMap<string, string>>();
  for (const id of await store.list(NETWORKS)) {
    const values = new Map<string, string>();
    for (const key of await store.list(`${NETWORKS}/${id}`)) {
      const value = await store.read(`${NETWORKS}/${id}/${key}`);
      if (value !== null) values.set(key, value);
    }
    networks.set(id, values);
  }
  return { networking, networks };
}

async function withLateDevices(
  host: Host,
  published: Published,
  configured: readonly InterfaceConfig[],
  limit: number,
): Promise<Wanted> {
  const end = Date.now() + limit;
  for (;;) {
    const wanted = readWanted(published, await host.network.nics(), configured);
    if (wanted.missing.length === 0 || !host.live || Date.now() >= end) return wanted;
    await sleep(LOOK_EVERY_MS);
  }
}

/**
 * Null also for a directory, which a pattern may meet. Where files of several folders are merged by their names, a link to
 * /dev/null masks one: it reads as the empty file that it stands for, also on a copy without that device.
 */
async function readFile(
  { files, live }: Host,
  path: string,
  pattern: string,
): Promise<{ readonly text: string; readonly access: FileAccess } | null> {
  const target = await unlessLooping(files.resolve(path), null);
  if (target === null || target === NULL_DEVICE) {
    const isMask = target !== null || (await files.status(path))?.target === NULL_DEVICE;
    return isMask && (isGlob(pattern) || path.includes('/systemd/')) ? { text: '', access: 'mask' } : null;
  }
  const status = await files.status(target);
  const text = status?.type === 'file' ? await readWhole(files, target) : null;
  return status === null || text === null ? null : { text, access: { mode: status.mode, uid: live ? status.uid : 0 } };
}

/** Links that lead to one another lead to nothing: whoever reads these files passes over such a one. */
async function unlessLooping<T>(reading: Promise<T>, none: T): Promise<T> {
  return reading.catch((error: unknown) => {
    if ((error as { readonly code?: unknown }).code === 'ELOOP') return none;
    throw error;
  });
}

/** Ends when there is nothing new: whoever names the patterns follows a limited number of files. */
async function readFollowed(
  host: Host,
  patterns: () => readonly string[],
  read: (path: string, pattern: string) => Promise<void>,
): Promise<void> {
  const done = new Set<string>();
  for (;;) {
    const more = patterns().filter((pattern) => !done.has(pattern));
    if (more.length === 0) return;
    for (const pattern of more) {
      done.add(pattern);
      for (const path of await glob(host, pattern)) await read(path, pattern);
    }
  }
}

/** glob(3) of an absolute path. */
async function glob(host: Host, pattern: string): Promise<readonly string[]> {
  let found: readonly string[] = [''];
  for (const part of pattern.split('/').slice(1)) {
    if (!isGlob(part)) {
      found = found.map((directory) => `${directory}/${part}`);
      continue;
    }
    const below: string[] = [];
    for (const directory of found) {
      const all = await unlessLooping(host.files.list(directory === '' ? '/' : directory), []);
      const names = all.filter((name) => matchesPathPart(part, name));
      below.push(...names.map((name) => `${directory}/${name}`));
    }
    found = below;
  }
  return found;
}

/** Of the paths that meet `pattern`, those that are no editor's backups. */
async function expand(host: Host, pattern: string): Promise<readonly string[]> {
  return (await glob(host, pattern)).filter((path) => !isGlob(pattern) || !path.endsWith('~'));
}
