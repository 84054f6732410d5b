import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { endOf, wholeOrUndone } from './cleanup.js';

/** The bundle, as a guest runs it. */
export const BUNDLE = 'dist/guestwire.js';
/** Milliseconds. */
const PATIENCE = 30_000;

export interface AgentOptions {
  readonly store: string;
  /** Take every node under /local/domain/N; absent for a guest's own socket and relative paths. */
  readonly domain?: number;
  /** Absent for this machine itself: then `config` keeps it away from what is not the test's. */
  readonly root?: string;
  /** The configuration file to read, and no other. */
  readonly config?: string;
  /** One thread for file operations, so that their order is the same in every run. */
  readonly oneThread?: boolean;
  /** Further arguments. */
  readonly args?: readonly string[];
}

/** The real daemon as a process of its own, working on a scratch root. Killed at the end of `await using`. */
export class Agent implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  #log = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#ended = endOf(child);
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.#log += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#log += text));
  }

  /** Resolves once the agent says that it is ready. */
  static async start({
    store,
    domain,
    root,
    config,
    oneThread = false,
    args: more = [],
  }: AgentOptions): Promise<Agent> {
    const args = [BUNDLE, 'run', '--store', store, '--log-level', 'trace'];
    if (root !== undefined) args.push('--root', root);
    if (config !== undefined) args.push('--config', config);
    if (domain !== undefined) args.push('--domain', String(domain));
    args.push(...more);
    const env = { PATH: process.env['PATH'], ...(oneThread ? { UV_THREADPOOL_SIZE: '1' } : {}) };
    return Agent.#ready(spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], env }));
  }

  /** As `start`, for a program that becomes the agent, such as unshare(1). */
  static async of(program: string, args: readonly string[], variables: NodeJS.ProcessEnv = {}): Promise<Agent> {
    const env = { PATH: process.env['PATH'], ...variables };
    return Agent.#ready(spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env }));
  }

  static async #ready(child: ChildProcess): Promise<Agent> {
    return wholeOrUndone(async (cleanup) => {
      const agent = new Agent(child);
      cleanup.add(() => agent[Symbol.asyncDispose]());
      await agent.logged('"msg":"ready"');
      return agent;
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Everything that it printed so far. */
  get log(): string {
    return this.#log;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Resident memory in KiB. */
  get residentKib(): number {
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))![1]);
  }

  /** Resolves once `text` stands in the log, from a place in it on; rejects when the agent ends before, or stays silent for half a minute. */
  async logged(text: string, from = 0): Promise<void> {
    const signal = AbortSignal.timeout(PATIENCE);
    for (;;) {
      const over = !this.running;
      if (over) await this.#ended;
      if (this.#log.includes(text, from)) return;
      if (over) throw new Error(`the agent ended before it logged ${text}:\n${this.#log}`);
      if (signal.aborted) throw new Error(`the agent did not log ${text}:\n${this.#log}`);
      await Promise.race([once(this.#child.stdout!, 'data', { signal }).catch(() => undefined), this.#ended]);
    }
  }

  /** Resolves once it has ended, for whatever reason, and its log is whole, with its exit code or signal. */
  async ended(): Promise<number | NodeJS.Signals> {
    await this.#ended;
    return this.#child.exitCode ?? this.#child.signalCode!;
  }

  /** Sends SIGHUP, and resolves once the agent has looked at its plugins and scripts again. */
  async reload(): Promise<void> {
    const before = this.#log.length;
    this.#child.kill('SIGHUP');
    await this.logged('plugins and scripts looked at again', before);
  }

  /** Sends SIGTERM and resolves with how it ended. */
  async stop(): Promise<number | NodeJS.Signals> {
    this.#child.kill('SIGTERM');
    return this.ended();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.running) return;
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}
