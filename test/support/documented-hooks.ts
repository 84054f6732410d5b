import { readFileSync } from 'node:fs';

/** The scripts of docs/hooks.md by the name of their hook. */
export function documentedHooks(): ReadonlyMap<string, string> {
  const text = readFileSync('docs/hooks.md', 'utf8');
  const found = text.matchAll(/`\/etc\/guestwire\/hooks\/(\S+)`:\n\n```sh\n(#!\/bin\/sh\n.*?)```/gs);
  return new Map([...found].map(([, name = '', script = '']) => [name, script]));
}
