/** netplan's real generator, of a release. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { debianRoot } from '../support/debian-root.js';

/** What it makes of the files for systemd-networkd and NetworkManager, by path. Throws what it says when it fails. */
export function generated(release: string, files: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const scratch = mkdtempSync(join(tmpdir(), 'guestwire-netplan-'));
  try {
    for (const [path, text] of files) {
      if (!path.includes('/netplan/')) continue;
      mkdirSync(dirname(join(scratch, path)), { recursive: true });
      writeFileSync(join(scratch, path), text, { mode: 0o600 });
    }
    generate(debianRoot(release), scratch);
    const made = ['/run/systemd/network/', '/run/NetworkManager/system-connections/'].flatMap((directory) => {
      const names = readIfThere(join(scratch, directory));
      return names.map((name) => [directory + name, readFileSync(join(scratch, directory, name), 'utf8')] as const);
    });
    return new Map(made);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

function generate(root: string, scratch: string): void {
  const [triplet = ''] = readdirSync(join(root, 'usr/lib')).filter((name) => name.endsWith('-linux-gnu'));
  const libraries = join(root, 'usr/lib', triplet);
  const loader = readdirSync(libraries).find((name) => /^ld-linux.*\.so\.\d$/.test(name))!;
  const program = join(root, 'usr/libexec/netplan/generate');
  const argv = ['--library-path', libraries, program, '--root-dir', scratch];
  const { status, stderr } = spawnSync(join(libraries, loader), argv, { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
}

function readIfThere(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
