// Bundles build/ts/main.js (tsc's output, so that tslib's helpers are the real ones) into dist/: an agent that starts
// reads a few files instead of hundreds. What is imported lazily stays in chunks of its own.
import { build } from 'esbuild';
import { chmod, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** pino's worker threads cannot be bundled and are never started here: an empty module saves their start-up time. */
const withoutWorkers = {
  name: 'without-workers',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^thread-stream$/ }, () => ({ path: 'thread-stream', namespace: 'empty' }));
    onLoad({ filter: /.*/, namespace: 'empty' }, () => ({ contents: 'module.exports = class {}' }));
  },
};

await rm(`${root}dist`, { recursive: true, force: true });
await build({
  absWorkingDir: root,
  entryPoints: { guestwire: 'build/ts/main.js' },
  outdir: 'dist',
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.17',
  minify: true,
  legalComments: 'none',
  external: ['#binding'],
  plugins: [withoutWorkers],
  // CommonJS dependencies call require() for Node's own modules.
  banner: {
    js: "import{createRequire as createRequireOfBundle}from'node:module';const require=createRequireOfBundle(import.meta.url);",
  },
  logLevel: 'warning',
});
await chmod(`${root}dist/guestwire.js`, 0o755);
