import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** A child process that runs this very program with other arguments. */
export class AgentProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #exited: Promise<number>;
  readonly #lines: string[] = [];

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#exited = new Promise((resolve) => {
      child.once('exit', (code) => {
        resolve(code ?? -1);
      });
    });
  }

  /** Starts `program <args>` and waits until it has printed a line that holds `ready`. */
  static async start(args: readonly string[], ready: string, program = process.argv[1] ?? ''): Promise<AgentProcess> {
    const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    const agent = new AgentProcess(child);
    await new Promise<void>((resolve, reject) => {
      createInterface({ input: child.stdout }).on('line', (line) => {
        agent.#lines.push(line);
        if (line.includes(ready)) resolve();
      });
      child.once('error', reject);
      child.once('exit', (code) => {
        reject(new Error(`the agent ended with code ${code ?? -1} before it was ready:\n${agent.#lines.join('\n')}`));
      });
    });
    return agent;
  }

  /** What it printed so far. */
  get output(): readonly string[] {
    return this.#lines;
  }

  /** Asks it to stop and resolves with its exit code. */
  async stop(): Promise<number> {
    this.#child.kill('SIGTERM');
    return this.#exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.stop();
  }
}
