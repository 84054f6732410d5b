// Packs a build into guestwire-<version>-linux-<arch>.tar.gz, which `agentupdate` installs, and writes the manifest that
// is to be signed beside it. The same build gives the same bytes.
//
//   node packaging/archive.js [where to, by default the current directory] [build, by default this checkout]
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';

const [target = '.', source = fileURLToPath(new URL('..', import.meta.url))] = process.argv.slice(2);

const { version } = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8'));
const name = `guestwire-${version}-${process.platform}-${process.arch}`;

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
  console.error(`nothing to pack in ${source}: build it with 'npm run build'`);
  process.exit(1);
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
mkdirSync(target, { recursive: true });
const path = join(target, `${name}.tar.gz`);
writeFileSync(path, archive);
writeFileSync(`${path}.manifest`, `version ${version}\nsha256 ${digest('sha256')}\nsize ${archive.length}\n`);
console.log(`${path}\nmd5 ${digest('md5')}\nsha256 ${digest('sha256')}\nsize ${archive.length}`);
