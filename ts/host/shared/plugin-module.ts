/**
 * Loads the code of plugins into this process. `guestwire` means the running agent's own API there, wherever the file
 * lies: a guest needs no node_modules, and a plugin never meets another version of the API than the agent's.
 */
import { existsSync, realpathSync } from 'node:fs';
import * as nodeModule from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** Node caches modules by URL: a plugin that has changed, and its files, are loaded under another one. */
const GENERATION = 'guestwire';

let hooked = false;
let generation = 0;

/** Where the code of a plugin is. */
interface Code {
  /** The file to load. */
  readonly entry: string;
  /** The folder with all that is loaded anew with it. */
  readonly tree: string;
  /** What people know it by: the file, or the folder of its package. */
  readonly where: string;
}

/**
 * The default export of a plugin's file, or undefined when it has none. Throws whatever loading it threw, and an Error
 * where it was loaded before with native code, of which a process has only one version.
 */
export async function importPlugin({ entry, tree, where }: Code, isAgain: boolean): Promise<unknown> {
  if (!hooked) {
    hook(import.meta.resolve('guestwire'));
    hooked = true;
  }
  const known = commonJsOf(realpathSync(tree), where === entry);
  const native = known.find((file) => file.endsWith('.node'));
  if (isAgain && native !== undefined) throw new Error(`native code is loaded once (${native}): restart the agent`);
  // It goes by files and not by URLs.
  for (const file of known) Reflect.deleteProperty(commonJs(), file);
  const url = pathToFileURL(entry);
  url.searchParams.set(GENERATION, String(++generation));
  const module = (await import(url.href)) as { readonly default?: unknown };
  return module.default;
}

function commonJs(): NodeJS.Dict<NodeJS.Module> {
  return nodeModule.createRequire(import.meta.url).cache;
}

/** Files below `tree` that are loaded as CommonJS. Of what lies around a single file, packages are somebody else's. */
function commonJsOf(tree: string, isSingleFile: boolean): readonly string[] {
  return Object.keys(commonJs()).filter(
    (file) => !relative(tree, file).startsWith('..') && !(isSingleFile && isInPackage(tree, dirname(file))),
  );
}

function isInPackage(tree: string, directory: string): boolean {
  if (directory === tree) return false;
  return existsSync(join(directory, 'package.json')) || isInPackage(tree, dirname(directory));
}

/** The file of a plugin that a line of a stack trace names, or null. */
export function pluginFile(frame: string): string | null {
  const url = /file:\/\/[^\s)]+?\?guestwire=\d+/.exec(frame)?.[0];
  return url === undefined ? null : fileURLToPath(url);
}

interface Resolved {
  readonly url: string;
  readonly format?: string | null | undefined;
}

interface Context {
  readonly parentURL?: string | undefined;
}

/**
 * Gives what a module imports the generation of that module. Refers to nothing outside of it, because its text goes to
 * another thread.
 */
function inherit(parent: string | undefined, imported: Resolved, name: string): Resolved {
  const own = parent?.startsWith('file:') === true ? new URL(parent).searchParams.get(name) : null;
  if (own === null || !imported.url.startsWith('file:')) return imported;
  const url = new URL(imported.url);
  url.searchParams.set(name, own);
  return { ...imported, url: url.href };
}

/** Since Node 22.15 a hook runs in this thread; before, it is text for a thread of its own. */
function hook(api: string): void {
  const { registerHooks } = nodeModule as unknown as { readonly registerHooks?: (hooks: object) => void };
  if (registerHooks !== undefined) {
    registerHooks({
      resolve: (specifier: string, context: Context, next: (specifier: string, context: Context) => Resolved) =>
        specifier === 'guestwire'
          ? { url: api, shortCircuit: true }
          : inherit(context.parentURL, next(specifier, context), GENERATION),
    });
    return;
  }
  const text = `const inherit = ${inherit.toString()};
    export const resolve = async (specifier, context, next) =>
      specifier === 'guestwire'
        ? { url: ${JSON.stringify(api)}, shortCircuit: true }
        : inherit(context.parentURL, await next(specifier, context), ${JSON.stringify(GENERATION)});`;
  nodeModule.register(`data:text/javascript,${encodeURIComponent(text)}`);
}
