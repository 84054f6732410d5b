// Bundles build/ts/main.js (tsc's output, so that tslib's helpers are the real ones) into dist/guestwire.js: an agent
// that starts reads one file instead of hundreds. Modules that are imported lazily are in it, but run only when asked
// for. Libraries that are large and rarely needed are in files of their own, which are not even read before that.
import { build } from 'esbuild';
import { chmod, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const LARGE = ['node-forge', 'pino-pretty', 'yaml'];

const root = fileURLToPath(new URL('..', import.meta.url));
const common = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node20.17',
  minify: true,
  legalComments: 'none',
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

const largeApart = replace(
  'large-apart',
  new RegExp(`^(${LARGE.join('|')})$`),
  (path) => `module.exports = require('./vendor/${path}.cjs')`,
);

await rm(`${root}dist`, { recursive: true, force: true });
await Promise.all([
  build({
    ...common,
    entryPoints: { guestwire: 'build/ts/main.js' },
    outdir: 'dist',
    format: 'esm',
    external: ['#binding', './vendor/*'],
    plugins: [withoutWorkers, largeApart],
    // CommonJS dependencies call require() for Node's own modules.
    banner: {
      js: "import{createRequire as createRequireOfBundle}from'node:module';const require=createRequireOfBundle(import.meta.url);",
    },
  }),
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
await chmod(`${root}dist/guestwire.js`, 0o755);
