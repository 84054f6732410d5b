// `node bench/files.js [--against CHECKOUT] [--rounds N]`: what a change of files takes, from the plan to its confirmation,
// beside the same content written by Node whole or not at all (a temporary file, fsync, rename, fsync of the directory)
// and, with --against, beside another checkout of this project that is built. Needs `npm run build` and root: the last
// case is in a user's home.
import { chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { median } from './report.js';

const { values: flags } = parseArgs({
  options: { against: { type: 'string' }, rounds: { type: 'string', default: '100' } },
});
const rounds = Number(flags.rounds);
if (!Number.isInteger(rounds) || rounds < 5) {
  throw new Error(`--rounds takes a whole number, 5 or more, not ${flags.rounds}`);
}

/** A path, and how many bytes go there. */
const network = Array.from({ length: 8 }, (_, i) => [`/etc/network/interfaces.d/${i}`, 700]);
const cases = [
  { name: 'injectfile of 3 kB', files: [['/etc/app.conf', 3000]] },
  { name: 'injectfile of 1 MB', files: [['/var/lib/app/data', 1_000_000]] },
  { name: 'resetnetwork of 8 files', files: network },
  { name: 'ssh keys in a home, 3 kB', files: [['/home/alice/.ssh/keys', 3000]] },
];

const directory = mkdtempSync(join(tmpdir(), 'guestwire-bench-'));
try {
  const writers = [
    { name: 'guestwire', write: await agent('guestwire', resolve('.')) },
    ...(flags.against === undefined
      ? []
      : [{ name: 'against', write: await agent('against', resolve(flags.against)) }]),
    { name: 'node', write: plain(system('node')) },
  ];
  console.log(`${rounds} rounds in turns; medians in ms`);
  for (const { name, files } of cases) {
    const times = new Map(writers.map((writer) => [writer.name, []]));
    for (let round = -2; round < rounds; round += 1) {
      for (const writer of writers) {
        const changes = files.map(([path, size]) => [path, Buffer.alloc(size, `${round} `)]);
        const start = process.hrtime.bigint();
        await writer.write(changes);
        const took = Number(process.hrtime.bigint() - start) / 1e6;
        // The first two make the files and warm up.
        if (round >= 0) times.get(writer.name).push(took);
      }
    }
    const mid = Object.fromEntries([...times].map(([writer, values]) => [writer, median(values)]));
    const cells = Object.entries(mid).map(([writer, ms]) => `${writer} ${ms.toFixed(2)}`);
    const ratios = Object.entries(mid)
      .slice(1)
      .map(([writer, ms]) => `${(mid.guestwire / ms).toFixed(2)}x of ${writer}`);
    console.log(`${name}: ${cells.join(', ')}; ${ratios.join(', ')}`);
  }
} finally {
  rmSync(directory, { recursive: true });
}

/** A root with the directories of all cases. */
function system(name) {
  const root = join(directory, name, 'root');
  for (const path of cases.flatMap(({ files }) => files.map(([path]) => path))) {
    mkdirSync(join(root, dirname(path)), { recursive: true });
  }
  for (const home of ['home/alice', 'home/alice/.ssh']) chownSync(join(root, home), 1234, 1234);
  writeFileSync(join(root, 'etc/passwd'), 'alice:x:1234:1234::/home/alice:/bin/sh\n');
  return root;
}

/** As the commands write: with backups and a journal, confirmed. */
async function agent(name, checkout) {
  const { createFiles } = await import(pathToFileURL(join(checkout, 'build/ts/host/unix/files.js')).href);
  const files = createFiles(system(name), join(directory, name, 'state'));
  return async (changes) => {
    const commit = await files.commit(
      changes.map(([path, content]) => ({ type: 'write', path, content, mode: 0o600 })),
    );
    await commit.confirm();
  };
}

/** The least that is whole or not at all. */
function plain(root) {
  return async (changes) => {
    for (const [path, content] of changes) {
      const target = join(root, path);
      const file = await open(`${target}.new`, 'w', 0o600);
      await file.writeFile(content);
      await file.sync();
      await file.close();
      await rename(`${target}.new`, target);
      const parent = await open(dirname(target));
      await parent.sync();
      await parent.close();
    }
  };
}
