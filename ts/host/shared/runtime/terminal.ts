/** What a person types. */
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';

/** The first line of standard input, null for none. On a terminal it is asked for with `prompt`, and not shown. */
export async function readSilently(prompt: string): Promise<string | null> {
  const terminal = process.stdin.isTTY;
  const silent = new Writable({
    write(_chunk, _encoding, done) {
      done();
    },
  });
  if (terminal) process.stderr.write(prompt);
  const lines = createInterface({ input: process.stdin, output: silent, terminal });
  try {
    for await (const line of lines) return line;
    return null;
  } finally {
    lines.close();
    if (terminal) process.stderr.write('\n');
  }
}
