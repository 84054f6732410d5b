import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';

const SOURCE = fileURLToPath(new URL('../../../../test/support/races/attacker.c', import.meta.url));

/** Compiles the program of the user who attacks, into `directory`; gives its path. */
export function compileAttacker(directory: string): string {
  const program = join(directory, 'attacker');
  execFileSync('gcc', ['-O2', '-Wall', '-Werror', '-o', program, SOURCE]);
  return program;
}

/** What the user does over and over; test/support/races/attacker.c describes each. */
export interface Attack {
  readonly how: 'exchange' | 'follow' | 'plant' | 'substitute';
  readonly paths: readonly [string, string];
}

/** A user who attacks until he is stopped. */
export class Attacker {
  readonly #child: ChildProcess;
  #printed = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.#printed += text));
  }

  static async start(program: string, uid: number, { how, paths }: Attack): Promise<Attacker> {
    const child = spawn(program, [String(uid), how, ...paths], { stdio: ['ignore', 'pipe', 'inherit'] });
    const attacker = new Attacker(child);
    while (!attacker.#printed.includes('ready')) await once(child.stdout, 'data');
    return attacker;
  }

  /** How often the user has done it, as far as he has said. */
  get count(): number {
    return Number(this.#printed.trimEnd().split('\n').at(-1)) || 0;
  }

  /** How often the user did it. Throws when he could not go on. */
  async stop(): Promise<number> {
    const closed = once(this.#child, 'close');
    this.#child.kill('SIGTERM');
    const [code] = (await closed) as [number | null];
    if (code !== 0) throw new Error(`the attacker ended with ${String(code)}: ${this.#printed}`);
    return this.count;
  }
}
