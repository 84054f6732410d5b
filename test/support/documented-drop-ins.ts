import { readFileSync } from 'node:fs';

/** The drop-ins of docs/systemd.md, in the order in which they stand there. */
export function documentedDropIns(): readonly string[] {
  const text = readFileSync('docs/systemd.md', 'utf8');
  return [...text.matchAll(/^```ini\n(.*?)^```$/gms)].map(([, dropIn = '']) => dropIn);
}
