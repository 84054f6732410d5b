import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';

/** Builds a Rust example that tests run as a program of its own, and gives its path. */
export function buildExample(name: string): string {
  const args = ['build', '-q', '--release', '-p', 'xenstore', '--example', name];
  execFileSync('cargo', args, { stdio: ['ignore', 'inherit', 'inherit'] });
  return resolve('target/release/examples', name);
}
