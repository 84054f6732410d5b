import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A key of the real minisign, in a directory of the test's. */
export class Signer {
  /** As `update.keys` takes it. */
  readonly publicKey: string;
  readonly #path: string;

  constructor(directory: string, name = 'signer') {
    this.#path = join(directory, name);
    minisign('-G', '-W', '-p', `${this.#path}.pub`, '-s', `${this.#path}.key`);
    this.publicKey = readFileSync(`${this.#path}.pub`, 'utf8').split('\n')[1]!;
  }

  /** The text of the `.minisig` file. */
  sign(content: string, form: 'prehashed' | 'legacy' = 'prehashed'): string {
    const file = `${this.#path}.content`;
    writeFileSync(file, content);
    const how = form === 'legacy' ? ['-l'] : [];
    minisign('-S', ...how, '-s', `${this.#path}.key`, '-m', file, '-x', `${file}.minisig`);
    return readFileSync(`${file}.minisig`, 'utf8');
  }
}

function minisign(...args: readonly string[]): void {
  execFileSync('minisign', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
