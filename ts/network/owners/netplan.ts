/** Which netplan definition takes a device, by the rules of netplan(5) and of the daemon that it writes for. Pure. */
import { type Document, type Scalar, parseDocument, visit } from 'yaml';
import type { Nic } from '../../api/host.js';
import { effectivePaths } from '../formats/folders.js';
import { fnmatch } from '../formats/glob.js';

/** Of two files of one name the first folder's counts: netplan's order. The machine's own `/usr/lib` is not read. */
const FOLDERS = ['/run/netplan/', '/etc/netplan/', '/lib/netplan/'] as const;
/** For a renderer's `reads`. */
export const NETPLAN_FILES = FOLDERS.map((folder) => `${folder}*.yaml`);

/** One entry of `ethernets:`, merged from all files. */
export interface Definition {
  readonly id: string;
  /** The files that it stands in, in netplan's order. */
  readonly files: readonly string[];
  /** null: the id is the device's name. All that is said must hold. */
  readonly match: Match | null;
  readonly setName: string | null;
  /** Its own, or else that of the section it stands in; null: the one that counts for all, `Netplan.renderer`. */
  readonly renderer: string | null;
  /** What is said of virtual functions, by key: how a card is divided, or with `link` whose part the device is. */
  readonly functions: ReadonlyMap<string, string>;
  /** All that it says, merged. */
  readonly body: Mapping;
}

interface Match {
  readonly name: string | null;
  /** Lower case. */
  readonly mac: string | null;
  /** Globs, any of them; null: any driver. */
  readonly drivers: readonly string[] | null;
}

/** A definition of whatever kind that names another one by its id. */
export interface Reference {
  readonly id: string;
  /** Such as `vlans.storage`. */
  readonly by: string;
  readonly file: string;
  /** The name of the bridge or bond that makes a port of the device; null: it only stands on top of it. */
  readonly master: string | null;
}

export interface Netplan {
  readonly definitions: readonly Definition[];
  readonly references: readonly Reference[];
  /** Every id of every kind. */
  readonly ids: ReadonlySet<string>;
  readonly renderer: string;
}

/** netplan(5), properties for SR-IOV. */
const VIRTUAL_FUNCTIONS = [
  'virtual-function-count',
  'embedded-switch-mode',
  'delay-virtual-functions-rebind',
  'link',
] as const;

export type Mapping = Readonly<Record<string, unknown>>;

/** The files that count, in the order in which netplan merges them: by name, whatever their folder. */
export function netplanFiles(files: ReadonlyMap<string, string>): readonly string[] {
  return effectivePaths(files, FOLDERS, '.yaml');
}

export interface Yaml {
  /** Why it is no YAML; null when it is. */
  readonly problem: string | null;
  readonly document: Document;
  /** null where it is no YAML. */
  readonly value: unknown;
}

/** netplan takes every scalar as text: a password of digits, or a name such as 0e1, is written again as it stands. */
function keepAsWritten(_key: unknown, scalar: Scalar): void {
  const { value, source } = scalar;
  if (typeof value === 'number' && source !== undefined && String(value) !== source) scalar.value = source;
}

/** An alias without an anchor before it is an error only to whoever asks for its value, and no less one. */
export function readYaml(source: string): Yaml {
  const document = parseDocument(source);
  visit(document, { Scalar: keepAsWritten });
  const [error] = document.errors;
  if (error !== undefined) return { problem: error.code, document, value: null };
  try {
    return { problem: null, document, value: document.toJS({ maxAliasCount: -1 }) };
  } catch (thrown) {
    return { problem: thrown instanceof Error ? thrown.message : String(thrown), document, value: null };
  }
}

/** What all files together say. One that is not YAML says nothing. */
export function readNetplan(files: ReadonlyMap<string, string>): Netplan {
  const definitions = new Map<string, Definition>();
  const references: Reference[] = [];
  const ids = new Set<string>();
  let renderer = 'networkd';
  for (const file of netplanFiles(files)) {
    const network = mapping(mapping(readYaml(files.get(file) ?? '').value)['network']);
    renderer = text(network['renderer']) ?? renderer;
    for (const [kind, section] of Object.entries(network)) {
      const { renderer: shared, ...entries } = mapping(section);
      for (const [id, entry] of Object.entries(entries)) {
        const body = mapping(entry);
        // It only makes the id known to its own file; what it takes is said elsewhere.
        if (kind === 'ethernets' && Object.keys(body).length === 0) continue;
        ids.add(id);
        references.push(...referencesOf(kind, id, body, file));
        if (kind === 'ethernets') {
          definitions.set(id, merged(definitions.get(id), { id, file, body, shared: text(shared) }));
        }
      }
    }
  }
  return { definitions: [...definitions.values()], references, ids, renderer };
}

