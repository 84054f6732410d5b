/** Versions of the agent as an operator packs and installs them, made of this checkout's build. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const { version: BUILT_VERSION } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };

export interface Release {
  readonly version: string;
  readonly archive: Buffer;
  readonly manifest: string;
  readonly md5: string;
  readonly sha256: string;
}

export interface ReleaseOptions {
  /** What `version` answers, when it is not the version. */
  readonly tells?: string;
  /** Put before the program. */
  readonly prelude?: string;
}

/** The real build with another version, packed by packaging/archive.js. */
export function makeRelease(directory: string, version: string, options: ReleaseOptions = {}): Release {
  const build = join(directory, `build-${version}`);
  mkdirSync(build, { recursive: true });
  for (const name of ['dist', 'native', 'LICENSE']) cpSync(name, join(build, name), { recursive: true });
  const text = readFileSync('package.json', 'utf8');
  writeFileSync(join(build, 'package.json'), text.replace(`"version": "${BUILT_VERSION}"`, `"version": "${version}"`));
  const program = join(build, 'dist/guestwire.js');
  const [first = '', ...rest] = readFileSync(program, 'utf8').split('\n');
  const bundle = rest.join('\n').replaceAll(`"${BUILT_VERSION}"`, `"${options.tells ?? version}"`);
  writeFileSync(program, `${first}\n${options.prelude ?? ''}\n${bundle}`);
  const packed = join(directory, `packed-${version}`);
  execFileSync(process.execPath, ['packaging/archive.js', packed, build], { stdio: ['ignore', 'ignore', 'inherit'] });
  const name = readdirSync(packed).find((file) => file.endsWith('.tar.gz'))!;
  const archive = readFileSync(join(packed, name));
  return {
    version,
    archive,
    manifest: readFileSync(join(packed, `${name}.manifest`), 'utf8'),
    md5: createHash('md5').update(archive).digest('hex'),
    sha256: createHash('sha256').update(archive).digest('hex'),
  };
}

/** A manifest as it was before it said product, architecture and expiry. */
export function oldForm(manifest: string): string {
  return manifest.replaceAll(/^(?:product|architecture|expires) .*\n/gm, '');
}

/** Installs a release as docs/commands/agentupdate.md says. */
export function installRelease(directory: string, { version, archive }: Release): void {
  const place = join(directory, 'versions', version);
  mkdirSync(place, { recursive: true });
  execFileSync('tar', ['xz', '--strip-components=1', '-C', place], { input: archive });
  symlinkSync(join('versions', version), join(directory, 'current'));
}
