// Bundles build/ts/main.js (tsc's output, so that tslib's helpers are the real ones) into dist/guestwire.js: an agent
// that starts reads one file instead of hundreds. Modules that are imported lazily are in it, but run only when asked
// for. Libraries that are large and rarely needed are in files of their own, which are not even read before that.
import { execFileSync } from 'node:child_process';
import { build } from 'esbuild';
import { chmod, cp, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const LARGE = ['node-forge', 'pino-pretty', 'tar-stream', 'yaml'];

const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * Seconds since 1970: what reproducible builds set (https://reproducible-builds.org/specs/source-date-epoch/), or the
 * commit's date, so that the same sources give the same bytes. Without either, the agent believes its guest's clock.
 */
function builtAt() {
  const { SOURCE_DATE_EPOCH: given } = process.env;
  if (given !== undefined && !/^\d+$/.test(given)) throw new Error(`SOURCE_DATE_EPOCH: wanted seconds, got ${given}`);
  if (given !== undefined) return Number(given);
  try {
    return Number(execFileSync('git', ['log', '-1', '--format=%ct'], { cwd: root, stdio: 'pipe' }));
  } catch {
    console.warn('no date for this build: SOURCE_DATE_EPOCH is not set, and there is no git checkout');
    return 0;
  }
}

const common = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node20.17',
  minify: true,
  legalComments: 'none',
  define: { GUESTWIRE_BUILT_AT: String(builtAt()) },
  logLevel: 'warning',
};

/** Replaces modules whose name matches `filter` by CommonJS text. */
const replace = (name, filter, text) => ({
  name,
  setup({ onResolve, onLoad }) {
    onResolve({ filter }, ({ path }) => ({ path, namespace: name }));
    onLoad({ filter: /.*/, namespace: name }, ({ path }) => ({ contents: text(path) }));
  },
});

/** pino's worker threads cannot be bundled and are never started here: an empty module saves their start-up time. */
const withoutWorkers = replace('without-workers', /^thread-stream$/, () => 'module.exports = class {}');

/** pino asks Node's module for worker threads whether it is in one, and loads it for that. */
const inMainThread = replace('in-main-thread', /^worker_threads$/, () => 'exports.isMainThread = true');

/** pino's stream checks its arguments with node:assert, which loads Node's terminal and socket code to colour a diff. */
const smallAssert = replace(
  'small-assert',
  /^(node:)?assert$/,
  () => 'module.exports = (ok, message) => { if (!ok) throw new TypeError(message) }',
);

const largeApart = replace(
  'large-apart',
  new RegExp(`^(${LARGE.join('|')})$`),
  (path) => `module.exports = require('./vendor/${path}.cjs')`,
);

/**
 * Node's own modules by require(), when one of their exports is first used: an agent at rest has no use for most. An
 * `import` of one would load it at the start, and touch all of its exports, which loads further parts of Node.
 */
const builtins = {
  name: 'builtins',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:/ }, ({ path, kind }) =>
      kind === 'require-call' ? { path, external: true } : { path, namespace: 'builtin' },
    );
    onLoad({ filter: /.*/, namespace: 'builtin' }, async ({ path }) => {
      const names = Object.keys(await import(path)).filter((name) => name !== 'default');
      return {
        contents: `let loaded;
          for (const name of ${JSON.stringify(names)}) Object.defineProperty(module.exports, name, {
            enumerable: true,
            get: () => (loaded ??= require('${path}'))[name],
          });`,
      };
    });
  },
};

const modules = {
  ...common,
  outdir: 'dist',
  format: 'esm',
  external: ['#binding', './vendor/*'],
  plugins: [withoutWorkers, inMainThread, smallAssert, largeApart, builtins],
  banner: { js: "const require=process.getBuiltinModule('module').createRequire(import.meta.url);" },
};

await rm(`${root}dist`, { recursive: true, force: true });
await Promise.all([
  build({ ...modules, entryPoints: { guestwire: 'build/ts/main.js' } }),
  // What plugins import: `guestwire`, and in their tests `guestwire/testing`.
  build({ ...modules, entryPoints: { api: 'build/ts/api/index.js', testing: 'build/ts/testing/index.js' } }),
  ...LARGE.map((library) =>
    build({
      ...common,
      entryPoints: { [library]: library },
      outdir: 'dist/vendor',
      format: 'cjs',
      outExtension: { '.js': '.cjs' },
    }),
  ),
]);
for (const room of ['api', 'testing'])
  await cp(`${root}build/types/${room}`, `${root}dist/types/${room}`, { recursive: true });
await chmod(`${root}dist/guestwire.js`, 0o755);
