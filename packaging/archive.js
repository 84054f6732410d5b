// Packs a build into guestwire-<version>-linux-<arch>.tar.gz, which `agentupdate` installs, and writes the manifest that
// is to be signed beside it. The same build gives the same archive; with --expires or SOURCE_DATE_EPOCH, which takes the
// place of the clock, the same manifest, too.
//
//   node packaging/archive.js [--expires 2030-01-31T00:00:00Z] [DIRECTORY] [BUILD]
//
// DIRECTORY is where to, by default the current one; BUILD is what to pack, by default this checkout. The manifest expires
// after a year.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';

const YEAR_MS = 365 * 24 * 3600 * 1000;

const { values, positionals } = parseArgs({ options: { expires: { type: 'string' } }, allowPositionals: true });
const [target = '.', source = fileURLToPath(new URL('..', import.meta.url))] = positionals;

const { SOURCE_DATE_EPOCH: epoch = String(Math.floor(Date.now() / 1000)) } = process.env;
if (!/^\d{1,11}$/.test(epoch)) fail(`SOURCE_DATE_EPOCH: wanted seconds since 1970, got ${epoch}`);
const expires = values.expires ?? timestamp(Number(epoch) * 1000 + YEAR_MS);
if (Number.isNaN(Date.parse(expires)) || timestamp(Date.parse(expires)) !== expires) {
  fail(`--expires: wanted a time such as 2030-01-31T00:00:00Z, got ${expires}`);
}

const { version } = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8'));
const architecture = `${process.platform}-${process.arch}`;
const name = `guestwire-${version}-${architecture}`;

const built = (directory) =>
  readdirSync(join(source, directory), { recursive: true })
    .map((path) => `${directory}/${path}`)
    .filter((path) => statSync(join(source, path)).isFile());
const paths = [
  ...built('dist'),
  ...built('native').filter((path) => path.endsWith('.node') || path === 'native/binding.js'),
  'package.json',
  'LICENSE',
].filter((path) => existsSync(join(source, path)));
if (!paths.includes('dist/guestwire.js') || !paths.some((path) => path.endsWith('.node'))) {
  fail(`nothing to pack in ${source}: build it with 'npm run build'`);
}

const tar = pack();
for (const path of paths.sort()) {
  const mode = path === 'dist/guestwire.js' ? 0o755 : 0o644;
  tar.entry({ name: `${name}/${path}`, mode, mtime: new Date(0) }, readFileSync(join(source, path)));
}
tar.finalize();
const chunks = [];
for await (const chunk of tar) chunks.push(chunk);
const archive = gzipSync(Buffer.concat(chunks), { level: 9 });

const digest = (algorithm) => createHash(algorithm).update(archive).digest('hex');
// All that a guest goes by stands in here, because this is what is signed.
const manifest = [
  'product guestwire',
  `version ${version}`,
  `architecture ${architecture}`,
  `expires ${expires}`,
  `sha256 ${digest('sha256')}`,
  `size ${archive.length}`,
];
mkdirSync(target, { recursive: true });
const path = join(target, `${name}.tar.gz`);
writeFileSync(path, archive);
writeFileSync(`${path}.manifest`, `${manifest.join('\n')}\n`);
console.log(`${path}\nmd5 ${digest('md5')}\n\n${path}.manifest\n${manifest.join('\n')}`);
console.log(`\nTo be signed, and served with its .minisig beside the archive:\nminisign -S -s KEY -m ${path}.manifest`);

function timestamp(milliseconds) {
  return new Date(milliseconds).toISOString().replace(/\.\d+Z$/, 'Z');
}

function fail(why) {
  console.error(why);
  process.exit(1);
}
