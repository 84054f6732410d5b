import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BUNDLE } from './agent.js';
import { endOf, endProcess, wholeOrUndone } from './cleanup.js';
import { createScratch, type Scratch } from './scratch.js';
import { StreamClient } from './stream-client.js';

/** Milliseconds. */
const PATIENCE = 30_000;

/** An agent on a scratch root that listens at a unix socket. */
export class StreamAgent implements AsyncDisposable {
  readonly scratch: Scratch;
  readonly socket: string;
  readonly #child: ChildProcess;
  #log = '';

  private constructor(scratch: Scratch, socket: string, child: ChildProcess) {
    this.scratch = scratch;
    this.socket = socket;
    this.#child = child;
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (this.#log += text));
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.#log += text));
  }

  /** `through`: a program, with its arguments, that starts the agent. */
  static async start(
    args: readonly string[] = [],
    config = '',
    socket = '',
    through: readonly string[] = [],
  ): Promise<StreamAgent> {
    return wholeOrUndone(async (cleanup) => {
      const scratch = await createScratch();
      cleanup.add(() => scratch[Symbol.asyncDispose]());
      const path = socket === '' ? join(scratch.directory, 'host') : socket;
      await scratch.write('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n');
      await scratch.write('etc/shadow', 'root:*:19700:0:99999:7:::\n', 0o640);
      await scratch.write('etc/guestwire/guestwire.toml', `[stream]\nmax-line = "64KiB"\n${config}`);
      const run = [process.execPath, BUNDLE, 'run', '--listen', path, '--root', scratch.root, ...args];
      const [program = '', ...rest] = [...through, ...run];
      const agent = new StreamAgent(scratch, path, spawn(program, rest));
      cleanup.add(() => agent[Symbol.asyncDispose]());
      await agent.logged('"msg":"ready"');
      return agent;
    });
  }

  get log(): string {
    return this.#log;
  }

  get residentMib(): number {
    const status = readFileSync(`/proc/${this.#child.pid!}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) / 1024;
  }

  connect(): Promise<StreamClient> {
    return StreamClient.connect(this.socket);
  }

  async logged(text: string): Promise<void> {
    const until = performance.now() + PATIENCE;
    while (!this.#log.includes(text)) {
      assert.ok(this.#child.exitCode === null && performance.now() < until, `not logged: ${text}\n${this.#log}`);
      await sleep(10);
    }
  }

  /** As a crash would. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async stop(): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = endOf(this.#child);
      this.#child.kill('SIGTERM');
      await ended;
    }
    return this.#child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await endProcess(this.#child);
    await this.scratch[Symbol.asyncDispose]();
  }
}
