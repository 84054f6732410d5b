/** What the machine's owner has put into the folders of plugins and scripts, before any of it is run. */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, open, readFile, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { COMMAND_NAME } from '../../api/command.js';
import { HEAD_BYTES, whyNotRunnable } from './interpreter.js';
import { absent } from '../shared/system-error.js';
import { examine } from './unshared.js';

/** npm packages among the plugins' node_modules that are plugins say so in their `keywords`. */
export const PLUGIN_KEYWORD = 'guestwire-plugin';

/** What cannot be used, and why. */
export interface Problem {
  /** The file or folder. */
  readonly where: string;
  readonly reason: string;
  /** Others than root could have changed it: what was made of it before must not stay either. */
  readonly distrusted?: true;
}

export interface FoundPlugin {
  /** What people know it by: the file, or the folder of its package. */
  readonly where: string;
  /** The file to load. */
  readonly entry: string;
  /** The folder whose modules are loaded anew with it: a package of npm shares one with others. */
  readonly tree: string;
  /** Differs when one of its files has changed. */
  readonly fingerprint: string;
}

export interface FoundScript {
  readonly name: string;
  readonly path: string;
  /** How it begins, where it is text. */
  readonly head: string;
}

export interface Found<T> {
  readonly found: readonly T[];
  readonly problems: readonly Problem[];
}

const PAGE_BYTES = 4096;

/** What editors and package managers leave behind, what explains a folder, and tests. */
const NOT_MEANT =
  /^\.|~$|^#|\.(?:bak|orig|old|save|swp|tmp|new|dpkg-[a-z]+|rpm[a-z]+|ucf-[a-z]+)$|^README|\.test\.m?js$/;

/**
 * Files `*.js` and `*.mjs`, folders with a package.json, and packages of npm, in the order of their names; without a
 * directory, none.
 */
export function findPlugins(directory: string | null): Promise<Found<FoundPlugin>> {
  if (directory === null) return Promise.resolve({ found: [], problems: [] });
  return look(directory, async () => {
    const found: Found<FoundPlugin>[] = [];
    for (const name of await names(directory)) {
      const path = join(directory, name);
      if (NOT_MEANT.test(name) || name === 'node_modules') continue;
      if (/\.m?js$/.test(name)) found.push(await plugin(path, path));
      else if (await isPackage(path)) found.push(await packagePlugin(path));
    }
    const modules = join(directory, 'node_modules');
    for (const path of await installedPackages(modules)) {
      if (await hasKeyword(path)) found.push(await packagePlugin(path, modules));
    }
    return merged(found);
  });
}

/**
 * Executable files whose names are those of the commands. `isLive`: they are run on this machine, so that their
 * interpreters have to be here.
 */
export function findScripts(directory: string, isLive: boolean): Promise<Found<FoundScript>> {
  return look(directory, async () => {
    const found: Found<FoundScript>[] = [];
    for (const name of await names(directory)) {
      const path = join(directory, name);
      const status = await stat(path).catch(absent);
      if (NOT_MEANT.test(name) || status?.isDirectory() === true) continue;
      found.push(
        await look(path, async () =>
          status?.isFile() === true ? script(name, path, isLive) : wrong(path, 'is no regular file'),
        ),
      );
    }
    return merged(found);
  });
}

async function script(name: string, path: string, isLive: boolean): Promise<Found<FoundScript>> {
  if (!COMMAND_NAME.test(name)) {
    return wrong(path, "its name cannot be a command's: wanted letters, digits, _ and -, at most 64");
  }
  const { distrust } = await examine(path);
  if (distrust !== null) return wrong(path, distrust);
  const executable = await access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
  if (!executable) return wrong(path, 'is not executable (chmod +x)');
  const head = await firstBytes(path);
  const reason = await whyNotRunnable(head.subarray(0, HEAD_BYTES), isLive);
  return reason === null ? { found: [{ name, path, head: head.toString() }], problems: [] } : wrong(path, reason);
}

/** The first page of a file: a comment of it may have settings. */
async function firstBytes(path: string): Promise<Buffer> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(PAGE_BYTES), 0, PAGE_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

async function plugin(where: string, entry: string, modules: string | null = null): Promise<Found<FoundPlugin>> {
  return look(where, async () => {
    // Packages of npm share what they depend on.
    const examined = await Promise.all([where, ...(modules === null ? [] : [modules])].map(examine));
    const distrust = examined.map((one) => one.distrust).find((reason) => reason !== null);
    if (distrust !== undefined) return distrusted(where, distrust);
    const tree = modules ?? (where === entry ? dirname(where) : where);
    const marks = examined.map((one) => one.fingerprint).join('\n');
    const fingerprint = createHash('sha256').update(marks).digest('hex');
    return { found: [{ where, entry, tree, fingerprint }], problems: [] };
  });
}

async function packagePlugin(path: string, modules: string | null = null): Promise<Found<FoundPlugin>> {
  return look(path, async () => {
    const manifest: unknown = JSON.parse(await readFile(join(path, 'package.json'), 'utf8'));
    const entry = entryOf(manifest);
    if (entry === null) return wrong(path, "package.json: wanted a path of the package in 'exports' or 'main'");
    return plugin(path, join(path, entry), modules);
  });
}

/** The file that `import` of the package would load, as far as plugins need it: no patterns, no nested conditions. */
export function entryOf(manifest: unknown): string | null {
  const { exports, main } = record(manifest);
  const root = record(exports)['.'] ?? exports;
  const entry = record(root)['import'] ?? record(root)['default'] ?? root ?? main ?? 'index.js';
  return typeof entry === 'string' && !entry.split('/').includes('..') && !entry.startsWith('/') ? entry : null;
}

async function hasKeyword(path: string): Promise<boolean> {
  const text = await readFile(join(path, 'package.json'), 'utf8').catch(absent);
  try {
    const { keywords } = record(JSON.parse(text ?? ''));
    return Array.isArray(keywords) && keywords.includes(PLUGIN_KEYWORD);
  } catch {
    // A package that cannot be read does not say that it is a plugin.
    return false;
  }
}

async function installedPackages(modules: string): Promise<readonly string[]> {
  const paths: string[] = [];
  for (const name of await names(modules)) {
    const path = join(modules, name);
    if (name.startsWith('@')) paths.push(...(await names(path)).map((inner) => join(path, inner)));
    else if (!name.startsWith('.')) paths.push(path);
  }
  return paths;
}

async function isPackage(path: string): Promise<boolean> {
  return (await stat(join(path, 'package.json')).catch(absent))?.isFile() === true;
}

async function names(directory: string): Promise<readonly string[]> {
  return ((await readdir(directory).catch(absent)) ?? []).sort();
}

/** Whatever the system says of a path is that path's problem alone. */
async function look<T>(where: string, work: () => Promise<Found<T>>): Promise<Found<T>> {
  try {
    return await work();
  } catch (error) {
    return wrong(where, (error as Error).message);
  }
}

function wrong(where: string, reason: string): Found<never> {
  // Most reasons name the very path.
  const own = reason.startsWith(`${where} `) ? reason.slice(where.length + 1) : reason;
  return { found: [], problems: [{ where, reason: own }] };
}

function distrusted(where: string, reason: string): Found<never> {
  const { found, problems } = wrong(where, reason);
  return { found, problems: problems.map((problem) => ({ ...problem, distrusted: true })) };
}

function merged<T>(all: readonly Found<T>[]): Found<T> {
  return { found: all.flatMap(({ found }) => found), problems: all.flatMap(({ problems }) => problems) };
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