function merged(
  old: Definition | undefined,
  { id, file, body, shared }: { id: string; file: string; body: Mapping; shared: string | null },
): Definition {
  const match = mapping(body['match']);
  return {
    id,
    files: [...(old?.files ?? []), file],
    match:
      body['match'] === undefined
        ? (old?.match ?? null)
        : {
            name: text(match['name']) ?? old?.match?.name ?? null,
            mac: text(match['macaddress'])?.toLowerCase() ?? old?.match?.mac ?? null,
            drivers:
              match['driver'] === undefined ? (old?.match?.drivers ?? null) : [match['driver']].flat().map(String),
          },
    setName: text(body['set-name']) ?? old?.setName ?? null,
    renderer: text(body['renderer']) ?? old?.renderer ?? shared,
    functions: new Map([
      ...(old?.functions ?? []),
      ...VIRTUAL_FUNCTIONS.flatMap((key) => {
        const value = body[key];
        const isScalar = typeof value === 'boolean' || text(value) !== null;
        return isScalar ? [[key, String(value)] as const] : [];
      }),
    ]),
    body: joined(old?.body ?? {}, body) as Mapping,
  };
}

/** Mappings merge, lists are joined, and of all else the later one counts. */
function joined(old: unknown, now: unknown): unknown {
  if (Array.isArray(old) && Array.isArray(now)) return [...(old as unknown[]), ...(now as unknown[])];
  if (!isMapping(old) || !isMapping(now)) return now;
  const both = Object.entries(now).map(([key, value]) => [key, key in old ? joined(old[key], value) : value] as const);
  return { ...old, ...Object.fromEntries(both) };
}

function referencesOf(kind: string, id: string, body: Mapping, file: string): readonly Reference[] {
  const master = kind === 'bridges' || kind === 'bonds' ? id : null;
  const members = Array.isArray(body['interfaces']) ? body['interfaces'].map(String) : [];
  const link = text(body['link']);
  const by = `${kind}.${id}`;
  return [
    ...members.map((member) => ({ id: member, by, file, master })),
    ...(link === null ? [] : [{ id: link, by, file, master: null }]),
  ];
}

/**
 * Whether a definition takes the device, now or after the renaming that it asks for. What is not known of the device
 * (the driver, on a copy of a system) does not speak against it.
 */
export function takes({ id, match, setName }: Definition, nic: Nic): boolean {
  const { name, mac, permanentMac, driver, alternativeNames = [] } = nic;
  // networkd takes the device by any of its names.
  const names = [name, ...alternativeNames];
  if (match === null) return names.includes(id);
  if (match.mac !== null && match.mac !== mac && match.mac !== permanentMac) return false;
  if (match.drivers !== null && driver !== null && !matchesAny(match.drivers, driver)) return false;
  const { name: pattern } = match;
  return setName === name || pattern === null || names.some((one) => matchesNames(pattern, one));
}

/** Whether a definition that takes a device can take no other one. */
export function isForOne({ match, setName }: Definition): boolean {
  return (
    match === null || setName !== null || match.mac !== null || (match.name !== null && /^[^*?[!\s]+$/.test(match.name))
  );
}

/** Whether the file that netplan makes of `id` comes before that of `other`; newer versions escape ids, older ones not. */
export function comesBefore(id: string, other: string): boolean {
  const file = (made: string): string => `10-netplan-${made}.network`;
  return [(made: string) => made, escaped].every((form) => file(form(id)) < file(form(other)));
}

/** The profile that netplan makes of `id` for NetworkManager. */
export function isProfileOf(path: string, id: string): boolean {
  return [id, escaped(id)].some((form) => path.endsWith(`/netplan-${form}.nmconnection`));
}

/** As g_uri_escape_string() writes it. */
export function escaped(id: string): string {
  return encodeURIComponent(id).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** systemd.network(5), Name=: globs, any of them; a `!` before the first one turns the whole list round. */
function matchesNames(list: string, name: string): boolean {
  const inverted = list.startsWith('!');
  const globs = list.slice(inverted ? 1 : 0).split(/\s+/);
  return matchesAny(globs, name) !== inverted;
}

function matchesAny(globs: readonly string[], value: string): boolean {
  return globs.some((glob) => fnmatch(glob, value));
}

function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function mapping(value: unknown): Mapping {
  return isMapping(value) ? value : {};
}

export function text(value: unknown): string | null {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : null;
}
